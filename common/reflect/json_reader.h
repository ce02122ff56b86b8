/*
 * Inside common/reflect: what json_in.c and json_in_known.c, which call each
 * other, share. Functions return false after an error, which is then in r->err.
 */
#ifndef COMMON_REFLECT_JSON_READER_H
#define COMMON_REFLECT_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/json_lex.h"
#include "common/reflect/wire.h"

struct pool;

/* A message is in a list or a map: that is two levels, of JSON and of the path. */
enum { JSON_MAX_FRAMES = WIRE_MAX_DEPTH * 2 + 8 };

/* A step of the path to where reading is, for errors: a field, or an element. */
struct json_frame {
	const struct pool_field *field; /* NULL: an element */
	long index;                     /* -1: a map's value, by key */
	const char *key;                /* in the text, with its quotes */
	size_t key_len;
};

struct json_reader {
	struct json_lex lex;
	const struct pool *pool;
	struct strbuf *out;
	struct error *err;
	unsigned flags;
	int depth; /* messages that are open */
	struct json_frame frames[JSON_MAX_FRAMES];
	size_t frame_count;
};

/* How reading one value ended. */
enum json_outcome {
	JSON_FAILED,
	JSON_WRITTEN,
	JSON_DROPPED, /* an unknown enum name, which was to be ignored */
};

/* INVALID_ARGUMENT "line 3, orders[2].qty: ...", the path in err->field. */
bool json_read_fail(struct json_reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The same with what the reader of tokens found wrong. */
bool json_read_malformed(struct json_reader *r);

/* A message begins. False: it would be too deep. Count r->depth down at its end. */
bool json_read_deeper(struct json_reader *r);

/* Any value that is not read as a message. */
bool json_read_skip(struct json_reader *r);

bool json_read_bool(struct json_reader *r, uint64_t *ret);

/* @text as a double, or a float; @quoted: NaN and infinities have names. */
bool json_read_double_text(struct json_reader *r, bool is_float, struct bytes text, bool quoted,
			   double *ret);

/* One value with its tag; @skip_default: nothing is written for the default. */
enum json_outcome json_read_value(struct json_reader *r, const struct pool_field *f,
				  bool skip_default);
enum json_outcome json_read_submessage(struct json_reader *r, const struct pool_field *f);
bool json_read_list(struct json_reader *r, const struct pool_field *f);
bool json_read_map(struct json_reader *r, const struct pool_field *f);

/* After the '{'. @in_any: "@type" is not a field. */
bool json_read_fields(struct json_reader *r, const struct pool_message *m, bool in_any);

/* A whole message, without tag and length. */
bool json_read_message(struct json_reader *r, const struct pool_message *m);

/* ------------------------------------------------------ json_in_scalar.c */

/* @text as the value of a varint or fixed field: two's complement, or zigzag. */
bool json_read_integer_text(struct json_reader *r, const struct pool_field *f,
			    struct bytes text, uint64_t *ret);
enum json_outcome json_read_numeric(struct json_reader *r, const struct pool_field *f,
				    uint64_t *ret);
void json_put_numeric(struct strbuf *out, const struct pool_field *f, uint64_t value);

/* Append what base64 or base64url, padded or not, stands for. */
bool json_put_base64(struct json_reader *r, struct bytes text);

/* ------------------------------------------------------- json_in_known.c */

bool json_read_time(struct json_reader *r, const struct pool_message *m);
bool json_read_field_mask(struct json_reader *r);
bool json_read_wrapper(struct json_reader *r, const struct pool_message *m);
bool json_read_dynamic(struct json_reader *r, const struct pool_message *m);
bool json_read_any(struct json_reader *r);

#endif
