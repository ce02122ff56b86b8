/* Fields, enums and messages as .proto text. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/reflect/declaration.h"
#include "common/reflect/pool.h"
#include "common/reflect/proto_printer.h"
#include "common/reflect/wire.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
	FILE_MESSAGE = 4,
	FILE_ENUM = 5,
	FILE_EXTENSION = 7,
	MESSAGE_FIELD = 2,
	MESSAGE_MESSAGE = 3,
	MESSAGE_ENUM = 4,
	MESSAGE_EXTENSION_RANGE = 5,
	MESSAGE_EXTENSION = 6,
	MESSAGE_OPTIONS = 7,
	MESSAGE_ONEOF = 8,
	MESSAGE_RESERVED_RANGE = 9,
	MESSAGE_RESERVED_NAME = 10,
	RANGE_START = 1,
	RANGE_END = 2,
	RANGE_OPTIONS = 3,
	FIELD_DEFAULT = 7,
	FIELD_OPTIONS = 8,
	ONEOF_OPTIONS = 2,
	ENUM_VALUE = 2,
	ENUM_OPTIONS = 3,
	ENUM_RESERVED_RANGE = 4,
	ENUM_RESERVED_NAME = 5,
	VALUE_OPTIONS = 3,
};

/* -------------------------------------------------------------------- fields */

/* Could "group Name" declare the field? Then the message is its scope's, and named so. */
static bool may_declare_group(const struct pool_field *f)
{
	return f->type == POOL_TYPE_GROUP && f->type_message->parent == f->parent &&
	       !strcasecmp(f->name, f->type_message->name);
}

/* The one field that @m, a group's message, is printed with. NULL: it is like any other. */
static const struct pool_field *group_declaration_of(const struct proto_printer *p,
						     const struct pool_message *m)
{
	for (uint32_t i = 0; m->parent && i < m->parent->field_count; i++)
		if (m->parent->fields[i].type_message == m &&
		    may_declare_group(&m->parent->fields[i]))
			return &m->parent->fields[i];
	for (uint32_t i = 0; i < p->file->extension_count; i++)
		if (p->file->extensions[i].type_message == m &&
		    may_declare_group(&p->file->extensions[i]))
			return &p->file->extensions[i];
	return NULL;
}

static bool declares_group(const struct proto_printer *p, const struct pool_field *f)
{
	return may_declare_group(f) && group_declaration_of(p, f->type_message) == f;
}

static void put_field_type(struct proto_printer *p, const char *scope,
			   const struct pool_field *f)
{
	if (f->is_map) {
		const struct pool_field *value = pool_declared_field(f->type_message, 2);
		strbuf_addf(p->out, "map<%s, ",
			    pool_scalar_name(pool_declared_field(f->type_message, 1)->type));
		put_field_type(p, scope, value);
		strbuf_addch(p->out, '>');
	} else if (declares_group(p, f)) {
		strbuf_addstr(p->out, "group");
	} else if (f->type_message) {
		proto_printer_type(p, scope, f->type_message->full_name);
	} else if (f->type_enum) {
		proto_printer_type(p, scope, f->type_enum->full_name);
	} else {
		strbuf_addstr(p->out, pool_scalar_name(f->type));
	}
}

static const char *label_of(const struct proto_printer *p, const struct pool_field *f)
{
	bool is_optional = f->has_presence && f->parent && !f->is_extension;

	if (f->is_map || f->oneof >= 0)
		return "";
	if (f->repeated)
		return "repeated ";
	if (f->required)
		return "required ";
	if (!p->file->is_proto3)
		return "optional ";
	if (f->is_extension)
		return "";
	/* In proto3 messages have presence without the word, scalars only with it. */
	return is_optional && !f->type_message ? "optional " : "";
}

/* What protoc makes of a name: what follows a '_' is upper case. */
static bool is_default_json_name(const struct pool_field *f)
{
	const char *json = f->json_name;
	bool upper = false;

	for (const char *c = f->name; *c; c++) {
		if (*c == '_') {
			upper = true;
			continue;
		}
		if (*json++ != (upper && *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c))
			return false;
		upper = false;
	}
	return !*json;
}

static void put_field_options(struct proto_printer *p, const struct pool_field *f)
{
	struct bytes declaration = declaration_of_field(f), value;

	proto_printer_list_begin(p);
	if (wire_find_bytes(declaration, FIELD_DEFAULT, &value)) {
		proto_printer_list_item(p);
		strbuf_addstr(p->out, "default = ");
		if (f->type == POOL_TYPE_STRING)
			proto_printer_quote(p, value);
		else /* bytes are kept escaped as in a literal */
			strbuf_addf(p->out, f->type == POOL_TYPE_BYTES ? "\"%.*s\"" : "%.*s",
				    (int)value.size, (const char *)value.data);
	}
	if (!f->is_extension && !is_default_json_name(f)) {
		proto_printer_list_item(p);
		strbuf_addstr(p->out, "json_name = ");
		proto_printer_quote(p, bytes_of_string(f->json_name));
	}
	if (wire_find_bytes(declaration, FIELD_OPTIONS, &value))
		proto_printer_list_options(p, "google.protobuf.FieldOptions", value);
	proto_printer_list_end(p);
}

