#include "common/reflect/json_out.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/reflect/decode.h"
#include "common/reflect/json_writer.h"
#include "common/reflect/pool.h"

enum status json_no_form(struct json_writer *w, const char *fmt, ...)
{
	char message[sizeof(w->scan.err->message)];
	va_list args;

	if (w->flags & JSON_OUT_LENIENT) {
		json_sink_null(&w->sink);
		return STATUS_OK;
	}
	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	return error_set(w->scan.err, STATUS_INVALID_ARGUMENT, "%s", message);
}

enum status json_not_utf8(struct json_writer *w)
{
	return error_set(w->scan.err, STATUS_INVALID_ARGUMENT, "a string is not valid UTF-8");
}

static void write_enum(struct json_writer *w, const struct pool_enum *e, uint64_t value)
{
	const struct pool_enum_value *v;

	if (e->is_null) {
		json_sink_null(&w->sink);
		return;
	}
	v = pool_enum_value_by_number(e, (int32_t)value);
	if (v)
		json_sink_plain(&w->sink, v->name, v->name_len);
	else
		json_sink_int(&w->sink, (int32_t)value, false);
}

/* In proto2 such a string is valid, and has no JSON form; in proto3 it is not. */
static enum status write_string(struct json_writer *w, const struct pool_field *f,
				struct bytes text)
{
	if (json_sink_string(&w->sink, text))
		return STATUS_OK;
	return f->check_utf8 ? json_not_utf8(w)
			     : json_no_form(w, "a string is not valid UTF-8");
}

static void write_double(struct json_writer *w, uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	json_sink_double(&w->sink, value);
}

static void write_float(struct json_writer *w, uint64_t bits)
{
	const uint32_t low = (uint32_t)bits;
	float value;

	memcpy(&value, &low, sizeof(value));
	json_sink_float(&w->sink, value);
}

enum status json_write_value(struct json_writer *w, const struct pool_field *f, uint64_t value,
			     const uint8_t *data)
{
	const bool quoted = !(w->flags & JSON_OUT_INT64_NUMBERS);
	struct json_sink *s = &w->sink;

	switch ((enum pool_type)f->type) {
	case POOL_TYPE_DOUBLE:
		write_double(w, value);
		return STATUS_OK;
	case POOL_TYPE_FLOAT:
		write_float(w, value);
		return STATUS_OK;
	case POOL_TYPE_INT64:
	case POOL_TYPE_SFIXED64:
		json_sink_int(s, (int64_t)value, quoted);
		return STATUS_OK;
	case POOL_TYPE_SINT64:
		json_sink_int(s, wire_zigzag_decode(value), quoted);
		return STATUS_OK;
	case POOL_TYPE_UINT64:
	case POOL_TYPE_FIXED64:
		json_sink_uint(s, value, quoted);
		return STATUS_OK;
	case POOL_TYPE_INT32:
	case POOL_TYPE_SFIXED32:
		json_sink_int(s, (int32_t)value, false);
		return STATUS_OK;
	case POOL_TYPE_SINT32:
		json_sink_int(s, (int32_t)wire_zigzag_decode((uint32_t)value), false);
		return STATUS_OK;
	case POOL_TYPE_UINT32:
	case POOL_TYPE_FIXED32:
		json_sink_uint(s, (uint32_t)value, false);
		return STATUS_OK;
	case POOL_TYPE_BOOL:
		json_sink_bool(s, value != 0);
		return STATUS_OK;
	case POOL_TYPE_ENUM:
		write_enum(w, f->type_enum, value);
		return STATUS_OK;
	case POOL_TYPE_STRING:
		return write_string(w, f, bytes_of(data, (size_t)value));
	case POOL_TYPE_BYTES:
		json_sink_base64(s, bytes_of(data, (size_t)value));
		return STATUS_OK;
	case POOL_TYPE_GROUP:
	case POOL_TYPE_MESSAGE:
		break;
	}
	return json_write_message(w, f->type_message, bytes_of(data, (size_t)value));
}

/* ------------------------------------------------------------------ lists */

static enum status write_packed(struct json_writer *w, const struct pool_field *f,
				struct bytes run)
{
	const uint8_t *at = run.data, *end = at + run.size;
	uint64_t value;

