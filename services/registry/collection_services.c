#include "services/registry/collection_services.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/names.h"
#include "common/base/strbuf.h"
#include "common/client/collection_records.h"
#include "common/client/repo_follower.h"
#include "common/reflect/pool.h"
#include "common/reflect/typed_collection.h"
#include "services/registry/catalog.h"
#include "services/registry/registrar.h"

enum {
	MAX_COLLECTIONS = 100000,
	FILES_AT_ONCE = 200, /* in one change of a namespace */
	CHANGE_TIMEOUT_MS = 10000,
	RETRY_MS = 2000, /* what could not be written */
};

struct collection_services {
	struct registrar registrar; /* which asks nobody: nothing of this breaks records */
	struct typed_collections *forms;
	const struct collection_services_observer *observer;
	struct rpc_channel *repo;
	struct repo_follower *follower;
	struct map coming; /* as types, of a snapshot that is not whole; the follower's own */
	bool is_whole;     /* the follower's own: types is what the repo has */
	pthread_t thread;
	bool is_started;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t changed;
	struct map types; /* "<namespace>/<name>" of a collection -> its type, owned */
	struct map dirty; /* of those, the ones that may be registered otherwise */
	bool is_known;    /* types were told of once */
	bool is_all_dirty;
	bool is_woken, is_closing;
	uint64_t generation; /* the thread's own, and below: of the catalog, looked at */
	struct map seen;     /* namespace -> struct seen */
};

/* The version of a namespace that has been looked at. */
struct seen {
	int64_t version;
};

/* ---------------------------------------------------------------- the files */

bool collection_services_are_in(const char *file_name)
{
	return !strncmp(file_name, TYPED_COLLECTION_FILES, strlen(TYPED_COLLECTION_FILES));
}

void collection_services_range(const struct snapshot *s, size_t *ret_first, size_t *ret_end)
{
	*ret_first = snapshot_seek(s, SNAPSHOT_FILES, SNAPSHOT_LESS, TYPED_COLLECTION_FILES);
	*ret_end = snapshot_seek(s, SNAPSHOT_FILES, SNAPSHOT_WITH_PREFIXED,
				 TYPED_COLLECTION_FILES);
}

/* Of "<namespace>/<name>", in @arena. */
static const char *file_name_of(const char *key, struct arena *arena)
{
	return arena_printf(arena, TYPED_COLLECTION_FILES "%s.proto", key);
}

/* "<namespace>/<name>" of a file, in @arena. */
static const char *key_of(const char *file_name, struct arena *arena)
{
	const char *key = file_name + strlen(TYPED_COLLECTION_FILES);
	const size_t len = strlen(key), suffix = strlen(".proto");

	return arena_strndup(arena, key, len > suffix ? len - suffix : 0);
}

/* Somebody registered a file of that name before they were reserved. */
static bool is_another(const struct pool_file *file)
{
	return strncmp(file->package, TYPED_COLLECTION_PREFIX,
		       strlen(TYPED_COLLECTION_PREFIX)) != 0;
}

static const struct pool_file *find_file(const struct pool *pool, const char *name)
{
	return pool_file(pool, name, strlen(name));
}

/* The file that declares the message @type; NULL: it is not registered. */
static const struct pool_file *find_type(const struct pool *pool, const char *type)
{
	const size_t len = strlen(type);

	return len && pool_message(pool, type, len) ? pool_file_of_symbol(pool, type, len)
						    : NULL;
}

static bool imports(const struct pool_file *file, const struct pool_file *what)
{
	for (uint32_t i = 0; i < file->dependency_count; i++)
		if (file->dependencies[i] == what)
			return true;
	return false;
}

/* -------------------------------------------------------------- changing one */

/* The changes of one namespace, gathered. */
struct changes {
	struct collection_services *c;
	const char *ns;
	struct arena arena;
	struct snapshot *now;
	const char *keys[FILES_AT_ONCE];
	struct bytes files[FILES_AT_ONCE];
	size_t count;
};

static uint64_t change_deadline_ns(void)
{
	return clock_monotonic_ns() + CHANGE_TIMEOUT_MS * 1000000ull;
}

/* What may be another time is tried again; the rest when something changes. */
static void failed(struct changes *g, const char *key, const struct error *err)
{
	struct collection_services *c = g->c;

	if (err->status == STATUS_INVALID_ARGUMENT || err->status == STATUS_ALREADY_EXISTS ||
	    err->status == STATUS_FAILED_PRECONDITION || err->status == STATUS_NOT_FOUND) {
		log_debug("the service of collection %s stays as it is: %s", key, err->message);
		return;
	}
	log_warn("the service of collection %s cannot be registered now: %s; trying again", key,
		 err->message);
	pthread_mutex_lock(&c->mu);
	(void)map_put(&c->dirty, key, c);
	pthread_mutex_unlock(&c->mu);
}

