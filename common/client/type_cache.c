#include "common/client/type_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/client/registry_client.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"

struct space {
	pthread_mutex_t asking; /* one question at a time; taken before types.mu */
	struct pool *pool;      /* this and below: types.mu */
	int64_t version;        /* written under both locks, read under either */
	uint64_t asked_ns;      /* when the registry last answered; 0: never */
	unsigned users;         /* who are at it now */
};

struct type_cache {
	struct rpc_channel *registry;
	struct pool *builtins;
	pthread_mutex_t mu;
	struct map spaces; /* namespace -> struct space, owned */
};

struct type_cache *type_cache_new(struct rpc_channel *registry)
{
	struct type_cache *t = xcalloc(1, sizeof(*t));
	struct pool *empty = pool_new();
	struct error err;

	if (pool_extend_set(empty, builtin_descriptor_set(), &t->builtins, &err) != STATUS_OK)
		abort(); /* our own descriptors, checked by the tests */
	pool_unref(empty);
	t->registry = registry;
	pthread_mutex_init(&t->mu, NULL);
	return t;
}

static void free_space(void *p)
{
	struct space *s = p;

	pool_unref(s->pool);
	pthread_mutex_destroy(&s->asking);
	free(s);
}

void type_cache_free(struct type_cache *t)
{
	if (!t)
		return;
	map_release(&t->spaces, free_space);
	pool_unref(t->builtins);
	pthread_mutex_destroy(&t->mu);
	free(t);
}

/* Forget the namespace that was asked for the longest ago and that nobody is at. */
static void make_room(struct type_cache *t)
{
	const struct map_entry *oldest = NULL;

	map_for_each (&t->spaces, entry) {
		const struct space *s = entry->value;
		if (!s->users &&
		    (!oldest || s->asked_ns < ((struct space *)oldest->value)->asked_ns))
			oldest = entry;
	}
	if (oldest)
		free_space(map_remove(&t->spaces, oldest->key));
}

/* Pairs with space_leave(). NULL: too many namespaces are asked for at once. */
static struct space *space_enter(struct type_cache *t, const char *ns)
{
	struct space *s;

	pthread_mutex_lock(&t->mu);
	s = map_get(&t->spaces, ns);
	if (!s && t->spaces.count == TYPE_CACHE_MAX_NAMESPACES)
		make_room(t);
	if (!s && t->spaces.count < TYPE_CACHE_MAX_NAMESPACES) {
		s = xcalloc(1, sizeof(*s));
		pthread_mutex_init(&s->asking, NULL);
		s->pool = pool_ref(t->builtins);
		s->version = -1;
		map_put(&t->spaces, ns, s);
	}
	if (s)
		s->users++;
	pthread_mutex_unlock(&t->mu);
	return s;
}

static void space_leave(struct type_cache *t, struct space *s)
{
	pthread_mutex_lock(&t->mu);
	s->users--;
	pthread_mutex_unlock(&t->mu);
}

static struct pool *known(struct type_cache *t, struct space *s, int max_age_ms,
			  bool *ret_fresh)
{
	struct pool *pool;

	pthread_mutex_lock(&t->mu);
	*ret_fresh = s->asked_ns &&
		     clock_monotonic_ns() - s->asked_ns < (uint64_t)max_age_ms * 1000000;
	pool = pool_ref(s->pool);
	pthread_mutex_unlock(&t->mu);
	return pool;
}

/* Replace what is known; the whole namespace comes at once. */
static enum status take(struct type_cache *t, struct space *s,
			const struct registry_descriptors *found, bool changed,
			struct error *err)
{
	struct pool *pool = NULL, *old = NULL;
	enum status status = STATUS_OK;

	if (changed)
		status = pool_extend_set(t->builtins, found->file_descriptor_set, &pool, err);
	if (status != STATUS_OK)
		return status;
	pthread_mutex_lock(&t->mu);
	if (changed) {
		old = s->pool;
		s->pool = pool;
		s->version = found->version;
	}
	s->asked_ns = clock_monotonic_ns();
	pthread_mutex_unlock(&t->mu);
	pool_unref(old);
	return STATUS_OK;
}

