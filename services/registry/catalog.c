#include "services/registry/catalog.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"
#include "services/registry/import_order.h"

/* Namespaces share these: two that do wait for each other now and then. */
enum { LOCKS = 64 };

struct space {
	struct tree *tree;         /* of who has the namespace's lock */
	struct snapshot *snapshot; /* catalog.mu, as the generation */
	uint64_t generation;       /* of its last change */
};

struct listener {
	void (*notify)(void *arg);
	void *arg;
};

struct catalog {
	char *dir;
	const struct tree_damage *damage;
	struct pool *builtins;
	struct snapshot *empty;         /* what a namespace is before anything happens */
	pthread_mutex_t changes[LOCKS]; /* by the hash of the namespace; taken before mu */
	struct listener listeners[CATALOG_MAX_LISTENERS];
	size_t listener_count;
	pthread_mutex_t mu;  /* what follows */
	struct map spaces;   /* namespace -> struct space, owned; never shrinks */
	uint64_t generation; /* of the last change of any */
};

static void free_space(void *p)
{
	struct space *s = p;

	tree_free(s->tree);
	snapshot_unref(s->snapshot);
	free(s);
}

/* ----------------------------------------------------------------- loading */

struct loading {
	struct bytes *files;
	size_t count, room;
	struct arena arena;
};

static void take_file(void *arg, const char *name, struct bytes bytes)
{
	struct loading *l = arg;

	(void)name; /* in the bytes too */
	if (l->count == l->room) {
		l->room = l->room ? l->room * 2 : 64;
		l->files = xreallocarray(l->files, l->room, sizeof(*l->files));
	}
	l->files[l->count++] =
		bytes_of(arena_memdup(&l->arena, bytes.data, bytes.size), bytes.size);
}

/*
 * Something does not link: a file that it imports was lost, or this program is
 * stricter than the one that took it. Keep what does.
 */
static struct pool *link_what_links(struct catalog *c, struct loading *l)
{
	struct pool *pool = pool_ref(c->builtins);

	import_order(l->files, l->count);
	for (size_t i = 0; i < l->count; i++) {
		struct pool *more;
		struct error err;
		if (pool_extend(pool, &l->files[i], 1, &more, &err) != STATUS_OK) {
			c->damage->tell(c->damage->arg, err.field, err.message);
			continue;
		}
		pool_unref(pool);
		pool = more;
	}
	return pool;
}

static struct pool *link_files(struct catalog *c, struct loading *l)
{
	struct pool *pool;
	struct error err;

	if (pool_extend(c->builtins, l->files, l->count, &pool, &err) == STATUS_OK)
		return pool;
	return link_what_links(c, l);
}

static enum status load_namespace(struct catalog *c, const char *ns, struct error *err)
{
	struct space *s = xcalloc(1, sizeof(*s));
	struct loading l = {.count = 0};
	struct snapshot_edit edit;
	enum status status;

	arena_init(&l.arena, 0);
	snapshot_edit_init(&edit, NULL);
	s->tree = tree_new(c->dir, ns, c->damage);
	status = tree_load(s->tree, &edit, take_file, &l, err);
	if (status == STATUS_OK) {
		struct pool *pool = link_files(c, &l);
		s->snapshot = snapshot_edit_finish(&edit, pool);
		s->generation = ++c->generation;
		pool_unref(pool);
		map_put(&c->spaces, ns, s);
	} else {
		snapshot_edit_release(&edit);
		free_space(s);
	}
	free(l.files);
	arena_release(&l.arena);
	return status;
}

struct opening {
	struct catalog *catalog;
	enum status status;
	struct error *err;
};

static void open_namespace(void *arg, const char *ns)
{
	struct opening *o = arg;

	if (o->status == STATUS_OK && !map_get(&o->catalog->spaces, ns))
		o->status = load_namespace(o->catalog, ns, o->err);
}

static struct pool *link_builtins(void)
{
	struct pool *empty = pool_new(), *pool;
	struct error err;

	if (pool_extend_set(empty, builtin_descriptor_set(), &pool, &err) != STATUS_OK)
		abort(); /* our own descriptors, checked by the tests */
	pool_unref(empty);
	return pool;
}

enum status catalog_open(const char *dir, const struct tree_damage *damage,
			 struct catalog **ret_catalog, struct error *err)
{
	struct catalog *c = xcalloc(1, sizeof(*c));
	struct opening opening = {c, STATUS_OK, err};
	struct snapshot_edit nothing;
	enum status status;

	c->dir = xstrdup(dir);
	c->damage = damage;
	c->builtins = link_builtins();
	snapshot_edit_init(&nothing, NULL);
	c->empty = snapshot_edit_finish(&nothing, c->builtins);
	for (int i = 0; i < LOCKS; i++)
		pthread_mutex_init(&c->changes[i], NULL);
	pthread_mutex_init(&c->mu, NULL);
	status = tree_namespaces(dir, open_namespace, &opening, err);
	if (status == STATUS_OK)
		status = opening.status;
	if (status == STATUS_OK)
		*ret_catalog = c;
	else
		catalog_close(c);
	return status;
}

void catalog_close(struct catalog *c)
{
	if (!c)
		return;
	map_release(&c->spaces, free_space);
	snapshot_unref(c->empty);
	pool_unref(c->builtins);
	for (int i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&c->changes[i]);
	pthread_mutex_destroy(&c->mu);
	free(c->dir);
	free(c);
}

/* ----------------------------------------------------------------- reading */

struct pool *catalog_builtins(struct catalog *c)
{
	return c->builtins;
}

struct snapshot *catalog_snapshot(struct catalog *c, const char *ns)
{
	struct snapshot *snapshot;
	struct space *s;

