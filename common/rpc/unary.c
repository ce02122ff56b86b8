/* Outbound unary calls: on the caller's thread, or with a callback. */
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/rpc/details.h"
#include "common/rpc/inbound.h"
#include "common/rpc/outbound.h"
#include "common/rpc/payload.h"

enum {
	DEFAULT_TIMEOUT_MS = 30000,
	/* A wait for a connection cannot be taken back, so it is had in slices. */
	CONNECT_SLICE_MS = 100,
};

/* Six operations, one batch, one event. */
struct unary {
	struct rpc_channel *channel;
	grpc_call *core; /* NULL: not started */
	struct rpc_headers headers;
	grpc_byte_buffer *request, *reply;
	grpc_metadata_array initial, trailers;
	grpc_status_code code;
	grpc_slice message;
	uint64_t deadline_ns;
	bool wait_for_ready;
};

gpr_timespec rpc_core_time(uint64_t monotonic_ns)
{
	return (gpr_timespec){.tv_sec = (int64_t)(monotonic_ns / 1000000000),
			      .tv_nsec = (int32_t)(monotonic_ns % 1000000000),
			      .clock_type = GPR_CLOCK_MONOTONIC};
}

static uint64_t deadline_of(const struct rpc_options *o)
{
	uint64_t now = clock_monotonic_ns(), deadline;
	uint64_t timeout_ms = o && o->timeout_ms > 0 ? (uint64_t)o->timeout_ms : 0;
	const struct rpc_call *parent = o ? o->parent : NULL;

	if (!timeout_ms && parent)
		return parent->deadline_ns;
	deadline = now + (timeout_ms ? timeout_ms : DEFAULT_TIMEOUT_MS) * 1000000;
	return parent && parent->deadline_ns < deadline ? parent->deadline_ns : deadline;
}

static enum status add_own_headers(struct rpc_headers *h, const struct rpc_options *o,
				   struct error *err)
{
	for (size_t i = 0; o && i < o->header_count; i++) {
		const struct rpc_header *pair = &o->headers[i];
		if (!strncmp(pair->key, RPC_INTERNAL_PREFIX, strlen(RPC_INTERNAL_PREFIX)) ||
		    !rpc_headers_add(h, pair->key, pair->value))
			return error_set(err, STATUS_INVALID_ARGUMENT,
					 "'%.64s' cannot be sent as metadata", pair->key);
	}
	return STATUS_OK;
}

static enum status unary_init(struct unary *u, struct rpc_channel *channel,
			      const struct rpc_options *o, struct error *err)
{
	const struct rpc_client_options *client = &channel->client->options;
	const struct rpc_call *parent = o ? o->parent : NULL;

	*u = (struct unary){
		.channel = channel,
		.code = GRPC_STATUS_UNAVAILABLE,
		.message = grpc_empty_slice(),
		.deadline_ns = deadline_of(o),
		.wait_for_ready = o && o->wait_for_ready,
	};
	grpc_metadata_array_init(&u->initial);
	grpc_metadata_array_init(&u->trailers);
	if (parent) {
		(void)rpc_headers_add(&u->headers, RPC_REQUEST_ID_HEADER,
				      parent->identity.request_id);
		if (parent->identity.traceparent[0])
			(void)rpc_headers_add(&u->headers, RPC_TRACEPARENT_HEADER,
					      parent->identity.traceparent);
	}
	if (channel->trust == RPC_TRUST_DAEMON)
		rpc_headers_add_identity(&u->headers, client->daemon_key, client->name,
					 parent && o->forward_caller ? &parent->identity.caller
								     : NULL);
	return add_own_headers(&u->headers, o, err);
}

static void unary_release(struct unary *u)
{
	if (u->request)
		grpc_byte_buffer_destroy(u->request);
	if (u->reply)
		grpc_byte_buffer_destroy(u->reply);
	grpc_metadata_array_destroy(&u->initial);
	grpc_metadata_array_destroy(&u->trailers);
	grpc_slice_unref(u->message);
	rpc_headers_release(&u->headers);
	if (u->core)
		grpc_call_unref(u->core);
}

/* u->core is made here, under the caller's lock if it has one. */
static void unary_create(struct unary *u, const char *path, grpc_completion_queue *queue,
			 void *parent)
{
	grpc_slice method = grpc_slice_from_copied_string(path);
	grpc_call *parent_core = parent ? ((struct rpc_call *)parent)->core : NULL;

	u->core = grpc_channel_create_call(u->channel->core, parent_core,
					   parent_core ? GRPC_PROPAGATE_CANCELLATION : 0, queue,
					   method, NULL, rpc_core_time(u->deadline_ns), NULL);
	grpc_slice_unref(method);
}