static void put_message_body(struct proto_printer *p, const struct pool_message *m);

void proto_printer_field(struct proto_printer *p, const char *scope, const struct pool_field *f)
{
	bool is_group = declares_group(p, f);

	proto_printer_comments(p);
	proto_printer_indent(p);
	strbuf_addstr(p->out, label_of(p, f));
	put_field_type(p, scope, f);
	strbuf_addf(p->out, " %s = %" PRIu32, is_group ? f->type_message->name : f->name,
		    f->number);
	put_field_options(p, f);
	if (is_group) {
		strbuf_addch(p->out, ' ');
		put_message_body(p, f->type_message);
	} else if (f->type == POOL_TYPE_GROUP) {
		/* Descriptors can say it, the language cannot. */
		strbuf_addstr(p->out, "; // as a group on the wire\n");
	} else {
		strbuf_addstr(p->out, ";\n");
	}
}

static int compare_declarations(const void *a, const void *b)
{
	const struct pool_field *x = *(const struct pool_field *const *)a;
	const struct pool_field *y = *(const struct pool_field *const *)b;

	return x->declaration_index < y->declaration_index ? -1 : 1;
}

static void open_oneof(struct proto_printer *p, const struct pool_message *m, int32_t index,
		       struct bytes declaration)
{
	size_t mark = proto_printer_enter(p, MESSAGE_ONEOF, (uint32_t)index);
	struct wire_cursor c = wire_cursor_of(declaration);
	struct wire_field f;
	struct bytes options;

	proto_printer_comments(p);
	proto_printer_leave(p, mark);
	proto_printer_indent(p);
	strbuf_addf(p->out, "oneof %s {\n", m->oneofs[index].name);
	p->depth++;
	while (wire_next(&c, &f))
		if (f.number == MESSAGE_ONEOF && f.type == WIRE_BYTES && !index--) {
			if (wire_find_bytes(f.data, ONEOF_OPTIONS, &options))
				proto_printer_option_lines(p, "google.protobuf.OneofOptions",
							   options);
			return;
		}
}

static void put_fields(struct proto_printer *p, const struct pool_message *m,
		       struct bytes declaration)
{
	const struct pool_field **order =
		xreallocarray(NULL, m->field_count + 1, sizeof(*order));
	int32_t open = -1;

	for (uint32_t i = 0; i < m->field_count; i++)
		order[i] = &m->fields[i];
	qsort(order, m->field_count, sizeof(*order), compare_declarations);
	for (uint32_t i = 0; i < m->field_count; i++) {
		size_t mark;
		if (open >= 0 && order[i]->oneof != open)
			proto_printer_close(p);
		if (order[i]->oneof >= 0 && order[i]->oneof != open)
			open_oneof(p, m, order[i]->oneof, declaration);
		open = order[i]->oneof;
		mark = proto_printer_enter(p, MESSAGE_FIELD, order[i]->declaration_index);
		proto_printer_field(p, m->full_name, order[i]);
		proto_printer_leave(p, mark);
	}
	if (open >= 0)
		proto_printer_close(p);
	free(order);
}

/* Extensions declared in one scope, in blocks of one extendee. */
void proto_printer_extensions(struct proto_printer *p, const struct pool_message *parent)
{
	const struct pool_file *file = p->file;
	const struct pool_message *open = NULL;

	for (uint32_t i = 0; i < file->extension_count; i++) {
		const struct pool_field *f = &file->extensions[i];
		size_t mark;
		if (f->parent != parent)
			continue;
		if (open && f->message != open)
			proto_printer_close(p);
		if (f->message != open) {
			proto_printer_indent(p);
			strbuf_addstr(p->out, "extend ");
			proto_printer_type(p, parent ? parent->full_name : file->package,
					   f->message->full_name);
			strbuf_addstr(p->out, " {\n");
			p->depth++;
		}
		open = f->message;
		mark = proto_printer_enter(p, parent ? MESSAGE_EXTENSION : FILE_EXTENSION,
					   f->index);
		proto_printer_field(p, parent ? parent->full_name : file->package, f);
		proto_printer_leave(p, mark);
	}
	if (open)
		proto_printer_close(p);
}

/* ------------------------------------------------------------ ranges and names */

static int64_t number_in(struct bytes message, uint32_t number)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;
	int64_t value = 0;

	while (wire_next(&c, &f))
		if (f.number == number && f.type == WIRE_VARINT)
			value = (int32_t)f.value;
	return value;
}

/* @end is the number after the last for messages, the last for enums. */
static void put_range(struct proto_printer *p, const char *word, struct bytes range,
		      bool is_enum)
{
	int64_t first = number_in(range, RANGE_START);
	int64_t last = number_in(range, RANGE_END) - !is_enum;
	bool is_max = last >= (is_enum ? INT32_MAX : WIRE_MAX_FIELD_NUMBER);

	proto_printer_indent(p);
	strbuf_addf(p->out, "%s %" PRId64, word, first);
	if (is_max)
		strbuf_addstr(p->out, " to max");
	else if (last != first)
		strbuf_addf(p->out, " to %" PRId64, last);
}

