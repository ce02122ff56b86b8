/*
 * Until headers have crossed in both directions, events only mark what there
 * is to forward and touch() the relay: that puts a tag at the tail of the
 * completion queue, and when no more events came before it, both directions are
 * flushed. What a peer wrote at once thus leaves in one batch: a unary call is
 * one write each way, and a trailers-only response stays one. Later messages
 * are forwarded as they come.
 *
 * Back-pressure: at most WINDOW messages wait per direction, and a send only
 * completes when HTTP/2 flow control has accepted it.
 */
#include "common/rpc/relay.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/rpc/channel.h"
#include "common/rpc/hop_headers.h"
#include "common/rpc/inflate.h"
#include "common/rpc/outbound.h"
#include "common/rpc/payload.h"

enum {
	WINDOW = 2,
	ROUNDS = 3,
	PATIENCE_MS = 2,
	HOLDING_PATIENCE_MS = 20, /* headers end the hope for another upstream, too */
};

/* ----------------------------------------------------------------- its events */

void relay_take_off(struct relay *r)
{
	r->flights++;
	rpc_hold(r->down);
}

static void launch(struct relay *r, const grpc_op *ops, size_t count,
		   struct grpc_completion_queue_functor *tag)
{
	relay_take_off(r);
	rpc_batch(r->up, ops, count, tag);
}

static enum status status_of(grpc_status_code code)
{
	return (unsigned)code <= STATUS_UNAUTHENTICATED ? (enum status)code : STATUS_UNKNOWN;
}

static bool is_refused(const grpc_metadata_array *trailers)
{
	for (size_t i = 0; i < trailers->count; i++)
		if (rpc_slice_is(&trailers->metadata[i].key, RPC_NOT_PROCESSED))
			return true;
	return false;
}

static void describe(const struct relay *r, struct rpc_failure *ret)
{
	char message[sizeof(ret->err.message)];

	rpc_slice_text(r->details, message, sizeof(message));
	error_set(&ret->err, status_of(r->code), "%s", message);
	ret->not_processed = !r->up || is_refused(&r->trailers);
}

void relay_unlock(struct relay *r)
{
	struct rpc_call *c = r->down;
	const bool is_idle = r->stage == FAILED && !r->flights;
	struct rpc_failure failure;

	if (is_idle) {
		r->stage = ASKING;
		describe(r, &failure);
	}
	pthread_mutex_unlock(&r->mutex);
	if (is_idle)
		relay_ask(r, &failure);
	rpc_release(c);
}

void relay_land(struct relay *r)
{
	r->flights--;
	relay_unlock(r);
}

/* --------------------------------------------------------------- passing it on */

static void read_up(struct relay *r)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	if (!r->up || r->up_reading || r->up_eof || r->up_done ||
	    rpc_backlog(r->down) >= WINDOW)
		return;
	r->up_reading = true;
	op.data.recv_message.recv_message = &r->incoming;
	launch(r, &op, 1, &r->on_message);
}

/* Only for an upstream that takes it: what one that has failed did not get is held, and has room. */
static void read_down(struct relay *r)
{
	if (r->stage != FORWARDING || r->is_cut || r->down_reading || r->down_eof ||
	    r->out.queued >= WINDOW)
		return;
	r->down_reading = true;
	rpc_call_read(r->down);
}

static void receive_headers_and_status(struct relay *r)
{
	grpc_op headers = {.op = GRPC_OP_RECV_INITIAL_METADATA};
	grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	headers.data.recv_initial_metadata.recv_initial_metadata = &r->headers;
	status.data.recv_status_on_client.trailing_metadata = &r->trailers;
	status.data.recv_status_on_client.status = &r->code;
	status.data.recv_status_on_client.status_details = &r->details;
	launch(r, &headers, 1, &r->on_headers);
	launch(r, &status, 1, &r->on_status);
}

static void flush_up(struct relay *r)
{
	grpc_op ops[OUTBOX_MAX_OPS];
	size_t count = r->stage == FORWARDING && !r->is_cut ? outbox_take(&r->out, ops) : 0;

	if (!count)
		return;
	launch(r, ops, count, &r->out.tag);
	if (r->started)
		return;
	r->started = true;
	/* Without the headers asked for, the status would never come. */
	receive_headers_and_status(r);
}

/*
 * Empty headers with nothing after them are most likely the first third of a
 * trailers-only response: forwarded alone they would commit the client's call
 * and defeat its retry policy. Once one of end-of-messages and status is here
 * the other is certain to come; before that, wait a moment for either.
 */