static enum status ask(struct type_cache *t, struct space *s, const char *ns,
		       const struct rpc_options *options, struct error *err)
{
	struct registry_descriptors found;
	struct arena arena;
	bool changed;
	enum status status;

	arena_init(&arena, 0);
	status = registry_client_descriptors_of_namespace(t->registry, ns, s->version, options,
							  &arena, &changed, &found, err);
	if (status == STATUS_OK)
		status = take(t, s, &found, changed, err);
	arena_release(&arena);
	return status;
}

/* Not older than @max_age_ms; who waits for another's question uses its answer. */
static enum status snapshot_of(struct type_cache *t, struct space *s, const char *ns,
			       int max_age_ms, const struct rpc_options *options,
			       struct pool **ret_pool, struct error *err)
{
	enum status status = STATUS_OK;
	struct pool *pool;
	bool fresh;

	pool = known(t, s, max_age_ms, &fresh);
	if (!fresh) {
		pool_unref(pool);
		pthread_mutex_lock(&s->asking);
		pool = known(t, s, max_age_ms, &fresh);
		if (!fresh) {
			pool_unref(pool);
			status = ask(t, s, ns, options, err);
			pool = known(t, s, max_age_ms, &fresh);
		}
		pthread_mutex_unlock(&s->asking);
	}
	if (status != STATUS_OK && s->version < 0) {
		pool_unref(pool);
		return status;
	}
	/* Perhaps an older one: better than none while the registry is away. */
	*ret_pool = pool;
	return STATUS_OK;
}

static enum status snapshot(struct type_cache *t, const char *ns, int max_age_ms,
			    const struct rpc_options *options, struct pool **ret_pool,
			    struct error *err)
{
	struct space *s = space_enter(t, ns);
	enum status status;

	if (!s)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "more than %d namespaces are asked for at once",
				 TYPE_CACHE_MAX_NAMESPACES);
	status = snapshot_of(t, s, ns, max_age_ms, options, ret_pool, err);
	space_leave(t, s);
	return status;
}

enum status type_cache_snapshot(struct type_cache *t, const char *ns,
				const struct rpc_options *options, struct pool **ret_pool,
				struct error *err)
{
	return snapshot(t, ns, TYPE_CACHE_FRESH_MS, options, ret_pool, err);
}

enum status type_cache_current(struct type_cache *t, const char *ns,
			       const struct rpc_options *options, struct pool **ret_pool,
			       struct error *err)
{
	return snapshot(t, ns, TYPE_CACHE_MISS_MS, options, ret_pool, err);
}

static const struct pool_method *find(const struct pool *pool, const char *service,
				      const char *method)
{
	const struct pool_service *s = pool_service(pool, service, strlen(service));

	return s ? pool_method(s, method, strlen(method)) : NULL;
}

enum status type_cache_method(struct type_cache *t, const char *ns, const char *service,
			      const char *method, const struct rpc_options *options,
			      struct pool **ret_pool, const struct pool_method **ret_method,
			      struct error *err)
{
	static const int ages_ms[] = {TYPE_CACHE_FRESH_MS, TYPE_CACHE_MISS_MS};

	for (int i = 0; i < 2; i++) {
		struct pool *pool;
		enum status status = snapshot(t, ns, ages_ms[i], options, &pool, err);
		if (status != STATUS_OK)
			return status;
		*ret_method = find(pool, service, method);
		if (*ret_method) {
			*ret_pool = pool;
			return STATUS_OK;
		}
		pool_unref(pool);
	}
	return error_set(err, STATUS_NOT_FOUND,
			 "method %s/%s is not registered in namespace %s", service, method, ns);
}

enum status type_cache_service(struct type_cache *t, const char *ns, const char *service,
			       const struct rpc_options *options, struct error *err)
{
	static const int ages_ms[] = {TYPE_CACHE_FRESH_MS, TYPE_CACHE_MISS_MS};

	for (int i = 0; i < 2; i++) {
		struct pool *pool;
		enum status status = snapshot(t, ns, ages_ms[i], options, &pool, err);
		if (status != STATUS_OK)
			return status;
		bool found = pool_service(pool, service, strlen(service)) != NULL;
		pool_unref(pool);
		if (found)
			return STATUS_OK;
	}
	return error_set(err, STATUS_NOT_FOUND, "service %s is not registered in namespace %s",
			 service, ns);
}