static void put_extension_range(struct proto_printer *p, struct bytes range)
{
	struct bytes options;

	put_range(p, "extensions", range, false);
	proto_printer_list_begin(p);
	if (wire_find_bytes(range, RANGE_OPTIONS, &options))
		proto_printer_list_options(p, "google.protobuf.ExtensionRangeOptions", options);
	proto_printer_list_end(p);
	strbuf_addstr(p->out, ";\n");
}

static void put_reserved(struct proto_printer *p, struct bytes declaration, uint32_t range,
			 uint32_t name, bool is_enum)
{
	struct wire_cursor c = wire_cursor_of(declaration);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == range) {
			put_range(p, "reserved", f.data, is_enum);
			strbuf_addstr(p->out, ";\n");
		} else if (f.number == name) {
			proto_printer_indent(p);
			strbuf_addstr(p->out, "reserved ");
			proto_printer_quote(p, f.data);
			strbuf_addstr(p->out, ";\n");
		}
	}
}

/* -------------------------------------------------------- enums and messages */

static void put_enum_values(struct proto_printer *p, struct bytes declaration)
{
	struct wire_cursor c = wire_cursor_of(declaration);
	struct wire_field f;
	struct bytes name, options;
	uint32_t index = 0;

	while (wire_next(&c, &f)) {
		size_t mark;
		if (f.number != ENUM_VALUE || f.type != WIRE_BYTES ||
		    !wire_find_bytes(f.data, 1, &name))
			continue;
		mark = proto_printer_enter(p, ENUM_VALUE, index++);
		proto_printer_comments(p);
		proto_printer_leave(p, mark);
		proto_printer_indent(p);
		strbuf_addf(p->out, "%.*s = %" PRId64, (int)name.size, (const char *)name.data,
			    number_in(f.data, 2));
		proto_printer_list_begin(p);
		if (wire_find_bytes(f.data, VALUE_OPTIONS, &options))
			proto_printer_list_options(p, "google.protobuf.EnumValueOptions",
						   options);
		proto_printer_list_end(p);
		strbuf_addstr(p->out, ";\n");
	}
}

void proto_printer_enum(struct proto_printer *p, const struct pool_enum *e)
{
	struct bytes declaration = declaration_of_enum(e), options;

	proto_printer_comments(p);
	proto_printer_indent(p);
	strbuf_addf(p->out, "enum %s {\n", e->name);
	p->depth++;
	if (wire_find_bytes(declaration, ENUM_OPTIONS, &options))
		proto_printer_option_lines(p, "google.protobuf.EnumOptions", options);
	put_enum_values(p, declaration);
	put_reserved(p, declaration, ENUM_RESERVED_RANGE, ENUM_RESERVED_NAME, true);
	proto_printer_close(p);
}

void proto_printer_message(struct proto_printer *p, const struct pool_message *m)
{
	proto_printer_comments(p);
	proto_printer_indent(p);
	strbuf_addf(p->out, "message %s ", m->name);
	put_message_body(p, m);
}

/* Enums and messages declared in @parent (NULL: in the file). */
void proto_printer_nested(struct proto_printer *p, const struct pool_message *parent)
{
	const struct pool_file *file = p->file;

	for (uint32_t i = 0; i < file->enum_count; i++)
		if (file->enums[i].parent == parent) {
			size_t mark = proto_printer_enter(p, parent ? MESSAGE_ENUM : FILE_ENUM,
							  file->enums[i].index);
			if (!parent)
				strbuf_addch(p->out, '\n');
			proto_printer_enum(p, &file->enums[i]);
			proto_printer_leave(p, mark);
		}
	for (uint32_t i = 0; i < file->message_count; i++) {
		const struct pool_message *m = &file->messages[i];
		size_t mark;
		if (m->parent != parent || m->is_map_entry || group_declaration_of(p, m))
			continue;
		mark = proto_printer_enter(p, parent ? MESSAGE_MESSAGE : FILE_MESSAGE,
					   m->index);
		if (!parent)
			strbuf_addch(p->out, '\n');
		proto_printer_message(p, m);
		proto_printer_leave(p, mark);
	}
}

static void put_message_body(struct proto_printer *p, const struct pool_message *m)
{
	struct bytes declaration = declaration_of_message(m), options;
	struct wire_cursor c = wire_cursor_of(declaration);
	struct wire_field f;

	strbuf_addstr(p->out, "{\n");
	p->depth++;
	if (wire_find_bytes(declaration, MESSAGE_OPTIONS, &options))
		proto_printer_option_lines(p, "google.protobuf.MessageOptions", options);
	put_fields(p, m, declaration);
	while (wire_next(&c, &f))
		if (f.number == MESSAGE_EXTENSION_RANGE && f.type == WIRE_BYTES)
			put_extension_range(p, f.data);
	put_reserved(p, declaration, MESSAGE_RESERVED_RANGE, MESSAGE_RESERVED_NAME, false);
	proto_printer_nested(p, m);
	proto_printer_extensions(p, m);
	proto_printer_close(p);
}
