/* What a parser would write back after reading a message. */
#include <string.h>

#include "common/base/utf8.h"
#include "common/reflect/decode.h"
#include "common/reflect/pool.h"
#include "common/reflect/scan.h"
#include "common/reflect/wire.h"

/* Unknown fields that stand inside of known ones: their message ends with them. */
struct leftovers {
	struct strbuf values;  /* of closed enums, out of lists */
	struct strbuf entries; /* of maps; after those, or they would not stay where they are */
};

struct normalizer {
	struct scan scan;
	struct strbuf *out;
	struct leftovers *left; /* of the innermost message */
	int depth;              /* messages around what is read now */
};

static enum status write_message(struct normalizer *n, const struct pool_message *m,
				 struct bytes message);

/* May a message begin here? */
static enum status check_depth(const struct normalizer *n)
{
	if (n->depth <= WIRE_MAX_DEPTH)
		return STATUS_OK;
	return error_set(n->scan.err, STATUS_INVALID_ARGUMENT,
			 "messages are nested more than %d deep", WIRE_MAX_DEPTH);
}

/* Only the bits that the type keeps. */
static uint64_t kept_bits(const struct pool_field *f, uint64_t value)
{
	switch (f->type) {
	case POOL_TYPE_INT32:
	case POOL_TYPE_ENUM:
		return (uint64_t)(int64_t)(int32_t)value;
	case POOL_TYPE_UINT32:
	case POOL_TYPE_SINT32:
		return (uint32_t)value;
	case POOL_TYPE_BOOL:
		return value != 0;
	default:
		return value;
	}
}

static void write_number(struct normalizer *n, const struct pool_field *f, uint64_t value)
{
	if (f->wire_type == WIRE_FIXED64)
		wire_add_fixed64(n->out, value);
	else if (f->wire_type == WIRE_FIXED32)
		wire_add_fixed32(n->out, (uint32_t)value);
	else
		wire_add_varint(n->out, kept_bits(f, value));
}

/* A field with its tag. */
static enum status write_field(struct normalizer *n, const struct pool_field *f, uint64_t value,
			       const uint8_t *data)
{
	enum status status;
	size_t mark;

	if (f->type == POOL_TYPE_MESSAGE) {
		mark = wire_open(n->out, f->number);
		status = write_message(n, f->type_message, bytes_of(data, (size_t)value));
		wire_close(n->out, mark);
		return status;
	}
	wire_add_tag(n->out, f->number, f->wire_type);
	if (f->type == POOL_TYPE_GROUP) {
		status = write_message(n, f->type_message, bytes_of(data, (size_t)value));
		wire_add_tag(n->out, f->number, WIRE_GROUP_END);
		return status;
	}
	if (f->wire_type != WIRE_BYTES) {
		write_number(n, f, value);
		return STATUS_OK;
	}
	if (f->check_utf8 && !utf8_valid((const char *)data, (size_t)value))
		return error_set(n->scan.err, STATUS_INVALID_ARGUMENT,
				 "a string is not valid UTF-8");
	wire_add_varint(n->out, value);
	strbuf_add(n->out, data, (size_t)value);
	return STATUS_OK;
}

/* ------------------------------------------------------------------ maps */

/* An entry whose value is an unknown number of a closed enum is an unknown field. */
static bool is_unknown_entry(const struct pool_message *entry, struct bytes data)
{
	const struct pool_field *value = &entry->fields[1];
	struct wire_cursor c = wire_cursor_of(data);
	struct wire_field f;
	bool is_known = true;

	while (wire_next(&c, &f))
		if (f.number == 2 && f.type == WIRE_VARINT)
			is_known = decode_enum_is_known(value->type_enum, f.value);
	return !is_known;
}

static void write_unknown_entries(struct normalizer *n, const struct pool_field *f, size_t at,
				  size_t end)
{
	const struct pool_field *value = &f->type_message->fields[1];

	if (!value->type_enum || !value->type_enum->closed)
		return;
	for (; at < end; at++) {
		const struct bytes data =
			bytes_of(n->scan.entries[at].data, (size_t)n->scan.entries[at].value);

		if (is_unknown_entry(f->type_message, data))
			wire_add_bytes(&n->left->entries, f->number, data);
	}
}

static enum status write_map(struct normalizer *n, const struct pool_field *f, size_t at,
			     size_t end)
{
	const struct pool_field *key = &f->type_message->fields[0];
	const struct pool_field *value = &f->type_message->fields[1];
	struct scan_map_item *items;
	size_t count;
	enum status status = check_depth(n);

	if (status == STATUS_OK)
		status = scan_map(&n->scan, at, end, n->depth, &items, &count);
	if (status != STATUS_OK)
		return status;
	n->depth++; /* entries are messages */
	for (size_t i = 0; i < count && status == STATUS_OK; i++) {
		const size_t mark = wire_open(n->out, f->number);
		uint64_t k = items[i].key;

		if (key->type == POOL_TYPE_SINT32 || key->type == POOL_TYPE_SINT64)
			k = wire_zigzag_encode((int64_t)k);
		status = write_field(n, key, k, items[i].key_data);
		if (status == STATUS_OK)
			status = write_field(n, value, items[i].value, items[i].value_data);
		wire_close(n->out, mark);
	}
	n->depth--;
	if (status == STATUS_OK)
		write_unknown_entries(n, f, at, end);
	return status;
}

