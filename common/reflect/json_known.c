/* The messages that proto3 JSON writes in a form of their own. */
#include <math.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/reflect/calendar.h"
#include "common/reflect/decode.h"
#include "common/reflect/json_writer.h"
#include "common/reflect/pool.h"

/* Fields 1 and 2, singular and of the types that @m declares. */
struct two_fields {
	uint64_t value[2];
	const uint8_t *data[2];
};

static enum status read_two(struct json_writer *w, const struct pool_message *m,
			    struct bytes message, struct two_fields *ret)
{
	const uint8_t *at = message.data, *end = at + message.size;

	*ret = (struct two_fields){0};
	while (at < end) {
		const struct pool_field *f;
		const uint8_t *data;
		uint64_t value;
		uint32_t number;
		unsigned type;

		at = decode_tag(at, end, &number, &type);
		if (at)
			at = decode_value(at, end, number, type, w->depth - 1, &value, &data);
		if (!at)
			return error_set(w->scan.err, STATUS_INVALID_ARGUMENT,
					 "the bytes are not a %s", m->full_name);
		f = pool_declared_field(m, number);
		if (!f || number > 2 || f->wire_type != type)
			continue;
		w->scan.overwritten |= ret->data[number - 1] != NULL;
		ret->value[number - 1] = value;
		ret->data[number - 1] = data;
	}
	return STATUS_OK;
}

/* ".5", ".500", ".500000", ".500000000": as many digits as it takes, by threes. */
static size_t put_fraction(char *out, uint32_t nanos, bool all_nine)
{
	size_t digits = 9;

	if (!nanos && !all_nine)
		return 0;
	while (!all_nine && digits > 3 && nanos % 1000 == 0) {
		nanos /= 1000;
		digits -= 3;
	}
	out[0] = '.';
	for (size_t i = digits; i > 0; i--) {
		out[i] = (char)('0' + nanos % 10);
		nanos /= 10;
	}
	return digits + 1;
}

enum { TIME_MAX_BYTES = 48 };

static enum status write_timestamp(struct json_writer *w, const struct pool_message *m,
				   struct bytes message)
{
	struct two_fields t;
	char text[TIME_MAX_BYTES];
	size_t len;
	enum status status = read_two(w, m, message, &t);
	const int64_t seconds = (int64_t)t.value[0];
	const int32_t nanos = (int32_t)t.value[1];

	if (status != STATUS_OK)
		return status;
	if (seconds < CALENDAR_FIRST_SECOND || seconds > CALENDAR_LAST_SECOND || nanos < 0 ||
	    nanos > 999999999)
		return json_no_form(w, "a Timestamp is not between the years 1 and 9999");
	len = calendar_format(seconds, text);
	len += put_fraction(text + len, (uint32_t)nanos, w->flags & JSON_OUT_TIMESTAMP_NANOS);
	text[len++] = 'Z';
	json_sink_plain(&w->sink, text, len);
	return STATUS_OK;
}

static enum status write_duration(struct json_writer *w, const struct pool_message *m,
				  struct bytes message)
{
	struct two_fields t;
	char text[TIME_MAX_BYTES], digits[24], *end = digits + sizeof(digits);
	size_t len = 0, n;
	enum status status = read_two(w, m, message, &t);
	const int64_t seconds = (int64_t)t.value[0];
	const int32_t nanos = (int32_t)t.value[1];

	if (status != STATUS_OK)
		return status;
	if (seconds < -CALENDAR_DURATION_MAX || seconds > CALENDAR_DURATION_MAX ||
	    nanos < -999999999 || nanos > 999999999 || (seconds > 0 && nanos < 0) ||
	    (seconds < 0 && nanos > 0))
		return json_no_form(w, "a Duration is out of range, or of two signs");
	if (seconds < 0 || nanos < 0)
		text[len++] = '-';
	n = json_digits(end, (uint64_t)(seconds < 0 ? -seconds : seconds));
	memcpy(text + len, end - n, n);
	len += n;
	len += put_fraction(text + len, (uint32_t)(nanos < 0 ? -nanos : nanos), false);
	if (w->flags & JSON_OUT_DURATION_SECONDS) {
		json_sink_number(&w->sink, text, len);
	} else {
		text[len++] = 's';
		json_sink_plain(&w->sink, text, len);
	}
	return STATUS_OK;
}