	while (at < end) {
		enum status status;

		at = decode_packed(f->wire_type, at, end, &value);
		if (!at)
			return error_set(w->scan.err, STATUS_INVALID_ARGUMENT,
					 "a packed list is cut off");
		if (f->type_enum && !decode_enum_is_known(f->type_enum, value))
			continue;
		json_sink_next(&w->sink);
		status = json_write_value(w, f, value, NULL);
		if (status == STATUS_OK)
			status = json_check_size(w);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

enum status json_write_list(struct json_writer *w, const struct pool_field *f, size_t at,
			    size_t end)
{
	const bool packable = decode_is_packable(f);
	struct json_mark mark;
	size_t hint = 0;

	for (size_t i = at; i < end; i++)
		hint += w->scan.entries[i].data ? w->scan.entries[i].value * 3 / 2 + 4 : 8;
	mark = json_sink_open(&w->sink, JSON_LIST, hint);
	for (size_t i = at; i < end; i++) {
		const struct scan_entry e = w->scan.entries[i];
		enum status status;

		if (e.data && packable) {
			status = write_packed(w, f, bytes_of(e.data, (size_t)e.value));
		} else {
			json_sink_next(&w->sink);
			status = json_write_value(w, f, e.value, e.data);
			if (status == STATUS_OK)
				status = json_check_size(w);
		}
		if (status != STATUS_OK) {
			char index[24];

			snprintf(index, sizeof(index), "[%zu]", i - at);
			error_prefix_field(w->scan.err, index);
			return status;
		}
	}
	json_sink_close(&w->sink, JSON_LIST, mark);
	return STATUS_OK;
}

/* ------------------------------------------------------------------- maps */

static bool write_key(struct json_writer *w, const struct pool_field *key,
		      const struct scan_map_item *item)
{
	struct json_sink *s = &w->sink;

	json_sink_next(s);
	switch (key->type) {
	case POOL_TYPE_STRING:
		if (!json_sink_string(s, bytes_of(item->key_data, (size_t)item->key)))
			return false;
		break;
	case POOL_TYPE_BOOL:
		json_sink_plain(s, item->key ? "true" : "false", item->key ? 4 : 5);
		break;
	case POOL_TYPE_UINT64:
	case POOL_TYPE_FIXED64:
	case POOL_TYPE_UINT32:
	case POOL_TYPE_FIXED32:
		json_sink_uint(s, item->key, true);
		break;
	default:
		json_sink_int(s, (int64_t)item->key, true);
		break;
	}
	json_sink_end_key(s);
	return true;
}

static enum status write_item(struct json_writer *w, const struct pool_message *entry,
			      const struct scan_map_item *item)
{
	const size_t start = w->sink.out->len;
	enum status status;

	if (!write_key(w, &entry->fields[0], item)) {
		if (entry->fields[0].check_utf8 || !(w->flags & JSON_OUT_LENIENT))
			return json_not_utf8(w);
		strbuf_truncate(w->sink.out, start); /* nothing could ask for it */
		return STATUS_OK;
	}
	status = json_write_value(w, &entry->fields[1], item->value, item->value_data);
	if (status != STATUS_OK && entry->fields[0].type == POOL_TYPE_STRING) {
		char key[64];

		snprintf(key, sizeof(key), "[\"%.*s\"]", item->key < 40 ? (int)item->key : 40,
			 (const char *)item->key_data);
		error_prefix_field(w->scan.err, key);
	}
	return status;
}

/* Entries of maps are messages, too. */
static enum status write_items(struct json_writer *w, const struct pool_field *f,
			       const struct scan_map_item *items, size_t count)
{
	const struct json_mark mark = json_sink_open(&w->sink, JSON_OBJECT, count * 20);
	enum status status = json_check_depth(w);

	w->depth++;
	for (size_t i = 0; i < count && status == STATUS_OK; i++) {
		status = json_check_size(w);
		if (status == STATUS_OK)
			status = write_item(w, f->type_message, &items[i]);
	}
	w->depth--;
	json_sink_close(&w->sink, JSON_OBJECT, mark);
	return status;
}

enum status json_write_map(struct json_writer *w, const struct pool_field *f, size_t at,
			   size_t end)
{
	struct scan_map_item *items;
	size_t count;
	const enum status status = scan_map(&w->scan, at, end, w->depth, &items, &count);

	return status == STATUS_OK ? write_items(w, f, items, count) : status;
}

/* --------------------------------------------------------------- messages */

enum status json_check_depth(const struct json_writer *w)
{
	if (w->depth > WIRE_MAX_DEPTH)
		return error_set(w->scan.err, STATUS_INVALID_ARGUMENT,
				 "messages are nested more than %d deep", WIRE_MAX_DEPTH);
	return json_check_size(w);
}

enum status json_check_size(const struct json_writer *w)
{
	if (w->sink.out->len - w->start > JSON_OUT_MAX_BYTES)
		return error_set(w->scan.err, STATUS_RESOURCE_EXHAUSTED,
				 "the message as JSON has more than %d bytes",
				 JSON_OUT_MAX_BYTES);
	return STATUS_OK;
}

static void write_field_key(struct json_writer *w, const struct pool_field *f)
{
	json_sink_field_key(&w->sink, f, w->flags & JSON_OUT_PROTO_NAMES);
}

static void write_empty(struct json_writer *w, const struct pool_field *f)
{
	const enum json_container kind = f->is_map ? JSON_OBJECT : JSON_LIST;

	json_sink_close(&w->sink, kind, json_sink_open(&w->sink, kind, 0));
}

/* Fields [@from, @to) of @m do not occur: do the flags want some of them? */
static enum status write_absent(struct json_writer *w, const struct pool_message *m,
				uint32_t from, uint32_t to)
{
	for (; from < to; from++) {
		const struct pool_field *f = &m->fields[from];
		enum status status;

		if (f->has_presence || (f->repeated && !(w->flags & JSON_OUT_EMPTY_LISTS)) ||
		    (!f->repeated && !(w->flags & JSON_OUT_SCALAR_DEFAULTS)))
			continue;
		write_field_key(w, f);
		if (f->repeated) {
			write_empty(w, f);
			continue;
		}
		status = json_write_value(w, f, 0, (const uint8_t *)"");
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

/* Entries with unknown values of a closed enum are none. */
static enum status write_map_field(struct json_writer *w, const struct pool_field *f, size_t at,
				   size_t end)
{
	struct scan_map_item *items;
	size_t count;
	const enum status status = scan_map(&w->scan, at, end, w->depth, &items, &count);

	if (status != STATUS_OK || (!count && !(w->flags & JSON_OUT_EMPTY_LISTS)))
		return status;
	write_field_key(w, f);
	return write_items(w, f, items, count);
}

/* The field whose entries are [@at, @end). */
static enum status write_field(struct json_writer *w, const struct pool_field *f, size_t at,
			       size_t end)
{
	struct scan_entry e;

	if (f->is_map)
		return write_map_field(w, f, at, end);
	if (f->repeated) {
		if (!scan_list_has_elements(&w->scan, at, end) &&
		    !(w->flags & JSON_OUT_EMPTY_LISTS))
			return STATUS_OK;
		write_field_key(w, f);
		return json_write_list(w, f, at, end);
	}
	e = scan_singular(&w->scan, at, end);
	if (!f->has_presence && scan_is_default(f, e.value) &&
	    !(w->flags & JSON_OUT_SCALAR_DEFAULTS))
		return STATUS_OK;
	write_field_key(w, f);
	return json_write_value(w, f, e.value, e.data);
}

enum status json_write_fields(struct json_writer *w, const struct pool_message *m,
			      struct bytes message)
{
	const bool defaults = w->flags & JSON_OUT_DEFAULTS;
	uint32_t next = 0;
	size_t first, end;
	enum status status = scan_message(&w->scan, m, message, w->depth - 1, false, &first);

	if (status != STATUS_OK)
		return status;
	for (size_t at = first; at < w->scan.count; at = end) {
		const struct pool_field *f = w->scan.entries[at].field;

		end = scan_run_end(&w->scan, at);
		if (defaults && !f->is_extension) {
			status = write_absent(w, m, next, f->index);
			next = f->index + 1;
			if (status != STATUS_OK)
				return status;
		}
		status = write_field(w, f, at, end);
		if (status != STATUS_OK) {
			error_prefix_field(w->scan.err,
					   f->is_extension ? f->json_name : f->name);
			return status;
		}
	}
	w->scan.count = first;
	return defaults ? write_absent(w, m, next, m->field_count) : STATUS_OK;
}

enum status json_write_message(struct json_writer *w, const struct pool_message *m,
			       struct bytes message)
{
	enum status status;

	status = json_check_depth(w);
	if (status != STATUS_OK)
		return status;
	w->depth++;
	if (m->well_known != POOL_WELL_KNOWN_NONE && m->well_known != POOL_WELL_KNOWN_EMPTY) {
		status = json_write_known(w, m, message);
	} else {
		const struct json_mark mark =
			json_sink_open(&w->sink, JSON_OBJECT, message.size * 3 / 2);

		status = json_write_fields(w, m, message);
		json_sink_close(&w->sink, JSON_OBJECT, mark);
	}
	w->depth--;
	return status;
}

static enum status convert(const struct pool *pool, const struct pool *others,
			   const struct pool_message *m, struct bytes message, unsigned flags,
			   bool binary, struct strbuf *out, struct error *err)
{
	struct json_writer w;
	const size_t start = out->len;
	enum status status;

	if (!message.data)
		message = bytes_of("", 0);
	if (err)
		*err = (struct error){.status = STATUS_OK};
	w.sink = (struct json_sink){out, binary};
	w.others = others;
	w.flags = flags;
	w.depth = 0;
	w.start = start;
	scan_init(&w.scan, pool, err);
	strbuf_grow(out, message.size * 2 + 64);
	status = json_write_message(&w, m, message);
	if (status == STATUS_OK)
		status = scan_check_complete(&w.scan);
	if (status == STATUS_OK && w.scan.overwritten)
		status = wire_validate(pool, m, message, 0, err);
	if (status != STATUS_OK)
		strbuf_truncate(out, start);
	scan_release(&w.scan);
	return status;
}

enum status wire_to_json(const struct pool *pool, const struct pool_message *m,
			 struct bytes message, unsigned flags, struct strbuf *out,
			 struct error *err)
{
	return convert(pool, NULL, m, message, flags, false, out, err);
}

enum status wire_to_jsonb(const struct pool *pool, const struct pool_message *m,
			  struct bytes message, unsigned flags, struct strbuf *out,
			  struct error *err)
{
	return convert(pool, NULL, m, message, flags, true, out, err);
}

enum status wire_to_jsonb_among(const struct pool *pool, const struct pool *others,
				const struct pool_message *m, struct bytes message,
				unsigned flags, struct strbuf *out, struct error *err)
{
	return convert(pool, others, m, message, flags, true, out, err);
}