/* ----------------------------------------------------------------- lists */

/* Elements of a closed enum that it does not know are left over, unpacked. */
static enum status write_run(struct normalizer *n, const struct pool_field *f, struct bytes run)
{
	const uint8_t *at = run.data, *end = at + run.size;
	uint64_t value;

	while (at < end) {
		at = decode_packed(f->wire_type, at, end, &value);
		if (!at)
			return error_set(n->scan.err, STATUS_INVALID_ARGUMENT,
					 "a packed list is cut off");
		if (f->type_enum && !decode_enum_is_known(f->type_enum, value)) {
			wire_add_uint(&n->left->values, f->number, value);
			continue;
		}
		if (!f->packed)
			wire_add_tag(n->out, f->number, f->wire_type);
		write_number(n, f, value);
	}
	return STATUS_OK;
}

static enum status write_numbers(struct normalizer *n, const struct pool_field *f, size_t at,
				 size_t end)
{
	const size_t start = n->out->len;
	const size_t mark = f->packed ? wire_open(n->out, f->number) : start;

	for (; at < end; at++) {
		const struct scan_entry *e = &n->scan.entries[at];

		if (e->data) {
			enum status status =
				write_run(n, f, bytes_of(e->data, (size_t)e->value));

			if (status != STATUS_OK)
				return status;
			continue;
		}
		if (!f->packed)
			wire_add_tag(n->out, f->number, f->wire_type);
		write_number(n, f, e->value);
	}
	if (f->packed && n->out->len == mark)
		strbuf_truncate(n->out, start);
	else if (f->packed)
		wire_close(n->out, mark);
	return STATUS_OK;
}

static enum status write_list(struct normalizer *n, const struct pool_field *f, size_t at,
			      size_t end)
{
	if (decode_is_packable(f))
		return write_numbers(n, f, at, end);
	for (; at < end; at++) {
		const struct scan_entry e = n->scan.entries[at];
		enum status status = write_field(n, f, e.value, e.data);

		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

/* -------------------------------------------------------------- messages */

static enum status write_entries(struct normalizer *n, const struct pool_field *f, size_t at,
				 size_t end)
{
	struct scan_entry e;

	if (!f) {
		for (; at < end; at++)
			strbuf_add(n->out, n->scan.entries[at].data,
				   (size_t)n->scan.entries[at].value);
		return STATUS_OK;
	}
	if (f->is_map)
		return write_map(n, f, at, end);
	if (f->repeated)
		return write_list(n, f, at, end);
	e = scan_singular(&n->scan, at, end);
	if (!f->has_presence && scan_is_default(f, e.value))
		return STATUS_OK;
	return write_field(n, f, e.value, e.data);
}

/* What scan_message() pushed from @first on. */
static enum status write_fields(struct normalizer *n, size_t first)
{
	struct leftovers left = {STRBUF_INIT, STRBUF_INIT}, *const outer = n->left;
	enum status status = STATUS_OK;
	size_t end;

	n->left = &left;
	for (size_t at = first; status == STATUS_OK && at < n->scan.count; at = end) {
		const struct pool_field *f = n->scan.entries[at].field;

		end = scan_run_end(&n->scan, at);
		status = write_entries(n, f, at, end);
		if (status != STATUS_OK && f)
			error_prefix_field(n->scan.err, f->name);
	}
	n->left = outer;
	strbuf_add(n->out, left.values.buf, left.values.len);
	strbuf_add(n->out, left.entries.buf, left.entries.len);
	strbuf_release(&left.values);
	strbuf_release(&left.entries);
	return status;
}

static enum status write_message(struct normalizer *n, const struct pool_message *m,
				 struct bytes message)
{
	size_t first;
	enum status status = check_depth(n);

	if (status == STATUS_OK)
		status = scan_message(&n->scan, m, message, n->depth, true, &first);
	if (status != STATUS_OK)
		return status;
	n->depth++;
	status = write_fields(n, first);
	n->scan.count = first;
	n->depth--;
	return status;
}

enum status wire_normalize(const struct pool *pool, const struct pool_message *m,
			   struct bytes message, struct strbuf *out, struct error *err)
{
	struct normalizer n = {.out = out};
	const size_t start = out->len;
	enum status status;

	if (!message.data)
		message = bytes_of("", 0);
	if (err)
		*err = (struct error){.status = STATUS_OK};
	scan_init(&n.scan, pool, err);
	status = write_message(&n, m, message);
	if (status == STATUS_OK)
		status = scan_check_complete(&n.scan);
	if (status == STATUS_OK && n.scan.overwritten)
		status = wire_validate(pool, m, message, 0, err);
	if (status != STATUS_OK)
		strbuf_truncate(out, start);
	scan_release(&n.scan);
	return status;
}
