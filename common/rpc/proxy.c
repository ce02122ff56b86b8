/*
 * Forwarding: which upstream a call is relayed to.
 *
 * An upstream is called on a connection alone: when none can be had, the call
 * certainly was not processed, which gRPC itself does not tell. While the client
 * has been given nothing and all that it said is held (held.h), a relay can change
 * its upstream: it waits for the events of the one that failed (flights), asks
 * who routed the call, and begins anew.
 */
#include "common/rpc/proxy.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>

#include "common/base/alloc.h"
#include "common/rpc/channel.h"
#include "common/rpc/hop_headers.h"
#include "common/rpc/outbound.h"
#include "common/rpc/relay.h"
#include "common/rpc/stats.h"

/* A wait for a connection cannot be taken back, so it is had in slices. */
enum { CONNECT_SLICE_MS = 100 };

/* ------------------------------------------------------------------ connecting */

static void not_connected(struct relay *r)
{
	struct error why;

	r->code = (grpc_status_code)rpc_channel_explain(r->channel, &why);
	r->details = grpc_slice_from_copied_string(why.message);
	if (relay_may_go_on(r)) {
		r->stage = FAILED;
		return;
	}
	relay_end_as_upstream(r);
	rpc_call_flush(r->down);
}

static void connect_up(struct relay *r)
{
	grpc_connectivity_state state = rpc_channel_state(r->channel, true);

	switch (state) {
	case GRPC_CHANNEL_READY:
		relay_begin(r);
		break;
	case GRPC_CHANNEL_TRANSIENT_FAILURE:
	case GRPC_CHANNEL_SHUTDOWN:
		not_connected(r);
		break;
	case GRPC_CHANNEL_IDLE:
	case GRPC_CHANNEL_CONNECTING:
	default:
		relay_take_off(r);
		rpc_channel_watch(
			r->channel, state,
			gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
				     gpr_time_from_millis(CONNECT_SLICE_MS, GPR_TIMESPAN)),
			rpc_loop_queue(r->down->home->loop), &r->on_connection);
	}
}

static void connection_changed(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_connection);

	(void)ok; /* the state is looked at anew */
	pthread_mutex_lock(&r->mutex);
	if (r->stage == CONNECTING)
		connect_up(r);
	relay_land(r);
}

/* ------------------------------------------------------------------- starting */

static void set_route(struct relay *r, const struct rpc_route *route)
{
	r->stage = CONNECTING;
	r->channel = route->channel;
	r->method = route->path ? grpc_slice_from_copied_string(route->path)
				: grpc_slice_ref(r->down->details.method);
	r->max_message_bytes = route->channel->client->options.max_message_bytes;
	r->code = GRPC_STATUS_CANCELLED;
	r->details = grpc_empty_slice();
	grpc_metadata_array_init(&r->headers);
	grpc_metadata_array_init(&r->trailers);
	outbox_init(&r->out, false, relay_sent);
	hop_headers_of_request(&r->request_headers, r->down, route);
	r->out.headers = OUTBOX_SET;
	r->out.metadata = r->request_headers.items;
	r->out.metadata_count = r->request_headers.count;
}

static struct relay *relay_new(struct rpc_call *c, const struct rpc_route *route)
{
	struct relay *r = xcalloc(1, sizeof(*r));

	r->down = c;
	r->done = route->done;
	r->failed = route->failed;
	r->translate = route->translate;
	r->arg = route->arg;
	relay_init(r);
	r->on_connection = rpc_tag(connection_changed);
	if (route->failed)
		held_open(&r->held);
	set_route(r, route);
	return r;
}

/* From now on the relay gets the call's events. False: the client has gone already. */
static bool take_over(struct rpc_call *c, struct relay *r)
{
	bool open;

	pthread_mutex_lock(&c->mutex);
	open = !c->closed && !c->ended && c->out.end == OUTBOX_NONE;
	if (open) {
		c->ops = &relay_ops;
		c->ops_state = r;
		c->ended = true; /* for the method: the relay ends it from here */
		c->notify = NULL;
	}
	pthread_mutex_unlock(&c->mutex);
	return open;
}

void rpc_forward(struct rpc_call *c, const struct rpc_route *route)
{
	struct relay *r = relay_new(c, route);

	if (!take_over(c, r)) {
		const struct rpc_forwarded nothing = {.status = STATUS_CANCELLED,
						      .cancelled = true};
		relay_free(r);
		if (route->done) /* before the end: what it is told with may live in the call */
			route->done(route->arg, &nothing);
		rpc_fail(c, STATUS_CANCELLED, "the call was cancelled");
		return;
	}
	c->stats = rpc_stats_slot(c->method->server->stats, c->path_text);
	pthread_mutex_lock(&r->mutex);
	connect_up(r);
	relay_unlock(r); /* and the method's reference: events to come have theirs */
}