/* "a_b" as "aB". False: it would not come back the same. */
static bool put_mask_path(char **out, struct bytes path)
{
	char *p = *out;

	if (!path.size)
		return false;
	for (size_t i = 0; i < path.size; i++) {
		const char c = (char)path.data[i];

		if (c == '_') {
			if (++i == path.size || path.data[i] < 'a' || path.data[i] > 'z')
				return false;
			*p++ = (char)(path.data[i] - 'a' + 'A');
		} else if ((c >= 'A' && c <= 'Z') || c == ',') {
			return false;
		} else {
			*p++ = c;
		}
	}
	*out = p;
	return true;
}

static enum status write_field_mask(struct json_writer *w, const struct pool_message *m,
				    struct bytes message)
{
	size_t first, size = 1;
	char *text, *p;
	bool fits = true;
	enum status status = scan_message(&w->scan, m, message, w->depth - 1, false, &first);

	if (status != STATUS_OK)
		return status;
	for (size_t i = first; i < w->scan.count; i++) {
		const struct scan_entry *e = &w->scan.entries[i];

		if (!utf8_valid((const char *)e->data, (size_t)e->value))
			return json_not_utf8(w);
		size += e->value + 1;
	}
	p = text = arena_alloc(&w->scan.arena, size);
	for (size_t i = first; i < w->scan.count && fits; i++) {
		const struct scan_entry *e = &w->scan.entries[i];

		if (i > first)
			*p++ = ',';
		fits = put_mask_path(&p, bytes_of(e->data, (size_t)e->value));
	}
	w->scan.count = first;
	if (!fits)
		return json_no_form(w, "a FieldMask path is empty, or not in lower snake case");
	(void)json_sink_string(&w->sink, bytes_of(text, (size_t)(p - text))); /* it is UTF-8 */
	return STATUS_OK;
}

/* Struct and ListValue are their only field; a wrapper is its value or its default. */
static enum status write_only_field(struct json_writer *w, const struct pool_message *m,
				    struct bytes message)
{
	const struct pool_field *f = pool_declared_field(m, 1);
	size_t first;
	enum status status = scan_message(&w->scan, m, message, w->depth - 1, false, &first);
	struct scan_entry e = {.data = (const uint8_t *)""};

	if (status != STATUS_OK)
		return status;
	if (m->well_known == POOL_WELL_KNOWN_WRAPPER) {
		if (w->scan.count > first)
			e = scan_singular(&w->scan, first, w->scan.count);
		w->scan.count = first;
		return json_write_value(w, f, e.value, e.data);
	}
	if (w->scan.count == first) {
		const enum json_container kind = f->is_map ? JSON_OBJECT : JSON_LIST;

		json_sink_close(&w->sink, kind, json_sink_open(&w->sink, kind, 0));
		return STATUS_OK;
	}
	if (f->is_map)
		status = json_write_map(w, f, first, w->scan.count);
	else
		status = json_write_list(w, f, first, w->scan.count);
	w->scan.count = first;
	return status;
}

static enum status write_value(struct json_writer *w, const struct pool_message *m,
			       struct bytes message)
{
	struct scan_entry e;
	size_t first;
	enum status status = scan_message(&w->scan, m, message, w->depth - 1, false, &first);

	if (status != STATUS_OK)
		return status;
	if (w->scan.count == first)
		return json_no_form(w, "a Value has no kind");
	e = scan_singular(&w->scan, first, w->scan.count);
	w->scan.count = first;
	if (e.field->type == POOL_TYPE_DOUBLE) {
		double number;

		memcpy(&number, &e.value, sizeof(number));
		if (!isfinite(number))
			return json_no_form(w, "a Value is not a finite number");
	}
	return json_write_value(w, e.field, e.value, e.data);
}

/* -------------------------------------------------------------------- Any */

static enum status write_any_content(struct json_writer *w, const struct pool_message *type,
				     struct bytes content)
{
	const bool overwritten = w->scan.overwritten;
	enum status status = json_check_depth(w);

	if (status != STATUS_OK)
		return status;
	w->scan.overwritten = false;
	if (type->well_known == POOL_WELL_KNOWN_NONE) {
		w->depth++;
		status = json_write_fields(w, type, content);
		w->depth--;
	} else {
		json_sink_plain_key(&w->sink, "value");
		status = json_write_message(w, type, content);
	}
	/* The validation of the outer message does not look into an Any. */
	if (status == STATUS_OK && w->scan.overwritten)
		status = wire_validate(w->scan.pool, type, content, 0, w->scan.err);
	w->scan.overwritten = overwritten;
	return status;
}

