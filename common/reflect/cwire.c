#include "common/reflect/cwire.h"

#include <stdio.h>

#include "common/base/utf8.h"
#include "common/reflect/decode.h"

static enum status malformed(struct error *err)
{
	return error_set(err, STATUS_INVALID_ARGUMENT,
			 "the bytes are not a message of this type");
}

/* "name", or "name[2]" of a repeated one: how many came before @at is counted now. */
static void blame(struct error *err, const ProtobufCFieldDescriptor *f, struct bytes message,
		  const uint8_t *at)
{
	struct wire_cursor c =
		wire_cursor_of(bytes_of(message.data, (size_t)(at - message.data)));
	struct wire_field seen;
	char name[200];
	unsigned before = 0;

	while (wire_next(&c, &seen))
		before += seen.number == f->id;
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		snprintf(name, sizeof(name), "%s[%u]", f->name, before);
	else
		snprintf(name, sizeof(name), "%s", f->name);
	error_prefix_field(err, name);
}

static enum status check_string(struct bytes text, struct error *err)
{
	if (!utf8_valid((const char *)text.data, text.size))
		return error_set(err, STATUS_INVALID_ARGUMENT, "a string is not valid UTF-8");
	if (memchr(text.data, '\0', text.size))
		return error_set(err, STATUS_INVALID_ARGUMENT, "a string holds a NUL");
	return STATUS_OK;
}

static unsigned packed_wire_type(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return WIRE_FIXED32;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return WIRE_FIXED64;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
	default:
		return WIRE_VARINT;
	}
}

static enum status check_packed(ProtobufCType type, struct bytes run, struct error *err)
{
	const uint8_t *at = run.data, *end = run.data + run.size;
	const unsigned wire_type = packed_wire_type(type);
	uint64_t value;

	while (at < end) {
		at = decode_packed(wire_type, at, end, &value);
		if (!at)
			return malformed(err);
	}
	return STATUS_OK;
}

/* @any: a field whose strings may hold anything. */
static enum status check_message(const ProtobufCMessageDescriptor *d, struct bytes data,
				 int depth, const ProtobufCFieldDescriptor *any,
				 struct error *err);

static enum status check_value(const ProtobufCFieldDescriptor *f, struct bytes data, int depth,
			       const ProtobufCFieldDescriptor *any, struct error *err)
{
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return f == any ? STATUS_OK : check_string(data, err);
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return check_message(f->descriptor, data, depth + 1, any, err);
	if (f->type != PROTOBUF_C_TYPE_BYTES && f->label == PROTOBUF_C_LABEL_REPEATED)
		return check_packed(f->type, data, err);
	return STATUS_OK;
}

static enum status check_message(const ProtobufCMessageDescriptor *d, struct bytes data,
				 int depth, const ProtobufCFieldDescriptor *any,
				 struct error *err)
{
	struct wire_cursor c = wire_cursor_of(data);

	if (depth > WIRE_MAX_DEPTH)
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "messages are nested more than %d deep", WIRE_MAX_DEPTH);
	while (c.at < c.end) {
		const uint8_t *start = c.at, *at, *value;
		const ProtobufCFieldDescriptor *f;
		enum status status;
		uint32_t number;
		unsigned type;
		uint64_t size;

		at = decode_tag(start, c.end, &number, &type);
		if (at)
			at = decode_value(at, c.end, number, type, depth, &size, &value);
		if (!at)
			return malformed(err);
		c.at = at;
		if (type != WIRE_BYTES)
			continue;
		f = protobuf_c_message_descriptor_get_field(d, number);
		if (!f)
			continue;
		status = check_value(f, bytes_of(value, (size_t)size), depth, any, err);
		if (status != STATUS_OK) {
			blame(err, f, data, start);
			return status;
		}
	}
	return STATUS_OK;
}

enum status cwire_check(const ProtobufCMessageDescriptor *d, struct bytes data,
			struct error *err)
{
	return check_message(d, data, 0, NULL, err);
}

enum status cwire_check_but(const ProtobufCMessageDescriptor *d, struct bytes data,
			    const ProtobufCFieldDescriptor *any, struct error *err)
{
	return check_message(d, data, 0, any, err);
}