/* ---------------------------------------------------------- another upstream */

/* The call is held for who is asked, until it says how it goes on. */
void relay_ask(struct relay *r, const struct rpc_failure *failure)
{
	struct rpc_call *c = r->down;

	rpc_hold(c);
	if (!r->failed(r->arg, failure))
		rpc_forward_failure(c);
}

void rpc_forward_failure(struct rpc_call *c)
{
	struct relay *r = c->ops_state;

	pthread_mutex_lock(&r->mutex);
	if (r->stage == ASKING) {
		relay_end_as_upstream(r);
		rpc_call_flush(c);
	}
	relay_unlock(r);
}

static void drop_upstream(struct relay *r)
{
	if (r->up)
		grpc_call_unref(r->up);
	r->up = NULL;
	grpc_slice_unref(r->method);
	grpc_slice_unref(r->details);
	grpc_metadata_array_destroy(&r->headers);
	grpc_metadata_array_destroy(&r->trailers);
	outbox_release(&r->out);
	rpc_headers_release(&r->request_headers);
	r->started = r->is_cut = r->dirty = r->again = r->waited = false;
	r->up_reading = r->up_eof = r->up_done = r->up_headers = false;
	r->rounds = 0;
}

static void repeat_held(struct relay *r)
{
	for (unsigned i = 0; i < r->held.count; i++)
		outbox_push(&r->out, grpc_byte_buffer_copy(r->held.messages[i]));
	if (r->down_eof)
		r->out.end = OUTBOX_SET;
}

void rpc_forward_next(struct rpc_call *c, const struct rpc_route *route)
{
	struct relay *r = c->ops_state;

	pthread_mutex_lock(&r->mutex);
	if (r->stage == ASKING) {
		drop_upstream(r);
		set_route(r, route);
		repeat_held(r);
		connect_up(r);
	}
	relay_unlock(r);
}

/* A call that is to be taken back from its relay; in its arena. */
struct returning {
	struct relay *relay;
	struct error err;
	bool not_processed;
	void (*collected)(void *arg, struct rpc_call *call); /* NULL: it fails */
	void *arg;
};

/* On the call's loop, so that no event of it comes meanwhile. False: the client has gone. */
static bool take_back(struct relay *r)
{
	struct rpc_call *c = r->down;
	bool open;

	pthread_mutex_lock(&r->mutex);
	open = r->stage == ASKING;
	if (open)
		r->stage = ENDED;
	pthread_mutex_unlock(&r->mutex);
	if (!open)
		return false;
	pthread_mutex_lock(&c->mutex);
	c->ops = &rpc_fallback_ops;
	c->ops_state = NULL;
	c->ended = false;
	pthread_mutex_unlock(&c->mutex);
	rpc_hold(c); /* for the method again */
	return true;
}

static void fail_returned(struct returning *x)
{
	struct relay *r = x->relay;
	struct rpc_call *c = r->down;
	const struct rpc_forwarded result = relay_result(r, x->err.status);

	if (r->done)
		r->done(r->arg, &result);
	relay_free(r);
	if (x->not_processed)
		rpc_fail_not_processed(c, &x->err);
	else
		rpc_fail_error(c, &x->err);
}

static void collect_returned(struct returning *x)
{
	struct relay *r = x->relay;
	struct rpc_call *c = r->down;
	struct held held = r->held;
	bool is_reading = r->down_reading;

	r->held = (struct held){.is_open = false};
	relay_free(r);
	rpc_collect_rest(c, &held, is_reading, x->collected, x->arg);
}

static void returned(void *arg)
{
	struct returning *x = arg;
	struct rpc_call *c = x->relay->down;

	if (!take_back(x->relay))
		; /* and it has ended */
	else if (x->collected)
		collect_returned(x);
	else
		fail_returned(x);
	rpc_release(c);
}

void rpc_forward_fail(struct rpc_call *c, const struct error *err, bool not_processed)
{
	struct returning *x = arena_zalloc(&c->arena, sizeof(*x));

	*x = (struct returning){
		.relay = c->ops_state, .err = *err, .not_processed = not_processed};
	rpc_post(c, returned, x);
}

void rpc_forward_collect(struct rpc_call *c, void (*done)(void *arg, struct rpc_call *call),
			 void *arg)
{
	struct returning *x = arena_zalloc(&c->arena, sizeof(*x));

	*x = (struct returning){.relay = c->ops_state, .collected = done, .arg = arg};
	rpc_post(c, returned, x);
}
