#include "common/rpc/stream.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/rpc/inflate.h"
#include "common/rpc/outbound.h"
#include "common/rpc/payload.h"
#include "common/rpc/wait.h"

struct rpc_stream {
	struct outbound out;
	struct rpc_wait headers, status, sent, read;
	bool ended;                /* the status was received */
	grpc_byte_buffer *message; /* the latest, and its bytes */
	grpc_slice slice;
};

/* One operation; false: it failed, as all do once the call is over. */
static bool run(struct rpc_stream *s, grpc_op op, struct rpc_wait *wait)
{
	rpc_batch(s->out.core, &op, 1, rpc_wait_begin(wait));
	return rpc_wait_end(wait);
}

static void start(struct rpc_stream *s)
{
	grpc_op headers = outbound_receive_headers(&s->out);
	grpc_op status = outbound_receive_status(&s->out);

	/* Without the headers asked for, the status would never come. */
	rpc_batch(s->out.core, &headers, 1, rpc_wait_begin(&s->headers));
	rpc_batch(s->out.core, &status, 1, rpc_wait_begin(&s->status));
	(void)run(s, outbound_send_headers(&s->out), &s->sent);
}

static void init_waits(struct rpc_stream *s)
{
	rpc_wait_init(&s->headers);
	rpc_wait_init(&s->status);
	rpc_wait_init(&s->sent);
	rpc_wait_init(&s->read);
}

static void release(struct rpc_stream *s)
{
	rpc_wait_release(&s->headers);
	rpc_wait_release(&s->status);
	rpc_wait_release(&s->sent);
	rpc_wait_release(&s->read);
	outbound_release(&s->out);
	free(s);
}

enum status rpc_stream_open(struct rpc_channel *channel, const char *path,
			    const struct rpc_options *options, struct rpc_stream **ret_stream,
			    struct error *err)
{
	struct rpc_stream *s = xcalloc(1, sizeof(*s));
	enum status status = outbound_init(&s->out, channel, options, err);

	init_waits(s);
	s->slice = grpc_empty_slice();
	if (status == STATUS_OK && !outbound_connect(&s->out, options))
		status = outbound_not_connected(&s->out, err);
	if (status != STATUS_OK) {
		release(s);
		return status;
	}
	outbound_create(&s->out, path, options ? options->parent : NULL);
	start(s);
	*ret_stream = s;
	return STATUS_OK;
}

static void drop_message(struct rpc_stream *s)
{
	grpc_slice_unref(s->slice);
	s->slice = grpc_empty_slice();
	if (s->message)
		grpc_byte_buffer_destroy(s->message);
	s->message = NULL;
}

static void end(struct rpc_stream *s)
{
	if (s->ended)
		return;
	(void)rpc_wait_end(&s->headers);
	(void)rpc_wait_end(&s->status);
	s->ended = true;
}

void rpc_stream_free(struct rpc_stream *s)
{
	if (!s)
		return;
	if (!s->ended)
		grpc_call_cancel(s->out.core, NULL);
	end(s);
	drop_message(s);
	release(s);
}

void rpc_stream_cancel(struct rpc_stream *s)
{
	grpc_call_cancel(s->out.core, NULL);
}

bool rpc_stream_send(struct rpc_stream *s, struct bytes message)
{
	grpc_byte_buffer *payload = rpc_payload_of_bytes(message);
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
	bool sent;

	op.data.send_message.send_message = payload;
	sent = run(s, op, &s->sent);
	grpc_byte_buffer_destroy(payload);
	return sent;
}

void rpc_stream_half_close(struct rpc_stream *s)
{
	(void)run(s, (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, &s->sent);
}

enum status rpc_stream_receive(struct rpc_stream *s, struct bytes *ret_message, bool *ret_ended,
			       struct error *err)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
	enum status status;

	drop_message(s);
	if (!s->ended) {
		op.data.recv_message.recv_message = &s->message;
		(void)run(s, op, &s->read);        /* there is no message then */
		if (rpc_is_compressed(s->message)) /* nor if it cannot be inflated */
			(void)rpc_inflate_of_call(
				s->out.core, &s->message,
				s->out.channel->client->options.max_message_bytes);
	}
	if (s->message) {
		*ret_message = rpc_payload_bytes(s->message, &s->slice);
		*ret_ended = false;
		return STATUS_OK;
	}
	end(s);
	status = outbound_status(&s->out, err);
	if (status == STATUS_OK)
		*ret_ended = true;
	return status;
}
