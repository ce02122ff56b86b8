/*
 * The sending half of a call, inbound or outbound. Private to common/rpc.
 *
 * Headers, messages and the end are queued in that order; each batch takes as
 * much of it as gRPC allows, so that a unary reply is one batch and one write.
 * At most one batch is in flight. Whoever owns the call guards it.
 */
#ifndef COMMON_RPC_OUTBOX_H
#define COMMON_RPC_OUTBOX_H

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rpc/loop.h"

struct outbox_message;

enum outbox_part { OUTBOX_NONE, OUTBOX_SET, OUTBOX_SENT };

enum { OUTBOX_MAX_OPS = 3 };

struct outbox {
	struct grpc_completion_queue_functor tag;
	bool server, busy;
	enum outbox_part headers, end;
	grpc_metadata *metadata, *trailers; /* borrowed until sent */
	size_t metadata_count, trailer_count;
	grpc_status_code code;
	grpc_slice details; /* owned */
	struct outbox_message *first, **last;
	unsigned queued; /* messages not yet accepted by flow control */
	size_t queued_bytes;
	grpc_byte_buffer *flight;
	size_t flight_bytes;
};

void outbox_init(struct outbox *o, bool server, rpc_tag_run *sent);
void outbox_release(struct outbox *o);

/* Takes ownership of @payload. */
void outbox_push(struct outbox *o, grpc_byte_buffer *payload);

/* Fill @ops (OUTBOX_MAX_OPS of room); 0: nothing to send now. */
size_t outbox_take(struct outbox *o, grpc_op *ops);

/* The batch that outbox_take() filled has completed. */
void outbox_sent(struct outbox *o);

#endif
