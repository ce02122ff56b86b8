/*
 * A fixed number of threads for work that blocks, behind a bounded queue.
 */
#ifndef COMMON_RPC_POOL_H
#define COMMON_RPC_POOL_H

#include <stdbool.h>

struct rpc_pool;

struct rpc_pool *rpc_pool_new(const char *thread_name, unsigned threads, unsigned max_queued);

/* Run what is queued, then join the threads. Nobody may submit any more. */
void rpc_pool_free(struct rpc_pool *pool);

/* Run @work(@arg) on a pool thread. False: the queue is full, nothing happened. */
bool rpc_pool_submit(struct rpc_pool *pool, void (*work)(void *arg), void *arg)
	__attribute__((warn_unused_result));

/*
 * Wait until nothing is queued and no thread is at work: what jobs use may be freed then,
 * if nobody submits any more. Not on a thread of the pool.
 */
void rpc_pool_settle(struct rpc_pool *pool);

#endif
