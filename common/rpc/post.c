/* Work of other threads on a call's own loop. */
#include "common/rpc/inbound.h"

static void run_posted(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_server_loop *home = rpc_container(tag, struct rpc_server_loop, run_posted);
	struct rpc_call *c, *next;

	(void)ok;
	pthread_mutex_lock(&home->mutex);
	c = home->first_posted;
	home->first_posted = home->last_posted = NULL;
	pthread_mutex_unlock(&home->mutex);
	for (; c; c = next) {
		/* What it does may end the call, and post it again. */
		next = c->next_posted;
		c->posted(c->posted_arg);
		rpc_release(c);
	}
}

void rpc_posted_init(struct rpc_server_loop *home)
{
	home->run_posted = rpc_tag(run_posted);
}

void rpc_post(void *call, void (*work)(void *arg), void *arg)
{
	struct rpc_call *c = call;
	struct rpc_server_loop *home = c->home;
	bool is_first;

	rpc_hold(c);
	c->posted = work;
	c->posted_arg = arg;
	c->next_posted = NULL;
	pthread_mutex_lock(&home->mutex);
	is_first = !home->first_posted;
	if (is_first)
		home->first_posted = c;
	else
		home->last_posted->next_posted = c;
	home->last_posted = c;
	/* A batch of nothing is done at once: its tag is put on the call's queue. */
	if (is_first)
		rpc_batch(c->core, NULL, 0, &home->run_posted);
	pthread_mutex_unlock(&home->mutex);
}