static void unary_send(struct unary *u, struct grpc_completion_queue_functor *tag)
{
	grpc_op op[6] = {
		{.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
		{.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
		{.op = GRPC_OP_RECV_MESSAGE},           {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};

	if (u->wait_for_ready)
		op[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
			      GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
	op[0].data.send_initial_metadata.metadata = u->headers.items;
	op[0].data.send_initial_metadata.count = u->headers.count;
	op[1].data.send_message.send_message = u->request;
	op[3].data.recv_initial_metadata.recv_initial_metadata = &u->initial;
	op[4].data.recv_message.recv_message = &u->reply;
	op[5].data.recv_status_on_client.trailing_metadata = &u->trailers;
	op[5].data.recv_status_on_client.status = &u->code;
	op[5].data.recv_status_on_client.status_details = &u->message;
	rpc_batch(u->core, op, 6, tag);
}

/* ------------------------------------------------------------------- outcomes */

static void take_trailers(const struct unary *u, struct arena *arena,
			  struct rpc_outcome *ret_outcome)
{
	struct rpc_header *out = arena_alloc(arena, u->trailers.count * sizeof(*out));
	size_t n = 0;

	for (size_t i = 0; i < u->trailers.count; i++) {
		const grpc_metadata *m = &u->trailers.metadata[i];
		struct bytes key = rpc_slice_bytes(&m->key), value = rpc_slice_bytes(&m->value);
		if (rpc_slice_is(&m->key, RPC_NOT_PROCESSED))
			ret_outcome->not_processed = true;
		if (grpc_is_binary_header(m->key)) /* its value is no text */
			continue;
		out[n].key = arena_strndup(arena, (const char *)key.data, key.size);
		out[n].value = arena_strndup(arena, (const char *)value.data, value.size);
		n++;
	}
	ret_outcome->trailers = out;
	ret_outcome->trailer_count = n;
}

static enum status status_of(grpc_status_code code)
{
	return (unsigned)code <= STATUS_UNAUTHENTICATED ? (enum status)code : STATUS_UNKNOWN;
}

/* The result of a call that has ended; the outcome's texts go into @arena. */
static enum status unary_result(const struct unary *u, struct arena *arena,
				struct rpc_outcome *ret_outcome, struct error *err)
{
	char message[sizeof(err->message)];
	enum status status = status_of(u->code);

	*ret_outcome = (struct rpc_outcome){0};
	if (u->core)
		take_trailers(u, arena, ret_outcome);
	if (status == STATUS_OK && !u->reply)
		return error_set(err, STATUS_INTERNAL, "%s answered without a message",
				 u->channel->target);
	if (status == STATUS_OK)
		return STATUS_OK;
	rpc_slice_text(u->message, message, sizeof(message));
	error_set(err, status, "%s", message);
	for (size_t i = 0; err && i < u->trailers.count; i++)
		if (rpc_slice_is(&u->trailers.metadata[i].key, RPC_STATUS_DETAILS))
			rpc_details_read(rpc_slice_bytes(&u->trailers.metadata[i].value), err);
	return status;
}

enum readiness { READY, NOT_YET, NEVER };

/*
 * A call is started on a ready channel only: when it cannot be had, the call
 * certainly was not processed, which gRPC itself does not tell.
 */
static enum readiness readiness_of(struct rpc_channel *channel, bool wait_for_ready,
				   grpc_connectivity_state *ret_state)
{
	*ret_state = grpc_channel_check_connectivity_state(channel->core, 1);
	switch (*ret_state) {
	case GRPC_CHANNEL_READY:
		return READY;
	case GRPC_CHANNEL_TRANSIENT_FAILURE:
		return wait_for_ready ? NOT_YET : NEVER;
	case GRPC_CHANNEL_SHUTDOWN:
		return NEVER;
	case GRPC_CHANNEL_IDLE:
	case GRPC_CHANNEL_CONNECTING:
	default:
		return NOT_YET;
	}
}

static uint64_t slice_end(uint64_t deadline_ns)
{
	uint64_t end = clock_monotonic_ns() + CONNECT_SLICE_MS * UINT64_C(1000000);

	return end < deadline_ns ? end : deadline_ns;
}

static enum status not_connected(const struct unary *u, struct error *err)
{
	if (clock_monotonic_ns() >= u->deadline_ns)
		return error_set(err, STATUS_DEADLINE_EXCEEDED,
				 "the deadline passed while connecting to %s",
				 u->channel->target);
	return error_set(err, STATUS_UNAVAILABLE, "cannot connect to %s", u->channel->target);
}

/* ---------------------------------------------------------------- synchronous */

static pthread_key_t pluck_key;
static pthread_once_t pluck_once = PTHREAD_ONCE_INIT;

static void pluck_drop(void *value)
{
	grpc_completion_queue *queue = value;

	grpc_completion_queue_shutdown(queue);
	while (grpc_completion_queue_pluck(queue, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC),
					   NULL)
		       .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(queue);
	grpc_shutdown();
}

static void pluck_init(void)
{
	if (pthread_key_create(&pluck_key, pluck_drop))
		abort();
}

/* A queue of the calling thread, freed when the thread ends. */
static grpc_completion_queue *pluck_queue(void)
{
	grpc_completion_queue *queue;

	pthread_once(&pluck_once, pluck_init);
	queue = pthread_getspecific(pluck_key);
	if (!queue) {
		grpc_init();
		queue = grpc_completion_queue_create_for_pluck(NULL);
		pthread_setspecific(pluck_key, queue);
	}
	return queue;
}

static void pluck(grpc_completion_queue *queue, void *tag)
{
	(void)grpc_completion_queue_pluck(queue, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC),
					  NULL);
}

static bool wait_connected(struct unary *u, grpc_completion_queue *queue,
			   const struct rpc_options *o)
{
	grpc_connectivity_state state;

	for (;;) {
		enum readiness r = readiness_of(u->channel, u->wait_for_ready, &state);
		if (r == READY)
			return true;
		if (r == NEVER || clock_monotonic_ns() >= u->deadline_ns ||
		    (o && o->parent && rpc_is_cancelled(o->parent)))
			return false;
		grpc_channel_watch_connectivity_state(u->channel->core, state,
						      rpc_core_time(slice_end(u->deadline_ns)),
						      queue, u);
		pluck(queue, u);
	}
}

/* With @u filled in and its request set; *u must be released in any case. */
static enum status call_and_wait(struct unary *u, const char *path, const struct rpc_options *o,
				 struct arena *arena, struct rpc_outcome *ret_outcome,
				 struct error *err)
{
	struct grpc_completion_queue_functor tag = rpc_tag(NULL);
	grpc_completion_queue *queue = pluck_queue();

	if (!wait_connected(u, queue, o)) {
		*ret_outcome = (struct rpc_outcome){.not_processed = true};
		return not_connected(u, err);
	}
	unary_create(u, path, queue, o ? o->parent : NULL);
	unary_send(u, &tag);
	pluck(queue, &tag);
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
	size_t limit = arena->limit_bytes, cap = u->channel->client->options.max_unpacked_bytes;
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
				   u->channel->target, type->name);
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
	pthread_mutex_t mutex; /* guards cancelled, and unary.core while it is made */
	bool cancelled;
	char *path;
	struct rpc_call *parent; /* held */
	rpc_done *done;
	void *arg;
};

static grpc_completion_queue *queue_of(const struct rpc_pending *p)
{
	return rpc_loop_queue(p->unary.channel->client->loop);
}

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
		unary_create(&p->unary, p->path, queue_of(p), p->parent);
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
		switch (readiness_of(p->unary.channel, p->unary.wait_for_ready, &state)) {
		case READY:
			if (pending_start(p))
				return;
			cancelled = true;
			break;
		case NOT_YET:
			if (clock_monotonic_ns() >= p->unary.deadline_ns)
				break;
			grpc_channel_watch_connectivity_state(
				p->unary.channel->core, state,
				rpc_core_time(slice_end(p->unary.deadline_ns)), queue_of(p),
				&p->tag);
			return;
		case NEVER:
			break;
		}
	}
	if (cancelled)
		error_set(&err, STATUS_CANCELLED, "the call was cancelled before it started");
	else
		not_connected(&p->unary, &err);
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
	if (legal && readiness_of(channel, p->unary.wait_for_ready, &state) == READY) {
		(void)pending_start(p); /* nobody can have cancelled it yet */
		return;
	}
	/* All else goes on, and ends, on the loop. */
	p->tag = rpc_tag(legal ? pending_connect : pending_refused);
	rpc_alarm(queue_of(p), 0, &p->tag);
}

void rpc_cancel(struct rpc_pending *p)
{
	pthread_mutex_lock(&p->mutex);
	p->cancelled = true;
	if (p->unary.core)
		grpc_call_cancel(p->unary.core, NULL);
	pthread_mutex_unlock(&p->mutex);
}