/* The Any as it is, for those that cannot be shown. */
static enum status write_opaque_any(struct json_writer *w, struct bytes url,
				    struct bytes content)
{
	const struct json_mark mark =
		json_sink_open(&w->sink, JSON_OBJECT, url.size + content.size * 3 / 2 + 16);

	json_sink_plain_key(&w->sink, "@type");
	(void)json_sink_string(&w->sink, url); /* it is UTF-8 */
	json_sink_plain_key(&w->sink, "@bytes");
	json_sink_base64(&w->sink, content);
	json_sink_close(&w->sink, JSON_OBJECT, mark);
	return STATUS_OK;
}

static enum status write_resolved_any(struct json_writer *w, const struct pool_message *type,
				      struct bytes url, struct bytes content)
{
	const struct json_mark mark =
		json_sink_open(&w->sink, JSON_OBJECT, url.size + content.size * 3 / 2 + 16);
	enum status status = STATUS_OK;

	json_sink_plain_key(&w->sink, "@type");
	(void)json_sink_string(&w->sink, url); /* it is UTF-8 */
	status = write_any_content(w, type, content);
	if (status == STATUS_OK)
		json_sink_close(&w->sink, JSON_OBJECT, mark);
	return status;
}

/* The type of an Any, and the pool that it is of, in which its content is then written. */
static const struct pool_message *find_any_type(const struct json_writer *w, struct bytes url,
						const struct pool **ret_pool)
{
	const struct pool_message *type =
		pool_message_of_url(w->scan.pool, (const char *)url.data, url.size);

	*ret_pool = w->scan.pool;
	if (type || !w->others)
		return type;
	*ret_pool = w->others;
	return pool_message_of_url(w->others, (const char *)url.data, url.size);
}

static enum status write_any(struct json_writer *w, const struct pool_message *m,
			     struct bytes message)
{
	const struct pool *const own_pool = w->scan.pool;
	const size_t start = w->sink.out->len, count = w->scan.count;
	const int depth = w->depth;
	const struct pool_message *type;
	struct two_fields any;
	struct bytes url, content;
	enum status status = read_two(w, m, message, &any);

	if (status != STATUS_OK)
		return status;
	url = bytes_of(any.data[0] ? any.data[0] : (const uint8_t *)"", (size_t)any.value[0]);
	content =
		bytes_of(any.data[1] ? any.data[1] : (const uint8_t *)"", (size_t)any.value[1]);
	if (!utf8_valid((const char *)url.data, url.size))
		return json_not_utf8(w);
	if (!url.size && !content.size) {
		json_sink_close(&w->sink, JSON_OBJECT,
				json_sink_open(&w->sink, JSON_OBJECT, 0));
		return STATUS_OK;
	}
	type = find_any_type(w, url, &w->scan.pool);
	if (!type)
		status =
			error_set(w->scan.err, STATUS_INVALID_ARGUMENT,
				  "an Any holds the unknown type \"%.*s\"",
				  url.size < 200 ? (int)url.size : 200, (const char *)url.data);
	else
		status = write_resolved_any(w, type, url, content);
	w->scan.pool = own_pool;
	if (status == STATUS_OK || !(w->flags & JSON_OUT_LENIENT))
		return status;
	strbuf_truncate(w->sink.out, start);
	w->scan.count = count;
	w->depth = depth;
	return write_opaque_any(w, url, content);
}

enum status json_write_known(struct json_writer *w, const struct pool_message *m,
			     struct bytes message)
{
	switch ((enum pool_well_known)m->well_known) {
	case POOL_WELL_KNOWN_ANY:
		return write_any(w, m, message);
	case POOL_WELL_KNOWN_TIMESTAMP:
		return write_timestamp(w, m, message);
	case POOL_WELL_KNOWN_DURATION:
		return write_duration(w, m, message);
	case POOL_WELL_KNOWN_FIELD_MASK:
		return write_field_mask(w, m, message);
	case POOL_WELL_KNOWN_VALUE:
		return write_value(w, m, message);
	case POOL_WELL_KNOWN_STRUCT:
	case POOL_WELL_KNOWN_LIST_VALUE:
	case POOL_WELL_KNOWN_WRAPPER:
	case POOL_WELL_KNOWN_NONE:
	case POOL_WELL_KNOWN_EMPTY:
		break;
	}
	return write_only_field(w, m, message);
}
