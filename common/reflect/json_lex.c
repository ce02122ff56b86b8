#include "common/reflect/json_lex.h"

#include <string.h>

#include "common/base/utf8.h"
#include "common/reflect/wire.h"

static bool fail(struct json_lex *l, const char *problem)
{
	l->problem = problem;
	return false;
}

int json_lex_peek_on(struct json_lex *l)
{
	while (l->at < l->end &&
	       (*l->at == ' ' || *l->at == '\n' || *l->at == '\t' || *l->at == '\r'))
		l->at++;
	return l->at < l->end ? (unsigned char)*l->at : -1;
}

bool json_lex_expect(struct json_lex *l, char c)
{
	static const char *const missing[128] = {['{'] = "'{' is expected",
						 ['['] = "'[' is expected",
						 [':'] = "':' is expected",
						 [','] = "',' is expected"};

	return json_lex_accept(l, c) || fail(l, missing[(unsigned char)c & 127]);
}

bool json_lex_literal(struct json_lex *l, const char *word)
{
	size_t n = strlen(word);

	(void)json_lex_peek(l);
	if ((size_t)(l->end - l->at) < n || memcmp(l->at, word, n))
		return fail(l, "not JSON");
	l->at += n;
	return true;
}

size_t json_lex_line(const struct json_lex *l)
{
	size_t line = 1;

	for (const char *p = l->begin; p < l->at; p++)
		line += *p == '\n';
	return line;
}

/* ------------------------------------------------------------------ strings */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four digits after \u. */
static bool hex4(struct json_lex *l, unsigned *ret)
{
	unsigned value = 0;

	if (l->end - l->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(l->at[i]);
		if (digit < 0)
			return false;
		value = value << 4 | (unsigned)digit;
	}
	l->at += 4;
	*ret = value;
	return true;
}

static void add_character(struct strbuf *out, unsigned c)
{
	if (c < 0x80) {
		strbuf_addch(out, (char)c);
		return;
	}
	if (c < 0x800) {
		strbuf_addch(out, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			strbuf_addch(out, (char)(0xe0 | c >> 12));
		} else {
			strbuf_addch(out, (char)(0xf0 | c >> 18));
			strbuf_addch(out, (char)(0x80 | (c >> 12 & 63)));
		}
		strbuf_addch(out, (char)(0x80 | (c >> 6 & 63)));
	}
	strbuf_addch(out, (char)(0x80 | (c & 63)));
}

