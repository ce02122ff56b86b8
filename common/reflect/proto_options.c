/* Options in .proto text, values of message types in protobuf's text format. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/reflect/decode.h"
#include "common/reflect/pool.h"
#include "common/reflect/proto_printer.h"
#include "common/reflect/wire.h"

enum { UNINTERPRETED_OPTION = 999 };

void proto_printer_quote(struct proto_printer *p, struct bytes text)
{
	strbuf_addch(p->out, '"');
	for (size_t i = 0; i < text.size; i++) {
		uint8_t c = text.data[i];
		if (c == '"' || c == '\\')
			strbuf_addf(p->out, "\\%c", c);
		else if (c == '\n')
			strbuf_addstr(p->out, "\\n");
		else if (c < ' ' || c > '~')
			strbuf_addf(p->out, "\\%03o", c);
		else
			strbuf_addch(p->out, (char)c);
	}
	strbuf_addch(p->out, '"');
}

static void put_real(struct proto_printer *p, double value, int digits)
{
	if (isnan(value))
		strbuf_addstr(p->out, "nan");
	else if (isinf(value))
		strbuf_addstr(p->out, value < 0 ? "-inf" : "inf");
	else
		strbuf_addf(p->out, "%.*g", digits, value);
}

static void put_enum_value(struct proto_printer *p, const struct pool_enum *e, int32_t number)
{
	const struct pool_enum_value *v = pool_enum_value_by_number(e, number);

	if (v)
		strbuf_addstr(p->out, v->name);
	else
		strbuf_addf(p->out, "%" PRId32, number);
}

static double real_of_bits32(uint64_t bits)
{
	uint32_t b = (uint32_t)bits;
	float f;

	memcpy(&f, &b, sizeof(f));
	return (double)f;
}

static double real_of_bits64(uint64_t bits)
{
	double d;

	memcpy(&d, &bits, sizeof(d));
	return d;
}

static void put_number(struct proto_printer *p, const struct pool_field *f, uint64_t v)
{
	switch ((enum pool_type)f->type) {
	case POOL_TYPE_DOUBLE:
		put_real(p, real_of_bits64(v), 17);
		break;
	case POOL_TYPE_FLOAT:
		put_real(p, real_of_bits32(v), 9);
		break;
	case POOL_TYPE_BOOL:
		strbuf_addstr(p->out, v ? "true" : "false");
		break;
	case POOL_TYPE_ENUM:
		put_enum_value(p, f->type_enum, (int32_t)v);
		break;
	case POOL_TYPE_SINT32:
	case POOL_TYPE_SINT64:
		strbuf_addf(p->out, "%" PRId64, wire_zigzag_decode(v));
		break;
	case POOL_TYPE_INT32:
	case POOL_TYPE_SFIXED32:
		strbuf_addf(p->out, "%" PRId32, (int32_t)v);
		break;
	case POOL_TYPE_INT64:
	case POOL_TYPE_SFIXED64:
		strbuf_addf(p->out, "%" PRId64, (int64_t)v);
		break;
	case POOL_TYPE_UINT32:
	case POOL_TYPE_UINT64:
	case POOL_TYPE_FIXED32:
	case POOL_TYPE_FIXED64:
	case POOL_TYPE_STRING:
	case POOL_TYPE_BYTES:
	case POOL_TYPE_GROUP:
	case POOL_TYPE_MESSAGE:
		strbuf_addf(p->out, "%" PRIu64, v);
		break;
	}
}

static void put_text_message(struct proto_printer *p, const struct pool_message *m,
			     struct bytes message);

static void put_value(struct proto_printer *p, const struct pool_field *f,
		      const struct wire_field *w)
{
	if (f->type_message) {
		strbuf_addstr(p->out, "{");
		put_text_message(p, f->type_message, w->data);
		strbuf_addstr(p->out, " }");
	} else if (f->type == POOL_TYPE_STRING || f->type == POOL_TYPE_BYTES) {
		proto_printer_quote(p, w->data);
	} else {
		put_number(p, f, w->value);
	}
}

/* "name", or "(the.extension)" in an option and "[the.extension]" in a message. */
static void put_name(struct proto_printer *p, const struct pool_field *f, const char *brackets)
{
	if (f->is_extension)
		strbuf_addf(p->out, "%c.%s%c", brackets[0], f->full_name, brackets[1]);
	else if (f->type == POOL_TYPE_GROUP)
		strbuf_addstr(p->out, f->type_message->name);
	else
		strbuf_addstr(p->out, f->name);
}