static bool too_early(struct relay *r)
{
	bool ending = r->up_eof || r->up_done;

	if (!r->up_headers || r->answered || r->headers.count || r->stage == ENDED)
		return false;
	if (!ending && !r->waiting && !r->waited) {
		r->waiting = true;
		relay_take_off(r);
		rpc_alarm(rpc_loop_queue(r->down->home->loop),
			  r->held.is_open ? HOLDING_PATIENCE_MS : PATIENCE_MS, &r->on_patience);
	}
	return ending || r->waiting;
}

void relay_end_as_upstream(struct relay *r)
{
	r->stage = ENDED;
	held_let_go(&r->held);
	hop_headers_of_answer(&r->response_trailers, &r->trailers);
	if (!r->up)
		(void)rpc_headers_add(&r->response_trailers, RPC_NOT_PROCESSED, "1");
	rpc_call_set_end(r->down, r->code, r->details, r->response_trailers.items,
			 r->response_trailers.count);
}

bool relay_may_go_on(const struct relay *r)
{
	return r->held.is_open && !r->stopped && !r->answered && !r->settled &&
	       !r->headers.count && r->code != GRPC_STATUS_OK &&
	       (!r->up || r->code == GRPC_STATUS_UNAVAILABLE || is_refused(&r->trailers));
}

/* From here on it is the client's. */
static void give_headers(struct relay *r)
{
	held_let_go(&r->held);
	hop_headers_of_answer(&r->response_headers, &r->headers);
	rpc_call_set_headers(r->down, r->response_headers.items, r->response_headers.count);
}

static void flush(struct relay *r)
{
	flush_up(r);
	read_up(r);
	/* The status comes after the last message has been read, or instead of it. */
	if (r->up_done && !r->up_reading && r->stage == FORWARDING) {
		if (relay_may_go_on(r)) {
			r->stage = FAILED;
			return;
		}
		relay_end_as_upstream(r);
	}
	if (too_early(r))
		return;
	if (r->up_headers && !r->settled)
		give_headers(r);
	rpc_call_flush(r->down);
	r->settled = r->up_headers;
}

static void touch(struct relay *r)
{
	if (r->stage == CONNECTING || r->stage == FAILED || r->stage == ASKING || !r->up)
		return; /* nothing of it is passed on */
	if (r->settled) {
		flush(r);
	} else if (r->dirty) {
		r->again = true;
	} else {
		r->dirty = true;
		launch(r, NULL, 0, &r->on_touch);
	}
}

static void touched(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_touch);
	bool more;

	(void)ok;
	pthread_mutex_lock(&r->mutex);
	r->dirty = false;
	more = r->again && r->rounds++ < ROUNDS;
	r->again = false;
	if (more) {
		touch(r);
	} else {
		r->rounds = 0;
		flush(r);
	}
	relay_land(r);
}

static void patience_over(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_patience);

	(void)ok;
	pthread_mutex_lock(&r->mutex);
	r->waiting = false;
	r->waited = true;
	touch(r);
	relay_land(r);
}

/* Cut the call off from this side. */
static void stop(struct relay *r, grpc_status_code code, const char *why)
{
	grpc_slice details;

	if (r->stage == ENDED)
		return;
	r->stopped = true;
	if (r->stage == FORWARDING) { /* its status will end the call */
		grpc_call_cancel_with_status(r->up, code, why, NULL);
		return;
	}
	r->stage = ENDED;
	r->code = code;
	held_let_go(&r->held);
	details = grpc_slice_from_copied_string(why);
	rpc_call_set_end(r->down, code, details, NULL, 0);
	grpc_slice_unref(details);
	rpc_call_flush(r->down);
}

/* The message as it goes on, owned; NULL: it cannot, and the call is being ended. */
static grpc_byte_buffer *translated(struct relay *r, enum rpc_direction direction,
				    grpc_byte_buffer *payload)
{
	AUTO_STRBUF out = STRBUF_INIT;
	grpc_slice slice;
	struct bytes message;
	bool done;

	if (!r->translate)
		return payload;
	message = rpc_payload_bytes(payload, &slice);
	done = r->translate(r->arg, direction, message, &out);
	grpc_slice_unref(slice);
	grpc_byte_buffer_destroy(payload);
	if (done)
		return rpc_payload_of_bytes(bytes_of(out.buf, out.len));
	stop(r, GRPC_STATUS_INVALID_ARGUMENT, "the message is no protobuf message");
	return NULL;
}

/* ----------------------------------------------------------- upstream events */

void relay_sent(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, out.tag);

	pthread_mutex_lock(&r->mutex);
	outbox_sent(&r->out);
	if (!ok) /* why, the status will tell */
		r->is_cut = true;
	else if (r->stage == FORWARDING) /* else it is held for the next one */
		held_sent(&r->held);
	flush_up(r);
	read_down(r);
	relay_land(r);
}

