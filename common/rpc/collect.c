/* Taking a call of an unregistered method as a unary one, instead of forwarding it. */
#include <grpc/byte_buffer.h>

#include "common/rpc/held.h"
#include "common/rpc/inbound.h"
#include "common/rpc/payload.h"
#include "common/rpc/proxy.h"
#include "common/rpc/stats.h"

struct collecting {
	void (*done)(void *arg, struct rpc_call *call);
	void *arg;
};

static void collected(struct rpc_call *c)
{
	struct collecting *x = c->ops_state;

	if (!c->request) {
		rpc_fail(c, STATUS_INVALID_ARGUMENT, "the call brought no message");
		return;
	}
	c->request_bytes = rpc_payload_bytes(c->request, &c->request_slice);
	x->done(x->arg, c);
}

static void fail_of_many(struct rpc_call *c)
{
	rpc_fail(c, STATUS_INVALID_ARGUMENT,
		 "more than one message, and the handler takes one");
}

static void collect_message(struct rpc_call *c, grpc_byte_buffer *payload)
{
	if (!payload && !rpc_call_read_failed(c)) {
		collected(c);
	} else if (!payload) {
		rpc_fail(c, STATUS_CANCELLED, "the call was cut off");
	} else if (c->request) {
		grpc_byte_buffer_destroy(payload);
		fail_of_many(c);
	} else {
		c->request = payload;
		rpc_call_read(c); /* the half-close */
	}
}

static void collect_closed(struct rpc_call *c, bool cancelled)
{
	if (!cancelled)
		return;
	rpc_call_set_end(c, GRPC_STATUS_CANCELLED, grpc_empty_slice(), NULL, 0);
	rpc_call_flush(c);
}

static const struct rpc_call_ops collect_ops = {
	.message = collect_message,
	.closed = collect_closed,
};

/* From now on it gets the call's events. False: the client has gone already. */
static bool take_over(struct rpc_call *c, void (*done)(void *arg, struct rpc_call *call),
		      void *arg)
{
	struct collecting *x = arena_alloc(&c->arena, sizeof(*x));
	bool open;

	*x = (struct collecting){done, arg};
	pthread_mutex_lock(&c->mutex);
	open = !c->closed && !c->ended && c->out.end == OUTBOX_NONE;
	if (open) {
		c->ops = &collect_ops;
		c->ops_state = x;
	}
	pthread_mutex_unlock(&c->mutex);
	if (open)
		c->stats = rpc_stats_slot(c->method->server->stats, c->path_text);
	else
		rpc_fail(c, STATUS_CANCELLED, "the call was cancelled");
	return open;
}

void rpc_collect(struct rpc_call *c, void (*done)(void *arg, struct rpc_call *call), void *arg)
{
	if (take_over(c, done, arg))
		rpc_call_read(c);
}

void rpc_collect_rest(struct rpc_call *c, struct held *held, bool is_reading,
		      void (*done)(void *arg, struct rpc_call *call), void *arg)
{
	const bool is_all = c->half_closed, has_many = held->count > 1;

	if (held->count == 1)
		c->request = grpc_byte_buffer_copy(held->messages[0]);
	held_let_go(held);
	if (!take_over(c, done, arg))
		return;
	if (has_many)
		fail_of_many(c);
	else if (is_all)
		collected(c);
	else if (!is_reading)
		rpc_call_read(c);
}

void rpc_answer(struct rpc_call *c, struct bytes message)
{
	if (!rpc_call_claim_end(c))
		return;
	rpc_call_reply(c, rpc_payload_of_bytes(message));
	rpc_call_account(c, STATUS_OK);
	rpc_release(c);
}
