#include "common/rpc/outbound.h"

#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/rpc/details.h"
#include "common/rpc/inbound.h"
#include "common/rpc/payload.h"
#include "common/rpc/wait.h"

enum {
	DEFAULT_TIMEOUT_MS = 30000,
	/* A wait for a connection cannot be taken back, so it is had in slices. */
	CONNECT_SLICE_MS = 100,
};

/* clock_monotonic_ns()'s time as gRPC's. */
static gpr_timespec core_time(uint64_t monotonic_ns)
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

enum status outbound_init(struct outbound *o, struct rpc_channel *channel,
			  const struct rpc_options *options, struct error *err)
{
	const struct rpc_client_options *client = &channel->client->options;
	const struct rpc_call *parent = options ? options->parent : NULL;

	*o = (struct outbound){
		.channel = rpc_channel_ref(channel),
		.code = GRPC_STATUS_UNAVAILABLE,
		.message = grpc_empty_slice(),
		.deadline_ns = deadline_of(options),
		.wait_for_ready = options && options->wait_for_ready,
		.patient_until_ns = options && options->patience_ms
					    ? clock_monotonic_ns() +
						      (uint64_t)options->patience_ms * 1000000
					    : 0,
	};
	grpc_metadata_array_init(&o->initial);
	grpc_metadata_array_init(&o->trailers);
	if (parent) {
		(void)rpc_headers_add(&o->headers, RPC_REQUEST_ID_HEADER,
				      parent->identity.request_id);
		if (parent->identity.traceparent[0])
			(void)rpc_headers_add(&o->headers, RPC_TRACEPARENT_HEADER,
					      parent->identity.traceparent);
	}
	if (channel->trust == RPC_TRUST_DAEMON)
		rpc_headers_add_identity(
			&o->headers, client->daemon_key, client->name,
			parent && options->forward_caller ? &parent->identity.caller : NULL);
	return add_own_headers(&o->headers, options, err);
}

void outbound_release(struct outbound *o)
{
	grpc_metadata_array_destroy(&o->initial);
	grpc_metadata_array_destroy(&o->trailers);
	grpc_slice_unref(o->message);
	rpc_headers_release(&o->headers);
	if (o->core)
		grpc_call_unref(o->core);
	rpc_channel_unref(o->channel);
}

grpc_completion_queue *outbound_queue(const struct outbound *o)
{
	return rpc_loop_queue(o->channel->client->loop);
}

void outbound_create(struct outbound *o, const char *path, void *parent)
{
	grpc_slice method = grpc_slice_from_copied_string(path);
	grpc_call *parent_core = parent ? ((struct rpc_call *)parent)->core : NULL;

	o->core = rpc_channel_call(o->channel, parent_core, outbound_queue(o), method,
				   core_time(o->deadline_ns));
	grpc_slice_unref(method);
}

grpc_op outbound_send_headers(struct outbound *o)
{
	grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};

	if (o->wait_for_ready)
		op.flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
			   GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
	op.data.send_initial_metadata.metadata = o->headers.items;
	op.data.send_initial_metadata.count = o->headers.count;
	return op;
}

grpc_op outbound_receive_headers(struct outbound *o)
{
	grpc_op op = {.op = GRPC_OP_RECV_INITIAL_METADATA};

	op.data.recv_initial_metadata.recv_initial_metadata = &o->initial;
	return op;
}

grpc_op outbound_receive_status(struct outbound *o)
{
	grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	op.data.recv_status_on_client.trailing_metadata = &o->trailers;
	op.data.recv_status_on_client.status = &o->code;
	op.data.recv_status_on_client.status_details = &o->message;
	return op;
}

static enum status status_of(grpc_status_code code)
{
	return (unsigned)code <= STATUS_UNAUTHENTICATED ? (enum status)code : STATUS_UNKNOWN;
}

enum status outbound_status(const struct outbound *o, struct error *err)
{
	char message[sizeof(err->message)];
	enum status status = status_of(o->code);

	if (status == STATUS_OK)
		return STATUS_OK;
	rpc_slice_text(o->message, message, sizeof(message));
	error_set(err, status, "%s", message);
	for (size_t i = 0; err && i < o->trailers.count; i++)
		if (rpc_slice_is(&o->trailers.metadata[i].key, RPC_STATUS_DETAILS))
			rpc_details_read(rpc_slice_bytes(&o->trailers.metadata[i].value), err);
	return status;
}

/* ----------------------------------------------------------------- connecting */

enum outbound_readiness outbound_readiness(const struct outbound *o,
					   grpc_connectivity_state *ret_state)
{
	*ret_state = rpc_channel_state(o->channel, true);
	switch (*ret_state) {
	case GRPC_CHANNEL_READY:
		return OUTBOUND_READY;
	case GRPC_CHANNEL_TRANSIENT_FAILURE:
		return o->wait_for_ready || clock_monotonic_ns() < o->patient_until_ns
			       ? OUTBOUND_NOT_YET
			       : OUTBOUND_NEVER;
	case GRPC_CHANNEL_SHUTDOWN:
		return OUTBOUND_NEVER;
	case GRPC_CHANNEL_IDLE:
	case GRPC_CHANNEL_CONNECTING:
	default:
		return OUTBOUND_NOT_YET;
	}
}

static uint64_t slice_end(uint64_t deadline_ns)
{
	uint64_t end = clock_monotonic_ns() + CONNECT_SLICE_MS * UINT64_C(1000000);

	return end < deadline_ns ? end : deadline_ns;
}

void outbound_watch(const struct outbound *o, grpc_connectivity_state state, void *tag)
{
	rpc_channel_watch(o->channel, state, core_time(slice_end(o->deadline_ns)),
			  outbound_queue(o), tag);
}

enum status outbound_not_connected(const struct outbound *o, struct error *err)
{
	if (clock_monotonic_ns() >= o->deadline_ns)
		return error_set(err, STATUS_DEADLINE_EXCEEDED,
				 "the deadline passed while connecting to %s",
				 o->channel->target);
	return rpc_channel_explain(o->channel, err);
}

/* ------------------------------------------------- on the caller's own thread */

static void await_change(const struct outbound *o, grpc_connectivity_state state)
{
	struct rpc_wait change;

	rpc_wait_init(&change);
	outbound_watch(o, state, rpc_wait_begin(&change));
	(void)rpc_wait_end(&change); /* the state is looked at anew */
	rpc_wait_release(&change);
}

bool outbound_connect(struct outbound *o, const struct rpc_options *options)
{
	grpc_connectivity_state state;

	for (;;) {
		enum outbound_readiness r = outbound_readiness(o, &state);
		if (r == OUTBOUND_READY)
			return true;
		if (r == OUTBOUND_NEVER || clock_monotonic_ns() >= o->deadline_ns ||
		    (options && options->parent && rpc_is_cancelled(options->parent)))
			return false;
		await_change(o, state);
	}
}