	pthread_mutex_lock(&c->mu);
	s = map_get(&c->spaces, ns);
	snapshot = snapshot_ref(s ? s->snapshot : c->empty);
	pthread_mutex_unlock(&c->mu);
	return snapshot;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *const *catalog_namespaces(struct catalog *c, struct arena *arena, size_t *ret_count)
{
	const char **names;
	size_t count = 0;

	pthread_mutex_lock(&c->mu);
	names = arena_alloc(arena, (c->spaces.count + 1) * sizeof(*names));
	map_for_each (&c->spaces, e) {
		if (((struct space *)e->value)->snapshot->file_count)
			names[count++] = arena_strdup(arena, e->key);
	}
	pthread_mutex_unlock(&c->mu);
	qsort(names, count, sizeof(*names), by_name);
	*ret_count = count;
	return names;
}

const char *const *catalog_changed_since(struct catalog *c, uint64_t generation,
					 struct arena *arena, size_t *ret_count,
					 uint64_t *ret_generation)
{
	const char **names;
	size_t count = 0;

	pthread_mutex_lock(&c->mu);
	names = arena_alloc(arena, (c->spaces.count + 1) * sizeof(*names));
	map_for_each (&c->spaces, e) {
		if (((struct space *)e->value)->generation > generation)
			names[count++] = arena_strdup(arena, e->key);
	}
	*ret_generation = c->generation;
	pthread_mutex_unlock(&c->mu);
	qsort(names, count, sizeof(*names), by_name);
	*ret_count = count;
	return names;
}

void catalog_on_change(struct catalog *c, void (*notify)(void *arg), void *arg)
{
	assert(c->listener_count < CATALOG_MAX_LISTENERS);
	c->listeners[c->listener_count++] = (struct listener){notify, arg};
}

/* Stays where it is once it is there. NULL: nothing ever happened in @ns. */
static struct space *space_of(struct catalog *c, const char *ns)
{
	struct space *s;

	pthread_mutex_lock(&c->mu);
	s = map_get(&c->spaces, ns);
	pthread_mutex_unlock(&c->mu);
	return s;
}

enum status catalog_read(struct catalog *c, const char *ns, const char *name,
			 const struct snapshot_version *v, struct strbuf *out,
			 struct error *err)
{
	const struct space *s = space_of(c, ns);

	return s ? tree_read(s->tree, name, v, out, err)
		 : error_set(err, STATUS_NOT_FOUND, "nothing is registered in %s", ns);
}

/* ----------------------------------------------------------------- changing */

static pthread_mutex_t *lock_of(struct catalog *c, const char *ns)
{
	return &c->changes[hash_bytes(ns, strlen(ns)) % LOCKS];
}

enum status catalog_lock(struct catalog *c, const char *ns, uint64_t deadline_ns,
			 struct error *err)
{
	const uint64_t now = clock_monotonic_ns();
	const uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
	struct timespec until;

	/* Mutexes know the calendar's clock alone. */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(left / 1000000000);
	until.tv_nsec += (long)(left % 1000000000);
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	if (!pthread_mutex_timedlock(lock_of(c, ns), &until))
		return STATUS_OK;
	return error_set(err, STATUS_DEADLINE_EXCEEDED,
			 "the changes before this one took too long");
}

void catalog_unlock(struct catalog *c, const char *ns)
{
	pthread_mutex_unlock(lock_of(c, ns));
}

int64_t catalog_first_version(struct catalog *c, const char *ns, const char *name)
{
	return tree_last_version(c->dir, ns, name) + 1;
}

/* A namespace that nothing happened in yet; NULL: there are too many. */
static struct space *add_space(struct catalog *c, const char *ns)
{
	struct space *s = NULL;

	pthread_mutex_lock(&c->mu);
	if (c->spaces.count < CATALOG_MAX_NAMESPACES) {
		s = xcalloc(1, sizeof(*s));
		s->tree = tree_new(c->dir, ns, c->damage);
		s->snapshot = snapshot_ref(c->empty);
		map_put(&c->spaces, ns, s);
	}
	pthread_mutex_unlock(&c->mu);
	return s;
}

static enum status check_limits(const char *ns, const struct snapshot *after, struct error *err)
{
	if (after->file_count > CATALOG_MAX_FILES)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "namespace %s would have more than %d files", ns,
				 CATALOG_MAX_FILES);
	if (after->version_total > SNAPSHOT_MAX_VERSIONS)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "the files of namespace %s have %d versions already", ns,
				 SNAPSHOT_MAX_VERSIONS);
	return STATUS_OK;
}

enum status catalog_commit(struct catalog *c, const char *ns, struct snapshot *after,
			   const struct tree_write *writes, size_t count, struct error *err)
{
	struct space *s = space_of(c, ns);
	struct snapshot *before;
	enum status status = check_limits(ns, after, err);

	if (status != STATUS_OK)
		return status;
	if (!s)
		s = add_space(c, ns);
	if (!s)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "there are %d namespaces already", CATALOG_MAX_NAMESPACES);
	before = s->snapshot; /* replaced under the namespace's lock alone, which we have */
	status = tree_commit(s->tree, before, after, writes, count, err);
	if (status != STATUS_OK)
		return status;
	pthread_mutex_lock(&c->mu);
	s->snapshot = snapshot_ref(after);
	s->generation = ++c->generation;
	pthread_mutex_unlock(&c->mu);
	snapshot_unref(before);
	for (size_t i = 0; i < c->listener_count; i++)
		c->listeners[i].notify(c->listeners[i].arg);
	return STATUS_OK;
}