static void put_text_field(struct proto_printer *p, const struct pool_field *f,
			   const struct wire_field *w)
{
	strbuf_addch(p->out, ' ');
	if (f->is_extension) /* here a name has no leading dot */
		strbuf_addf(p->out, "[%s]", f->full_name);
	else
		put_name(p, f, "[]");
	strbuf_addstr(p->out, f->type_message ? " " : ": ");
	put_value(p, f, w);
}

typedef void field_printer(struct proto_printer *p, const struct pool_field *f,
			   const struct wire_field *w);

/* Each element of a packed run, or the one value. */
static void for_each_value(struct proto_printer *p, const struct pool_field *f,
			   const struct wire_field *w, field_printer *put)
{
	struct wire_field element = *w;
	const uint8_t *at, *end;

	if (w->type != WIRE_BYTES || !decode_is_packable(f)) {
		put(p, f, w);
		return;
	}
	for (at = w->data.data, end = at + w->data.size; at && at < end;) {
		at = decode_packed(f->wire_type, at, end, &element.value);
		if (at)
			put(p, f, &element);
	}
}

static bool fits(const struct pool_field *f, const struct wire_field *w)
{
	return f &&
	       (f->wire_type == w->type || (w->type == WIRE_BYTES && decode_is_packable(f)));
}

static void put_text_message(struct proto_printer *p, const struct pool_message *m,
			     struct bytes message)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field w;

	while (wire_next(&c, &w)) {
		const struct pool_field *f = pool_field_by_number(p->pool, m, w.number);
		if (fits(f, &w))
			for_each_value(p, f, &w, put_text_field);
	}
}

static void put_option(struct proto_printer *p, const struct pool_field *f,
		       const struct wire_field *w)
{
	put_name(p, f, "()");
	strbuf_addstr(p->out, " = ");
	put_value(p, f, w);
}

static void put_option_line(struct proto_printer *p, const struct pool_field *f,
			    const struct wire_field *w)
{
	proto_printer_indent(p);
	strbuf_addstr(p->out, "option ");
	put_option(p, f, w);
	strbuf_addstr(p->out, ";\n");
}

static const struct pool_field *option_of(struct proto_printer *p, const char *type,
					  const struct wire_field *w)
{
	const struct pool_message *m = pool_message(p->pool, type, strlen(type));
	const struct pool_field *f = m ? pool_field_by_number(p->pool, m, w->number) : NULL;

	return fits(f, w) ? f : NULL;
}

void proto_printer_option_lines(struct proto_printer *p, const char *type, struct bytes options)
{
	struct wire_cursor c = wire_cursor_of(options);
	struct wire_field w;

	while (wire_next(&c, &w)) {
		const struct pool_field *f = option_of(p, type, &w);
		if (f) {
			for_each_value(p, f, &w, put_option_line);
		} else if (w.number != UNINTERPRETED_OPTION) {
			proto_printer_indent(p);
			strbuf_addf(p->out, "// option %" PRIu32 " is not known here\n",
				    w.number);
		}
	}
}

/* ------------------------------------------------------------------- lists */

void proto_printer_list_begin(struct proto_printer *p)
{
	p->separator = " [";
}

void proto_printer_list_item(struct proto_printer *p)
{
	strbuf_addstr(p->out, p->separator);
	p->separator = ", ";
}

void proto_printer_list_end(struct proto_printer *p)
{
	if (p->separator[0] == ',')
		strbuf_addch(p->out, ']');
}

static void put_option_item(struct proto_printer *p, const struct pool_field *f,
			    const struct wire_field *w)
{
	proto_printer_list_item(p);
	put_option(p, f, w);
}

void proto_printer_list_options(struct proto_printer *p, const char *type, struct bytes options)
{
	struct wire_cursor c = wire_cursor_of(options);
	struct wire_field w;

	while (wire_next(&c, &w)) {
		const struct pool_field *f = option_of(p, type, &w);
		if (f)
			for_each_value(p, f, &w, put_option_item);
		else if (w.number != UNINTERPRETED_OPTION)
			strbuf_addf(p->out, " /* option %" PRIu32 " is not known here */",
				    w.number);
	}
}
