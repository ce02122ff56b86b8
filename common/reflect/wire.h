/*
 * The protobuf wire format: reading it without a schema, checking it against
 * one, and writing it. Every byte read here may be hostile; nothing recurses
 * deeper than WIRE_MAX_DEPTH.
 *
 * As all protobuf parsers do, readers accept overlong varints of up to ten
 * bytes and drop the bits beyond 64.
 */
#ifndef COMMON_REFLECT_WIRE_H
#define COMMON_REFLECT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool;
struct pool_message;

enum {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_GROUP_START = 3,
	WIRE_GROUP_END = 4,
	WIRE_FIXED32 = 5,
};

enum {
	WIRE_MAX_DEPTH = 100, /* messages inside the outermost one */
	WIRE_MAX_FIELD_NUMBER = 536870911,
	WIRE_VARINT_MAX_BYTES = 10,
};

/* ------------------------------------------------------------- reading */

/* One field occurrence, as wire_next() found it. */
struct wire_field {
	uint32_t number;
	uint8_t type;      /* WIRE_VARINT ... WIRE_FIXED32; never WIRE_GROUP_END */
	uint64_t value;    /* of a varint or fixed one, else 0 */
	struct bytes data; /* what a length-delimited field or group holds */
	struct bytes raw;  /* the whole field, its tag included */
};

/* Where reading has got to; wire_cursor_of() starts. Copy it to remember a place. */
struct wire_cursor {
	const uint8_t *at;
	const uint8_t *end;
	bool malformed; /* wire_next() stopped because of the bytes, not at their end */
};

static inline struct wire_cursor wire_cursor_of(struct bytes b)
{
	static const uint8_t nothing;
	const uint8_t *at = b.data ? b.data : &nothing;

	return (struct wire_cursor){at, at + (b.data ? b.size : 0), false};
}

/*
 * The next field of a message. False: there is none, or the bytes are
 * malformed (then @c->malformed is set, and stays so).
 */
bool wire_next(struct wire_cursor *c, struct wire_field *ret_field);

/* The varint at @at; returns what follows it, or NULL: cut off or over-long. */
const uint8_t *wire_read_varint_slow(const uint8_t *at, const uint8_t *end,
				     uint64_t *ret_value);

static inline const uint8_t *wire_read_varint(const uint8_t *at, const uint8_t *end,
					      uint64_t *ret_value)
{
	if (at < end && *at < 0x80) {
		*ret_value = *at;
		return at + 1;
	}
	return wire_read_varint_slow(at, end, ret_value);
}

/*
 * The end of the field whose tag (@number, @type) ends at @at, or NULL. For a
 * group, *ret_content_end is where its end tag starts (it may be NULL).
 */
const uint8_t *wire_skip(const uint8_t *at, const uint8_t *end, uint32_t number, unsigned type,
			 int depth, const uint8_t **ret_content_end);

static inline uint32_t wire_load32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static inline uint64_t wire_load64(const uint8_t *p)
{
	return (uint64_t)wire_load32(p) | (uint64_t)wire_load32(p + 4) << 32;
}

static inline int64_t wire_zigzag_decode(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline uint64_t wire_zigzag_encode(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

/*
 * The last occurrence of the length-delimited field @number, as a reader of a
 * singular string or bytes field would take it. False: none, or malformed.
 */
bool wire_find_bytes(struct bytes message, uint32_t number, struct bytes *ret_data);

/*
 * Is @message built as the wire format demands? Tags, lengths and groups are
 * checked, groups to @max_depth. What length-delimited fields hold cannot be
 * known without a schema: see wire_validate() and cwire.h.
 * INVALID_ARGUMENT: no.
 */
enum status wire_check(struct bytes message, int max_depth, struct error *err) MUST_CHECK;

enum wire_validate_flags {
	WIRE_REQUIRE_FIELDS = 1, /* proto2 `required` fields must be there */
};

/*
 * Do the bytes parse as @m? Structure, depth (WIRE_MAX_DEPTH), packed runs, and
 * the UTF-8 of proto3 strings, in every occurrence of a field, overwritten ones
 * too. Any values are not looked into; unknown fields are fine.
 * INVALID_ARGUMENT: no; err->field has the path, such as "orders[2].name".
 */
enum status wire_validate(const struct pool *pool, const struct pool_message *m,
			  struct bytes message, unsigned flags, struct error *err) MUST_CHECK;

/*
 * Append what a parser would write back after reading @message: fields in the
 * order of their numbers, last values and merged sub-messages only, unknown
 * fields verbatim at the end, defaults without presence left out.
 * INVALID_ARGUMENT: the bytes do not parse as @m.
 */
enum status wire_normalize(const struct pool *pool, const struct pool_message *m,
			   struct bytes message, struct strbuf *out,
			   struct error *err) MUST_CHECK;

/* ------------------------------------------------------------- writing */

/* Write @value to @out (WIRE_VARINT_MAX_BYTES of room); returns its length. */
static inline size_t wire_put_varint(uint8_t *out, uint64_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		out[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	out[n++] = (uint8_t)value;
	return n;
}

void wire_add_varint(struct strbuf *out, uint64_t value);
void wire_add_tag(struct strbuf *out, uint32_t number, unsigned type);
void wire_add_fixed32(struct strbuf *out, uint32_t value);
void wire_add_fixed64(struct strbuf *out, uint64_t value);

/* A whole field: tag, then the value. */
void wire_add_uint(struct strbuf *out, uint32_t number, uint64_t value);
void wire_add_bytes(struct strbuf *out, uint32_t number, struct bytes data);
void wire_add_string(struct strbuf *out, uint32_t number, const char *text);

/*
 * A length-delimited field whose content is appended between the two calls:
 *	size_t mark = wire_open(out, number);
 *	... append ...
 *	wire_close(out, mark);
 */
size_t wire_open(struct strbuf *out, uint32_t number);
void wire_close(struct strbuf *out, size_t mark);

#endif
