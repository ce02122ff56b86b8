#include "common/client/type_cache.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/client/registry_client.h"
#include "common/client/type_cache_inside.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"

enum { CATCH_UP_MS = 1000 }; /* what a follower may take to bring what the registry has */

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
	pthread_cond_init(&t->changed, NULL);
	type_follower_start(t);
	return t;
}

static void free_space(void *p)
{
	struct type_space *s = p;

	pool_unref(s->pool);
	pthread_mutex_destroy(&s->asking);
	free(s);
}

void type_cache_free(struct type_cache *t)
{
	if (!t)
		return;
	type_follower_stop(t);
	map_release(&t->spaces, free_space);
	pool_unref(t->builtins);
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->mu);
	free(t);
}

bool type_cache_wait(struct type_cache *t, uint64_t deadline_ns)
{
	const uint64_t now = clock_monotonic_ns();
	struct timespec until;

	if (now >= deadline_ns)
		return false;
	/* Conditions know the calendar's clock alone. */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)((deadline_ns - now) / 1000000000);
	until.tv_nsec += (long)((deadline_ns - now) % 1000000000);
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&t->changed, &t->mu, &until);
	return true;
}

/* Forget the namespace that was used the longest ago and that nobody is at. */
static void make_room(struct type_cache *t)
{
	const struct map_entry *oldest = NULL;

	map_for_each (&t->spaces, entry) {
		const struct type_space *s = entry->value;
		if (!s->users &&
		    (!oldest || s->used_ns < ((struct type_space *)oldest->value)->used_ns))
			oldest = entry;
	}
	if (oldest)
		free_space(map_remove(&t->spaces, oldest->key));
}

/* Pairs with space_leave(). NULL: too many namespaces are asked for at once. */
static struct type_space *space_enter(struct type_cache *t, const char *ns)
{
	struct type_space *s;

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
	if (s) {
		s->users++;
		s->used_ns = clock_monotonic_ns();
	}
	pthread_mutex_unlock(&t->mu);
	return s;
}

static void space_leave(struct type_cache *t, struct type_space *s)
{
	pthread_mutex_lock(&t->mu);
	s->users--;
	pthread_mutex_unlock(&t->mu);
}

/* How new a pool is to be. */
enum need {
	NEED_KNOWN,   /* TYPE_CACHE_FRESH_MS, or longer while it is followed */
	NEED_CURRENT, /* not older than the call, if the registry can be asked */
	NEED_CERTAIN, /* not older than the call */
};

/* With t->mu. @since_ns: when the call came that needs it current; 0: it need not be. */
static bool is_fresh(const struct type_space *s, uint64_t since_ns)
{
	const uint64_t known_ns = s->heard_ns > s->asked_ns ? s->heard_ns : s->asked_ns;
	const int max_age_ms = s->is_followed ? TYPE_CACHE_FOLLOWED_MS : TYPE_CACHE_FRESH_MS;

	if (since_ns)
		return s->asked_ns >= since_ns;
	return known_ns && clock_monotonic_ns() - known_ns < (uint64_t)max_age_ms * 1000000;
}

static struct pool *known(struct type_cache *t, struct type_space *s, uint64_t since_ns,
			  bool *ret_fresh)
{
	struct pool *pool;

	pthread_mutex_lock(&t->mu);
	*ret_fresh = is_fresh(s, since_ns);
	pool = pool_ref(s->pool);
	pthread_mutex_unlock(&t->mu);
	return pool;
}

/* ------------------------------------------------------------------- asking */

/* What the registry answered to who had @before; the follower may have been faster. */
static void put(struct type_cache *t, struct type_space *s, int64_t before, int64_t version,
		struct pool *pool)
{
	pthread_mutex_lock(&t->mu);
	if (s->version == before || s->version < version) {
		struct pool *old = s->pool;
		s->pool = pool;
		s->version = version;
		pool = old;
		if (before <= 0 && version > 0)
			type_follower_renew(t);
		pthread_cond_broadcast(&t->changed);
	}
	pthread_mutex_unlock(&t->mu);
	pool_unref(pool);
}

/* The whole namespace comes at once, unless it is what is known. */
static enum status ask_for_all(struct type_cache *t, struct type_space *s, const char *ns,
			       const struct rpc_options *options, struct error *err)
{
	struct registry_descriptors found;
	struct pool *pool = NULL;
	struct arena arena;
	int64_t before;
	bool changed;
	enum status status;

	pthread_mutex_lock(&t->mu);
	before = s->version;
	pthread_mutex_unlock(&t->mu);
	arena_init(&arena, 0);
	status = registry_client_descriptors_of_namespace(t->registry, ns, before, options,
							  &arena, &changed, &found, err);
	if (status == STATUS_OK && changed)
		status = pool_extend_set(t->builtins, found.file_descriptor_set, &pool, err);
	if (pool)
		put(t, s, before, found.version, pool);
	arena_release(&arena);
	return status;
}

