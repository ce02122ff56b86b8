#include "common/rpc/due.h"

#include "common/base/clock.h"
#include "common/rpc/inbound.h"

static void unlink_call(struct rpc_call *c)
{
	struct rpc_due *d = &c->due;
	struct rpc_due_list *list = d->list;

	if (!list)
		return;
	if (d->previous)
		d->previous->due.next = d->next;
	else
		list->first = d->next;
	if (d->next)
		d->next->due.previous = d->previous;
	else
		list->last = d->previous;
	*d = (struct rpc_due){.was_in = true};
}

void rpc_due_put(struct rpc_call *c, struct rpc_due_list *list, uint64_t at_ns)
{
	pthread_mutex_lock(&c->home->mutex);
	unlink_call(c);
	c->due = (struct rpc_due){
		.list = list, .previous = list->last, .at_ns = at_ns, .was_in = true};
	if (list->last)
		list->last->due.next = c;
	else
		list->first = c;
	list->last = c;
	pthread_mutex_unlock(&c->home->mutex);
}

void rpc_due_remove(struct rpc_call *c)
{
	pthread_mutex_lock(&c->home->mutex);
	unlink_call(c);
	pthread_mutex_unlock(&c->home->mutex);
}

static void end_list(struct rpc_due_list *list, uint64_t now, grpc_status_code code,
		     const char *why)
{
	while (list->first && list->first->due.at_ns <= now) {
		struct rpc_call *c = list->first;
		unlink_call(c);
		grpc_call_cancel_with_status(c->core, code, why, NULL);
	}
}

void rpc_due_end(struct rpc_server_loop *home)
{
	uint64_t now = clock_monotonic_ns();

	pthread_mutex_lock(&home->mutex);
	end_list(&home->undated, now, GRPC_STATUS_DEADLINE_EXCEEDED,
		 "the server's default deadline has passed");
	end_list(&home->stalled, now, GRPC_STATUS_RESOURCE_EXHAUSTED,
		 "the client does not take what it asked for");
	pthread_mutex_unlock(&home->mutex);
}
