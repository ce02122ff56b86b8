/*
 * Keeps the pools of a type cache current: one thread, one Watch of all namespaces
 * whose types are known here. Changed files come as they are and go into the pool
 * that is there, so that a change costs what depends on it, however large the
 * namespace is.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/client/registry_watch.h"
#include "common/client/type_cache_inside.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

enum {
	WATCH_TIMEOUT_MS = 3600000, /* then it is opened anew */
	RETRY_FIRST_MS = 20,
	RETRY_MAX_MS = 1000,
	PARTS_MAX_BYTES = 256 << 20, /* of one change */
	FILE_NAME = 1,               /* FileDescriptorProto.name */
};

/* A change that comes in parts. */
struct change {
	char *ns;
	struct strbuf set; /* FileDescriptorSet of what is new or changed */
	struct map removed;
};

static void forget(struct change *c)
{
	free(c->ns);
	strbuf_release(&c->set);
	map_release(&c->removed, NULL);
	*c = (struct change){.set = STRBUF_INIT};
}

/* ------------------------------------------------------------------- changes */

/* The files of @pool that are not removed, followed by the changed ones. */
static struct bytes *with_changes(const struct pool *pool, const struct change *change,
				  const struct bytes *changed, size_t changed_count,
				  size_t *ret_count)
{
	size_t count, n = 0;
	const struct pool_file *const *files = pool_files(pool, &count);
	struct bytes *all = xreallocarray(NULL, count + changed_count + 1, sizeof(*all));
	struct map replaced = {0};

	for (size_t i = 0; i < changed_count; i++) {
		struct bytes name;
		if (wire_find_bytes(changed[i], FILE_NAME, &name))
			map_put_n(&replaced, (const char *)name.data, name.size, all);
	}
	for (size_t i = 0; i < count; i++)
		if (!map_get(&change->removed, files[i]->name) &&
		    !map_get(&replaced, files[i]->name))
			all[n++] = files[i]->bytes;
	for (size_t i = 0; i < changed_count; i++)
		all[n++] = changed[i];
	map_release(&replaced, NULL);
	*ret_count = n;
	return all;
}

/* @old, which is the caller's, with the change in it. */
static enum status apply(struct type_cache *t, struct pool *old, const struct change *change,
			 bool complete, struct pool **ret_pool)
{
	struct bytes set = bytes_of(change->set.buf, change->set.len), *changed, *all;
	struct arena arena;
	struct error ignored; /* the caller asks for the whole instead */
	size_t count, n;
	enum status status;

	if (complete)
		return pool_extend_set(t->builtins, set, ret_pool, &ignored);
	arena_init(&arena, 0);
	status = pool_split_set(set, &arena, &changed, &count, &ignored);
	if (status == STATUS_OK && !change->removed.count) {
		status = pool_replace(old, changed, count, ret_pool, &ignored);
	} else if (status == STATUS_OK) {
		all = with_changes(old, change, changed, count, &n);
		status = pool_extend(t->builtins, all, n, ret_pool, &ignored);
		free(all);
	}
	arena_release(&arena);
	return status;
}

/* The pool to change, as a new reference. NULL: the change is known already, or nobody asks. */
static struct pool *pool_to_change(struct type_cache *t, const struct registry_event *e)
{
	struct type_space *s;
	struct pool *pool = NULL;

	pthread_mutex_lock(&t->mu);
	s = map_get(&t->spaces, e->ns);
	if (s && s->version >= 0 && (e->complete || e->version > s->version))
		pool = pool_ref(s->pool);
	pthread_mutex_unlock(&t->mu);
	return pool;
}

/* @before is what @after was made of; who asked meanwhile may know more. */
static void put(struct type_cache *t, const struct registry_event *e, const struct pool *before,
		struct pool *after)
{
	struct type_space *s;

	pthread_mutex_lock(&t->mu);
	s = map_get(&t->spaces, e->ns);
	if (s && s->pool == before) {
		s->pool = after;
		s->version = e->version;
		s->heard_ns = clock_monotonic_ns();
		after = (struct pool *)before;
		pthread_cond_broadcast(&t->changed);
	} else if (s && s->version < e->version) {
		type_follower_renew(t); /* from what is known now on */
	}
	pthread_mutex_unlock(&t->mu);
	pool_unref(after);
}

/* What came cannot be put to what is there: have the whole asked for. */
static void distrust(struct type_cache *t, const char *ns)
{
	struct type_space *s;

	pthread_mutex_lock(&t->mu);
	s = map_get(&t->spaces, ns);
	if (s) {
		s->version = -1;
		s->asked_ns = s->heard_ns = 0;
		s->is_followed = false;
	}
	pthread_mutex_unlock(&t->mu);
}

static void take_change(struct type_cache *t, const struct registry_event *e,
			const struct change *change)
{
	struct pool *before = pool_to_change(t, e), *after;

	if (!before)
		return;
	if (apply(t, before, change, e->complete, &after) == STATUS_OK)
		put(t, e, before, after);
	else
		distrust(t, e->ns);
	pool_unref(before);
}

static void take_part(struct type_cache *t, const struct registry_event *e, struct change *c)
{
	if (!c->ns || strcmp(c->ns, e->ns) != 0) {
		forget(c);
		c->ns = xstrdup(e->ns);
	}
	if (c->set.len + e->file_descriptor_set.size > PARTS_MAX_BYTES) {
		distrust(t, e->ns);
		return;
	}
	/* Sets that follow each other are one. */
	if (e->file_descriptor_set.size)
		strbuf_add(&c->set, e->file_descriptor_set.data, e->file_descriptor_set.size);
	for (size_t i = 0; i < e->removed_count; i++)
		map_put(&c->removed, e->removed[i], c);
	if (e->more)
		return;
	take_change(t, e, c);
	forget(c);
}

