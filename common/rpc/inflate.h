/*
 * Compressed messages. gRPC's C core would inflate them whatever they grow to, and look at the
 * size afterwards: a small message could take all memory. So it is told to leave them alone, and
 * whoever receives one inflates it here. Private to common/rpc.
 */
#ifndef COMMON_RPC_INFLATE_H
#define COMMON_RPC_INFLATE_H

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

enum { INFLATE_MESSAGE_BYTES = 96 };

/* Is there anything to do? */
static inline bool rpc_is_compressed(const grpc_byte_buffer *payload)
{
	return payload && payload->data.raw.compression != GRPC_COMPRESS_NONE;
}

/*
 * Replace a message that rpc_is_compressed() by what it was, of at most @max_bytes; it is never
 * held beyond that. GRPC_STATUS_OK; or RESOURCE_EXHAUSTED, it is larger, or INTERNAL, it is none:
 * *payload is destroyed and NULL then, and @message says why.
 */
grpc_status_code rpc_inflate(grpc_byte_buffer **payload, size_t max_bytes,
			     char message[INFLATE_MESSAGE_BYTES])
	__attribute__((warn_unused_result));

/* The same for a message of @call, which is ended with that status. False: it was. */
bool rpc_inflate_of_call(grpc_call *call, grpc_byte_buffer **payload, size_t max_bytes);

#endif
