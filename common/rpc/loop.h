/*
 * Completion queues and what is put on them. Private to common/rpc.
 *
 * Every tag given to gRPC is a struct grpc_completion_queue_functor embedded in
 * its object; a loop is one queue and the one thread that polls it and calls
 * the functors.
 */
#ifndef COMMON_RPC_LOOP_H
#define COMMON_RPC_LOOP_H

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

typedef void rpc_tag_run(struct grpc_completion_queue_functor *tag, int ok);

static inline struct grpc_completion_queue_functor rpc_tag(rpc_tag_run *run)
{
	return (struct grpc_completion_queue_functor){.functor_run = run, .inlineable = 1};
}

#define rpc_container(pointer, type, member)                                                   \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct rpc_loop;

/*
 * Counted, since a server's loop may be its process's client's too. gRPC lets one
 * thread of a process poll at a time and hands that role to another whenever it
 * has found something: with one loop there is nobody to hand it to, and so no
 * switch of threads for each packet that comes in.
 *
 * @patience_us: while few calls are served and events follow each other that closely, it is
 * so long that the loop looks for the next before it sleeps (patience.h). 0, or one
 * processor: it does not.
 */
struct rpc_loop *rpc_loop_new(unsigned patience_us);
struct rpc_loop *rpc_loop_ref(struct rpc_loop *loop);
grpc_completion_queue *rpc_loop_queue(struct rpc_loop *loop);

/* So many calls more, or fewer, are served on it. */
void rpc_loop_add_calls(struct rpc_loop *loop, int count);

/* @tick runs on the loop's thread about once a second. NULL: no more, once this returns. */
void rpc_loop_set_tick(struct rpc_loop *loop, void (*tick)(void *arg), void *arg);

/*
 * Let go of the loop, not on its thread: what is on the queue now has run when this
 * returns. The last one to do so ends it.
 */
void rpc_loop_free(struct rpc_loop *loop);

/* Does the calling thread belong to a loop? Then it must not wait. */
bool rpc_on_loop(void);

/* Post @tag, as failed, in @delay_ms; it cannot be taken back. */
void rpc_alarm(grpc_completion_queue *queue, int delay_ms,
	       struct grpc_completion_queue_functor *tag);

/*
 * Start a batch whose operations are known to be legal: a refusal is a
 * programming error. (A call that is over already completes its batches as
 * failed instead of refusing them.)
 */
void rpc_batch(grpc_call *call, const grpc_op *ops, size_t count,
	       struct grpc_completion_queue_functor *tag);

#endif
