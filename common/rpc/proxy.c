/*
 * A relay passes one call on, message by message.
 *
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
#include "common/rpc/proxy.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/rpc/inbound.h"
#include "common/rpc/inflate.h"
#include "common/rpc/outbound.h"
#include "common/rpc/payload.h"
#include "common/rpc/stats.h"

enum { WINDOW = 2, ROUNDS = 3, PATIENCE_MS = 2 };

struct relay {
	struct rpc_call *down; /* the client's call; it owns the relay */
	grpc_call *up;         /* ours to the upstream */
	struct grpc_completion_queue_functor on_headers, on_message, on_status, on_touch,
		on_patience;
	void (*done)(void *arg, const struct rpc_forwarded *result);
	bool (*translate)(void *arg, enum rpc_direction direction, struct bytes message,
			  struct strbuf *out);
	void *arg;
	size_t max_message_bytes; /* of the upstream's */

	pthread_mutex_t mutex; /* guards what follows; taken before the call's own */
	struct outbox out;     /* client -> upstream */
	struct rpc_headers request_headers, response_headers, response_trailers;
	bool started, settled; /* sent our headers; headers crossed both ways */
	bool dirty, again;
	unsigned rounds;
	bool down_reading, down_eof, up_reading, up_eof, up_done;
	bool up_headers, answered, ended; /* came up: headers, a message; the end is queued */
	bool waiting, waited;             /* for more than empty headers */
	grpc_byte_buffer *incoming;
	grpc_metadata_array headers, trailers;
	grpc_status_code code;
	grpc_slice details;
	uint64_t request_bytes, response_bytes;
};

static void start_receive(struct relay *r, const grpc_op *op,
			  struct grpc_completion_queue_functor *tag)
{
	rpc_hold(r->down);
	rpc_batch(r->up, op, 1, tag);
}

static void read_up(struct relay *r)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	if (r->up_reading || r->up_eof || r->up_done || rpc_backlog(r->down) >= WINDOW)
		return;
	r->up_reading = true;
	op.data.recv_message.recv_message = &r->incoming;
	start_receive(r, &op, &r->on_message);
}

static void read_down(struct relay *r)
{
	if (r->down_reading || r->down_eof || r->out.queued >= WINDOW)
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
	start_receive(r, &headers, &r->on_headers);
	start_receive(r, &status, &r->on_status);
}

static void flush_up(struct relay *r)
{
	grpc_op ops[OUTBOX_MAX_OPS];
	size_t count = outbox_take(&r->out, ops);

	if (!count)
		return;
	rpc_hold(r->down);
	rpc_batch(r->up, ops, count, &r->out.tag);
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

	if (!r->up_headers || r->answered || r->headers.count || r->ended)
		return false;
	if (!ending && !r->waiting && !r->waited) {
		r->waiting = true;
		rpc_hold(r->down);
		rpc_alarm(rpc_loop_queue(r->down->home->loop), PATIENCE_MS, &r->on_patience);
	}
	return ending || r->waiting;
}

static void pass_all(struct rpc_headers *to, const grpc_metadata_array *from)
{
	for (size_t i = 0; i < from->count; i++)
		if (!rpc_slice_has_prefix(&from->metadata[i].key, RPC_INTERNAL_PREFIX))
			rpc_headers_pass(to, &from->metadata[i]);
}

static void flush(struct relay *r)
{
	flush_up(r);
	read_up(r);
	/* The status comes after the last message has been read, or instead of it. */
	if (r->up_done && !r->up_reading && !r->ended) {
		r->ended = true;
		pass_all(&r->response_trailers, &r->trailers);
		rpc_call_set_end(r->down, r->code, r->details, r->response_trailers.items,
				 r->response_trailers.count);
	}
	if (too_early(r))
		return;
	rpc_call_flush(r->down);
	r->settled = r->up_headers;
}

static void touch(struct relay *r)
{
	if (r->settled) {
		flush(r);
	} else if (r->dirty) {
		r->again = true;
	} else {
		r->dirty = true;
		rpc_hold(r->down);
		rpc_batch(r->up, NULL, 0, &r->on_touch);
	}
}

static void touched(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_touch);
	struct rpc_call *c = r->down;
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
	pthread_mutex_unlock(&r->mutex);
	rpc_release(c);
}

static void patience_over(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_patience);
	struct rpc_call *c = r->down;

	(void)ok;
	pthread_mutex_lock(&r->mutex);
	r->waiting = false;
	r->waited = true;
	touch(r);
	pthread_mutex_unlock(&r->mutex);
	rpc_release(c);
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
	grpc_call_cancel_with_status(r->up, GRPC_STATUS_INVALID_ARGUMENT,
				     "the message is no protobuf message", NULL);
	return NULL;
}

/* ----------------------------------------------------------- upstream events */

static void up_sent(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, out.tag);
	struct rpc_call *c = r->down;

	(void)ok; /* the status will tell */
	pthread_mutex_lock(&r->mutex);
	outbox_sent(&r->out);
	flush_up(r);
	read_down(r);
	pthread_mutex_unlock(&r->mutex);
	rpc_release(c);
}

static void up_headers(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_headers);
	struct rpc_call *c = r->down;

	pthread_mutex_lock(&r->mutex);
	if (ok) {
		r->up_headers = true;
		pass_all(&r->response_headers, &r->headers);
		rpc_call_set_headers(c, r->response_headers.items, r->response_headers.count);
		touch(r);
	}
	pthread_mutex_unlock(&r->mutex);
	rpc_release(c);
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
	pthread_mutex_unlock(&r->mutex);
	rpc_release(c);
}

