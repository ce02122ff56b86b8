/*
 * What the registry knows, by namespace: pools that follow it. The first who needs
 * a namespace asks for it and waits; from then on a thread watches the registry
 * and puts what changes into the pool, usually within milliseconds. While the
 * registry cannot be watched, pools are asked for anew when they are older than
 * a second; while it cannot be asked either, they are used as they are.
 * One question at a time for a namespace. Thread-safe.
 */
#ifndef COMMON_CLIENT_TYPE_CACHE_H
#define COMMON_CLIENT_TYPE_CACHE_H

#include <stdbool.h>

#include "common/base/status.h"
#include "common/rpc/client.h"

struct pool;
struct pool_method;
struct type_cache;

enum {
	TYPE_CACHE_FRESH_MS = 1000,       /* a pool asked for so recently is used as it is */
	TYPE_CACHE_FOLLOWED_MS = 10000,   /* the same while it is watched: should nobody tell */
	TYPE_CACHE_MAX_NAMESPACES = 1024, /* kept at once */
};

/* @registry is borrowed. */
struct type_cache *type_cache_new(struct rpc_channel *registry);
void type_cache_free(struct type_cache *t);

/*
 * The pool of @ns as far as it is known here, as a new reference.
 * UNAVAILABLE: the registry cannot be asked, and nothing is known yet.
 */
enum status type_cache_snapshot(struct type_cache *t, const char *ns,
				const struct rpc_options *options, struct pool **ret_pool,
				struct error *err) MUST_CHECK;

/*
 * The same, not older than this call: for checks that are remembered. As it is
 * known here when the registry cannot be asked.
 */
enum status type_cache_current(struct type_cache *t, const char *ns,
			       const struct rpc_options *options, struct pool **ret_pool,
			       struct error *err) MUST_CHECK;

/*
 * The method, with the pool that it lives in (a new reference). A method that is
 * not in the known pool is asked for. NOT_FOUND: nobody registered it. UNAVAILABLE:
 * it is not known here, and the registry cannot be asked.
 */
enum status type_cache_method(struct type_cache *t, const char *ns, const char *service,
			      const char *method, const struct rpc_options *options,
			      struct pool **ret_pool, const struct pool_method **ret_method,
			      struct error *err) MUST_CHECK;

/*
 * The same, if it is known here and may be used as it is: asks nobody, waits for nobody.
 * False: only type_cache_method() can tell.
 */
bool type_cache_known_method(struct type_cache *t, const char *ns, const char *service,
			     const char *method, struct pool **ret_pool,
			     const struct pool_method **ret_method);

/* Is the service, any of its methods, registered? As above. */
enum status type_cache_service(struct type_cache *t, const char *ns, const char *service,
			       const struct rpc_options *options, struct error *err) MUST_CHECK;

#endif
