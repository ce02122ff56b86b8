/*
 * What the registry knows, by namespace: pools kept current by version. Blocks
 * while it asks; one question at a time for a namespace. Thread-safe.
 */
#ifndef SERVICES_DISPATCHER_TYPES_H
#define SERVICES_DISPATCHER_TYPES_H

#include "common/base/status.h"
#include "common/rpc/client.h"

struct pool;
struct pool_method;
struct types;

enum {
	TYPES_FRESH_MS = 1000,       /* a pool asked for so recently is used as it is */
	TYPES_MISS_MS = 20,          /* after a miss: it was not asked for just now */
	TYPES_MAX_NAMESPACES = 1024, /* kept at once */
};

/* @registry is borrowed. */
struct types *types_new(struct rpc_channel *registry);
void types_free(struct types *t);

/*
 * The pool of @ns, at most TYPES_FRESH_MS old, as a new reference.
 * UNAVAILABLE: the registry cannot be asked, and nothing is known yet.
 */
enum status types_snapshot(struct types *t, const char *ns, const struct rpc_options *options,
			   struct pool **ret_pool, struct error *err) MUST_CHECK;

/*
 * The method, with the pool that it lives in (a new reference). A method that is
 * not in the known pool is asked for. NOT_FOUND: nobody registered it.
 */
enum status types_method(struct types *t, const char *ns, const char *service,
			 const char *method, const struct rpc_options *options,
			 struct pool **ret_pool, const struct pool_method **ret_method,
			 struct error *err) MUST_CHECK;

/* Is the service, any of its methods, registered? As above. */
enum status types_service(struct types *t, const char *ns, const char *service,
			  const struct rpc_options *options, struct error *err) MUST_CHECK;

#endif