static void up_status(struct grpc_completion_queue_functor *tag, int ok)
{
	struct relay *r = rpc_container(tag, struct relay, on_status);
	struct rpc_call *c = r->down;

	(void)ok;
	pthread_mutex_lock(&r->mutex);
	r->up_done = true;
	touch(r);
	pthread_mutex_unlock(&r->mutex);
	rpc_release(c);
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
		if (payload)
			outbox_push(&r->out, payload);
	} else {
		r->down_eof = true;
		if (rpc_call_read_failed(c)) /* a half-close would commit what was cut off */
			grpc_call_cancel(r->up, NULL);
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

	if (cancelled)
		grpc_call_cancel(r->up, NULL);
}

static void relay_free(struct relay *r)
{
	grpc_call_unref(r->up);
	outbox_release(&r->out);
	rpc_headers_release(&r->request_headers);
	rpc_headers_release(&r->response_headers);
	rpc_headers_release(&r->response_trailers);
	grpc_metadata_array_destroy(&r->headers);
	grpc_metadata_array_destroy(&r->trailers);
	grpc_slice_unref(r->details);
	pthread_mutex_destroy(&r->mutex);
	free(r);
}

static void down_freed(struct rpc_call *c)
{
	struct relay *r = c->ops_state;
	enum status status = (unsigned)r->code <= STATUS_UNAUTHENTICATED ? (enum status)r->code
									 : STATUS_UNKNOWN;
	const struct rpc_forwarded result = {
		.status = status,
		.request_bytes = r->request_bytes,
		.response_bytes = r->response_bytes,
		.duration_us = (clock_monotonic_ns() - c->start_ns) / 1000,
		.cancelled = c->core_cancelled,
	};

	rpc_call_account(c, status);
	if (r->done)
		r->done(r->arg, &result);
	relay_free(r);
}

static const struct rpc_call_ops relay_ops = {
	.message = down_message,
	.sent = down_sent,
	.closed = down_closed,
	.freed = down_freed,
};

/* ------------------------------------------------------------------- starting */

static bool is_one_of(const grpc_slice *key, const char *const *names)
{
	for (; *names; names++)
		if (rpc_slice_is(key, *names))
			return true;
	return false;
}

/* May request metadata @key go on over @route? */
static bool may_pass(const grpc_slice *key, const struct rpc_route *route)
{
	/* Written by each hop's own transport, or about this hop alone. */
	static const char *const hop[] = {"user-agent",
					  "te",
					  "host",
					  "connection",
					  "proxy-authorization",
					  "content-type",
					  "grpc-timeout",
					  "grpc-encoding",
					  "grpc-accept-encoding",
					  "grpc-internal-encoding-request",
					  "grpc-previous-rpc-attempts",
					  RPC_REQUEST_ID_HEADER,
					  NULL};
	static const char *const credentials[] = {"authorization", "cookie", NULL};

	if (rpc_slice_has_prefix(key, RPC_INTERNAL_PREFIX) || is_one_of(key, hop))
		return false;
	if (is_one_of(key, credentials))
		return route->forward_authorization &&
		       route->channel->trust == RPC_TRUST_FOREIGN;
	for (size_t i = 0; i < route->header_count; i++)
		if (rpc_slice_is(key, route->headers[i].key))
			return false; /* the route says it anew */
	return true;
}

static void write_request_headers(struct relay *r, const struct rpc_route *route)
{
	const struct rpc_client_options *client = &route->channel->client->options;
	const struct rpc_call *c = r->down;

	for (size_t i = 0; i < c->metadata.count; i++)
		if (may_pass(&c->metadata.metadata[i].key, route))
			rpc_headers_pass(&r->request_headers, &c->metadata.metadata[i]);
	(void)rpc_headers_add(&r->request_headers, RPC_REQUEST_ID_HEADER,
			      c->identity.request_id);
	if (route->channel->trust == RPC_TRUST_DAEMON)
		rpc_headers_add_identity(&r->request_headers, client->daemon_key, client->name,
					 &c->identity.caller);
	for (size_t i = 0; i < route->header_count; i++)
		(void)rpc_headers_add(&r->request_headers, route->headers[i].key,
				      route->headers[i].value);
	r->out.headers = OUTBOX_SET;
	r->out.metadata = r->request_headers.items;
	r->out.metadata_count = r->request_headers.count;
}

static struct relay *relay_new(struct rpc_call *c, const struct rpc_route *route)
{
	struct relay *r = xcalloc(1, sizeof(*r));
	grpc_slice method;

	r->down = c;
	r->done = route->done;
	r->translate = route->translate;
	r->arg = route->arg;
	r->max_message_bytes = route->channel->client->options.max_message_bytes;
	r->on_headers = rpc_tag(up_headers);
	r->on_message = rpc_tag(up_message);
	r->on_status = rpc_tag(up_status);
	r->on_touch = rpc_tag(touched);
	r->on_patience = rpc_tag(patience_over);
	r->details = grpc_empty_slice();
	r->code = GRPC_STATUS_CANCELLED;
	pthread_mutex_init(&r->mutex, NULL);
	grpc_metadata_array_init(&r->headers);
	grpc_metadata_array_init(&r->trailers);
	outbox_init(&r->out, false, up_sent);
	write_request_headers(r, route);
	method = route->path ? grpc_slice_from_copied_string(route->path)
			     : grpc_slice_ref(c->details.method);
	r->up = rpc_channel_call(route->channel, NULL, rpc_loop_queue(c->home->loop), method,
				 c->details.deadline);
	grpc_slice_unref(method);
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
	read_down(r); /* what came with the headers */
	touch(r);
	pthread_mutex_unlock(&r->mutex);
	rpc_release(c); /* the method's reference; batches in flight have theirs */
}
