#include "common/reflect/json_sink.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/utf8.h"
#include "common/reflect/jsonb.h"

/* Copies are made in words, which may write so many bytes beyond what is copied. */
enum { SLACK_BYTES = 8 };

/* Where the next @len bytes go; took() ends there what was written. */
static inline char *room(struct json_sink *s, size_t len)
{
	strbuf_grow(s->out, len + SLACK_BYTES);
	return s->out->buf + s->out->len;
}

static inline void took(struct json_sink *s, char *end)
{
	*end = '\0';
	s->out->len = (size_t)(end - s->out->buf);
}

static inline uint64_t load_word(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/* @len < 8 bytes at the front of a word as memory has it, spaces behind them. */
static inline uint64_t load_short(const char *p, size_t len)
{
	char word[8] = "        ";

	if (len & 4) {
		memcpy(word, p, 4);
		memcpy(word + len - 4, p + len - 4, 4);
	} else if (len) {
		word[0] = p[0];
		word[len / 2] = p[len / 2];
		word[len - 1] = p[len - 1];
	}
	return load_word(word);
}

/* memcpy() is a call, and most texts are short. */
static inline char *copy(char *to, const void *data, size_t len)
{
	const char *from = data;

	if (len > 64) {
		memcpy(to, from, len);
	} else if (len < 8) {
		const uint64_t word = load_short(from, len);

		memcpy(to, &word, sizeof(word));
	} else {
		for (size_t i = 0; i < len - 8; i += 8)
			memcpy(to + i, from + i, 8);
		memcpy(to + len - 8, from + len - 8, 8);
	}
	return to + len;
}

static inline void put(struct json_sink *s, const void *data, size_t len)
{
	took(s, copy(room(s, len), data, len));
}

/* An element of JSONB. */
static inline void put_element(struct json_sink *s, enum jsonb_type type, const void *data,
			       size_t len)
{
	char *to = room(s, JSONB_HEADER_MAX_BYTES + len);

	to += jsonb_put_header((uint8_t *)to, type, len);
	took(s, copy(to, data, len));
}

/* ------------------------------------------------------------ containers */

struct json_mark json_sink_open(struct json_sink *s, enum json_container kind, size_t size_hint)
{
	struct json_mark mark = {s->out->len, 1};

	if (!s->binary) {
		strbuf_addch(s->out, kind == JSON_LIST ? '[' : '{');
		return mark;
	}
	mark.header = jsonb_header_len(size_hint);
	strbuf_grow(s->out, mark.header);
	s->out->len += mark.header;
	return mark;
}

void json_sink_close(struct json_sink *s, enum json_container kind, struct json_mark mark)
{
	struct strbuf *out = s->out;
	const size_t size = out->len - mark.at - mark.header;
	const unsigned need = jsonb_header_len(size);

	if (!s->binary) {
		strbuf_addch(out, kind == JSON_LIST ? ']' : '}');
		return;
	}
	if (need != mark.header) {
		strbuf_grow(out, JSONB_HEADER_MAX_BYTES);
		memmove(out->buf + mark.at + need, out->buf + mark.at + mark.header, size);
	}
	jsonb_put_header((uint8_t *)out->buf + mark.at,
			 kind == JSON_LIST ? JSONB_ARRAY : JSONB_OBJECT, size);
	out->len = mark.at + need + size;
	out->buf[out->len] = '\0';
}

void json_sink_field_key(struct json_sink *s, const struct pool_field *f, bool proto_name)
{
	if (s->binary) {
		put(s, f->jsonb_key, f->jsonb_key_len);
		return;
	}
	json_sink_next(s);
	if (!proto_name || f->is_extension) {
		put(s, f->text_key, f->text_key_len);
		return;
	}
	json_sink_plain(s, f->name, f->name_len);
	json_sink_end_key(s);
}

void json_sink_plain_key(struct json_sink *s, const char *key)
{
	json_sink_next(s);
	json_sink_plain(s, key, strlen(key));
	json_sink_end_key(s);
}

/* --------------------------------------------------------------- scalars */

void json_sink_null(struct json_sink *s)
{
	if (s->binary)
		put_element(s, JSONB_NULL, "", 0);
	else
		put(s, "null", 4);
}

void json_sink_bool(struct json_sink *s, bool value)
{
	if (s->binary)
		put_element(s, value ? JSONB_TRUE : JSONB_FALSE, "", 0);
	else if (value)
		put(s, "true", 4);
	else
		put(s, "false", 5);
}

void json_sink_plain(struct json_sink *s, const char *text, size_t len)
{
	char *to;

	if (s->binary) {
		put_element(s, JSONB_TEXT, text, len);
		return;
	}
	to = room(s, len + 2);
	*to++ = '"';
	to = copy(to, text, len);
	*to++ = '"';
	took(s, to);
}

/* In JSONB, what has a point or an exponent is a FLOAT, all else an INT. */
void json_sink_number(struct json_sink *s, const char *text, size_t len)
{
	enum jsonb_type type = JSONB_INT;

	if (!s->binary) {
		put(s, text, len);
		return;
	}
	for (size_t i = 0; i < len; i++)
		if (text[i] == '.' || text[i] == 'e')
			type = JSONB_FLOAT;
	put_element(s, type, text, len);
}

enum { INTEGER_MAX_BYTES = 24 };

static void integer(struct json_sink *s, const char *text, size_t len, bool quoted)
{
	assert(len < INTEGER_MAX_BYTES);
	if (quoted)
		json_sink_plain(s, text, len);
	else if (s->binary)
		put_element(s, JSONB_INT, text, len);
	else
		put(s, text, len);
}

void json_sink_int(struct json_sink *s, int64_t value, bool quoted)
{
	char text[INTEGER_MAX_BYTES], *end = text + sizeof(text);
	size_t len = json_digits(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);

	if (value < 0)
		*(end - ++len) = '-';
	integer(s, end - len, len, quoted);
}

void json_sink_uint(struct json_sink *s, uint64_t value, bool quoted)
{
	char text[INTEGER_MAX_BYTES], *end = text + sizeof(text);
	const size_t len = json_digits(end, value);

	integer(s, end - len, len, quoted);
}

enum { DOUBLE_MAX_BYTES = 40 };

/* Whole numbers, and those that millionths express exactly, without printf. */
static size_t format_simple(char *out, double value)
{
	static const double millionths = 1e6, whole_max = 1e15, fraction_max = 1e9;
	const double magnitude = fabs(value);
	char digits[INTEGER_MAX_BYTES], *end = digits + sizeof(digits);
	uint64_t scaled, fraction = 0, whole;
	size_t len, n = 0;

	if (magnitude < whole_max && magnitude == floor(magnitude)) {
		whole = (uint64_t)magnitude;
	} else if (magnitude < fraction_max && magnitude > 1e-3 &&
		   nearbyint(magnitude * millionths) / millionths == magnitude) {
		scaled = (uint64_t)nearbyint(magnitude * millionths);
		whole = scaled / 1000000;
		fraction = scaled % 1000000;
	} else {
		return 0;
	}
	if (signbit(value))
		out[n++] = '-';
	len = json_digits(end, whole);
	memcpy(out + n, end - len, len);
	n += len;
	if (!fraction) {
		/* Minus zero as an integer would lose its sign. */
		if (whole || !signbit(value))
			return n;
		memcpy(out + n, ".0", 2);
		return n + 2;
	}
	out[n++] = '.';
	for (uint64_t unit = 100000; fraction; unit /= 10) {
		out[n++] = (char)('0' + fraction / unit);
		fraction %= unit;
	}
	return n;
}

static bool not_finite(struct json_sink *s, double value)
{
	if (isnan(value))
		json_sink_plain(s, "NaN", 3);
	else if (isinf(value) && value > 0)
		json_sink_plain(s, "Infinity", 8);
	else if (isinf(value))
		json_sink_plain(s, "-Infinity", 9);
	else
		return false;
	return true;
}

void json_sink_double(struct json_sink *s, double value)
{
	char text[DOUBLE_MAX_BYTES];
	size_t len;

	if (not_finite(s, value))
		return;
	len = format_simple(text, value);
	for (int precision = 15; !len; precision++) {
		const int n = snprintf(text, sizeof(text), "%.*g", precision, value);

		if (precision == 17 || strtod(text, NULL) == value)
			len = (size_t)n;
	}
	json_sink_number(s, text, len);
}

void json_sink_float(struct json_sink *s, float value)
{
	const double wide = (double)value;
	char text[DOUBLE_MAX_BYTES];
	size_t len = 0;

	if (not_finite(s, wide))
		return;
	if (wide == floor(wide))
		len = format_simple(text, wide);
	for (int precision = 6; !len; precision++) {
		const int n = snprintf(text, sizeof(text), "%.*g", precision, wide);

		if (precision == 9 || strtof(text, NULL) == value)
			len = (size_t)n;
	}
	json_sink_number(s, text, len);
}

/* --------------------------------------------------------------- strings */

struct text_class {
	bool escapes; /* has a quote, a backslash or a control character */
	bool high;    /* has bytes from 0x80 on */
};

/* Eight bytes at a time: the top bit of a byte is set where it is below @n or equal to @c. */
#define REPEAT(byte) (0x0101010101010101ull * (byte))

struct word_class {
	uint64_t high, escapes; /* in the top bit of each byte */
};

static inline void look_at(struct word_class *c, uint64_t word)
{
	const uint64_t quote = word ^ REPEAT('"'), backslash = word ^ REPEAT('\\');

	c->high |= word;
	c->escapes |= ((word - REPEAT(0x20)) & ~word) | ((quote - REPEAT(1)) & ~quote) |
		      ((backslash - REPEAT(1)) & ~backslash);
}

/* Copy @text to @to, and see what is in it. */
static inline struct text_class copy_text(char *to, const char *text, size_t len)
{
	struct word_class c = {0, 0};

	if (len < 8) {
		const uint64_t word = load_short(text, len);

		memcpy(to, &word, sizeof(word));
		look_at(&c, word);
	} else {
		for (size_t i = 0; i < len - 8; i += 8) {
			const uint64_t word = load_word(text + i);

			memcpy(to + i, &word, sizeof(word));
			look_at(&c, word);
		}
		const uint64_t last = load_word(text + len - 8);

		memcpy(to + len - 8, &last, sizeof(last));
		look_at(&c, last);
	}
	return (struct text_class){(c.escapes & REPEAT(0x80)) != 0,
				   (c.high & REPEAT(0x80)) != 0};
}

bool json_sink_string(struct json_sink *s, struct bytes text)
{
	const char *data = (const char *)text.data;
	const unsigned before = s->binary ? jsonb_header_len(text.size) : 1;
	char *to = room(s, before + text.size + 1);
	const struct text_class class = copy_text(to + before, data, text.size);
	char *end = to + before + text.size;

	*to = '\0'; /* nothing is written yet */
	if (class.high && !utf8_valid(data, text.size))
		return false;
	if (s->binary) {
		jsonb_put_header((uint8_t *)to, class.escapes ? JSONB_TEXTRAW : JSONB_TEXT,
				 text.size);
	} else if (class.escapes) {
		strbuf_addch(s->out, '"');
		strbuf_add_json_escaped(s->out, data, text.size);
		strbuf_addch(s->out, '"');
		return true;
	} else {
		*to = '"';
		*end++ = '"';
	}
	took(s, end);
	return true;
}

void json_sink_base64(struct json_sink *s, struct bytes data)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data.data;
	const size_t len = (data.size + 2) / 3 * 4;
	size_t left = data.size;
	char *out = room(s, len + JSONB_HEADER_MAX_BYTES + 2);

	if (s->binary)
		out += jsonb_put_header((uint8_t *)out, JSONB_TEXT, len);
	else
		*out++ = '"';
	for (; left >= 3; left -= 3, p += 3) {
		*out++ = alphabet[p[0] >> 2];
		*out++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*out++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*out++ = alphabet[p[2] & 63];
	}
	if (left) {
		const unsigned second = left == 2 ? p[1] : 0;

		*out++ = alphabet[p[0] >> 2];
		*out++ = alphabet[(p[0] & 3U) << 4 | second >> 4];
		*out++ = left == 2 ? alphabet[(second & 15) << 2] : '=';
		*out++ = '=';
	}
	if (!s->binary)
		*out++ = '"';
	took(s, out);
}
