/*
 * A thread that waits for a tag on a loop's queue. Waiting on a queue of its own it
 * would take part in polling, and gRPC hand it that role for others' packets: see
 * rpc_loop_new(). Private to common/rpc.
 */
#ifndef COMMON_RPC_WAIT_H
#define COMMON_RPC_WAIT_H

#include <pthread.h>
#include <stdbool.h>

#include "common/rpc/loop.h"

struct rpc_wait {
	struct grpc_completion_queue_functor tag;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t changed;
	bool is_over, ok;
};

void rpc_wait_init(struct rpc_wait *w);
void rpc_wait_release(struct rpc_wait *w);

/* The tag to give to gRPC; one at a time, and rpc_wait_end() follows. */
struct grpc_completion_queue_functor *rpc_wait_begin(struct rpc_wait *w);

/* Not on a loop's thread. False: the operations failed. */
bool rpc_wait_end(struct rpc_wait *w);

#endif
