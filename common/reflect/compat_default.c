/*
 * Are two defaults the same value, though the field's type may have changed?
 * Numbers of any two types are compared exactly, text as text and bytes.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/reflect/compat_rules.h"

enum kind { KIND_INTEGER, KIND_REAL, KIND_TEXT };

struct value {
	enum kind kind;
	bool negative; /* of an integer */
	uint64_t magnitude;
	double real;
	struct strbuf text; /* owned */
};

static void value_release(struct value *v)
{
	strbuf_release(&v->text);
}

#define AUTO_VALUE __attribute__((cleanup(value_release))) struct value

/* ----------------------------------------------------------------- bytes */

static int digit_of(char c, int base)
{
	int digit = c >= '0' && c <= '9'   ? c - '0'
		    : c >= 'a' && c <= 'f' ? c - 'a' + 10
		    : c >= 'A' && c <= 'F' ? c - 'A' + 10
					   : base;

	return digit < base ? digit : -1;
}

/* Up to @max digits; returns what follows them. */
static const char *unescape_digits(const char *at, int base, int max, struct strbuf *out)
{
	int byte = 0;

	for (int i = 0; i < max && digit_of(*at, base) >= 0; i++)
		byte = byte * base + digit_of(*at++, base);
	strbuf_addch(out, (char)byte);
	return at;
}

/* Descriptors have the default of a bytes field escaped as in C, each compiler in its way. */
static void unescape(const char *at, struct strbuf *out)
{
	static const char letters[] = "abfnrtv", meanings[] = "\a\b\f\n\r\t\v";

	while (*at) {
		const char *letter;

		if (*at != '\\' || !at[1]) {
			strbuf_addch(out, *at++);
			continue;
		}
		at++;
		letter = strchr(letters, *at);
		if (digit_of(*at, 8) >= 0) {
			at = unescape_digits(at, 8, 3, out);
		} else if ((*at == 'x' || *at == 'X') && digit_of(at[1], 16) >= 0) {
			at = unescape_digits(at + 1, 16, 2, out);
		} else {
			strbuf_addch(out, letter ? meanings[letter - letters] : *at);
			at++;
		}
	}
}

/* ---------------------------------------------------------------- values */

static void read_integer(const char *text, struct value *v)
{
	v->negative = *text == '-';
	v->magnitude = strtoull(text + v->negative, NULL, 0);
	v->negative &= v->magnitude != 0;
}

static void read_enum_number(const struct pool_field *f, struct value *v)
{
	const char *name = f->default_text;
	const struct pool_enum_value *chosen =
		name ? pool_enum_value_by_name(f->type_enum, name, strlen(name)) : NULL;
	const int64_t number = (chosen ? chosen : &f->type_enum->values[0])->number;

	v->negative = number < 0;
	v->magnitude = (uint64_t)(number < 0 ? -number : number);
}

static void read_value(const struct pool_field *f, struct value *v)
{
	const char *text = f->default_text ? f->default_text : "";

	*v = (struct value){.kind = KIND_INTEGER};
	switch ((enum pool_type)f->type) {
	case POOL_TYPE_DOUBLE:
		v->kind = KIND_REAL;
		v->real = strtod(text, NULL);
		break;
	case POOL_TYPE_FLOAT:
		v->kind = KIND_REAL;
		v->real = (double)strtof(text, NULL);
		break;
	case POOL_TYPE_STRING:
		v->kind = KIND_TEXT;
		strbuf_addstr(&v->text, text);
		break;
	case POOL_TYPE_BYTES:
		v->kind = KIND_TEXT;
		unescape(text, &v->text);
		break;
	case POOL_TYPE_BOOL:
		v->magnitude = !strcmp(text, "true");
		break;
	case POOL_TYPE_ENUM:
		read_enum_number(f, v);
		break;
	case POOL_TYPE_INT64:
	case POOL_TYPE_UINT64:
	case POOL_TYPE_INT32:
	case POOL_TYPE_FIXED64:
	case POOL_TYPE_FIXED32:
	case POOL_TYPE_UINT32:
	case POOL_TYPE_SFIXED32:
	case POOL_TYPE_SFIXED64:
	case POOL_TYPE_SINT32:
	case POOL_TYPE_SINT64:
	case POOL_TYPE_GROUP:
	case POOL_TYPE_MESSAGE:
		read_integer(text, v);
		break;
	}
}

static bool is_zero(const struct value *v)
{
	return v->kind == KIND_TEXT   ? !v->text.len
	       : v->kind == KIND_REAL ? v->real == 0
				      : !v->magnitude;
}

static bool same_integer_and_real(const struct value *integer, double real)
{
	const double magnitude = fabs(real);

	/* 2^64 is the first that is too large for the conversion. */
	return magnitude < 18446744073709551616.0 && floor(magnitude) == magnitude &&
	       (uint64_t)magnitude == integer->magnitude && (real < 0) == integer->negative;
}

static bool same_real(const struct pool_field *was, const struct value *a,
		      const struct pool_field *is, const struct value *b)
{
	if (isnan(a->real) || isnan(b->real))
		return isnan(a->real) && isnan(b->real);
	/* 0.1 is the same default in either precision. */
	if (was->type != is->type)
		return (float)a->real == (float)b->real;
	return a->real == b->real;
}

static bool can_have_default(const struct pool_field *f)
{
	return !f->repeated && !f->type_message;
}

bool compat_same_default(const struct pool_field *was, const struct pool_field *is)
{
	AUTO_VALUE a = {.kind = KIND_INTEGER};
	AUTO_VALUE b = {.kind = KIND_INTEGER};

	if (!can_have_default(was) || !can_have_default(is))
		return true;
	read_value(was, &a);
	read_value(is, &b);
	if (is_zero(&a) && is_zero(&b))
		return true;
	if (a.kind == KIND_TEXT || b.kind == KIND_TEXT)
		return a.kind == b.kind && bytes_equal(bytes_of(a.text.buf, a.text.len),
						       bytes_of(b.text.buf, b.text.len));
	if (a.kind == KIND_REAL && b.kind == KIND_REAL)
		return same_real(was, &a, is, &b);
	if (a.kind == KIND_REAL)
		return same_integer_and_real(&b, a.real);
	if (b.kind == KIND_REAL)
		return same_integer_and_real(&a, b.real);
	return a.magnitude == b.magnitude && a.negative == b.negative;
}
