/* Outbound unary calls: on the caller's thread, or with a callback. */
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/rpc/inbound.h"
#include "common/rpc/inflate.h"
#include "common/rpc/outbound.h"
#include "common/rpc/payload.h"
#include "common/rpc/wait.h"

/* Six operations, one batch, one event. */
struct unary {
	struct outbound out;
	grpc_byte_buffer *request, *reply;
};

static enum status unary_init(struct unary *u, struct rpc_channel *channel,
			      const struct rpc_options *options, struct error *err)
{
	u->request = u->reply = NULL;
	return outbound_init(&u->out, channel, options, err);
}

static void unary_release(struct unary *u)
{
	if (u->request)
		grpc_byte_buffer_destroy(u->request);
	if (u->reply)
		grpc_byte_buffer_destroy(u->reply);
	outbound_release(&u->out);
}

static void unary_send(struct unary *u, struct grpc_completion_queue_functor *tag)
{
	grpc_op op[6] = {
		outbound_send_headers(&u->out),         {.op = GRPC_OP_SEND_MESSAGE},
		{.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, outbound_receive_headers(&u->out),
		{.op = GRPC_OP_RECV_MESSAGE},           outbound_receive_status(&u->out),
	};

	op[1].data.send_message.send_message = u->request;
	op[4].data.recv_message.recv_message = &u->reply;
	rpc_batch(u->out.core, op, 6, tag);
}

/* ------------------------------------------------------------------- outcomes */

static void take_trailers(const struct outbound *o, struct arena *arena,
			  struct rpc_outcome *ret_outcome)
{
	struct rpc_header *headers = arena_alloc(arena, o->trailers.count * sizeof(*headers));
	size_t n = 0;

	for (size_t i = 0; i < o->trailers.count; i++) {
		const grpc_metadata *m = &o->trailers.metadata[i];
		struct bytes key = rpc_slice_bytes(&m->key), value = rpc_slice_bytes(&m->value);
		if (rpc_slice_is(&m->key, RPC_NOT_PROCESSED))
			ret_outcome->not_processed = true;
		if (grpc_is_binary_header(m->key)) /* its value is no text */
			continue;
		headers[n].key = arena_strndup(arena, (const char *)key.data, key.size);
		headers[n].value = arena_strndup(arena, (const char *)value.data, value.size);
		n++;
	}
	ret_outcome->trailers = headers;
	ret_outcome->trailer_count = n;
}

/* The result of a call that has ended; the outcome's texts go into @arena. */
static enum status unary_result(struct unary *u, struct arena *arena,
				struct rpc_outcome *ret_outcome, struct error *err)
{
	enum status status = outbound_status(&u->out, err);
	char message[INFLATE_MESSAGE_BYTES];
	grpc_status_code code;

	*ret_outcome = (struct rpc_outcome){0};
	if (u->out.core)
		take_trailers(&u->out, arena, ret_outcome);
	if (status == STATUS_OK && rpc_is_compressed(u->reply)) {
		code = rpc_inflate(&u->reply, u->out.channel->client->options.max_message_bytes,
				   message);
		if (code != GRPC_STATUS_OK)
			return error_set(err, (enum status)code, "%s: %s",
					 u->out.channel->target, message);
	}
	if (status == STATUS_OK && !u->reply)
		return error_set(err, STATUS_INTERNAL, "%s answered without a message",
				 u->out.channel->target);
	return status;
}

/* ---------------------------------------------------------------- synchronous */

/* With @u filled in and its request set; *u must be released in any case. */
static enum status call_and_wait(struct unary *u, const char *path, const struct rpc_options *o,
				 struct arena *arena, struct rpc_outcome *ret_outcome,
				 struct error *err)
{
	struct rpc_wait answer;

	if (!outbound_connect(&u->out, o)) {
		*ret_outcome = (struct rpc_outcome){.not_processed = true};
		return outbound_not_connected(&u->out, err);
	}
	outbound_create(&u->out, path, o ? o->parent : NULL);
	rpc_wait_init(&answer);
	unary_send(u, rpc_wait_begin(&answer));
	(void)rpc_wait_end(&answer); /* the status says it */
	rpc_wait_release(&answer);
	return unary_result(u, arena, ret_outcome, err);
}

enum status rpc_invoke_raw(struct rpc_channel *channel, const char *path, struct bytes request,
			   const struct rpc_options *options, struct arena *arena,
			   struct bytes *ret_reply, struct rpc_outcome *ret_outcome,
			   struct error *err)
{
	struct rpc_outcome ignored;
	struct unary u;
	enum status status = unary_init(&u, channel, options, err);
	grpc_slice slice;

	if (!ret_outcome)
		ret_outcome = &ignored;
	*ret_outcome = (struct rpc_outcome){.not_processed = true};
	if (status == STATUS_OK) {
		u.request = rpc_payload_of_bytes(request);
		status = call_and_wait(&u, path, options, arena, ret_outcome, err);
	}
	if (status == STATUS_OK) {
		struct bytes reply = rpc_payload_bytes(u.reply, &slice);
		*ret_reply = bytes_of(arena_memdup(arena, reply.data, reply.size), reply.size);
		grpc_slice_unref(slice);
	}
	unary_release(&u);
	return status;
}

/* Unpack within the client's cap, whatever room the caller's arena has. */
static enum status unpack_reply(struct unary *u, const ProtobufCMessageDescriptor *type,
				struct arena *arena, ProtobufCMessage **ret_reply,
				struct error *err)
{
	size_t limit = arena->limit_bytes,
	       cap = u->out.channel->client->options.max_unpacked_bytes;
	grpc_slice slice;
	struct bytes reply = rpc_payload_bytes(u->reply, &slice);
	enum status status;

	if (!limit || limit - arena->used_bytes > cap)
		arena->limit_bytes = arena->used_bytes + cap;
	status = rpc_unpack(type, reply, arena, ret_reply, err);
	arena->limit_bytes = limit;
	grpc_slice_unref(slice);
	if (status == STATUS_INVALID_ARGUMENT)
		status = error_set(err, STATUS_INTERNAL, "the reply of %s is not a %s",
				   u->out.channel->target, type->name);
	return status;
}

enum status rpc_invoke(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
		       const char *method, const ProtobufCMessage *request,
		       const struct rpc_options *options, struct arena *arena,
		       ProtobufCMessage **ret_reply, struct error *err)
{
	const ProtobufCMethodDescriptor *d =
		protobuf_c_service_descriptor_get_method_by_name(service, method);
	struct rpc_outcome ignored;
	struct unary u;
	enum status status = unary_init(&u, channel, options, err);
	char path[256];

	if (!d)
		abort(); /* a name that the program itself got wrong */
	snprintf(path, sizeof(path), "/%s/%s", service->name, method);
	if (status == STATUS_OK) {
		u.request = rpc_payload_of_message(request);
		status = call_and_wait(&u, path, options, arena, &ignored, err);
	}
	if (status == STATUS_OK)
		status = unpack_reply(&u, d->output, arena, ret_reply, err);
	unary_release(&u);
	return status;
}

/* --------------------------------------------------------------- asynchronous */

struct rpc_pending {
	struct unary unary;
	struct grpc_completion_queue_functor tag;
	pthread_mutex_t mutex; /* guards cancelled, and unary.out.core while it is made */
	bool cancelled;
	char *path;
	struct rpc_call *parent; /* held */
	rpc_done *done;
	void *arg;
};

static void pending_end(struct rpc_pending *p, enum status status, const struct error *err,
			struct bytes reply, const struct rpc_outcome *outcome)
{
	p->done(p->arg, status, err, reply, outcome);
	unary_release(&p->unary);
	if (p->parent)
		rpc_release(p->parent);
	pthread_mutex_destroy(&p->mutex);
	free(p->path);
	free(p);
}

static void pending_answered(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_pending *p = rpc_container(tag, struct rpc_pending, tag);
	struct error err = {.status = STATUS_OK};
	struct rpc_outcome outcome;
	struct arena arena;
	grpc_slice slice = grpc_empty_slice();
	struct bytes reply = bytes_of(NULL, 0);
	enum status status;

	(void)ok; /* the status says it */
	/* Who started the call, on another thread, may not have let go of it yet. */
	pthread_mutex_lock(&p->mutex);
	pthread_mutex_unlock(&p->mutex);
	arena_init(&arena, 0);
	status = unary_result(&p->unary, &arena, &outcome, &err);
	if (status == STATUS_OK)
		reply = rpc_payload_bytes(p->unary.reply, &slice);
	pending_end(p, status, &err, reply, &outcome);
	grpc_slice_unref(slice);
	arena_release(&arena);
}

static void pending_failed(struct rpc_pending *p, const struct error *err)
{
	const struct rpc_outcome outcome = {.not_processed = true};

	pending_end(p, err->status, err, bytes_of(NULL, 0), &outcome);
}

/* Start the call unless it was cancelled while it waited. */
static bool pending_start(struct rpc_pending *p)
{
	bool cancelled;

	pthread_mutex_lock(&p->mutex);
	cancelled = p->cancelled;
	if (!cancelled) {
		p->tag = rpc_tag(pending_answered);
		outbound_create(&p->unary.out, p->path, p->parent);
		unary_send(&p->unary, &p->tag);
	}
	pthread_mutex_unlock(&p->mutex);
	return !cancelled;
}

static void pending_connect(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_pending *p = rpc_container(tag, struct rpc_pending, tag);
	grpc_connectivity_state state;
	struct error err;
	bool cancelled;

	(void)ok; /* the state is looked at anew */
	pthread_mutex_lock(&p->mutex);
	cancelled = p->cancelled || (p->parent && rpc_is_cancelled(p->parent));
	pthread_mutex_unlock(&p->mutex);
	if (!cancelled) {
		switch (outbound_readiness(&p->unary.out, &state)) {
		case OUTBOUND_READY:
			if (pending_start(p))
				return;
			cancelled = true;
			break;
		case OUTBOUND_NOT_YET:
			if (clock_monotonic_ns() >= p->unary.out.deadline_ns)
				break;
			outbound_watch(&p->unary.out, state, &p->tag);
			return;
		case OUTBOUND_NEVER:
			break;
		}
	}
	if (cancelled)
		error_set(&err, STATUS_CANCELLED, "the call was cancelled before it started");
	else
		outbound_not_connected(&p->unary.out, &err);
	pending_failed(p, &err);
}

static void pending_refused(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_pending *p = rpc_container(tag, struct rpc_pending, tag);
	struct error err;

	(void)ok;
	error_set(&err, STATUS_INVALID_ARGUMENT, "the metadata cannot be sent");
	pending_failed(p, &err);
}

void rpc_start_raw(struct rpc_channel *channel, const char *path, struct bytes request,
		   const struct rpc_options *options, rpc_done *done, void *arg,
		   struct rpc_pending **ret_pending)
{
	struct rpc_pending *p = xcalloc(1, sizeof(*p));
	grpc_connectivity_state state;
	bool legal = unary_init(&p->unary, channel, options, NULL) == STATUS_OK;

	p->unary.request = rpc_payload_of_bytes(request);
	p->path = xstrdup(path);
	p->done = done;
	p->arg = arg;
	p->parent = options ? options->parent : NULL;
	if (p->parent)
		rpc_hold(p->parent);
	pthread_mutex_init(&p->mutex, NULL);
	if (ret_pending)
		*ret_pending = p;
	if (legal && outbound_readiness(&p->unary.out, &state) == OUTBOUND_READY) {
		(void)pending_start(p); /* nobody can have cancelled it yet */
		return;
	}
	/* All else goes on, and ends, on the loop. */
	p->tag = rpc_tag(legal ? pending_connect : pending_refused);
	rpc_alarm(outbound_queue(&p->unary.out), 0, &p->tag);
}

void rpc_cancel(struct rpc_pending *p)
{
	pthread_mutex_lock(&p->mutex);
	p->cancelled = true;
	if (p->unary.out.core)
		grpc_call_cancel(p->unary.out.core, NULL);
	pthread_mutex_unlock(&p->mutex);
}
