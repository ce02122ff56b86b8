/* Numbers, enums, truth values and base64. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/reflect/json_in.h"
#include "common/reflect/json_reader.h"
#include "common/reflect/wire.h"

enum { MAX_NUMBER_BYTES = 800 };

/* A number, or one in a string. */
static bool read_number(struct json_reader *r, struct bytes *ret, bool *ret_quoted)
{
	*ret_quoted = json_lex_peek(&r->lex) == '"';
	return (*ret_quoted ? json_lex_string(&r->lex, ret) : json_lex_number(&r->lex, ret)) ||
	       json_read_malformed(r);
}

static bool in_range(const struct pool_field *f, bool negative, uint64_t magnitude)
{
	switch (f->type) {
	case POOL_TYPE_INT32:
	case POOL_TYPE_SINT32:
	case POOL_TYPE_SFIXED32:
	case POOL_TYPE_ENUM:
		return magnitude <= (negative ? 2147483648u : 2147483647u);
	case POOL_TYPE_INT64:
	case POOL_TYPE_SINT64:
	case POOL_TYPE_SFIXED64:
		return magnitude <= (uint64_t)INT64_MAX + negative;
	case POOL_TYPE_UINT32:
	case POOL_TYPE_FIXED32:
		return magnitude <= UINT32_MAX && !(negative && magnitude);
	default:
		return !(negative && magnitude);
	}
}

/* As the value of a varint or fixed field: two's complement, or zigzag. */
bool json_read_integer_text(struct json_reader *r, const struct pool_field *f,
			    struct bytes text, uint64_t *ret)
{
	bool negative;
	uint64_t magnitude, value;

	if (!json_lex_integer(text, &negative, &magnitude))
		return json_read_fail(r, "not an integer");
	if (!in_range(f, negative, magnitude))
		return json_read_fail(r, "out of range");
	value = negative ? 0 - magnitude : magnitude;
	if (f->type == POOL_TYPE_SINT32 || f->type == POOL_TYPE_SINT64)
		value = wire_zigzag_encode((int64_t)value);
	*ret = f->wire_type == WIRE_FIXED32 ? (uint32_t)value : value;
	return true;
}

static bool named_double(struct bytes text, double *ret)
{
	if (bytes_equal(text, bytes_of_string("NaN")))
		*ret = NAN;
	else if (bytes_equal(text, bytes_of_string("Infinity")))
		*ret = INFINITY;
	else if (bytes_equal(text, bytes_of_string("-Infinity")))
		*ret = -INFINITY;
	else
		return false;
	return true;
}

/* Is the text inside quotes a number, the whole of it? */
static bool is_number(struct bytes text)
{
	const char *p = (const char *)text.data;
	struct json_lex inner = {.begin = p, .at = p, .end = p + text.size};
	struct bytes all;

	return text.size && *p != ' ' && *p != '\t' && *p != '\n' && *p != '\r' &&
	       json_lex_number(&inner, &all) && all.size == text.size;
}

bool json_read_double_text(struct json_reader *r, bool is_float, struct bytes text, bool quoted,
			   double *ret)
{
	char copy[MAX_NUMBER_BYTES];

	if (quoted && named_double(text, ret))
		return true;
	if (quoted && !is_number(text))
		return json_read_fail(r, "not a number");
	if (text.size >= sizeof(copy))
		return json_read_fail(r, "a number of more than %d characters",
				      MAX_NUMBER_BYTES - 1);
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	*ret = is_float ? (double)strtof(copy, NULL) : strtod(copy, NULL);
	return isfinite(*ret) || json_read_fail(r, "out of range");
}

/* ------------------------------------------------------------------- scalars */

static const struct pool_enum_value *find_value(const struct pool_enum *e, struct bytes name)
{
	return pool_enum_value_by_name(e, (const char *)name.data, name.size);
}

static enum json_outcome unknown_value(struct json_reader *r, const char *what)
{
	if (r->flags & JSON_IN_IGNORE_UNKNOWN)
		return JSON_DROPPED;
	(void)json_read_fail(r, "%s", what);
	return JSON_FAILED;
}

