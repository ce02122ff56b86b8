#include "common/rpc/wait.h"

#include <assert.h>

static void over(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_wait *w = rpc_container(tag, struct rpc_wait, tag);

	pthread_mutex_lock(&w->mutex);
	w->is_over = true;
	w->ok = ok;
	/* With the lock held: who waits may free it right after. */
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->mutex);
}

void rpc_wait_init(struct rpc_wait *w)
{
	w->tag = rpc_tag(over);
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->changed, NULL);
}

void rpc_wait_release(struct rpc_wait *w)
{
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->mutex);
}

struct grpc_completion_queue_functor *rpc_wait_begin(struct rpc_wait *w)
{
	w->is_over = false;
	return &w->tag;
}

bool rpc_wait_end(struct rpc_wait *w)
{
	bool ok;

	assert(!rpc_on_loop());
	pthread_mutex_lock(&w->mutex);
	while (!w->is_over)
		pthread_cond_wait(&w->changed, &w->mutex);
	ok = w->ok;
	pthread_mutex_unlock(&w->mutex);
	return ok;
}
