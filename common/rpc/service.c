/* Protobuf-c services: from bytes to a method and back. */
#include <errno.h>
#include <grpc/byte_buffer.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/reflect/cwire.h"
#include "common/reflect/wire.h"
#include "common/rpc/client.h"
#include "common/rpc/inbound.h"
#include "common/rpc/inflate.h"
#include "common/rpc/payload.h"
#include "common/rpc/pool.h"

enum {
	/* Unpacking more than this is no work for a loop thread. */
	MAX_INLINE_BYTES = 64 << 10,
	/* What a writer may have queued before it waits. */
	MAX_BACKLOG = 16,
	MAX_BACKLOG_BYTES = 4 << 20,
	/* The same where it cannot wait. */
	MAX_LOOP_BACKLOG = 1024,
	/* While so much is queued, a client that streams is not listened to. */
	MAX_AHEAD = 8,
	MAX_AHEAD_BYTES = 1 << 20,
};

static bool streams_in(const struct rpc_call *c)
{
	return c->method->kind & RPC_KIND_UP;
}

/* -------------------------------------------------------------------- replies */

static bool has_room(const struct outbox *out)
{
	return out->queued < MAX_BACKLOG && out->queued_bytes < MAX_BACKLOG_BYTES;
}

bool rpc_has_room(void *call)
{
	struct rpc_call *c = call;
	bool room;

	pthread_mutex_lock(&c->mutex);
	room = has_room(&c->out);
	pthread_mutex_unlock(&c->mutex);
	return room;
}

static bool is_open(struct rpc_call *c)
{
	return c->out.end == OUTBOX_NONE && !c->read_failed &&
	       !(c->closed && c->core_cancelled);
}

static bool wait_for_room(struct rpc_call *c)
{
	const int stall_ms = c->method->server->options.stall_ms;
	struct timespec until;
	bool room;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += stall_ms / 1000;
	until.tv_nsec += stall_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&c->mutex);
	while (is_open(c) && !has_room(&c->out))
		if (pthread_cond_timedwait(&c->changed, &c->mutex, &until) == ETIMEDOUT)
			break;
	room = !is_open(c) || has_room(&c->out);
	pthread_mutex_unlock(&c->mutex);
	return room;
}

static void stream_reply(struct rpc_call *c, const ProtobufCMessage *reply)
{
	bool room = rpc_on_loop() ? rpc_backlog(c) < MAX_LOOP_BACKLOG : wait_for_room(c);

	if (!room) {
		rpc_fail(c, STATUS_RESOURCE_EXHAUSTED,
			 "the client does not take what it asked for");
		return;
	}
	if (rpc_call_push(c, rpc_payload_of_message(reply)))
		rpc_call_flush(c);
}

static void service_reply(const ProtobufCMessage *reply, void *call)
{
	struct rpc_call *c = call;

	if (!reply) {
		rpc_fail(c, STATUS_INTERNAL, "the method has no reply");
		return;
	}
	if (c->method->kind & RPC_KIND_DOWN) {
		stream_reply(c, reply);
		return;
	}
	if (!rpc_call_claim_end(c))
		return;
	rpc_call_reply(c, rpc_payload_of_message(reply));
	rpc_call_account(c, STATUS_OK);
	rpc_release(c);
}

/* ------------------------------------------------------------------- requests */

/* The message without field @number, in @arena. NULL data: past the arena's limit. */
static struct bytes without_field(struct bytes message, uint32_t number, struct arena *arena)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;
	size_t len = 0;
	uint8_t *out;

	while (wire_next(&c, &f))
		len += f.number == number ? 0 : f.raw.size;
	out = arena_try_alloc(arena, len + 1);
	c = wire_cursor_of(message);
	for (len = 0; out && wire_next(&c, &f);) {
		if (f.number == number)
			continue;
		memcpy(out + len, f.raw.data, f.raw.size);
		len += f.raw.size;
	}
	return bytes_of(out, len);
}