/* ------------------------------------------------------------------ following */

static void set_followed(struct type_cache *t, const struct registry_known *known, size_t count,
			 bool is_followed)
{
	pthread_mutex_lock(&t->mu);
	for (size_t i = 0; i < count; i++) {
		struct type_space *s = map_get(&t->spaces, known[i].ns);
		if (!s || s->version < 0)
			continue;
		s->is_followed = is_followed;
		s->heard_ns = clock_monotonic_ns(); /* it was current until now */
	}
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->mu);
}

/* True: it was told of all that there was. */
static bool take_events(struct type_cache *t, struct registry_watch *watch,
			const struct registry_known *known, size_t count)
{
	struct change change = {.set = STRBUF_INIT};
	struct registry_event e;
	bool is_current = false;
	struct error ignored; /* it is opened again whatever it was */

	while (registry_watch_next(watch, &e, &ignored) == STATUS_OK) {
		if (*e.ns)
			take_part(t, &e, &change);
		else
			set_followed(t, known, count, true);
		is_current |= !*e.ns;
	}
	if (is_current)
		set_followed(t, known, count, false);
	forget(&change);
	return is_current;
}

/* What is to be followed; in @arena. */
static struct registry_known *known_spaces(struct type_cache *t, struct arena *arena,
					   size_t *ret_count)
{
	struct registry_known *known;
	size_t n = 0;

	pthread_mutex_lock(&t->mu);
	known = arena_alloc(arena, (t->spaces.count + 1) * sizeof(*known));
	map_for_each (&t->spaces, entry) {
		const struct type_space *s = entry->value;
		if (s->version > 0)
			known[n++] = (struct registry_known){arena_strdup(arena, entry->key),
							     s->version};
	}
	t->follower.is_stale = false;
	pthread_mutex_unlock(&t->mu);
	*ret_count = n;
	return known;
}

/* Have others know @watch, to cancel it. False: it is not wanted any more. */
static bool publish(struct type_cache *t, struct registry_watch *watch)
{
	bool is_wanted;

	pthread_mutex_lock(&t->mu);
	is_wanted = !t->follower.is_closing && !t->follower.is_stale;
	t->follower.watch = is_wanted ? watch : NULL;
	pthread_mutex_unlock(&t->mu);
	return is_wanted;
}

/* One watch, from its opening to its end. True: it was told of all that there was. */
static bool follow(struct type_cache *t)
{
	const struct rpc_options options = {.timeout_ms = WATCH_TIMEOUT_MS};
	struct registry_watch *watch;
	struct registry_known *known;
	struct arena arena;
	struct error ignored;
	bool is_current = false;
	size_t count;

	arena_init(&arena, 0);
	known = known_spaces(t, &arena, &count);
	/* Connecting is not waited for, and so not in the way of the daemon's end. */
	if (count && rpc_channel_is_ready(t->registry) &&
	    registry_watch_open(t->registry, known, count, &options, &watch, &ignored) ==
		    STATUS_OK) {
		if (publish(t, watch))
			is_current = take_events(t, watch, known, count);
		pthread_mutex_lock(&t->mu);
		t->follower.watch = NULL;
		pthread_mutex_unlock(&t->mu);
		registry_watch_free(watch);
	}
	arena_release(&arena);
	return is_current;
}

/* With t->mu. */
static bool has_somebody_to_follow(const struct type_cache *t)
{
	map_for_each (&t->spaces, entry)
		if (((struct type_space *)entry->value)->version > 0)
			return true;
	return false;
}

/* Wait until there is something to follow, and a moment. False: it is to end. */
static bool wait_to_follow(struct type_cache *t, int delay_ms)
{
	const uint64_t until_ns = clock_monotonic_ns() + (uint64_t)delay_ms * 1000000;
	bool goes_on;

	pthread_mutex_lock(&t->mu);
	while (!t->follower.is_closing && type_cache_wait(t, until_ns))
		;
	while (!t->follower.is_closing && !has_somebody_to_follow(t))
		pthread_cond_wait(&t->changed, &t->mu);
	goes_on = !t->follower.is_closing;
	pthread_mutex_unlock(&t->mu);
	return goes_on;
}

static void *run(void *arg)
{
	struct type_cache *t = arg;
	int delay_ms = RETRY_FIRST_MS;

	while (wait_to_follow(t, delay_ms)) {
		if (follow(t))
			delay_ms = RETRY_FIRST_MS;
		else
			delay_ms = delay_ms * 2 < RETRY_MAX_MS ? delay_ms * 2 : RETRY_MAX_MS;
	}
	return NULL;
}

void type_follower_renew(struct type_cache *t)
{
	t->follower.is_stale = true;
	if (t->follower.watch)
		registry_watch_cancel(t->follower.watch);
	pthread_cond_broadcast(&t->changed);
}

void type_follower_start(struct type_cache *t)
{
	if (pthread_create(&t->follower.thread, NULL, run, t))
		abort();
}

void type_follower_stop(struct type_cache *t)
{
	pthread_mutex_lock(&t->mu);
	t->follower.is_closing = true;
	type_follower_renew(t);
	pthread_mutex_unlock(&t->mu);
	pthread_join(t->follower.thread, NULL);
}