static void up_headers(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_headers);

	pthread_mutex_lock(&r->mutex);
	if (ok) {
		r->up_headers = true;
		touch(r);
	}
	relay_land(r);
}

static void up_message(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_message);
	struct rpc_call *c = r->down;

	(void)ok; /* there is no message then */
	if (rpc_is_compressed(
		    r->incoming)) /* what cannot be inflated ends the call: no message */
		(void)rpc_inflate_of_call(r->up, &r->incoming, r->max_message_bytes);
	pthread_mutex_lock(&r->mutex);
	r->up_reading = false;
	if (r->incoming) {
		r->answered = true;
		r->response_bytes += grpc_byte_buffer_length(r->incoming);
		r->incoming = translated(r, RPC_TO_CLIENT, r->incoming);
		if (r->incoming)
			(void)rpc_call_push(c, r->incoming); /* cancelled: dropped */
	} else {
		r->up_eof = true;
	}
	r->incoming = NULL;
	touch(r);
	relay_land(r);
}

static void up_status(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_status);

	(void)ok;
	pthread_mutex_lock(&r->mutex);
	r->up_done = true;
	touch(r);
	relay_land(r);
}

/* --------------------------------------------------------- downstream events */

static void down_message(struct rpc_call *c, grpc_byte_buffer *payload)
{
	struct relay *r = c->ops_state;

	pthread_mutex_lock(&r->mutex);
	r->down_reading = false;
	if (payload) {
		r->request_bytes += grpc_byte_buffer_length(payload);
		payload = translated(r, RPC_TO_UPSTREAM, payload);
		if (payload) {
			held_add(&r->held, payload);
			outbox_push(&r->out, payload);
		}
	} else {
		r->down_eof = true;
		if (rpc_call_read_failed(c)) /* a half-close would commit what was cut off */
			stop(r, GRPC_STATUS_CANCELLED, "the call was cut off");
		else
			r->out.end = OUTBOX_SET;
	}
	read_down(r);
	touch(r);
	pthread_mutex_unlock(&r->mutex);
}

static void down_sent(struct rpc_call *c)
{
	struct relay *r = c->ops_state;

	pthread_mutex_lock(&r->mutex);
	read_up(r);
	pthread_mutex_unlock(&r->mutex);
}

static void down_closed(struct rpc_call *c, bool cancelled)
{
	struct relay *r = c->ops_state;

	if (!cancelled)
		return;
	pthread_mutex_lock(&r->mutex);
	stop(r, GRPC_STATUS_CANCELLED, "the call was cancelled");
	pthread_mutex_unlock(&r->mutex);
}

struct rpc_forwarded relay_result(const struct relay *r, enum status status)
{
	const struct rpc_call *c = r->down;

	return (struct rpc_forwarded){
		.status = status,
		.request_bytes = r->request_bytes,
		.response_bytes = r->response_bytes,
		.duration_us = (clock_monotonic_ns() - c->start_ns) / 1000,
		.cancelled = c->core_cancelled,
	};
}

static void down_freed(struct rpc_call *c)
{
	struct relay *r = c->ops_state;
	const struct rpc_forwarded result = relay_result(r, status_of(r->code));

	rpc_call_account(c, result.status);
	if (r->done)
		r->done(r->arg, &result);
	relay_free(r);
}

const struct rpc_call_ops relay_ops = {
	.message = down_message,
	.sent = down_sent,
	.closed = down_closed,
	.freed = down_freed,
};

/* ------------------------------------------------------------------- its life */

void relay_begin(struct relay *r)
{
	struct rpc_call *c = r->down;

	r->stage = FORWARDING;
	r->up = rpc_channel_call(r->channel, NULL, rpc_loop_queue(c->home->loop), r->method,
				 c->details.deadline);
	read_down(r); /* what came with the headers */
	touch(r);
}

void relay_init(struct relay *r)
{
	r->on_headers = rpc_tag(up_headers);
	r->on_message = rpc_tag(up_message);
	r->on_status = rpc_tag(up_status);
	r->on_touch = rpc_tag(touched);
	r->on_patience = rpc_tag(patience_over);
	pthread_mutex_init(&r->mutex, NULL);
}

void relay_free(struct relay *r)
{
	if (r->up)
		grpc_call_unref(r->up);
	held_let_go(&r->held);
	outbox_release(&r->out);
	grpc_slice_unref(r->method);
	rpc_headers_release(&r->request_headers);
	rpc_headers_release(&r->response_headers);
	rpc_headers_release(&r->response_trailers);
	grpc_metadata_array_destroy(&r->headers);
	grpc_metadata_array_destroy(&r->trailers);
	grpc_slice_unref(r->details);
	pthread_mutex_destroy(&r->mutex);
	free(r);
}
