/* Protobuf-c services: from bytes to a method and back. */
#include <errno.h>
#include <grpc/byte_buffer.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/rpc/client.h"
#include "common/rpc/inbound.h"
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
	/* A client that takes nothing for so long does not get the rest. */
	STALL_MS = 20000,
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

static bool is_open(struct rpc_call *c)
{
	return c->out.end == OUTBOX_NONE && !c->read_failed &&
	       !(c->closed && c->core_cancelled);
}

static bool wait_for_room(struct rpc_call *c)
{
	struct timespec until;
	bool room;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STALL_MS / 1000;
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

static bool decode(struct rpc_call *c, ProtobufCMessage **ret_message)
{
	const ProtobufCMethodDescriptor *d =
		&c->method->service->descriptor->methods[c->method->index];
	struct arena *arena = streams_in(c) ? &c->message_arena : &c->arena;
	struct error err;

	c->request_bytes = rpc_payload_bytes(c->request, &c->request_slice);
	if (rpc_unpack(d->input, c->request_bytes, arena, ret_message, &err) == STATUS_OK)
		return true;
	rpc_fail_error(c, &err);
	return false;
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

/* Run the method with what came last: a message, or the half-close. */
static void run(struct rpc_call *c)
{
	struct rpc_method *m = c->method;
	ProtobufCMessage *message = NULL;
	bool is_message = c->request != NULL;

	if (rpc_call_is_over(c)) {
		bool late = clock_monotonic_ns() >= c->deadline_ns;
		rpc_fail(c, late ? STATUS_DEADLINE_EXCEEDED : STATUS_CANCELLED,
			 late ? "the deadline passed before the call was begun"
			      : "the call was cancelled");
		return;
	}
	if (is_message && !decode(c, &message))
		return;
	m->service->invoke(m->service, m->index, message, service_reply, c);
	if (!streams_in(c) || !is_message)
		return;
	rpc_call_drop_request(c);
	arena_reset(&c->message_arena);
	/* Once it has ended there is nothing to read, and no event would follow. */
	if (has_ended(c))
		end_cut_off(c);
	else
		rpc_call_read(c);
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
	if (!rpc_pool_submit(m->server->pool, run_pooled, c)) {
		rpc_call_reject(c, STATUS_RESOURCE_EXHAUSTED, "too many calls are waiting");
		rpc_release(c);
	}
}

void rpc_service_open(struct rpc_call *c)
{
	grpc_byte_buffer *payload = c->incoming;

	if (!is_implemented(c->method)) {
		rpc_call_reject(c, STATUS_UNIMPLEMENTED, "%s is not implemented",
				c->method->path);
		return;
	}
	if (streams_in(c)) {
		rpc_call_read(c);
		return;
	}
	c->incoming = NULL;
	if (payload)
		dispatch(c, payload);
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
}

const struct rpc_call_ops rpc_service_ops = {
	.message = service_message,
	.sent = service_sent,
	.closed = service_closed,
};
