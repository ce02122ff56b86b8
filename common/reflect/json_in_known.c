/* Messages that proto3 JSON writes in a form of their own. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/calendar.h"
#include "common/reflect/json_reader.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

bool json_read_time(struct json_reader *r, const struct pool_message *m)
{
	bool is_timestamp = m->well_known == POOL_WELL_KNOWN_TIMESTAMP;
	struct bytes text;
	int64_t seconds;
	int32_t nanos;

	if (!json_lex_string(&r->lex, &text))
		return json_read_malformed(r);
	if (!(is_timestamp ? calendar_parse : calendar_parse_duration)(
		    (const char *)text.data, text.size, &seconds, &nanos))
		return json_read_fail(r, is_timestamp
						 ? "not a time such as 2026-01-02T03:04:05Z"
						 : "not a duration such as 1.5s");
	if (seconds)
		wire_add_uint(r->out, 1, (uint64_t)seconds);
	if (nanos)
		wire_add_uint(r->out, 2, (uint64_t)(int64_t)nanos);
	return true;
}

/* "a,fooBar" is the paths "a" and "foo_bar". Between two commas there is no path. */
bool json_read_field_mask(struct json_reader *r)
{
	struct bytes text;
	size_t i = 0;

	if (!json_lex_string(&r->lex, &text))
		return json_read_malformed(r);
	for (; i < text.size; i++) {
		size_t mark;
		if (text.data[i] == ',')
			continue;
		mark = wire_open(r->out, 1);
		for (; i < text.size && text.data[i] != ','; i++) {
			char c = (char)text.data[i];
			if (c == '_')
				return json_read_fail(
					r, "a path of a FieldMask has no '_' in JSON");
			if (c >= 'A' && c <= 'Z') {
				strbuf_addch(r->out, '_');
				c = (char)(c - 'A' + 'a');
			}
			strbuf_addch(r->out, c);
		}
		wire_close(r->out, mark);
	}
	return true;
}

bool json_read_wrapper(struct json_reader *r, const struct pool_message *m)
{
	return json_read_value(r, pool_declared_field(m, 1), true) != JSON_FAILED;
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

bool json_read_dynamic(struct json_reader *r, const struct pool_message *m)
{
	struct bytes text;
	uint64_t bits;
	double value;

	switch (json_lex_peek(&r->lex)) {
	case 'n':
		wire_add_uint(r->out, VALUE_NULL, 0);
		return json_lex_literal(&r->lex, "null") || json_read_malformed(r);
	case 't':
	case 'f':
		if (!json_read_bool(r, &bits))
			return false;
		wire_add_uint(r->out, VALUE_BOOL, bits);
		return true;
	case '"':
		if (!json_lex_string(&r->lex, &text))
			return json_read_malformed(r);
		wire_add_bytes(r->out, VALUE_STRING, text);
		return true;
	case '{':
		return json_read_submessage(r, pool_declared_field(m, VALUE_STRUCT)) ==
		       JSON_WRITTEN;
	case '[':
		return json_read_submessage(r, pool_declared_field(m, VALUE_LIST)) ==
		       JSON_WRITTEN;
	default:
		if (!json_lex_number(&r->lex, &text))
			return json_read_malformed(r);
		if (!json_read_double_text(r, false, text, false, &value))
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

static bool scan_any_member(struct json_reader *r, struct any_parts *parts)
{
	struct bytes name, url;
	bool is_type, is_value;

	if (!json_lex_string(&r->lex, &name))
		return json_read_malformed(r);
	is_type = bytes_equal(name, bytes_of_string("@type"));
	is_value = bytes_equal(name, bytes_of_string("value"));
	if (!json_lex_expect(&r->lex, ':'))
		return json_read_malformed(r);
	if (is_type) {
		if (parts->url)
			return json_read_fail(r, "\"@type\" is there twice");
		if (!json_lex_string(&r->lex, &url))
			return json_read_malformed(r);
		parts->url = xstrndup((const char *)url.data, url.size);
		parts->url_len = url.size;
		return true;
	}
	(void)json_lex_peek(&r->lex);
	if (is_value)
		parts->value = r->lex.at;
	return json_read_skip(r);
}

static bool scan_any(struct json_reader *r, struct any_parts *parts)
{
	do {
		if (!scan_any_member(r, parts))
			return false;
	} while (json_lex_accept(&r->lex, ','));
	return json_lex_accept(&r->lex, '}') || json_read_fail(r, "',' or '}' is expected");
}

static bool read_any_value(struct json_reader *r, const struct pool_message *type,
			   const struct any_parts *parts, const char *members)
{
	if (type->well_known == POOL_WELL_KNOWN_NONE ||
	    (type->well_known == POOL_WELL_KNOWN_EMPTY && !parts->value)) {
		r->lex.at = members;
		if (!json_read_deeper(r) || !json_read_fields(r, type, true))
			return false;
		r->depth--;
		return true;
	}
	if (!parts->value)
		return json_read_fail(r, "an Any of %s has a \"value\"", type->full_name);
	r->lex.at = parts->value;
	return json_read_message(r, type);
}

static bool read_any_parts(struct json_reader *r, struct any_parts *parts, const char *members)
{
	const struct pool_message *type;
	const char *after;
	size_t mark;

	if (!scan_any(r, parts))
		return false;
	if (!parts->url)
		return json_read_fail(r, "an Any needs an \"@type\"");
	type = pool_message_of_url(r->pool, parts->url, parts->url_len);
	if (!type)
		return json_read_fail(r, "the type %.200s is not known", parts->url);
	after = r->lex.at;
	wire_add_bytes(r->out, 1, bytes_of(parts->url, parts->url_len));
	mark = wire_open(r->out, 2);
	if (!read_any_value(r, type, parts, members))
		return false;
	wire_close(r->out, mark);
	r->lex.at = after;
	return true;
}

bool json_read_any(struct json_reader *r)
{
	struct any_parts parts = {NULL, 0, NULL};
	const char *members;
	bool done;

	if (!json_lex_expect(&r->lex, '{'))
		return json_read_malformed(r);
	members = r->lex.at;
	if (json_lex_accept(&r->lex, '}'))
		return true;
	done = read_any_parts(r, &parts, members);
	free(parts.url);
	return done;
}
