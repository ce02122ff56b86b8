#include <string.h>

#include "common/reflect/compat_rules.h"
#include "common/reflect/pool.h"
#include "common/reflect/unit.h"
#include "common/reflect/wire.h"

static const struct compat_rule same_message_set = {"MESSAGE_SAME_MESSAGE_SET_WIRE_FORMAT",
						    FROM_RECORDS};
static const struct compat_rule same_json_format = {"MESSAGE_SAME_JSON_FORMAT", FROM_WIRE_JSON};
static const struct compat_rule no_remove_accessor = {
	"MESSAGE_NO_REMOVE_STANDARD_DESCRIPTOR_ACCESSOR", COMPAT_SOURCE};
static const struct compat_rule same_required = {"MESSAGE_SAME_REQUIRED_FIELDS", FROM_WIRE};
static const struct compat_rule none_more_required = {"MESSAGE_SAME_REQUIRED_FIELDS",
						      FROM_RECORDS};
static const struct compat_rule reserved_no_delete = {"RESERVED_MESSAGE_NO_DELETE", FROM_WIRE};
static const struct compat_rule extensions_no_delete = {"EXTENSION_MESSAGE_NO_DELETE",
							COMPAT_SOURCE};
static const struct compat_rule oneof_no_delete = {"ONEOF_NO_DELETE", COMPAT_SOURCE};
static const struct compat_rule field_no_delete = {"FIELD_NO_DELETE", COMPAT_SOURCE};
static const struct compat_rule field_unless_number_reserved = {
	"FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED", BELOW_SOURCE};
static const struct compat_rule field_unless_name_reserved = {
	"FIELD_NO_DELETE_UNLESS_NAME_RESERVED", COMPAT_WIRE_JSON};

static void check_options(struct compat *c, const struct pool_message *was,
			  const struct pool_message *is)
{
	if (was->is_message_set != is->is_message_set)
		compat_add(c, &same_message_set, is->file, is->full_name,
			   "the message %s a message set",
			   is->is_message_set ? "becomes" : "is no longer");
	if (was->file->is_proto3 && !is->file->is_proto3)
		compat_add(c, &same_json_format, is->file, is->full_name,
			   "the message moves to proto2, which does not promise JSON");
	if (!was->no_standard_descriptor_accessor && is->no_standard_descriptor_accessor)
		compat_add(c, &no_remove_accessor, is->file, is->full_name,
			   "the message's option no_standard_descriptor_accessor becomes true");
}

/* Somebody who does not know of it would not send it, or would refuse what lacks it. */
static void check_required(struct compat *c, const struct pool_message *was,
			   const struct pool_message *is)
{
	for (uint32_t i = 0; was->has_required && i < was->field_count; i++) {
		const struct pool_field *f = &was->fields[i];
		const struct pool_field *now = pool_declared_field(is, f->number);

		if (f->required && !(now && now->required))
			compat_add(c, &same_required, is->file,
				   now ? now->full_name : f->full_name,
				   "the required field %u is %s", f->number,
				   now ? "required no longer" : "gone");
	}
	for (uint32_t i = 0; is->has_required && i < is->field_count; i++) {
		const struct pool_field *f = &is->fields[i];
		const struct pool_field *old = pool_declared_field(was, f->number);

		if (f->required && !(old && old->required))
			compat_add(c, &none_more_required, is->file, f->full_name,
				   "the field %u becomes required", f->number);
	}
}

static struct pool_reserved extension_numbers(const struct pool_message *m)
{
	return (struct pool_reserved){.ranges = m->extension_ranges,
				      .range_count = m->extension_range_count};
}

static void check_numbers(struct compat *c, const struct pool_message *was,
			  const struct pool_message *is)
{
	const int64_t last_number = was->is_message_set ? INT32_MAX - 1 : WIRE_MAX_FIELD_NUMBER;
	const struct compat_keeper reserved = {&reserved_no_delete, is->file, is->full_name,
					       "reserved numbers", last_number};
	const struct compat_keeper extensions = {&extensions_no_delete, is->file, is->full_name,
						 "extension numbers", last_number};
	const struct pool_reserved old = extension_numbers(was), new = extension_numbers(is);

	compat_reserved(c, &reserved, &was->reserved, &is->reserved);
	compat_reserved(c, &extensions, &old, &new);
}

static void check_oneofs(struct compat *c, const struct pool_message *was,
			 const struct pool_message *is)
{
	AUTO_STRBUF path = STRBUF_INIT;

	for (uint32_t i = 0; i < was->oneof_count && !c->truncated; i++) {
		struct symbol s;

		if (was->oneofs[i].synthetic)
			continue;
		compat_join(&path, is->full_name, was->oneofs[i].name);
		s = pool_symbol(c->after, path.buf, path.len);
		if (s.kind != SYMBOL_ONEOF)
			compat_add(c, &oneof_no_delete, is->file, path.buf,
				   "the oneof is gone");
	}
}

static void check_deleted(struct compat *c, const struct pool_field *was,
			  const struct pool_message *is)
{
	compat_add(c, &field_no_delete, is->file, was->full_name, "the field %u is gone",
		   was->number);
	if (!compat_number_is_reserved(&is->reserved, was->number))
		compat_add(c, &field_unless_number_reserved, is->file, was->full_name,
			   "the field %u is gone and its number is not reserved", was->number);
	if (!compat_name_is_reserved(&is->reserved, was->name))
		compat_add(c, &field_unless_name_reserved, is->file, was->full_name,
			   "the field %u is gone and its name is not reserved", was->number);
}

void compat_message(struct compat *c, const struct pool_message *was,
		    const struct pool_message *is)
{
	check_options(c, was, is);
	check_required(c, was, is);
	check_numbers(c, was, is);
	check_oneofs(c, was, is);
	for (uint32_t i = 0; i < was->field_count && !c->truncated; i++) {
		const struct pool_field *f = &was->fields[i];
		const struct pool_field *now = pool_declared_field(is, f->number);

		if (now)
			compat_field(c, f, now);
		else
			check_deleted(c, f, is);
	}
}