static enum status unpack_rest(const struct rpc_call *c, const ProtobufCMessageDescriptor *type,
			       struct arena *arena, ProtobufCMessage **ret_message,
			       struct error *err)
{
	enum status status = cwire_check(type, c->request_bytes, err);
	struct bytes rest;

	if (status != STATUS_OK)
		return status;
	rest = without_field(c->request_bytes, c->method->packed_field, arena);
	return rest.data
		       ? rpc_unpack(type, rest, arena, ret_message, err)
		       : error_set(err, STATUS_RESOURCE_EXHAUSTED, "the message is too large");
}

static enum status decode(struct rpc_call *c, ProtobufCMessage **ret_message, struct error *err)
{
	const ProtobufCMethodDescriptor *d =
		&c->method->service->descriptor->methods[c->method->index];
	struct arena *arena = streams_in(c) ? &c->message_arena : &c->arena;

	c->request_bytes = rpc_payload_bytes(c->request, &c->request_slice);
	if (c->method->packed_field)
		return unpack_rest(c, d->input, arena, ret_message, err);
	return rpc_unpack(d->input, c->request_bytes, arena, ret_message, err);
}

/* Generated services keep their methods as pointers behind the base. */
static bool is_implemented(const struct rpc_method *m)
{
	typedef void (*method_pointer)(void);
	const method_pointer *methods = (const method_pointer *)(const void *)(m->service + 1);

	return m->service->invoke != protobuf_c_service_invoke_internal || methods[m->index];
}

static bool has_ended(struct rpc_call *c)
{
	bool ended;

	pthread_mutex_lock(&c->mutex);
	ended = c->ended || c->out.end != OUTBOX_NONE;
	pthread_mutex_unlock(&c->mutex);
	return ended;
}

/* For a call that was cut off while no method was at it. */
static void end_cut_off(struct rpc_call *c)
{
	if (!rpc_call_claim_end(c))
		return;
	rpc_call_account(c, STATUS_CANCELLED);
	rpc_release(c);
}

static bool is_ahead(const struct outbox *out)
{
	return out->queued >= MAX_AHEAD || out->queued_bytes >= MAX_AHEAD_BYTES;
}

static uint64_t stalls_at_ns(const struct rpc_call *c)
{
	return clock_monotonic_ns() +
	       (uint64_t)c->method->server->options.stall_ms * UINT64_C(1000000);
}

/*
 * Who asks and does not take the answers is not listened to until it does: the
 * method would wait for it, and keep a thread from others.
 */
static void read_on(struct rpc_call *c)
{
	bool paused;

	pthread_mutex_lock(&c->mutex);
	paused = c->read_paused = is_ahead(&c->out);
	if (paused)
		rpc_due_put(c, &c->home->stalled, stalls_at_ns(c));
	pthread_mutex_unlock(&c->mutex);
	if (!paused)
		rpc_call_read(c);
}

/* Something was taken; whatever else is queued of a call that is over, is so at once. */
static void listen_again(struct rpc_call *c)
{
	bool resume;

	pthread_mutex_lock(&c->mutex);
	resume = c->read_paused && !is_ahead(&c->out);
	if (resume)
		rpc_due_remove(c);
	else if (c->read_paused)
		rpc_due_put(c, &c->home->stalled, stalls_at_ns(c));
	c->read_paused = c->read_paused && !resume;
	pthread_mutex_unlock(&c->mutex);
	if (resume)
		rpc_call_read(c);
}

/* Give the method what came last: a message, or NULL at the half-close. */
static void invoke(struct rpc_call *c)
{
	struct rpc_method *m = c->method;
	ProtobufCMessage *message = NULL;
	enum status status = STATUS_OK;
	struct error err;

	if (c->request)
		status = decode(c, &message, &err);
	if (status == STATUS_OK)
		m->service->invoke(m->service, m->index, message, service_reply, c);
	else if (m->refused)
		m->refused(c, &err, service_reply);
	else
		rpc_fail_error(c, &err);
}

