/*
 * Inside common/reflect: JSON values as they are appended to a buffer, in one of
 * two forms: text, or SQLite's JSONB. Whoever calls knows nothing of the form.
 */
#ifndef COMMON_REFLECT_JSON_SINK_H
#define COMMON_REFLECT_JSON_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/strbuf.h"
#include "common/reflect/descriptor.h"

struct json_sink {
	struct strbuf *out;
	bool binary;
};

/* Where a container began; see json_sink_open(). */
struct json_mark {
	size_t at;
	unsigned header;
};

enum json_container { JSON_OBJECT, JSON_LIST };

/*
 * @size_hint is about how large its content will be as JSONB: a wrong guess
 * costs a move of the content.
 */
struct json_mark json_sink_open(struct json_sink *s, enum json_container kind,
				size_t size_hint);
void json_sink_close(struct json_sink *s, enum json_container kind, struct json_mark mark);

/* Before every list element, and every key. */
static inline void json_sink_next(struct json_sink *s)
{
	if (!s->binary) {
		const char last = s->out->buf[s->out->len - 1];

		if (last != '[' && last != '{')
			strbuf_addch(s->out, ',');
	}
}

/* After a key that was written as a value. */
static inline void json_sink_end_key(struct json_sink *s)
{
	if (!s->binary)
		strbuf_addch(s->out, ':');
}

/* A field's key, with json_sink_next() before it. */
void json_sink_field_key(struct json_sink *s, const struct pool_field *f, bool proto_name);

/* A key that needs no escapes, with json_sink_next() before it. */
void json_sink_plain_key(struct json_sink *s, const char *key);

void json_sink_null(struct json_sink *s);
void json_sink_bool(struct json_sink *s, bool value);
void json_sink_int(struct json_sink *s, int64_t value, bool quoted);
void json_sink_uint(struct json_sink *s, uint64_t value, bool quoted);

/* Shortest text that reads back the same; NaN and infinities as strings. */
void json_sink_double(struct json_sink *s, double value);
void json_sink_float(struct json_sink *s, float value);

/* A number that was formatted by the caller: digits, '-', '.'. */
void json_sink_number(struct json_sink *s, const char *text, size_t len);

/* Text that needs no escapes. */
void json_sink_plain(struct json_sink *s, const char *text, size_t len);

/* Any text. False, and nothing is written: it is not UTF-8. */
bool json_sink_string(struct json_sink *s, struct bytes text);
void json_sink_base64(struct json_sink *s, struct bytes data);

/* @value in decimal before @end; returns its length. */
static inline size_t json_digits(char *end, uint64_t value)
{
	char *p = end;

	do {
		*--p = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return (size_t)(end - p);
}

#endif
