#include "common/rpc/stream.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/rpc/inflate.h"
#include "common/rpc/outbound.h"
#include "common/rpc/payload.h"

/* The tags are the addresses of what they complete. */
struct rpc_stream {
	struct outbound out;
	grpc_completion_queue *queue; /* of the thread that opened it */
	char headers_tag, status_tag, send_tag, read_tag;
	bool ended;                /* the status was received */
	grpc_byte_buffer *message; /* the latest, and its bytes */
	grpc_slice slice;
};

/* One operation; false: it failed, as all do once the call is over. */
static bool run(struct rpc_stream *s, grpc_op op, void *tag)
{
	rpc_batch(s->out.core, &op, 1, tag);
	return outbound_pluck(s->queue, tag);
}

static void start(struct rpc_stream *s)
{
	grpc_op headers = outbound_receive_headers(&s->out);
	grpc_op status = outbound_receive_status(&s->out);

	/* Without the headers asked for, the status would never come. */
	rpc_batch(s->out.core, &headers, 1, (void *)&s->headers_tag);
	rpc_batch(s->out.core, &status, 1, (void *)&s->status_tag);
	(void)run(s, outbound_send_headers(&s->out), &s->send_tag);
}

enum status rpc_stream_open(struct rpc_channel *channel, const char *path,
			    const struct rpc_options *options, struct rpc_stream **ret_stream,
			    struct error *err)
{
	struct rpc_stream *s = xcalloc(1, sizeof(*s));
	enum status status = outbound_init(&s->out, channel, options, err);

	s->queue = outbound_queue();
	s->slice = grpc_empty_slice();
	if (status == STATUS_OK && !outbound_connect(&s->out, s->queue, options))
		status = outbound_not_connected(&s->out, err);
	if (status != STATUS_OK) {
		outbound_release(&s->out);
		free(s);
		return status;
	}
	outbound_create(&s->out, path, s->queue, options ? options->parent : NULL);
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
	(void)outbound_pluck(s->queue, &s->headers_tag);
	(void)outbound_pluck(s->queue, &s->status_tag);
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
	outbound_release(&s->out);
	free(s);
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
	sent = run(s, op, &s->send_tag);
	grpc_byte_buffer_destroy(payload);
	return sent;
}

void rpc_stream_half_close(struct rpc_stream *s)
{
	(void)run(s, (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, &s->send_tag);
}

enum status rpc_stream_receive(struct rpc_stream *s, struct bytes *ret_message, bool *ret_ended,
			       struct error *err)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
	enum status status;

	drop_message(s);
	if (!s->ended) {
		op.data.recv_message.recv_message = &s->message;
		(void)run(s, op, &s->read_tag);    /* there is no message then */
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
