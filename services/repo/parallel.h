/* The same work for many things at once, on a bounded number of threads. */
#ifndef SERVICES_REPO_PARALLEL_H
#define SERVICES_REPO_PARALLEL_H

#include <stddef.h>

struct rpc_pool;

/*
 * Call @work(@arg, i) for every i below @count, each once, on this thread and on up
 * to @helpers threads of @pool; return when all have returned. The helpers may be
 * busy: then this thread does it all, so nobody waits for who waits for him.
 */
void parallel_run(struct rpc_pool *pool, unsigned helpers, size_t count,
		  void (*work)(void *arg, size_t i), void *arg);

#endif
