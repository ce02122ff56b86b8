#include <stdio.h>

#include "common/base/utf8.h"
#include "common/reflect/decode.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

struct validation {
	const struct pool *pool;
	unsigned flags;
	struct error *err;
};

static enum status malformed(const struct validation *v, const struct pool_message *m)
{
	return error_set(v->err, STATUS_INVALID_ARGUMENT, "the bytes are not a %s",
			 m->full_name);
}

/* Only for an error's path: how many of @f came before @at. */
static void blame(const struct validation *v, const struct pool_field *f, struct bytes message,
		  const uint8_t *at)
{
	struct wire_cursor c =
		wire_cursor_of(bytes_of(message.data, (size_t)(at - message.data)));
	struct wire_field seen;
	const char *name = f->is_extension ? f->json_name : f->name;
	char text[sizeof(v->err->field)];
	unsigned before = 0;

	while (wire_next(&c, &seen))
		before += seen.number == f->number;
	if (f->repeated)
		snprintf(text, sizeof(text), "%s[%u]", name, before);
	else
		snprintf(text, sizeof(text), "%s", name);
	error_prefix_field(v->err, text);
}

static enum status check_packed(const struct validation *v, const struct pool_field *f,
				struct bytes run)
{
	const uint8_t *at = run.data, *end = run.data + run.size;
	uint64_t value;

	while (at < end) {
		at = decode_packed(f->wire_type, at, end, &value);
		if (!at)
			return error_set(v->err, STATUS_INVALID_ARGUMENT,
					 "a packed list is cut off");
	}
	return STATUS_OK;
}

/* proto2: has every required field occurred? @seen is a bit per field. */
static enum status check_required(const struct validation *v, const struct pool_message *m,
				  struct bytes message)
{
	for (uint32_t i = 0; i < m->field_count; i++) {
		struct wire_cursor c = wire_cursor_of(message);
		struct wire_field f;
		bool found = false;

		if (!m->fields[i].required)
			continue;
		while (!found && wire_next(&c, &f))
			found = f.number == m->fields[i].number &&
				decode_type_fits(&m->fields[i], f.type);
		if (!found)
			return error_field(v->err, m->fields[i].name,
					   "a required field is missing");
	}
	return STATUS_OK;
}

static enum status check_message(const struct validation *v, const struct pool_message *m,
				 struct bytes message, int depth);

static enum status check_data(const struct validation *v, const struct pool_field *f,
			      unsigned type, struct bytes data, int depth)
{
	if (f->type_message)
		return check_message(v, f->type_message, data, depth + 1);
	if (f->type == POOL_TYPE_STRING) {
		if (f->check_utf8 && !utf8_valid((const char *)data.data, data.size))
			return error_set(v->err, STATUS_INVALID_ARGUMENT,
					 "a string is not valid UTF-8");
		return STATUS_OK;
	}
	if (type == WIRE_BYTES && f->wire_type != WIRE_BYTES)
		return check_packed(v, f, data);
	return STATUS_OK;
}

static enum status check_message(const struct validation *v, const struct pool_message *m,
				 struct bytes message, int depth)
{
	struct wire_cursor c = wire_cursor_of(message);

	if (depth > WIRE_MAX_DEPTH)
		return error_set(v->err, STATUS_INVALID_ARGUMENT,
				 "messages are nested more than %d deep", WIRE_MAX_DEPTH);
	while (c.at < c.end) {
		const uint8_t *start = c.at, *at, *data;
		const struct pool_field *f;
		enum status status;
		uint32_t number;
		unsigned type;
		uint64_t value;

		at = decode_tag(start, c.end, &number, &type);
		if (at)
			at = decode_value(at, c.end, number, type, depth, &value, &data);
		if (!at)
			return malformed(v, m);
		c.at = at;
		if (!data || m->is_message_set)
			continue;
		f = decode_field(v->pool, m, number);
		if (!f || !decode_type_fits(f, type))
			continue;
		status = check_data(v, f, type, bytes_of(data, (size_t)value), depth);
		if (status != STATUS_OK) {
			blame(v, f, message, start);
			return status;
		}
	}
	if (m->has_required && (v->flags & WIRE_REQUIRE_FIELDS))
		return check_required(v, m, message);
	return STATUS_OK;
}

enum status wire_validate(const struct pool *pool, const struct pool_message *m,
			  struct bytes message, unsigned flags, struct error *err)
{
	const struct validation v = {pool, flags, err};

	return check_message(&v, m, message, 0);
}
