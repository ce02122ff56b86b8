#include "common/rpc/outbox.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct outbox_message {
	struct outbox_message *next;
	grpc_byte_buffer *payload;
	size_t size;
};

void outbox_init(struct outbox *o, bool server, rpc_tag_run *sent)
{
	*o = (struct outbox){
		.tag = rpc_tag(sent), .server = server, .details = grpc_empty_slice()};
	o->last = &o->first;
}

void outbox_release(struct outbox *o)
{
	while (o->first) {
		struct outbox_message *m = o->first;
		o->first = m->next;
		grpc_byte_buffer_destroy(m->payload);
		free(m);
	}
	if (o->flight)
		grpc_byte_buffer_destroy(o->flight);
	grpc_slice_unref(o->details);
}

void outbox_push(struct outbox *o, grpc_byte_buffer *payload)
{
	struct outbox_message *m = xmalloc(sizeof(*m));

	*m = (struct outbox_message){.payload = payload,
				     .size = grpc_byte_buffer_length(payload)};
	*o->last = m;
	o->last = &m->next;
	o->queued++;
	o->queued_bytes += m->size;
}

static void take_message(struct outbox *o, grpc_op *op)
{
	struct outbox_message *m = o->first;

	o->first = m->next;
	if (!o->first)
		o->last = &o->first;
	o->flight = m->payload;
	o->flight_bytes = m->size; /* gRPC empties the buffer */
	free(m);
	op->op = GRPC_OP_SEND_MESSAGE;
	op->flags = o->first ? GRPC_WRITE_BUFFER_HINT : 0;
	op->data.send_message.send_message = o->flight;
}

static void take_end(struct outbox *o, grpc_op *op)
{
	o->end = OUTBOX_SENT;
	if (!o->server) {
		op->op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
		return;
	}
	op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	op->data.send_status_from_server.status = o->code;
	op->data.send_status_from_server.status_details = &o->details;
	op->data.send_status_from_server.trailing_metadata = o->trailers;
	op->data.send_status_from_server.trailing_metadata_count = o->trailer_count;
}

size_t outbox_take(struct outbox *o, grpc_op *ops)
{
	grpc_op *op = ops;

	if (o->busy)
		return 0;
	memset(ops, 0, OUTBOX_MAX_OPS * sizeof(*ops));
	/* A server that has no headers to send sends empty ones with what follows. */
	if (o->headers == OUTBOX_NONE && o->server && (o->first || o->end == OUTBOX_SET))
		o->headers = OUTBOX_SET;
	if (o->headers == OUTBOX_SET) {
		o->headers = OUTBOX_SENT;
		op->op = GRPC_OP_SEND_INITIAL_METADATA;
		op->data.send_initial_metadata.metadata = o->metadata;
		op->data.send_initial_metadata.count = o->metadata_count;
		op++;
	}
	if (o->headers == OUTBOX_SENT && o->first)
		take_message(o, op++);
	if (o->headers == OUTBOX_SENT && o->end == OUTBOX_SET && !o->first)
		take_end(o, op++);
	o->busy = op != ops;
	return (size_t)(op - ops);
}

void outbox_sent(struct outbox *o)
{
	o->busy = false;
	if (!o->flight)
		return;
	o->queued--;
	o->queued_bytes -= o->flight_bytes;
	grpc_byte_buffer_destroy(o->flight);
	o->flight = NULL;
}