/* A character beyond U+FFFF is two escapes; half of one is nothing. */
static bool unicode_escape(struct json_lex *l)
{
	unsigned c, low;

	if (!hex4(l, &c))
		return fail(l, "\\u needs four hexadecimal digits");
	if (c >= 0xdc00 && c < 0xe000)
		return fail(l, "a surrogate without its first half");
	if (c >= 0xd800 && c < 0xdc00) {
		if (l->end - l->at < 6 || l->at[0] != '\\' || l->at[1] != 'u')
			return fail(l, "a surrogate without its second half");
		l->at += 2;
		if (!hex4(l, &low) || low < 0xdc00 || low >= 0xe000)
			return fail(l, "a surrogate without its second half");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	add_character(&l->unescaped, c);
	return true;
}

static bool escape(struct json_lex *l)
{
	static const char plain[128] = {
		['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
		['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
	unsigned char c;

	if (l->at >= l->end)
		return fail(l, "the string has no end");
	c = (unsigned char)*l->at++;
	if (c == 'u')
		return unicode_escape(l);
	if (c >= 128 || !plain[c])
		return fail(l, "there is no such escape");
	strbuf_addch(&l->unescaped, plain[c]);
	return true;
}

#define REPEAT(byte) (0x0101010101010101ull * (byte))

/* The top bits of the bytes that do not stand for themselves; right up to the first one. */
static inline uint64_t specials(uint64_t word)
{
	const uint64_t quote = word ^ REPEAT('"'), backslash = word ^ REPEAT('\\');

	return (((word - REPEAT(0x20)) & ~word) | ((quote - REPEAT(1)) & ~quote) |
		((backslash - REPEAT(1)) & ~backslash)) &
	       REPEAT(0x80);
}

/*
 * The run of characters that stand for themselves. *high is set if one of them is
 * not ASCII.
 */
static struct bytes plain_run(struct json_lex *l, bool *high)
{
	const char *start = l->at, *at = start;
	uint64_t seen = 0;

	while (l->end - at >= 8) {
		const uint64_t word = wire_load64((const uint8_t *)at);
		const uint64_t found = specials(word);

		if (found) {
			/* Its bit is the top one of its byte: bytes before it are below. */
			const int before = __builtin_ctzll(found) / 8;

			seen |= word & ((UINT64_C(1) << (8 * before)) - 1);
			at += before;
			break;
		}
		seen |= word;
		at += 8;
	}
	for (; at < l->end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20; at++)
		seen |= (unsigned char)*at;
	*high |= (seen & REPEAT(0x80)) != 0;
	l->at = at;
	return bytes_of(start, (size_t)(at - start));
}

static bool check_text(struct json_lex *l, struct bytes text, bool high, struct bytes *ret)
{
	if (high && !utf8_valid((const char *)text.data, text.size))
		return fail(l, "the string is not UTF-8");
	*ret = text;
	return true;
}

bool json_lex_string(struct json_lex *l, struct bytes *ret_text)
{
	bool high = false;
	struct bytes run;

	if (!json_lex_accept(l, '"'))
		return fail(l, "a string is expected");
	run = plain_run(l, &high);
	if (l->at < l->end && *l->at == '"') { /* most have no escapes: no copy */
		l->at++;
		return check_text(l, run, high, ret_text);
	}
	strbuf_reset(&l->unescaped);
	for (;;) {
		strbuf_add(&l->unescaped, run.data, run.size);
		if (l->at >= l->end)
			return fail(l, "the string has no end");
		char c = *l->at++;
		if (c == '"')
			break;
		if (c != '\\')
			return fail(l, "a control character in a string must be escaped");
		if (!escape(l))
			return false;
		run = plain_run(l, &high);
	}
	return check_text(l, bytes_of(strbuf_str(&l->unescaped), l->unescaped.len), high,
			  ret_text);
}

/* ------------------------------------------------------------------ numbers */

static bool is_digit(const char *p, const char *end)
{
	return p < end && *p >= '0' && *p <= '9';
}

static const char *digits(const char *p, const char *end)
{
	while (is_digit(p, end))
		p++;
	return p;
}

bool json_lex_number(struct json_lex *l, struct bytes *ret_text)
{
	const char *p, *start;

	(void)json_lex_peek(l);
	p = start = l->at;
	p += p < l->end && *p == '-';
	if (!is_digit(p, l->end))
		return fail(l, "a value is expected");
	p = *p == '0' ? p + 1 : digits(p, l->end);
	if (p < l->end && *p == '.') {
		if (!is_digit(++p, l->end))
			return fail(l, "a digit must follow the point");
		p = digits(p, l->end);
	}
	if (p < l->end && (*p == 'e' || *p == 'E')) {
		p++;
		p += p < l->end && (*p == '+' || *p == '-');
		if (!is_digit(p, l->end))
			return fail(l, "the exponent has no digits");
		p = digits(p, l->end);
	}
	*ret_text = bytes_of(start, (size_t)(p - start));
	l->at = p;
	return true;
}

/* A decimal as digits times a power of ten; zeros at either end are dropped. */
struct decimal {
	char digits[24];
	int count;
	long exponent;
	bool too_long; /* more digits than any 64-bit integer has */
};

static void add_digit(struct decimal *d, char c, bool after_point)
{
	if (d->count < (int)sizeof(d->digits)) {
		if (d->count || c != '0')
			d->digits[d->count++] = c;
		d->exponent -= after_point;
	} else {
		d->too_long |= c != '0';
		d->exponent += !after_point;
	}
}

/* The exponent's digits; what is beyond any use stays so. */
static bool read_exponent(const char *p, const char *end, long *exponent)
{
	bool negative = p < end && *p == '-';
	long value = 0;

	p += p < end && (*p == '-' || *p == '+');
	if (!is_digit(p, end))
		return false;
	for (; is_digit(p, end); p++)
		if (value < 1000000)
			value = value * 10 + (*p - '0');
	*exponent += negative ? -value : value;
	return p == end;
}

static bool read_decimal(const char *p, const char *end, struct decimal *d)
{
	bool leading_zero = p < end && *p == '0';

	if (!is_digit(p, end) || (leading_zero && is_digit(p + 1, end)))
		return false;
	for (; is_digit(p, end); p++)
		add_digit(d, *p, false);
	if (p < end && *p == '.') {
		if (!is_digit(++p, end))
			return false;
		for (; is_digit(p, end); p++)
			add_digit(d, *p, true);
	}
	if (p < end && (*p == 'e' || *p == 'E'))
		return read_exponent(p + 1, end, &d->exponent);
	return p == end;
}

bool json_lex_integer(struct bytes text, bool *ret_negative, uint64_t *ret_magnitude)
{
	const char *p = (const char *)text.data, *end = p + text.size;
	struct decimal d = {.count = 0};
	uint64_t value = 0;

	*ret_negative = p < end && *p == '-';
	if (!read_decimal(p + *ret_negative, end, &d))
		return false;
	while (d.count && d.digits[d.count - 1] == '0') {
		d.count--;
		d.exponent++;
	}
	*ret_magnitude = 0;
	if (!d.count)
		return true;
	if (d.too_long || d.exponent < 0 || d.count + d.exponent > 20)
		return false;
	for (long i = 0; i < d.count + d.exponent; i++) {
		unsigned digit = i < d.count ? (unsigned)(d.digits[i] - '0') : 0;
		if (value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*ret_magnitude = value;
	return true;
}

/* ----------------------------------------------------------------- skipping */

static bool skip_members(struct json_lex *l, bool object, int depth)
{
	char close = object ? '}' : ']';
	struct bytes key;

	l->at++;
	if (json_lex_accept(l, close))
		return true;
	do {
		if (object && (!json_lex_string(l, &key) || !json_lex_expect(l, ':')))
			return false;
		if (!json_lex_skip(l, depth - 1))
			return false;
	} while (json_lex_accept(l, ','));
	return json_lex_accept(l, close) ||
	       fail(l, object ? "',' or '}' is expected" : "',' or ']' is expected");
}

bool json_lex_skip(struct json_lex *l, int depth)
{
	struct bytes ignored;

	if (depth <= 0)
		return fail(l, "nested too deep");
	switch (json_lex_peek(l)) {
	case '{':
		return skip_members(l, true, depth);
	case '[':
		return skip_members(l, false, depth);
	case '"':
		return json_lex_string(l, &ignored);
	case 't':
		return json_lex_literal(l, "true");
	case 'f':
		return json_lex_literal(l, "false");
	case 'n':
		return json_lex_literal(l, "null");
	default:
		return json_lex_number(l, &ignored);
	}
}
