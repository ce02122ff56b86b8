#include "common/reflect/json_in.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/calendar.h"
#include "common/reflect/json_lex.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

enum { MAX_FRAMES = JSON_LEX_MAX_DEPTH * 2 + 8, SEEN_WORDS = 4, MAX_NUMBER_BYTES = 800 };

/* A step of the path to where reading is, for errors: a field, or an element. */
struct frame {
	const struct pool_field *field; /* NULL: an element */
	long index;                     /* -1: a map's value, by key */
	const char *key;                /* in the text, with its quotes */
	size_t key_len;
};

struct reader {
	struct json_lex lex;
	const struct pool *pool;
	struct strbuf *out;
	struct error *err;
	unsigned flags;
	int depth; /* messages inside the outermost one */
	struct frame frames[MAX_FRAMES];
	size_t frame_count;
};

/* ------------------------------------------------------------------- errors */

static void put_path(const struct reader *r, struct strbuf *out)
{
	for (size_t i = 0; i < r->frame_count; i++) {
		const struct frame *f = &r->frames[i];
		if (f->field)
			strbuf_addf(out, "%s%s", out->len ? "." : "", f->field->json_name);
		else if (f->index >= 0)
			strbuf_addf(out, "[%ld]", f->index);
		else
			strbuf_addf(out, "[%.*s]", (int)f->key_len, f->key);
	}
}

static bool fail(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct reader *r, const char *fmt, ...)
{
	AUTO_STRBUF path = STRBUF_INIT;
	AUTO_STRBUF why = STRBUF_INIT;
	va_list args;

	va_start(args, fmt);
	strbuf_vaddf(&why, fmt, args);
	va_end(args);
	put_path(r, &path);
	(void)error_field(r->err, strbuf_str(&path), "line %zu%s%s: %s", json_lex_line(&r->lex),
			  path.len ? ", " : "", strbuf_str(&path), why.buf);
	return false;
}

/* What the reader of tokens found wrong. */
static bool malformed(struct reader *r)
{
	return fail(r, "%s", r->lex.problem ? r->lex.problem : "not JSON");
}

static bool push(struct reader *r, struct frame f)
{
	if (r->frame_count == MAX_FRAMES)
		return fail(r, "nested too deep");
	r->frames[r->frame_count++] = f;
	return true;
}

static void pop(struct reader *r)
{
	r->frame_count--;
}

/* ------------------------------------------------------------------ numbers */