/* Wait for the follower to bring @version. False: it does not. */
static bool wait_for_version(struct type_cache *t, struct type_space *s, int64_t version)
{
	const uint64_t until_ns = clock_monotonic_ns() + CATCH_UP_MS * 1000000ull;
	bool has_come;

	pthread_mutex_lock(&t->mu);
	while (s->is_followed && s->version < version && type_cache_wait(t, until_ns))
		;
	has_come = s->version >= version;
	if (!has_come && s->is_followed)
		type_follower_renew(t); /* it is told of nothing any more */
	pthread_mutex_unlock(&t->mu);
	return has_come;
}

static bool is_followed(struct type_cache *t, struct type_space *s)
{
	bool followed;

	pthread_mutex_lock(&t->mu);
	followed = s->is_followed;
	pthread_mutex_unlock(&t->mu);
	return followed;
}

/* Of what is followed only the version is asked for: what changed is on its way. */
static enum status ask(struct type_cache *t, struct type_space *s, const char *ns,
		       const struct rpc_options *options, struct error *err)
{
	const uint64_t began_ns = clock_monotonic_ns();
	bool has_come = false;
	enum status status = STATUS_OK;
	int64_t version;

	if (is_followed(t, s)) {
		status = registry_client_version(t->registry, ns, options, &version, err);
		has_come = status == STATUS_OK && wait_for_version(t, s, version);
	}
	if (status == STATUS_OK && !has_come)
		status = ask_for_all(t, s, ns, options, err);
	if (status != STATUS_OK)
		return status;
	pthread_mutex_lock(&t->mu);
	s->asked_ns = began_ns;
	pthread_mutex_unlock(&t->mu);
	return STATUS_OK;
}

static bool is_known(struct type_cache *t, struct type_space *s)
{
	bool known;

	pthread_mutex_lock(&t->mu);
	known = s->version >= 0;
	pthread_mutex_unlock(&t->mu);
	return known;
}

/* Who waits for another's question uses the answer to the next, with all who wait. */
static enum status snapshot_of(struct type_cache *t, struct type_space *s, const char *ns,
			       enum need need, const struct rpc_options *options,
			       struct pool **ret_pool, struct error *err)
{
	const uint64_t since_ns = need == NEED_KNOWN ? 0 : clock_monotonic_ns();
	enum status status = STATUS_OK;
	struct pool *pool;
	bool fresh;

	pool = known(t, s, since_ns, &fresh);
	if (!fresh) {
		pool_unref(pool);
		pthread_mutex_lock(&s->asking);
		pool = known(t, s, since_ns, &fresh);
		if (!fresh) {
			pool_unref(pool);
			status = ask(t, s, ns, options, err);
			pool = known(t, s, since_ns, &fresh);
		}
		pthread_mutex_unlock(&s->asking);
	}
	if (status != STATUS_OK && (need == NEED_CERTAIN || !is_known(t, s))) {
		pool_unref(pool);
		return status;
	}
	/* Perhaps an older one: better than none while the registry is away. */
	*ret_pool = pool;
	return STATUS_OK;
}

static enum status snapshot(struct type_cache *t, const char *ns, enum need need,
			    const struct rpc_options *options, struct pool **ret_pool,
			    struct error *err)
{
	struct type_space *s = space_enter(t, ns);
	enum status status;

	if (!s)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "more than %d namespaces are asked for at once",
				 TYPE_CACHE_MAX_NAMESPACES);
	status = snapshot_of(t, s, ns, need, options, ret_pool, err);
	space_leave(t, s);
	return status;
}

enum status type_cache_snapshot(struct type_cache *t, const char *ns,
				const struct rpc_options *options, struct pool **ret_pool,
				struct error *err)
{
	return snapshot(t, ns, NEED_KNOWN, options, ret_pool, err);
}

enum status type_cache_current(struct type_cache *t, const char *ns,
			       const struct rpc_options *options, struct pool **ret_pool,
			       struct error *err)
{
	return snapshot(t, ns, NEED_CURRENT, options, ret_pool, err);
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
	static const enum need needs[] = {NEED_KNOWN, NEED_CERTAIN};

	for (int i = 0; i < 2; i++) {
		struct pool *pool;
		enum status status = snapshot(t, ns, needs[i], options, &pool, err);
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

bool type_cache_known_method(struct type_cache *t, const char *ns, const char *service,
			     const char *method, struct pool **ret_pool,
			     const struct pool_method **ret_method)
{
	const struct pool_method *found;
	struct pool *pool = NULL;
	struct type_space *s;

	pthread_mutex_lock(&t->mu);
	s = map_get(&t->spaces, ns);
	if (s && s->version >= 0 && is_fresh(s, 0)) {
		s->used_ns = clock_monotonic_ns();
		pool = pool_ref(s->pool);
	}
	pthread_mutex_unlock(&t->mu);
	found = pool ? find(pool, service, method) : NULL;
	if (!found) {
		pool_unref(pool);
		return false;
	}
	*ret_pool = pool;
	*ret_method = found;
	return true;
}

enum status type_cache_service(struct type_cache *t, const char *ns, const char *service,
			       const struct rpc_options *options, struct error *err)
{
	static const enum need needs[] = {NEED_KNOWN, NEED_CERTAIN};

	for (int i = 0; i < 2; i++) {
		struct pool *pool;
		enum status status = snapshot(t, ns, needs[i], options, &pool, err);
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
