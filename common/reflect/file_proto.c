#include "common/reflect/file_proto.h"

#include <string.h>

#include "common/base/utf8.h"
#include "common/reflect/cwire.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

enum { FILE_NAME = 1, FIELD_DEFAULT_VALUE = 7 };

#define FILE_TYPE  (&google__protobuf__file_descriptor_proto__descriptor)
#define FIELD_TYPE (&google__protobuf__field_descriptor_proto__descriptor)

/* ---------------------------------------------------------------- checking */

static bool is_file_name(struct bytes name)
{
	for (size_t i = 0; i < name.size; i++)
		if (name.data[i] < 0x20 || name.data[i] == 0x7f)
			return false;
	return name.size > 0 && name.size <= POOL_NAME_MAX_BYTES;
}

enum status file_proto_check(struct bytes file, struct bytes *ret_name, struct error *err)
{
	enum status status;

	if (file.size > POOL_FILE_MAX_BYTES)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "a descriptor of %zu bytes is larger than %d bytes", file.size,
				 POOL_FILE_MAX_BYTES);
	status = cwire_check_but(
		FILE_TYPE, file,
		protobuf_c_message_descriptor_get_field(FIELD_TYPE, FIELD_DEFAULT_VALUE), err);
	if (status != STATUS_OK)
		return status;
	if (!wire_find_bytes(file, FILE_NAME, ret_name) || !is_file_name(*ret_name))
		return error_field(err, "name", "a file descriptor needs a usable name");
	return STATUS_OK;
}

/* --------------------------------------------------------------- stripping */

/* As a C compiler reads it back: what is no text, and what would end one. */
static void add_escaped(struct strbuf *out, struct bytes text)
{
	for (size_t i = 0; i < text.size; i++) {
		const uint8_t c = text.data[i];

		if (c < 0x20 || c >= 0x7f || c == '\\')
			strbuf_addf(out, "\\%03o", c);
		else
			strbuf_addch(out, (char)c);
	}
}

static void add_default(struct strbuf *out, const struct wire_field *f)
{
	AUTO_STRBUF escaped = STRBUF_INIT;

	if (utf8_valid((const char *)f->data.data, f->data.size) &&
	    !memchr(f->data.data, '\0', f->data.size)) {
		strbuf_add(out, f->raw.data, f->raw.size);
		return;
	}
	add_escaped(&escaped, f->data);
	wire_add_bytes(out, f->number, bytes_of(escaped.buf, escaped.len));
}

/* Does protobuf-c take @f for field @of, or would it give up the whole message? */
static bool is_known(const ProtobufCFieldDescriptor *of, const struct wire_field *f)
{
	const bool repeated = of->label == PROTOBUF_C_LABEL_REPEATED;

	if (of->type == PROTOBUF_C_TYPE_STRING || of->type == PROTOBUF_C_TYPE_BYTES ||
	    of->type == PROTOBUF_C_TYPE_MESSAGE)
		return f->type == WIRE_BYTES;
	if (of->type == PROTOBUF_C_TYPE_DOUBLE)
		return f->type == WIRE_FIXED64;
	if (of->type == PROTOBUF_C_TYPE_ENUM)
		return f->type == WIRE_VARINT &&
		       protobuf_c_enum_descriptor_get_value(of->descriptor, (int)f->value);
	return f->type == WIRE_VARINT || (repeated && f->type == WIRE_BYTES);
}

/* Recursion is as deep as descriptor.proto, or as WIRE_MAX_DEPTH. */
static void add_known(struct strbuf *out, const ProtobufCMessageDescriptor *type,
		      struct bytes message)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const ProtobufCFieldDescriptor *of =
			protobuf_c_message_descriptor_get_field(type, f.number);

		if (!of || !is_known(of, &f) ||
		    (type == FILE_TYPE && f.number == FILE_PROTO_SOURCE_INFO))
			continue;
		if (of->type == PROTOBUF_C_TYPE_MESSAGE) {
			const size_t mark = wire_open(out, f.number);

			add_known(out, of->descriptor, f.data);
			wire_close(out, mark);
		} else if (type == FIELD_TYPE && f.number == FIELD_DEFAULT_VALUE) {
			add_default(out, &f);
		} else {
			strbuf_add(out, f.raw.data, f.raw.size);
		}
	}
}

/* --------------------------------------------------------------- unpacking */

static void *unpack_alloc(void *arena, size_t size)
{
	return arena_try_alloc(arena, size);
}

static void unpack_free(void *arena, void *p)
{
	(void)arena; /* it ends all at once */
	(void)p;
}

Google__Protobuf__FileDescriptorProto *file_proto_unpack(struct bytes file,
							 struct strbuf *buffer,
							 struct arena *arena)
{
	ProtobufCAllocator allocator = {unpack_alloc, unpack_free, arena};

	strbuf_reset(buffer);
	add_known(buffer, FILE_TYPE, file);
	return google__protobuf__file_descriptor_proto__unpack(&allocator, buffer->len,
							       (const uint8_t *)buffer->buf);
}