static enum json_outcome read_enum(struct json_reader *r, const struct pool_field *f,
				   uint64_t *ret)
{
	const struct pool_enum *e = f->type_enum;
	const struct pool_enum_value *v;
	struct bytes text;

	if (e->is_null && json_lex_peek(&r->lex) == 'n') {
		*ret = 0;
		return json_lex_literal(&r->lex, "null")
			       ? JSON_WRITTEN
			       : (json_read_malformed(r), JSON_FAILED);
	}
	if (json_lex_peek(&r->lex) == '"') {
		if (!json_lex_string(&r->lex, &text))
			return json_read_malformed(r), JSON_FAILED;
		v = find_value(e, text);
		if (!v)
			return unknown_value(r, "the enum has no such value");
		*ret = (uint64_t)(int64_t)v->number;
		return JSON_WRITTEN;
	}
	if (!json_lex_number(&r->lex, &text))
		return json_read_malformed(r), JSON_FAILED;
	if (!json_read_integer_text(r, f, text, ret))
		return JSON_FAILED;
	if (e->closed && !pool_enum_value_by_number(e, (int32_t)*ret))
		return unknown_value(r, "the enum has no value with this number");
	return JSON_WRITTEN;
}

bool json_read_bool(struct json_reader *r, uint64_t *ret)
{
	int c = json_lex_peek(&r->lex);

	*ret = c == 't';
	if (c != 't' && c != 'f')
		return json_read_fail(r, "neither true nor false");
	return json_lex_literal(&r->lex, c == 't' ? "true" : "false") || json_read_malformed(r);
}

static bool read_real(struct json_reader *r, const struct pool_field *f, uint64_t *ret)
{
	struct bytes text;
	bool quoted;
	double value = 0;
	float single;
	uint32_t bits;

	if (!read_number(r, &text, &quoted) ||
	    !json_read_double_text(r, f->type == POOL_TYPE_FLOAT, text, quoted, &value))
		return false;
	if (f->type == POOL_TYPE_DOUBLE) {
		memcpy(ret, &value, sizeof(*ret));
		return true;
	}
	single = (float)value;
	memcpy(&bits, &single, sizeof(bits));
	*ret = bits;
	return true;
}

enum json_outcome json_read_numeric(struct json_reader *r, const struct pool_field *f,
				    uint64_t *ret)
{
	struct bytes text;
	bool quoted;

	switch (f->type) {
	case POOL_TYPE_BOOL:
		return json_read_bool(r, ret) ? JSON_WRITTEN : JSON_FAILED;
	case POOL_TYPE_ENUM:
		return read_enum(r, f, ret);
	case POOL_TYPE_FLOAT:
	case POOL_TYPE_DOUBLE:
		return read_real(r, f, ret) ? JSON_WRITTEN : JSON_FAILED;
	default:
		return read_number(r, &text, &quoted) && json_read_integer_text(r, f, text, ret)
			       ? JSON_WRITTEN
			       : JSON_FAILED;
	}
}

void json_put_numeric(struct strbuf *out, const struct pool_field *f, uint64_t value)
{
	if (f->wire_type == WIRE_FIXED64)
		wire_add_fixed64(out, value);
	else if (f->wire_type == WIRE_FIXED32)
		wire_add_fixed32(out, (uint32_t)value);
	else if (f->type == POOL_TYPE_UINT32 || f->type == POOL_TYPE_SINT32)
		wire_add_varint(out, (uint32_t)value);
	else
		wire_add_varint(out, value);
}

/* base64 or base64url, padded or not. */
bool json_put_base64(struct json_reader *r, struct bytes text)
{
	size_t n = text.size;
	uint32_t bits = 0;
	int count = 0;

	while (n && text.data[n - 1] == '=' && text.size - n < 2)
		n--;
	if (n % 4 == 1 || (n != text.size && text.size % 4))
		return json_read_fail(r, "not base64");
	for (size_t i = 0; i < n; i++) {
		char c = (char)text.data[i];
		int v = c >= 'A' && c <= 'Z'   ? c - 'A'
			: c >= 'a' && c <= 'z' ? c - 'a' + 26
			: c >= '0' && c <= '9' ? c - '0' + 52
			: c == '+' || c == '-' ? 62
			: c == '/' || c == '_' ? 63
					       : -1;
		if (v < 0)
			return json_read_fail(r, "not base64");
		bits = bits << 6 | (uint32_t)v;
		count += 6;
		if (count >= 8) {
			count -= 8;
			strbuf_addch(r->out, (char)(bits >> count));
		}
	}
	return true;
}