/* It is this thread's change, and nothing to be looked at again. */
static void note_seen(struct collection_services *c, const char *ns, int64_t version)
{
	struct seen *s = map_get(&c->seen, ns);

	if (!s) {
		s = xcalloc(1, sizeof(*s));
		(void)map_put(&c->seen, ns, s);
	}
	s->version = version;
}

/* If others changed it meanwhile, it is to be looked at all the same. */
static void note_own(struct changes *g, int64_t version)
{
	const struct seen *s = map_get(&g->c->seen, g->ns);

	if (s && s->version == version - 1)
		note_seen(g->c, g->ns, version);
}

static enum status put(struct changes *g, const struct bytes *files, size_t count,
		       struct error *err)
{
	const struct registrar_request request = {
		.ns = g->ns,
		.files = files,
		.count = count,
		.flags = REGISTRAR_GENERATED | REGISTRAR_FORCE,
		.deadline_ns = change_deadline_ns(),
	};
	struct registrar_result done;
	struct breakages ignored; /* nobody relies on them: they follow the collection */
	enum status status;

	breakages_init(&ignored, &g->arena);
	status =
		registrar_register(&g->c->registrar, &request, &g->arena, &ignored, &done, err);
	if (status == STATUS_OK) {
		note_own(g, done.snapshot->version);
		registrar_result_release(&done);
	}
	return status;
}

static void flush(struct changes *g)
{
	struct error err;

	if (g->count && put(g, g->files, g->count, &err) != STATUS_OK) {
		/* Which of them? */
		for (size_t i = 0; i < g->count; i++)
			if (put(g, &g->files[i], 1, &err) != STATUS_OK)
				failed(g, g->keys[i], &err);
	}
	g->count = 0;
}

static void add(struct changes *g, const char *key, const char *type,
		const struct pool_file *declares)
{
	const size_t ns = strlen(g->ns);
	AUTO_STRBUF made = STRBUF_INIT;

	typed_collection_file(g->c->forms, g->ns, key + ns + 1, type, declares->name, &made);
	g->keys[g->count] = arena_strdup(&g->arena, key);
	g->files[g->count++] = bytes_of(arena_memdup(&g->arena, made.buf, made.len), made.len);
	if (g->count == FILES_AT_ONCE)
		flush(g);
}

static void take_away(struct changes *g, const char *key, const char *file_name)
{
	const struct registrar_removal removal = {.ns = g->ns,
						  .file_name = file_name,
						  .flags =
							  REGISTRAR_GENERATED | REGISTRAR_FORCE,
						  .deadline_ns = change_deadline_ns()};
	struct breakages users;
	struct error err;
	int64_t version;

	breakages_init(&users, &g->arena);
	if (registrar_unregister(&g->c->registrar, &removal, &g->arena, &users, &version,
				 &err) == STATUS_OK)
		note_own(g, version);
	else
		failed(g, key, &err);
}

/* ------------------------------------------------------------- looking at one */

/* @again: the collection is perhaps another than its file was made of. */
static void look_at(struct changes *g, const char *key, bool again)
{
	const char *name = file_name_of(key, &g->arena);
	const struct pool_file *file = find_file(g->now->pool, name), *declares;
	const char *type;

	pthread_mutex_lock(&g->c->mu);
	type = map_get(&g->c->types, key);
	type = type ? arena_strdup(&g->arena, type) : "";
	pthread_mutex_unlock(&g->c->mu);
	declares = find_type(g->now->pool, type);
	if (file && is_another(file))
		return;
	if (!declares && file)
		take_away(g, key, name);
	else if (declares && (again || !file || !imports(file, declares)))
		add(g, key, type, declares);
}

/* Those of the namespace that there are, and those that there are files of; in the arena. */
static const char **keys_of(struct changes *g, size_t *ret_count)
{
	const size_t len = strlen(g->ns);
	const char **keys;
	size_t first, end, n = 0;

	collection_services_range(g->now, &first, &end);
	pthread_mutex_lock(&g->c->mu);
	keys = arena_alloc(&g->arena, (g->c->types.count + end - first + 1) * sizeof(*keys));
	map_for_each (&g->c->types, entry)
		if (!strncmp(entry->key, g->ns, len) && entry->key[len] == '/')
			keys[n++] = arena_strdup(&g->arena, entry->key);
	for (size_t i = first; i < end; i++) {
		const char *key = key_of(g->now->files[i]->name, &g->arena);
		if (!map_get(&g->c->types, key))
			keys[n++] = key;
	}
	pthread_mutex_unlock(&g->c->mu);
	*ret_count = n;
	return keys;
}

