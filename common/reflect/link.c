#include "common/reflect/link.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/reflect/wire.h"

typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__FieldDescriptorProto FieldProto;

enum { DENSE_MAX = 1024 }; /* field numbers from here on are searched for */

enum status link_fail(const struct linker *l, const char *symbol, const char *fmt, ...)
{
	/* Longer than what they go into, so that it is there that they are cut. */
	char where[sizeof(l->err->field) + 8], message[sizeof(l->err->message) + 8];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	snprintf(where, sizeof(where), "%s%s%s", l->unit->file.name, *symbol ? ": " : "",
		 symbol);
	return error_field(l->err, where, "%s", message);
}

enum status link_already_defined(const struct linker *l, const char *symbol,
				 const struct pool_file *file)
{
	const enum status status =
		file == &l->unit->file ? STATUS_INVALID_ARGUMENT : STATUS_ALREADY_EXISTS;

	link_fail(l, symbol, "\"%s\" is already defined in \"%s\"", symbol, file->name);
	if (l->err)
		l->err->status = status;
	return status;
}

enum status link_interpreted(const struct linker *l, const char *symbol, size_t count)
{
	if (!count)
		return STATUS_OK;
	return link_fail(l, symbol,
			 "an option has not been interpreted: it is unknown, or this is not "
			 "what a compiler wrote");
}

/* ---------------------------------------------------------------- fields */

static const uint8_t wire_types[] = {
	[POOL_TYPE_DOUBLE] = WIRE_FIXED64,   [POOL_TYPE_FLOAT] = WIRE_FIXED32,
	[POOL_TYPE_INT64] = WIRE_VARINT,     [POOL_TYPE_UINT64] = WIRE_VARINT,
	[POOL_TYPE_INT32] = WIRE_VARINT,     [POOL_TYPE_FIXED64] = WIRE_FIXED64,
	[POOL_TYPE_FIXED32] = WIRE_FIXED32,  [POOL_TYPE_BOOL] = WIRE_VARINT,
	[POOL_TYPE_STRING] = WIRE_BYTES,     [POOL_TYPE_GROUP] = WIRE_GROUP_START,
	[POOL_TYPE_MESSAGE] = WIRE_BYTES,    [POOL_TYPE_BYTES] = WIRE_BYTES,
	[POOL_TYPE_UINT32] = WIRE_VARINT,    [POOL_TYPE_ENUM] = WIRE_VARINT,
	[POOL_TYPE_SFIXED32] = WIRE_FIXED32, [POOL_TYPE_SFIXED64] = WIRE_FIXED64,
	[POOL_TYPE_SINT32] = WIRE_VARINT,    [POOL_TYPE_SINT64] = WIRE_VARINT,
};

static bool names_a_type(int type)
{
	return type == POOL_TYPE_MESSAGE || type == POOL_TYPE_GROUP || type == POOL_TYPE_ENUM;
}

/* A type that is a name, @type if its declaration says which, else 0. */
static enum status resolve_named_type(struct linker *l, struct pool_field *f, int type,
				      const char *scope, const char *name)
{
	struct symbol s;
	const enum status status = scope_resolve(l, scope, name, SCOPE_TYPES, f->full_name, &s);

	if (status != STATUS_OK)
		return status;
	if (s.kind == SYMBOL_MESSAGE && type != POOL_TYPE_ENUM) {
		f->type_message = s.descriptor;
		f->type = type ? (uint8_t)type : POOL_TYPE_MESSAGE;
		return STATUS_OK;
	}
	if (s.kind == SYMBOL_ENUM && (!type || type == POOL_TYPE_ENUM)) {
		f->type_enum = s.descriptor;
		f->type = POOL_TYPE_ENUM;
		return STATUS_OK;
	}
	return link_fail(l, f->full_name, "\"%s\" is not a%s", name,
			 !type                    ? " type"
			 : type == POOL_TYPE_ENUM ? "n enum"
						  : " message");
}

static enum status resolve_type(struct linker *l, struct pool_field *f, const char *scope,
				const FieldProto *p)
{
	const int type = p->has_type ? (int)p->type : 0;

	if (!type && !p->type_name)
		return link_fail(l, f->full_name, "it has no type");
	if (type && names_a_type(type) != !!p->type_name)
		return link_fail(l, f->full_name,
				 p->type_name ? "its type has no name of its own"
					      : "its type is not named");
	if (p->type_name)
		return resolve_named_type(l, f, type, scope, p->type_name);
	f->type = (uint8_t)type;
	return STATUS_OK;
}

