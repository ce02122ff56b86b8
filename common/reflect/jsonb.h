/*
 * Inside common/reflect: elements of SQLite's JSONB (sqlite.org/jsonb.html), as
 * they are appended to a buffer: a header of type and payload size, then the
 * payload. Sizes take 1, 2, 3 or 5 header bytes.
 */
#ifndef COMMON_REFLECT_JSONB_H
#define COMMON_REFLECT_JSONB_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/strbuf.h"

enum jsonb_type {
	JSONB_NULL = 0,
	JSONB_TRUE = 1,
	JSONB_FALSE = 2,
	JSONB_INT = 3,
	JSONB_FLOAT = 5,
	JSONB_TEXT = 7,     /* needs no escapes as JSON */
	JSONB_TEXTRAW = 10, /* may need some */
	JSONB_ARRAY = 11,
	JSONB_OBJECT = 12,
};

enum { JSONB_HEADER_MAX_BYTES = 5 };

/* How long the header of a payload of @size bytes is, in its shortest form. */
static inline unsigned jsonb_header_len(size_t size)
{
	return size <= 11 ? 1 : size <= 0xff ? 2 : size <= 0xffff ? 3 : 5;
}

/* Write it to @out; returns its length. */
static inline unsigned jsonb_put_header(uint8_t *out, enum jsonb_type type, size_t size)
{
	const unsigned len = jsonb_header_len(size);

	if (len == 1) {
		out[0] = (uint8_t)(size << 4 | type);
		return len;
	}
	out[0] = (uint8_t)((len == 2 ? 0xc0 : len == 3 ? 0xd0 : 0xe0) | type);
	for (unsigned i = 1; i < len; i++)
		out[i] = (uint8_t)(size >> (8 * (len - 1 - i)));
	return len;
}

/* Text of any kind, UTF-8. */
void jsonb_add_text(struct strbuf *out, const char *text, size_t len);

#endif