static struct changes *begin(struct collection_services *c, const char *ns)
{
	struct changes *g = xcalloc(1, sizeof(*g));

	g->c = c;
	g->ns = ns;
	g->now = catalog_snapshot(c->registrar.catalog, ns);
	arena_init(&g->arena, 0);
	return g;
}

static void finish(struct changes *g)
{
	flush(g);
	snapshot_unref(g->now);
	arena_release(&g->arena);
	free(g);
}

static void look_at_namespace(struct collection_services *c, const char *ns, bool again)
{
	struct changes *g = begin(c, ns);
	size_t count;
	const char **keys = keys_of(g, &count);

	note_seen(c, ns, g->now->version);
	for (size_t i = 0; i < count; i++)
		look_at(g, keys[i], again);
	finish(g);
}

/* ------------------------------------------------------------------- a round */

static void add_namespace(struct map *all, const char *key, void *mark)
{
	const size_t len = strcspn(key, "/");

	(void)map_put_n(all, key, len, mark);
}

static void look_at_all(struct collection_services *c)
{
	struct map all = {0};
	struct arena arena;
	size_t count;
	const char *const *registered;

	arena_init(&arena, 0);
	registered = catalog_namespaces(c->registrar.catalog, &arena, &count);
	for (size_t i = 0; i < count; i++)
		(void)map_put(&all, registered[i], c);
	pthread_mutex_lock(&c->mu);
	map_for_each (&c->types, entry)
		add_namespace(&all, entry->key, c);
	pthread_mutex_unlock(&c->mu);
	map_for_each (&all, entry)
		look_at_namespace(c, entry->key, true);
	map_release(&all, NULL);
	arena_release(&arena);
}

/* Types that came, went or moved to another file. */
static void look_at_changed(struct collection_services *c)
{
	struct arena arena;
	size_t count;
	const char *const *changed;

	arena_init(&arena, 0);
	changed = catalog_changed_since(c->registrar.catalog, c->generation, &arena, &count,
					&c->generation);
	for (size_t i = 0; i < count; i++) {
		struct snapshot *now = catalog_snapshot(c->registrar.catalog, changed[i]);
		const struct seen *s = map_get(&c->seen, changed[i]);
		const bool is_news = !s || s->version != now->version;
		snapshot_unref(now);
		if (is_news)
			look_at_namespace(c, changed[i], false);
	}
	arena_release(&arena);
}

/* Collections that came, went or have another type. */
static void look_at_dirty(struct collection_services *c, const struct map *dirty)
{
	struct map spaces = {0};

	map_for_each (dirty, entry)
		add_namespace(&spaces, entry->key, c);
	map_for_each (&spaces, space) {
		struct changes *g = begin(c, space->key);
		map_for_each (dirty, entry)
			if (!strncmp(entry->key, space->key, space->key_len) &&
			    entry->key[space->key_len] == '/')
				look_at(g, entry->key, true);
		finish(g);
	}
	map_release(&spaces, NULL);
}

static void tell(struct collection_services *c)
{
	uint64_t collections, pending;

	pthread_mutex_lock(&c->mu);
	collections = c->types.count;
	pending = c->dirty.count;
	pthread_mutex_unlock(&c->mu);
	c->observer->tell(c->observer->arg, collections, pending);
}

static void look(struct collection_services *c)
{
	struct map dirty;
	bool all;

	pthread_mutex_lock(&c->mu);
	dirty = c->dirty;
	all = c->is_all_dirty;
	c->dirty = (struct map){0};
	c->is_all_dirty = false;
	pthread_mutex_unlock(&c->mu);
	if (all)
		look_at_all(c);
	else
		look_at_dirty(c, &dirty);
	look_at_changed(c);
	map_release(&dirty, NULL);
	tell(c);
}

static struct timespec in_ms(int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += ms % 1000 * 1000000L;
	t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	return t;
}