static enum status link_field(struct linker *l, struct pool_field *f, const char *scope,
			      const FieldProto *p)
{
	const bool proto3 = l->unit->file.is_proto3;
	const bool optional3 = p->has_proto3_optional && p->proto3_optional;
	enum status status = resolve_type(l, f, scope, p);
	bool packable;

	if (status != STATUS_OK)
		return status;
	f->repeated =
		p->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
	f->required =
		p->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;
	f->wire_type = wire_types[f->type];
	f->is_map =
		f->repeated && f->type == POOL_TYPE_MESSAGE && f->type_message->is_map_entry;
	if (p->has_oneof_index && !optional3)
		f->oneof = p->oneof_index;
	f->has_presence = !f->repeated && (!proto3 || optional3 || p->has_oneof_index ||
					   f->type_message || f->is_extension);
	f->check_utf8 = proto3 && f->type == POOL_TYPE_STRING;
	if (p->options) {
		f->ctype = (uint8_t)p->options->ctype;
		f->jstype = (uint8_t)p->options->jstype;
	}
	if (p->default_value)
		f->default_text = arena_strdup(&l->unit->arena, p->default_value);
	packable =
		f->repeated && f->wire_type != WIRE_BYTES && f->wire_type != WIRE_GROUP_START;
	f->packed = packable &&
		    (p->options && p->options->has_packed ? p->options->packed : proto3);
	status = rules_check_field(l, f, p);
	if (status != STATUS_OK)
		return status;
	f->tag_len = (uint8_t)wire_put_varint(
		f->tag, (uint64_t)f->number << 3 | (f->packed ? WIRE_BYTES : f->wire_type));
	return STATUS_OK;
}

/* -------------------------------------------------------------- messages */

static void index_numbers(struct linker *l, struct pool_message *m)
{
	const struct pool_field **dense;
	uint32_t count = 0;

	for (uint32_t i = 0; i < m->field_count && m->fields[i].number < DENSE_MAX; i++)
		count = m->fields[i].number + 1;
	dense = arena_zalloc(&l->unit->arena, count * sizeof(struct pool_field *));
	for (uint32_t i = 0; i < m->field_count && m->fields[i].number < count; i++)
		dense[m->fields[i].number] = &m->fields[i];
	m->dense = dense;
	m->dense_count = count;
}

/* The fields of each oneof, in the order of their declaration. */
static void link_oneofs(struct linker *l, struct pool_message *m, const MessageProto *p)
{
	struct pool_oneof *oneofs = (struct pool_oneof *)m->oneofs; /* still ours to write */
	const struct pool_field **fields, **of_declaration;
	uint32_t at = 0;

	if (!m->oneof_count)
		return;
	fields = arena_alloc(&l->unit->arena, m->field_count * sizeof(struct pool_field *));
	of_declaration = arena_alloc(l->scratch, m->field_count * sizeof(struct pool_field *));
	for (uint32_t i = 0; i < m->field_count; i++)
		of_declaration[m->fields[i].declaration_index] = &m->fields[i];
	for (uint32_t i = 0; i < m->field_count; i++)
		if (p->field[i]->has_oneof_index)
			oneofs[p->field[i]->oneof_index].field_count++;
	for (uint32_t i = 0; i < m->oneof_count; i++) {
		oneofs[i].fields = fields + at;
		at += oneofs[i].field_count;
		oneofs[i].field_count = 0;
	}
	for (uint32_t i = 0; i < m->field_count; i++) {
		struct pool_oneof *o;
		size_t start;

		if (!p->field[i]->has_oneof_index)
			continue;
		o = &oneofs[p->field[i]->oneof_index];
		start = (size_t)(o->fields - fields);
		fields[start + o->field_count++] = of_declaration[i];
		o->synthetic |=
			p->field[i]->has_proto3_optional && p->field[i]->proto3_optional;
	}
}

static enum status link_message(struct linker *l, struct pool_message *m, const MessageProto *p)
{
	struct pool_field *fields = (struct pool_field *)m->fields; /* still ours to write */
	enum status status;

	for (uint32_t i = 0; i < m->field_count; i++) {
		const FieldProto *fp = p->field[fields[i].declaration_index];

		if (fp->has_oneof_index &&
		    (fp->oneof_index < 0 || (uint32_t)fp->oneof_index >= m->oneof_count))
			return link_fail(l, fields[i].full_name, "there is no oneof %d",
					 fp->oneof_index);
		status = link_field(l, &fields[i], m->full_name, fp);
		if (status != STATUS_OK)
			return status;
		m->has_required |= fields[i].required;
	}
	link_oneofs(l, m, p);
	status = rules_check_message(l, m, p);
	if (status != STATUS_OK)
		return status;
	reserved_of_message(l, m, p);
	m->no_standard_descriptor_accessor =
		p->options && p->options->no_standard_descriptor_accessor;
	index_numbers(l, m);
	return STATUS_OK;
}