/* A number, or one in a string. */
static bool read_number(struct reader *r, struct bytes *ret, bool *ret_quoted)
{
	*ret_quoted = json_lex_peek(&r->lex) == '"';
	return (*ret_quoted ? json_lex_string(&r->lex, ret) : json_lex_number(&r->lex, ret)) ||
	       malformed(r);
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
static bool convert_integer(struct reader *r, const struct pool_field *f, struct bytes text,
			    uint64_t *ret)
{
	bool negative;
	uint64_t magnitude, value;

	if (!json_lex_integer(text, &negative, &magnitude))
		return fail(r, "not an integer");
	if (!in_range(f, negative, magnitude))
		return fail(r, "out of range");
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

static bool convert_double(struct reader *r, bool is_float, struct bytes text, bool quoted,
			   double *ret)
{
	char copy[MAX_NUMBER_BYTES];

	if (quoted && named_double(text, ret))
		return true;
	if (quoted && !is_number(text))
		return fail(r, "not a number");
	if (text.size >= sizeof(copy))
		return fail(r, "a number of more than %d characters", MAX_NUMBER_BYTES - 1);
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	*ret = is_float ? (double)strtof(copy, NULL) : strtod(copy, NULL);
	return isfinite(*ret) || fail(r, "out of range");
}

/* ------------------------------------------------------------------- scalars */

/* How reading one value ended. */
enum outcome {
	FAILED,
	WRITTEN,
	DROPPED, /* an unknown enum name, which was to be ignored */
};

static const struct pool_enum_value *find_value(const struct pool_enum *e, struct bytes name)
{
	return pool_enum_value_by_name(e, (const char *)name.data, name.size);
}

static enum outcome unknown_value(struct reader *r, const char *what)
{
	if (r->flags & JSON_IN_IGNORE_UNKNOWN)
		return DROPPED;
	(void)fail(r, "%s", what);
	return FAILED;
}

static enum outcome read_enum(struct reader *r, const struct pool_field *f, uint64_t *ret)
{
	const struct pool_enum *e = f->type_enum;
	const struct pool_enum_value *v;
	struct bytes text;

	if (e->is_null && json_lex_peek(&r->lex) == 'n') {
		*ret = 0;
		return json_lex_literal(&r->lex, "null") ? WRITTEN : (malformed(r), FAILED);
	}
	if (json_lex_peek(&r->lex) == '"') {
		if (!json_lex_string(&r->lex, &text))
			return malformed(r), FAILED;
		v = find_value(e, text);
		if (!v)
			return unknown_value(r, "the enum has no such value");
		*ret = (uint64_t)(int64_t)v->number;
		return WRITTEN;
	}
	if (!json_lex_number(&r->lex, &text))
		return malformed(r), FAILED;
	if (!convert_integer(r, f, text, ret))
		return FAILED;
	if (e->closed && !pool_enum_value_by_number(e, (int32_t)*ret))
		return unknown_value(r, "the enum has no value with this number");
	return WRITTEN;
}

static bool read_bool(struct reader *r, uint64_t *ret)
{
	int c = json_lex_peek(&r->lex);

	*ret = c == 't';
	if (c != 't' && c != 'f')
		return fail(r, "neither true nor false");
	return json_lex_literal(&r->lex, c == 't' ? "true" : "false") || malformed(r);
}

static bool read_real(struct reader *r, const struct pool_field *f, uint64_t *ret)
{
	struct bytes text;
	bool quoted;
	double value;
	float single;
	uint32_t bits;

	if (!read_number(r, &text, &quoted) ||
	    !convert_double(r, f->type == POOL_TYPE_FLOAT, text, quoted, &value))
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

static enum outcome read_numeric(struct reader *r, const struct pool_field *f, uint64_t *ret)
{
	struct bytes text;
	bool quoted;

	switch (f->type) {
	case POOL_TYPE_BOOL:
		return read_bool(r, ret) ? WRITTEN : FAILED;
	case POOL_TYPE_ENUM:
		return read_enum(r, f, ret);
	case POOL_TYPE_FLOAT:
	case POOL_TYPE_DOUBLE:
		return read_real(r, f, ret) ? WRITTEN : FAILED;
	default:
		return read_number(r, &text, &quoted) && convert_integer(r, f, text, ret)
			       ? WRITTEN
			       : FAILED;
	}
}

static void put_numeric(struct strbuf *out, const struct pool_field *f, uint64_t value)
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
static bool put_base64(struct reader *r, struct bytes text)
{
	size_t n = text.size;
	uint32_t bits = 0;
	int count = 0;

	while (n && text.data[n - 1] == '=' && text.size - n < 2)
		n--;
	if (n % 4 == 1 || (n != text.size && text.size % 4))
		return fail(r, "not base64");
	for (size_t i = 0; i < n; i++) {
		char c = (char)text.data[i];
		int v = c >= 'A' && c <= 'Z'   ? c - 'A'
			: c >= 'a' && c <= 'z' ? c - 'a' + 26
			: c >= '0' && c <= '9' ? c - '0' + 52
			: c == '+' || c == '-' ? 62
			: c == '/' || c == '_' ? 63
					       : -1;
		if (v < 0)
			return fail(r, "not base64");
		bits = bits << 6 | (uint32_t)v;
		count += 6;
		if (count >= 8) {
			count -= 8;
			strbuf_addch(r->out, (char)(bits >> count));
		}
	}
	return true;
}

static bool read_message(struct reader *r, const struct pool_message *m);

static enum outcome read_text(struct reader *r, const struct pool_field *f, bool skip_default)
{
	struct bytes text;

	if (!json_lex_string(&r->lex, &text))
		return malformed(r), FAILED;
	if (!text.size && skip_default)
		return WRITTEN;
	if (f->type == POOL_TYPE_STRING) {
		wire_add_bytes(r->out, f->number, text);
		return WRITTEN;
	}
	size_t mark = wire_open(r->out, f->number);
	if (!put_base64(r, text))
		return FAILED;
	wire_close(r->out, mark);
	return WRITTEN;
}

static enum outcome read_submessage(struct reader *r, const struct pool_field *f)
{
	size_t mark;

	if (f->type == POOL_TYPE_GROUP) {
		wire_add_tag(r->out, f->number, WIRE_GROUP_START);
		if (!read_message(r, f->type_message))
			return FAILED;
		wire_add_tag(r->out, f->number, WIRE_GROUP_END);
		return WRITTEN;
	}
	mark = wire_open(r->out, f->number);
	if (!read_message(r, f->type_message))
		return FAILED;
	wire_close(r->out, mark);
	return WRITTEN;
}

/* One value with its tag; @skip_default: nothing is written for the default. */
static enum outcome read_value(struct reader *r, const struct pool_field *f, bool skip_default)
{
	uint64_t value = 0;
	enum outcome outcome;

	if (f->type_message)
		return read_submessage(r, f);
	if (f->type == POOL_TYPE_STRING || f->type == POOL_TYPE_BYTES)
		return read_text(r, f, skip_default);
	outcome = read_numeric(r, f, &value);
	if (outcome != WRITTEN || (skip_default && !value))
		return outcome;
	wire_add_tag(r->out, f->number, f->wire_type);
	put_numeric(r->out, f, value);
	return WRITTEN;
}

/* --------------------------------------------------------------- lists, maps */

static bool takes_null(const struct pool_field *f)
{
	return (f->type_message && f->type_message->well_known == POOL_WELL_KNOWN_VALUE) ||
	       (f->type_enum && f->type_enum->is_null);
}

static bool refuse_null(struct reader *r, const struct pool_field *f)
{
	return json_lex_peek(&r->lex) != 'n' || takes_null(f) ||
	       fail(r, "null is no value here");
}

static bool read_packed_element(struct reader *r, const struct pool_field *f)
{
	uint64_t value = 0;
	enum outcome outcome = read_numeric(r, f, &value);

	if (outcome == WRITTEN)
		put_numeric(r->out, f, value);
	return outcome != FAILED;
}

static bool read_elements(struct reader *r, const struct pool_field *f)
{
	for (long i = 0;; i++) {
		r->frames[r->frame_count - 1].index = i;
		if (!refuse_null(r, f))
			return false;
		if (f->packed ? !read_packed_element(r, f) : read_value(r, f, false) == FAILED)
			return false;
		if (json_lex_accept(&r->lex, ']'))
			return true;
		if (!json_lex_accept(&r->lex, ','))
			return fail(r, "',' or ']' is expected");
	}
}

static bool read_list(struct reader *r, const struct pool_field *f)
{
	size_t before = r->out->len, mark = 0, content;
	bool done;

	if (!json_lex_expect(&r->lex, '['))
		return malformed(r);
	if (json_lex_accept(&r->lex, ']'))
		return true;
	if (!push(r, (struct frame){.index = 0}))
		return false;
	if (f->packed)
		mark = wire_open(r->out, f->number);
	content = r->out->len;
	done = read_elements(r, f);
	if (done)
		pop(r);
	if (done && f->packed && r->out->len == content)
		strbuf_truncate(r->out, before); /* every element was dropped */
	else if (done && f->packed)
		wire_close(r->out, mark);
	return done;
}

static bool read_key(struct reader *r, const struct pool_field *key, struct bytes text)
{
	uint64_t value;

	if (key->type == POOL_TYPE_STRING) {
		wire_add_bytes(r->out, key->number, text);
		return true;
	}
	if (key->type == POOL_TYPE_BOOL) {
		value = bytes_equal(text, bytes_of_string("true"));
		if (!value && !bytes_equal(text, bytes_of_string("false")))
			return fail(r, "the key is neither \"true\" nor \"false\"");
	} else if (!convert_integer(r, key, text, &value)) {
		return false;
	}
	wire_add_tag(r->out, key->number, key->wire_type);
	put_numeric(r->out, key, value);
	return true;
}

static bool read_entry(struct reader *r, const struct pool_field *f)
{
	const struct pool_field *key = pool_declared_field(f->type_message, 1);
	const struct pool_field *value = pool_declared_field(f->type_message, 2);
	struct frame *frame = &r->frames[r->frame_count - 1];
	size_t before = r->out->len, mark;
	enum outcome outcome;
	struct bytes text;

	(void)json_lex_peek(&r->lex);
	frame->key = r->lex.at;
	if (!json_lex_string(&r->lex, &text))
		return malformed(r);
	frame->key_len = (size_t)(r->lex.at - frame->key);
	mark = wire_open(r->out, f->number);
	if (!read_key(r, key, text))
		return false;
	if (!json_lex_expect(&r->lex, ':'))
		return malformed(r);
	if (!refuse_null(r, value))
		return false;
	outcome = read_value(r, value, false);
	if (outcome == DROPPED)
		strbuf_truncate(r->out, before);
	else if (outcome == WRITTEN)
		wire_close(r->out, mark);
	return outcome != FAILED;
}

static bool read_map(struct reader *r, const struct pool_field *f)
{
	if (!json_lex_expect(&r->lex, '{'))
		return malformed(r);
	if (json_lex_accept(&r->lex, '}'))
		return true;
	if (!push(r, (struct frame){.index = -1}))
		return false;
	do {
		if (!read_entry(r, f))
			return false;
	} while (json_lex_accept(&r->lex, ','));
	pop(r);
	return json_lex_accept(&r->lex, '}') || fail(r, "',' or '}' is expected");
}

/* ------------------------------------------------------------------- fields */

/* Which fields and oneofs of a message were there already. */
struct seen {
	uint64_t small_fields[SEEN_WORDS], small_oneofs[SEEN_WORDS];
	uint64_t *fields, *oneofs;
	const struct pool_field **extensions;
	size_t extension_count;
	void *owned[2];
};

static uint64_t *bits_for(uint64_t small[SEEN_WORDS], uint32_t count, void **ret_owned)
{
	if (count <= SEEN_WORDS * 64)
		return small;
	return *ret_owned = xcalloc(count / 64 + 1, sizeof(uint64_t));
}

static void seen_init(struct seen *s, const struct pool_message *m)
{
	memset(s, 0, sizeof(*s));
	s->fields = bits_for(s->small_fields, m->field_count, &s->owned[0]);
	s->oneofs = bits_for(s->small_oneofs, m->oneof_count, &s->owned[1]);
}

static void seen_release(struct seen *s)
{
	free(s->owned[0]);
	free(s->owned[1]);
	free(s->extensions);
}

static bool test_and_set(uint64_t *bits, uint32_t i)
{
	uint64_t bit = 1ull << (i % 64);
	bool was = bits[i / 64] & bit;

	bits[i / 64] |= bit;
	return was;
}

static bool extension_is_new(struct seen *s, const struct pool_field *f)
{
	for (size_t i = 0; i < s->extension_count; i++)
		if (s->extensions[i] == f)
			return false;
	s->extensions =
		xreallocarray(s->extensions, s->extension_count + 1, sizeof(*s->extensions));
	s->extensions[s->extension_count++] = f;
	return true;
}

static const struct pool_field *find_field(const struct reader *r, const struct pool_message *m,
					   struct bytes name)
{
	const char *text = (const char *)name.data;
	const struct pool_field *f;

	if (name.size > 2 && text[0] == '[' && text[name.size - 1] == ']') {
		f = pool_extension(r->pool, text + 1, name.size - 2);
		return f && f->message == m ? f : NULL;
	}
	return pool_field_by_name(m, text, name.size);
}

static bool read_field(struct reader *r, const struct pool_field *f, struct seen *s)
{
	if (f->is_extension ? !extension_is_new(s, f) : test_and_set(s->fields, f->index))
		return fail(r, "the field is there twice");
	if (json_lex_peek(&r->lex) == 'n' && (f->repeated || !takes_null(f)))
		return json_lex_literal(&r->lex, "null") || malformed(r);
	if (f->oneof >= 0 && test_and_set(s->oneofs, (uint32_t)f->oneof))
		return fail(r, "another field of the oneof %s is there",
			    f->message->oneofs[f->oneof].name);
	if (f->is_map)
		return read_map(r, f);
	if (f->repeated)
		return read_list(r, f);
	return read_value(r, f, !f->has_presence) != FAILED;
}

static bool read_member(struct reader *r, const struct pool_message *m, struct seen *s,
			bool in_any)
{
	const struct pool_field *f;
	struct bytes name;
	bool is_type, done;

	if (!json_lex_string(&r->lex, &name))
		return malformed(r);
	f = find_field(r, m, name);
	is_type = in_any && bytes_equal(name, bytes_of_string("@type"));
	if (!f && !is_type && !(r->flags & JSON_IN_IGNORE_UNKNOWN))
		return fail(r, "%s has no field \"%.*s\"", m->full_name,
			    (int)(name.size < 100 ? name.size : 100), (const char *)name.data);
	if (!json_lex_expect(&r->lex, ':'))
		return malformed(r);
	if (!f)
		return json_lex_skip(&r->lex, JSON_LEX_MAX_DEPTH - r->depth) || malformed(r);
	if (!push(r, (struct frame){.field = f}))
		return false;
	done = read_field(r, f, s);
	if (done)
		pop(r);
	return done;
}

/* After the '{'. @in_any: "@type" is not a field. */
static bool read_fields(struct reader *r, const struct pool_message *m, bool in_any)
{
	struct seen s;
	bool done = true;

	if (json_lex_accept(&r->lex, '}'))
		return true;
	seen_init(&s, m);
	do {
		done = read_member(r, m, &s, in_any);
	} while (done && json_lex_accept(&r->lex, ','));
	seen_release(&s);
	if (!done)
		return false;
	return json_lex_accept(&r->lex, '}') || fail(r, "',' or '}' is expected");
}

/* --------------------------------------------------------- well-known types */

static bool read_time(struct reader *r, const struct pool_message *m)
{
	bool is_timestamp = m->well_known == POOL_WELL_KNOWN_TIMESTAMP;
	struct bytes text;
	int64_t seconds;
	int32_t nanos;

	if (!json_lex_string(&r->lex, &text))
		return malformed(r);
	if (!(is_timestamp ? calendar_parse : calendar_parse_duration)(
		    (const char *)text.data, text.size, &seconds, &nanos))
		return fail(r, is_timestamp ? "not a time such as 2026-01-02T03:04:05Z"
					    : "not a duration such as 1.5s");
	if (seconds)
		wire_add_uint(r->out, 1, (uint64_t)seconds);
	if (nanos)
		wire_add_uint(r->out, 2, (uint64_t)(int64_t)nanos);
	return true;
}

/* "a,fooBar" is the paths "a" and "foo_bar". */
static bool read_field_mask(struct reader *r)
{
	struct bytes text;
	size_t i = 0;

	if (!json_lex_string(&r->lex, &text))
		return malformed(r);
	while (i < text.size) {
		size_t mark = wire_open(r->out, 1);
		for (; i < text.size && text.data[i] != ','; i++) {
			char c = (char)text.data[i];
			if (c == '_')
				return fail(r, "a path of a FieldMask has no '_' in JSON");
			if (c >= 'A' && c <= 'Z') {
				strbuf_addch(r->out, '_');
				c = (char)(c - 'A' + 'a');
			}
			strbuf_addch(r->out, c);
		}
		wire_close(r->out, mark);
		i++;
	}
	return true;
}

static bool read_wrapper(struct reader *r, const struct pool_message *m)
{
	return read_value(r, pool_declared_field(m, 1), true) != FAILED;
}

/* google.protobuf.Value's fields. */
enum {
	VALUE_NULL = 1,
	VALUE_NUMBER = 2,
	VALUE_STRING = 3,
	VALUE_BOOL = 4,
	VALUE_STRUCT = 5,
	VALUE_LIST = 6,
};

static bool read_dynamic(struct reader *r, const struct pool_message *m)
{
	struct bytes text;
	uint64_t bits;
	double value;

	switch (json_lex_peek(&r->lex)) {
	case 'n':
		wire_add_uint(r->out, VALUE_NULL, 0);
		return json_lex_literal(&r->lex, "null") || malformed(r);
	case 't':
	case 'f':
		if (!read_bool(r, &bits))
			return false;
		wire_add_uint(r->out, VALUE_BOOL, bits);
		return true;
	case '"':
		if (!json_lex_string(&r->lex, &text))
			return malformed(r);
		wire_add_bytes(r->out, VALUE_STRING, text);
		return true;
	case '{':
		return read_submessage(r, pool_declared_field(m, VALUE_STRUCT)) == WRITTEN;
	case '[':
		return read_submessage(r, pool_declared_field(m, VALUE_LIST)) == WRITTEN;
	default:
		if (!json_lex_number(&r->lex, &text))
			return malformed(r);
		if (!convert_double(r, false, text, false, &value))
			return false;
		memcpy(&bits, &value, sizeof(bits));
		wire_add_tag(r->out, VALUE_NUMBER, WIRE_FIXED64);
		wire_add_fixed64(r->out, bits);
		return true;
	}
}

/* ----------------------------------------------------------------------- Any */

/* What a first look over an Any found: "@type" may come last. */
struct any_parts {
	char *url; /* owned; NULL: none */
	size_t url_len;
	const char *value; /* where "value"'s begins; NULL: none */
};

static bool scan_any_member(struct reader *r, struct any_parts *parts)
{
	struct bytes name, url;
	bool is_type, is_value;

	if (!json_lex_string(&r->lex, &name))
		return malformed(r);
	is_type = bytes_equal(name, bytes_of_string("@type"));
	is_value = bytes_equal(name, bytes_of_string("value"));
	if (!json_lex_expect(&r->lex, ':'))
		return malformed(r);
	if (is_type) {
		if (parts->url)
			return fail(r, "\"@type\" is there twice");
		if (!json_lex_string(&r->lex, &url))
			return malformed(r);
		parts->url = xstrndup((const char *)url.data, url.size);
		parts->url_len = url.size;
		return true;
	}
	(void)json_lex_peek(&r->lex);
	if (is_value)
		parts->value = r->lex.at;
	return json_lex_skip(&r->lex, JSON_LEX_MAX_DEPTH - r->depth) || malformed(r);
}

static bool scan_any(struct reader *r, struct any_parts *parts)
{
	do {
		if (!scan_any_member(r, parts))
			return false;
	} while (json_lex_accept(&r->lex, ','));
	return json_lex_accept(&r->lex, '}') || fail(r, "',' or '}' is expected");
}

static bool read_any_value(struct reader *r, const struct pool_message *type,
			   const struct any_parts *parts, const char *members)
{
	if (type->well_known == POOL_WELL_KNOWN_NONE ||
	    (type->well_known == POOL_WELL_KNOWN_EMPTY && !parts->value)) {
		r->lex.at = members;
		return read_fields(r, type, true);
	}
	if (!parts->value)
		return fail(r, "an Any of %s has a \"value\"", type->full_name);
	r->lex.at = parts->value;
	return read_message(r, type);
}

static bool read_any_parts(struct reader *r, struct any_parts *parts, const char *members)
{
	const struct pool_message *type;
	const char *after;
	size_t mark;

	if (!scan_any(r, parts))
		return false;
	if (!parts->url)
		return fail(r, "an Any needs an \"@type\"");
	type = strchr(parts->url, '/')
		       ? pool_message_of_url(r->pool, parts->url, parts->url_len)
		       : NULL;
	if (!type)
		return fail(r, "the type %.200s is not known", parts->url);
	after = r->lex.at;
	wire_add_bytes(r->out, 1, bytes_of(parts->url, parts->url_len));
	mark = wire_open(r->out, 2);
	if (!read_any_value(r, type, parts, members))
		return false;
	wire_close(r->out, mark);
	r->lex.at = after;
	return true;
}

static bool read_any(struct reader *r)
{
	struct any_parts parts = {NULL, 0, NULL};
	const char *members;
	bool done;

	if (!json_lex_expect(&r->lex, '{'))
		return malformed(r);
	members = r->lex.at;
	if (json_lex_accept(&r->lex, '}'))
		return true;
	done = read_any_parts(r, &parts, members);
	free(parts.url);
	return done;
}

/* ------------------------------------------------------------------- messages */

static bool read_object(struct reader *r, const struct pool_message *m)
{
	if (!json_lex_accept(&r->lex, '{'))
		return fail(r, "an object is expected for %s", m->full_name);
	return read_fields(r, m, false);
}

static bool read_content(struct reader *r, const struct pool_message *m)
{
	switch ((enum pool_well_known)m->well_known) {
	case POOL_WELL_KNOWN_TIMESTAMP:
	case POOL_WELL_KNOWN_DURATION:
		return read_time(r, m);
	case POOL_WELL_KNOWN_FIELD_MASK:
		return read_field_mask(r);
	case POOL_WELL_KNOWN_WRAPPER:
		return read_wrapper(r, m);
	case POOL_WELL_KNOWN_STRUCT:
		return read_map(r, pool_declared_field(m, 1));
	case POOL_WELL_KNOWN_LIST_VALUE:
		return read_list(r, pool_declared_field(m, 1));
	case POOL_WELL_KNOWN_VALUE:
		return read_dynamic(r, m);
	case POOL_WELL_KNOWN_ANY:
		return read_any(r);
	case POOL_WELL_KNOWN_NONE:
	case POOL_WELL_KNOWN_EMPTY:
		break;
	}
	return read_object(r, m);
}

static bool read_message(struct reader *r, const struct pool_message *m)
{
	bool done;

	if (++r->depth > JSON_LEX_MAX_DEPTH)
		return fail(r, "nested more than %d deep", JSON_LEX_MAX_DEPTH);
	done = read_content(r, m);
	r->depth--;
	return done;
}

enum status json_to_wire(const struct pool *pool, const struct pool_message *m,
			 const char *text, size_t len, unsigned flags, struct strbuf *out,
			 struct error *err)
{
	struct reader r = {.lex = {.begin = text, .at = text, .end = text + len},
			   .pool = pool,
			   .out = out,
			   .err = err,
			   .flags = flags};
	size_t before = out->len;
	bool done = read_message(&r, m);

	if (done && json_lex_peek(&r.lex) >= 0)
		done = fail(&r, "something follows the message");
	strbuf_release(&r.lex.unescaped);
	if (done)
		return STATUS_OK;
	strbuf_truncate(out, before);
	return STATUS_INVALID_ARGUMENT;
}