/* False: it is to end. Before the repo has told what there is, nothing is known to be gone. */
static bool wait_for_work(struct collection_services *c)
{
	const struct timespec until = in_ms(RETRY_MS);
	bool goes_on;

	pthread_mutex_lock(&c->mu);
	while (!c->is_closing && (!c->is_woken || !c->is_known)) {
		if (!c->dirty.count || !c->is_known)
			pthread_cond_wait(&c->changed, &c->mu);
		else if (pthread_cond_timedwait(&c->changed, &c->mu, &until))
			break;
	}
	c->is_woken = false;
	goes_on = !c->is_closing;
	pthread_mutex_unlock(&c->mu);
	return goes_on;
}

static void *run(void *arg)
{
	struct collection_services *c = arg;

	while (wait_for_work(c))
		look(c);
	return NULL;
}

/* ------------------------------------------------------------- what the repo says */

static void wake_locked(struct collection_services *c)
{
	c->is_woken = true;
	pthread_cond_signal(&c->changed);
}

static void catalog_changed(void *arg)
{
	struct collection_services *c = arg;

	pthread_mutex_lock(&c->mu);
	wake_locked(c);
	pthread_mutex_unlock(&c->mu);
}

static void opened(void *arg)
{
	struct collection_services *c = arg;

	map_release(&c->coming, free);
	c->coming = (struct map){0};
	c->is_whole = false;
}

/* Into @types; false: it has no type, and no service. */
static void take_event(struct map *types, const struct repo_event *e)
{
	struct collection_record record = {.type = ""};
	struct error ignored; /* then it is none that could have a service */
	struct arena arena;

	arena_init(&arena, 0);
	if (!e->is_gone &&
	    collection_record_unpack(e->item, &arena, &record, &ignored) != STATUS_OK)
		record.type = "";
	if (*record.type && (types->count < MAX_COLLECTIONS || map_get(types, e->id)))
		free(map_put(types, e->id, xstrdup(record.type)));
	else
		free(map_remove(types, e->id));
	arena_release(&arena);
}

static void take_whole(struct collection_services *c)
{
	struct map old;

	pthread_mutex_lock(&c->mu);
	old = c->types;
	c->types = c->coming;
	c->coming = (struct map){0};
	c->is_known = c->is_all_dirty = c->is_whole = true;
	wake_locked(c);
	pthread_mutex_unlock(&c->mu);
	map_release(&old, free);
}

static void take_changes(struct collection_services *c, const struct repo_news *news)
{
	pthread_mutex_lock(&c->mu);
	for (size_t i = 0; i < news->count; i++) {
		take_event(&c->types, &news->events[i]);
		(void)map_put(&c->dirty, news->events[i].id, c);
	}
	if (news->count)
		wake_locked(c);
	pthread_mutex_unlock(&c->mu);
}

static void take_news(void *arg, const struct repo_news *news)
{
	struct collection_services *c = arg;

	if (c->is_whole) {
		take_changes(c, news);
		return;
	}
	for (size_t i = 0; i < news->count; i++)
		take_event(&c->coming, &news->events[i]);
	if (news->caught_up)
		take_whole(c);
}

/* ---------------------------------------------------------------------- life */

struct collection_services *collection_services_new(
	struct catalog *catalog, struct rpc_channel *repo,
	const struct collection_services_observer *observer)
{
	struct collection_services *c = xcalloc(1, sizeof(*c));
	pthread_condattr_t attributes;

	c->registrar = (struct registrar){.catalog = catalog};
	c->forms = typed_collections_new();
	c->observer = observer;
	c->repo = repo;
	pthread_mutex_init(&c->mu, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	catalog_on_change(catalog, catalog_changed, c);
	return c;
}

void collection_services_start(struct collection_services *c)
{
	const struct repo_following following = {
		.repo = c->repo,
		.ns = NAMES_SYSTEM_NAMESPACE,
		.collection = COLLECTIONS_COLLECTION,
		.snapshot = true,
		.opened = opened,
		.news = take_news,
		.arg = c,
	};

	if (pthread_create(&c->thread, NULL, run, c))
		abort();
	c->is_started = true;
	c->follower = repo_follower_start(&following);
}

void collection_services_free(struct collection_services *c)
{
	if (!c)
		return;
	repo_follower_stop(c->follower);
	pthread_mutex_lock(&c->mu);
	c->is_closing = true;
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->mu);
	if (c->is_started)
		pthread_join(c->thread, NULL);
	map_release(&c->coming, free);
	map_release(&c->types, free);
	map_release(&c->dirty, NULL);
	map_release(&c->seen, free);
	typed_collections_free(c->forms);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->mu);
	free(c);
}