static void run(struct rpc_call *c)
{
	bool is_message = c->request != NULL;

	if (rpc_call_is_over(c)) {
		bool late = clock_monotonic_ns() >= c->deadline_ns;
		rpc_fail(c, late ? STATUS_DEADLINE_EXCEEDED : STATUS_CANCELLED,
			 late ? "the deadline passed before the call was begun"
			      : "the call was cancelled");
		return;
	}
	invoke(c);
	if (!streams_in(c) || !is_message)
		return;
	rpc_call_drop_request(c);
	arena_reset(&c->message_arena);
	/* Once it has ended there is nothing to read, and no event would follow. */
	if (has_ended(c))
		end_cut_off(c);
	else
		read_on(c);
}

static void run_pooled(void *arg)
{
	run(arg);
	rpc_release(arg);
}

static void dispatch(struct rpc_call *c, grpc_byte_buffer *payload)
{
	struct rpc_method *m = c->method;

	c->request = payload;
	if (m->run == RPC_RUN_INLINE &&
	    (!payload || grpc_byte_buffer_length(payload) <= MAX_INLINE_BYTES)) {
		run(c);
		return;
	}
	rpc_hold(c);
	if (!rpc_pool_submit(m->pool, run_pooled, c)) {
		rpc_call_reject(c, STATUS_RESOURCE_EXHAUSTED, "too many calls are waiting");
		rpc_release(c);
	}
}

/* The message of a unary call; NULL: there is none, or it cannot be inflated and *ret_code is
 * why. */
static grpc_byte_buffer *take_message(struct rpc_call *c, grpc_status_code *ret_code,
				      char why[INFLATE_MESSAGE_BYTES])
{
	grpc_byte_buffer *payload = c->incoming;

	c->incoming = NULL;
	*ret_code = rpc_is_compressed(payload)
			    ? rpc_inflate(&payload,
					  c->method->server->options.max_message_bytes, why)
			    : GRPC_STATUS_OK;
	return payload;
}

void rpc_service_open(struct rpc_call *c)
{
	grpc_byte_buffer *payload;
	grpc_status_code code;
	char why[INFLATE_MESSAGE_BYTES];

	if (!is_implemented(c->method)) {
		rpc_call_reject(c, STATUS_UNIMPLEMENTED, "%s is not implemented",
				c->method->path);
		return;
	}
	if (streams_in(c)) {
		rpc_call_read(c);
		return;
	}
	payload = take_message(c, &code, why);
	if (payload)
		dispatch(c, payload);
	else if (code != GRPC_STATUS_OK)
		rpc_fail(c, (enum status)code, "%s", why);
	else /* cut off, larger than what is taken, or empty-handed */
		rpc_fail(c, STATUS_INVALID_ARGUMENT, "the call brought no message");
}

static void service_message(struct rpc_call *c, grpc_byte_buffer *payload)
{
	bool half_closed;

	if (has_ended(c)) {
		if (payload)
			grpc_byte_buffer_destroy(payload);
		end_cut_off(c);
		return;
	}
	pthread_mutex_lock(&c->mutex);
	half_closed = c->half_closed;
	pthread_mutex_unlock(&c->mutex);
	if (payload || half_closed)
		dispatch(c, payload);
	else
		rpc_fail(c, STATUS_CANCELLED, "the call was cut off");
}

static void service_closed(struct rpc_call *c, bool cancelled)
{
	if (!cancelled)
		return;
	/* Lets gRPC's half of the call go; the method ends its own. */
	rpc_call_set_end(c, GRPC_STATUS_CANCELLED, grpc_empty_slice(), NULL, 0);
	rpc_call_flush(c);
}

static void service_sent(struct rpc_call *c)
{
	void (*notify)(void *);
	void *arg;

	pthread_mutex_lock(&c->mutex);
	notify = c->sent;
	arg = c->sent_arg;
	pthread_mutex_unlock(&c->mutex);
	if (notify)
		notify(arg);
	listen_again(c);
}

const struct rpc_call_ops rpc_service_ops = {
	.message = service_message,
	.sent = service_sent,
	.closed = service_closed,
};