/* ------------------------------------------------ extensions and services */

static enum status resolve_message(struct linker *l, const char *scope, const char *name,
				   const char *where, const struct pool_message **ret_message)
{
	struct symbol s;
	const enum status status = scope_resolve(l, scope, name, SCOPE_ANYTHING, where, &s);

	if (status != STATUS_OK)
		return status;
	if (s.kind != SYMBOL_MESSAGE)
		return link_fail(l, where, "\"%s\" is not a message", name);
	*ret_message = s.descriptor;
	return STATUS_OK;
}

/* As with protoc, two files may give a number to two extensions: the first one has it. */
static enum status declare_number(struct linker *l, const struct pool_field *f)
{
	const struct symbol *there;
	char key[EXTENSION_KEY_MAX_BYTES];

	extension_key(f->message, f->number, key);
	there = declare_symbol(
		l, arena_strdup(&l->unit->arena, key),
		(struct symbol){.kind = SYMBOL_EXTENSION_NUMBER, .descriptor = f});
	if (!there || there->file != f->file)
		return STATUS_OK;
	return link_fail(l, f->full_name, "extension number %u of \"%s\" is taken", f->number,
			 f->message->full_name);
}

static enum status link_extension(struct linker *l, struct pool_field *f, const FieldProto *p)
{
	const char *scope = f->parent ? f->parent->full_name : l->unit->file.package;
	enum status status;

	if (!p->extendee)
		return link_fail(l, f->full_name, "it does not say what it extends");
	status = resolve_message(l, scope, p->extendee, f->full_name, &f->message);
	if (status == STATUS_OK)
		status = link_field(l, f, scope, p);
	if (status == STATUS_OK)
		status = rules_check_extension(l, f, p);
	return status == STATUS_OK ? declare_number(l, f) : status;
}

static enum status resolve_argument(struct linker *l, const struct pool_method *m,
				    const char *name, const struct pool_message **ret_message)
{
	if (!name)
		return link_fail(l, m->full_name, "its input or output is not named");
	return resolve_message(l, m->service->full_name, name, m->full_name, ret_message);
}

static enum status link_service(struct linker *l, struct pool_service *s,
				const Google__Protobuf__ServiceDescriptorProto *p)
{
	struct pool_method *methods =
		(struct pool_method *)s->methods; /* still ours to write */

	for (uint32_t i = 0; i < s->method_count; i++) {
		const Google__Protobuf__MethodDescriptorProto *mp = p->method[i];
		enum status status =
			resolve_argument(l, &methods[i], mp->input_type, &methods[i].input);

		if (status == STATUS_OK)
			status = resolve_argument(l, &methods[i], mp->output_type,
						  &methods[i].output);
		if (status != STATUS_OK)
			return status;
		methods[i].client_streaming = mp->client_streaming;
		methods[i].server_streaming = mp->server_streaming;
		if (mp->options && mp->options->has_idempotency_level)
			methods[i].idempotency = (uint8_t)mp->options->idempotency_level;
	}
	return rules_check_service(l, s, p);
}

enum status link_file(struct pool *pool, struct pool_unit *unit,
		      const Google__Protobuf__FileDescriptorProto *proto, struct arena *scratch,
		      struct error *err)
{
	struct linker l = {
		.pool = pool, .unit = unit, .proto = proto, .scratch = scratch, .err = err};
	enum status status = declare_file(&l);

	if (status == STATUS_OK)
		status = rules_check_file(&l);
	if (status != STATUS_OK)
		return status;
	scope_init(&l);
	/* Map entries and enums are looked at by the fields that use them, so they come first. */
	for (uint32_t i = 0; status == STATUS_OK && i < l.enum_count; i++) {
		status = rules_check_enum(&l, &l.enums[i], l.enum_protos[i]);
		reserved_of_enum(&l, &l.enums[i], l.enum_protos[i]);
	}
	for (uint32_t i = l.message_count; status == STATUS_OK && i-- > 0;)
		status = link_message(&l, &l.messages[i], l.message_protos[i]);
	for (uint32_t i = 0; status == STATUS_OK && i < l.extension_count; i++)
		status = link_extension(&l, &l.extensions[i], l.extension_protos[i]);
	for (uint32_t i = 0; status == STATUS_OK && i < proto->n_service; i++)
		status = link_service(&l, &l.services[i], proto->service[i]);
	return status;
}
