/* What protoc forbids in fields and extensions. */
#include <string.h>

#include "common/reflect/link.h"
#include "common/reflect/wire.h"

typedef Google__Protobuf__FieldDescriptorProto FieldProto;

enum { RESERVED_FIRST = 19000, RESERVED_LAST = 19999 };

/* ------------------------------------------------------------------- maps */

/* The name that protoc gives to the entry type of the map field @name. */
static bool is_entry_name(const char *entry, const char *name)
{
	bool upper = true;

	for (; *name; name++) {
		char c = *name;

		if (c == '_') {
			upper = true;
			continue;
		}
		if (upper && c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (*entry++ != c)
			return false;
		upper = false;
	}
	return !strcmp(entry, "Entry");
}

static bool is_map_key(const struct pool_field *f)
{
	return f->type != POOL_TYPE_DOUBLE && f->type != POOL_TYPE_FLOAT &&
	       f->type != POOL_TYPE_BYTES && f->type != POOL_TYPE_ENUM && !f->type_message;
}

static bool is_entry_field(const struct pool_field *f, uint32_t number, const char *name)
{
	return f->number == number && f->declaration_index == number - 1 && !f->repeated &&
	       !f->required && !strcmp(f->name, name);
}

static bool is_entry_of(const struct pool_message *e, const struct pool_field *f)
{
	return f->repeated && e->parent == f->message && is_entry_name(e->name, f->name) &&
	       e->field_count == 2 && is_entry_field(&e->fields[0], 1, "key") &&
	       is_entry_field(&e->fields[1], 2, "value") && !e->oneof_count &&
	       !e->is_extendable && !e->has_nested;
}

/* Entries are nested in the message of their field, so they have been linked before it. */
static enum status check_map(struct linker *l, const struct pool_field *f)
{
	const struct pool_message *e = f->type_message;

	if (!is_entry_of(e, f))
		return link_fail(l, f->full_name,
				 "it is not a map, and \"%s\" is a map's entry: a nested "
				 "message with key = 1 and value = 2, named after its field",
				 e->full_name);
	if (!is_map_key(&e->fields[0]))
		return link_fail(l, f->full_name, "this type cannot be a map's key");
	if (e->fields[1].type_enum && e->fields[1].type_enum->values[0].number != 0)
		return link_fail(l, f->full_name,
				 "the map's enum \"%s\": its first value is not 0",
				 e->fields[1].type_enum->full_name);
	return STATUS_OK;
}

/* ----------------------------------------------------------- declarations */

static enum status check_label(struct linker *l, const struct pool_field *f,
			       const FieldProto *p)
{
	if (!p->proto3_optional)
		return STATUS_OK;
	if (!l->unit->file.is_proto3 || f->repeated || f->required)
		return link_fail(l, f->full_name, "it cannot be a proto3 optional field");
	if (!f->is_extension && !p->has_oneof_index)
		return link_fail(l, f->full_name, "as an optional field it needs a oneof");
	return STATUS_OK;
}

/* The upper end of an extension's number is that of its extendee's ranges. */
static enum status check_number(struct linker *l, const struct pool_field *f,
				const FieldProto *p)
{
	if (p->number < 1 || (!f->is_extension && p->number > WIRE_MAX_FIELD_NUMBER))
		return link_fail(l, f->full_name, "a field cannot have the number %d",
				 p->number);
	if (p->number >= RESERVED_FIRST && p->number <= RESERVED_LAST)
		return link_fail(l, f->full_name, "the numbers %d to %d are protobuf's own",
				 RESERVED_FIRST, RESERVED_LAST);
	return STATUS_OK;
}

static enum status check_json_name(struct linker *l, const struct pool_field *f,
				   const FieldProto *p)
{
	if (f->is_extension)
		return member_has_own_json_name(l, p)
			       ? link_fail(l, f->full_name, "an extension has no json_name")
			       : STATUS_OK;
	if (f->json_name_len > 1 && f->json_name[0] == '[' &&
	    f->json_name[f->json_name_len - 1] == ']')
		return link_fail(l, f->full_name,
				 "its JSON name \"%s\" is that of an extension", f->json_name);
	return STATUS_OK;
}

/* ---------------------------------------------------------------- options */

static bool is_64_bit_integer(const struct pool_field *f)
{
	return f->type == POOL_TYPE_INT64 || f->type == POOL_TYPE_UINT64 ||
	       f->type == POOL_TYPE_SINT64 || f->type == POOL_TYPE_FIXED64 ||
	       f->type == POOL_TYPE_SFIXED64;
}

static enum status check_options(struct linker *l, const struct pool_field *f,
				 const FieldProto *p)
{
	const Google__Protobuf__FieldOptions *o = p->options;

	if (!o)
		return STATUS_OK;
	if (o->packed &&
	    (!f->repeated || f->wire_type == WIRE_BYTES || f->wire_type == WIRE_GROUP_START))
		return link_fail(l, f->full_name, "only lists of numbers can be packed");
	if ((o->lazy || o->unverified_lazy) && f->type != POOL_TYPE_MESSAGE)
		return link_fail(l, f->full_name, "only messages can be lazy");
	if (o->jstype && !is_64_bit_integer(f))
		return link_fail(l, f->full_name, "only integers of 64 bits can have a jstype");
	return link_interpreted(l, f->full_name, o->n_uninterpreted_option);
}

static enum status check_proto3(struct linker *l, const struct pool_field *f)
{
	if (f->required)
		return link_fail(l, f->full_name, "proto3 has no required fields");
	if (f->type == POOL_TYPE_GROUP)
		return link_fail(l, f->full_name, "proto3 has no groups");
	if (f->type_enum && f->type_enum->closed)
		return link_fail(l, f->full_name, "\"%s\" is a proto2 enum",
				 f->type_enum->full_name);
	return STATUS_OK;
}

enum status rules_check_field(struct linker *l, const struct pool_field *f, const FieldProto *p)
{
	enum status status = check_label(l, f, p);

	if (status == STATUS_OK)
		status = check_number(l, f, p);
	if (status == STATUS_OK && !f->is_extension && p->extendee)
		status = link_fail(l, f->full_name,
				   "a field of a message cannot extend another");
	if (status == STATUS_OK)
		status = check_json_name(l, f, p);
	if (status == STATUS_OK)
		status = check_options(l, f, p);
	if (status == STATUS_OK && f->type == POOL_TYPE_MESSAGE &&
	    f->type_message->is_map_entry)
		status = check_map(l, f);
	if (status == STATUS_OK && l->unit->file.is_proto3)
		status = check_proto3(l, f);
	if (status == STATUS_OK && p->default_value)
		status = rules_check_default(l, f, p->default_value);
	return status;
}

/* ------------------------------------------------------------- extensions */

/* proto3 files may extend the options of descriptor.proto, nothing else. */
static bool is_options_message(const struct pool_message *m)
{
	static const char *const packages[] = {"google.protobuf.", "proto2."};
	static const char *const names[] = {
		"FileOptions",   "MessageOptions",        "FieldOptions",
		"EnumOptions",   "EnumValueOptions",      "ServiceOptions",
		"MethodOptions", "ExtensionRangeOptions", "OneofOptions"};

	for (size_t p = 0; p < sizeof(packages) / sizeof(packages[0]); p++) {
		const size_t len = strlen(packages[p]);

		if (strncmp(m->full_name, packages[p], len) != 0)
			continue;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (!strcmp(m->full_name + len, names[i]))
				return true;
	}
	return false;
}

static bool is_in_extension_range(const struct pool_field *f)
{
	uint32_t low = 0, high = f->message->extension_range_count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const struct pool_range *r = &f->message->extension_ranges[middle];

		if (f->number >= r->first && f->number <= r->last)
			return true;
		if (f->number < r->first)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

enum status rules_check_extension(struct linker *l, const struct pool_field *f,
				  const FieldProto *p)
{
	if (!is_in_extension_range(f))
		return link_fail(l, f->full_name, "\"%s\" has no extension range with %u",
				 f->message->full_name, f->number);
	if (f->required)
		return link_fail(l, f->full_name, "an extension cannot be required");
	if (p->has_oneof_index)
		return link_fail(l, f->full_name, "an extension cannot be in a oneof");
	if (f->message->is_message_set && (f->type != POOL_TYPE_MESSAGE || f->repeated))
		return link_fail(l, f->full_name, "a message set holds single messages");
	if (l->unit->file.is_proto3 && !is_options_message(f->message))
		return link_fail(l, f->full_name, "proto3 files may extend options only");
	if (l->unit->is_lite && !unit_of(f->message->file)->is_lite)
		return link_fail(l, f->full_name,
				 "a file for the lite runtime cannot extend \"%s\" of one that "
				 "is not",
				 f->message->full_name);
	return STATUS_OK;
}
