#include "common/rpc/payload.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/reflect/cwire.h"
#include "common/rpc/client.h"

static grpc_byte_buffer *take_slice(grpc_slice slice)
{
	grpc_byte_buffer *payload = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	return payload;
}

grpc_byte_buffer *rpc_payload_of_message(const ProtobufCMessage *message)
{
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	return take_slice(slice);
}

grpc_byte_buffer *rpc_payload_of_bytes(struct bytes data)
{
	return take_slice(grpc_slice_from_copied_buffer((const char *)data.data, data.size));
}

struct bytes rpc_payload_bytes(grpc_byte_buffer *payload, grpc_slice *ret_slice)
{
	grpc_byte_buffer_reader reader;
	grpc_slice *only;

	if (!grpc_byte_buffer_reader_init(&reader, payload)) {
		*ret_slice = grpc_empty_slice();
		return bytes_of(NULL, 0);
	}
	if (payload->data.raw.slice_buffer.count == 1 &&
	    grpc_byte_buffer_reader_peek(&reader, &only))
		*ret_slice = grpc_slice_ref(*only);
	else
		*ret_slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return rpc_slice_bytes(ret_slice);
}

void rpc_slice_text(grpc_slice slice, char *out, size_t size)
{
	size_t len = GRPC_SLICE_LENGTH(slice);

	if (len >= size)
		len = utf8_cut((const char *)GRPC_SLICE_START_PTR(slice), size - 1);
	if (len)
		memcpy(out, GRPC_SLICE_START_PTR(slice), len);
	out[len] = '\0';
}

/* ------------------------------------------------- protobuf-c in an arena */

struct capped {
	struct arena *arena;
	bool exceeded;
};

static void *capped_alloc(void *data, size_t size)
{
	struct capped *c = data;
	void *p = arena_try_alloc(c->arena, size);

	if (!p)
		c->exceeded = true;
	return p;
}

/* The arena's end frees it. */
static void capped_free(void *data, void *pointer)
{
	(void)data;
	(void)pointer;
}

enum status rpc_unpack(const ProtobufCMessageDescriptor *type, struct bytes data,
		       struct arena *arena, ProtobufCMessage **ret_message, struct error *err)
{
	struct capped capped = {.arena = arena};
	ProtobufCAllocator allocator = {capped_alloc, capped_free, &capped};
	enum status status = cwire_check(type, data, err);
	ProtobufCMessage *message;

	if (status != STATUS_OK)
		return status;
	message = protobuf_c_message_unpack(type, &allocator, data.size,
					    data.size ? data.data : (const uint8_t *)"");
	if (!message && capped.exceeded)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "the message takes more than %zu bytes of memory",
				 arena->limit_bytes);
	if (!message)
		return error_set(err, STATUS_INVALID_ARGUMENT, "the bytes are not a %s",
				 type->name);
	*ret_message = message;
	return STATUS_OK;
}

struct bytes rpc_pack(const ProtobufCMessage *message, struct arena *arena)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *out = arena_alloc(arena, size);

	protobuf_c_message_pack(message, out);
	return bytes_of(out, size);
}
