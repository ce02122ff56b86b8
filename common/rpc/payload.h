/*
 * Messages as gRPC's byte buffers, as bytes and as protobuf-c structs. Private
 * to common/rpc.
 */
#ifndef COMMON_RPC_PAYLOAD_H
#define COMMON_RPC_PAYLOAD_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

/* The caller owns what these return. */
grpc_byte_buffer *rpc_payload_of_message(const ProtobufCMessage *message);
grpc_byte_buffer *rpc_payload_of_bytes(struct bytes data);

/*
 * The bytes of @payload in one piece. *ret_slice is owned by the caller and
 * keeps them; it usually shares @payload's memory.
 */
struct bytes rpc_payload_bytes(grpc_byte_buffer *payload, grpc_slice *ret_slice);

/* The text of a slice, cut at @size - 1 and, inside that, at a character. */
void rpc_slice_text(grpc_slice slice, char *out, size_t size);

static inline struct bytes rpc_slice_bytes(const grpc_slice *slice)
{
	return bytes_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

#endif
