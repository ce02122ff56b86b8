/*
 * grpc.reflection.v1 and v1alpha. Built-ins are answered by themselves; what was
 * registered at run time comes from a source that the daemon may give.
 */
#ifndef COMMON_RPC_REFLECTION_H
#define COMMON_RPC_REFLECTION_H

#include <stddef.h>

#include "common/base/status.h"

struct pool;

/*
 * Runs on a pool thread and may block. The namespace comes from the metadata
 * key collector-namespace ("default" without it).
 */
struct rpc_reflection_source {
	/*
	 * A snapshot that holds everything registered in @ns; *ret_pool is owned by
	 * the caller (pool_unref). UNAVAILABLE: cannot be told now.
	 */
	enum status (*snapshot)(void *arg, const char *ns, struct pool **ret_pool,
				struct error *err);
	void *arg;
};

#endif
