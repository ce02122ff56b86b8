#include <stdlib.h>
#include <string.h>

#include "common/reflect/link.h"
#include "common/reflect/wire.h"

typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__EnumDescriptorProto EnumProto;
typedef Google__Protobuf__FieldDescriptorProto FieldProto;

enum { RESERVED_FIRST = 19000, RESERVED_LAST = 19999 };

bool rules_is_identifier(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const char c = name[i];
		const bool letter =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return len > 0;
}

/* ---------------------------------------------------------------- ranges */

struct range {
	int64_t first, last; /* both included */
	const char *what;
};

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

/* Sorted by where they start, ranges overlap only if neighbours do. */
static enum status check_overlaps(struct linker *l, const char *symbol, struct range *ranges,
				  size_t count)
{
	qsort(ranges, count, sizeof(*ranges), compare_ranges);
	for (size_t i = 0; i < count; i++) {
		if (ranges[i].first > ranges[i].last)
			return link_fail(l, symbol, "%s %lld to %lld is empty", ranges[i].what,
					 (long long)ranges[i].first, (long long)ranges[i].last);
		if (i && ranges[i].first <= ranges[i - 1].last)
			return link_fail(l, symbol, "%s and %s both take the number %lld",
					 ranges[i - 1].what, ranges[i].what,
					 (long long)ranges[i].first);
	}
	return STATUS_OK;
}

static enum status check_message_numbers(struct linker *l, const struct pool_message *m,
					 const MessageProto *p)
{
	const size_t room = p->n_extension_range + p->n_reserved_range;
	struct range *ranges =
		arena_alloc(l->scratch, (room + m->field_count) * sizeof(struct range));
	size_t n = 0;

	for (size_t i = 0; i < p->n_extension_range; i++)
		ranges[n++] = (struct range){p->extension_range[i]->start,
					     (int64_t)p->extension_range[i]->end - 1,
					     "an extension range"};
	for (size_t i = 0; i < p->n_reserved_range; i++)
		ranges[n++] = (struct range){p->reserved_range[i]->start,
					     (int64_t)p->reserved_range[i]->end - 1,
					     "a reserved range"};
	for (size_t i = 0; i < n; i++)
		if (ranges[i].first < 1)
			return link_fail(l, m->full_name, "%s starts at %lld", ranges[i].what,
					 (long long)ranges[i].first);
	for (uint32_t i = 0; i < m->field_count; i++)
		ranges[n++] = (struct range){m->fields[i].number, m->fields[i].number,
					     m->fields[i].name};
	return check_overlaps(l, m->full_name, ranges, n);
}

/* ----------------------------------------------------------------- names */

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum status check_reserved_names(struct linker *l, const char *symbol, char **reserved,
					size_t reserved_count, const char **names, size_t count)
{
	if (!reserved_count)
		return STATUS_OK;
	qsort(names, count, sizeof(*names), compare_text);
	for (size_t i = 0; i < reserved_count; i++)
		if (bsearch(&reserved[i], names, count, sizeof(*names), compare_text))
			return link_fail(l, symbol, "the name \"%s\" is reserved", reserved[i]);
	return STATUS_OK;
}

struct json_name {
	const struct pool_field *field;
	bool custom;
};

static int compare_json_names(const void *a, const void *b)
{
	const struct json_name *x = a, *y = b;
	const int order = strcmp(x->field->json_name, y->field->json_name);

	return order ? order : (x->custom > y->custom) - (x->custom < y->custom);
}

/* proto2 tolerates clashes in which at least one name is computed. */
static enum status check_json_names(struct linker *l, const struct pool_message *m,
				    const MessageProto *p)
{
	struct json_name *names = arena_alloc(l->scratch, m->field_count * sizeof(*names));
	const bool tolerant = !m->file->is_proto3;

	for (uint32_t i = 0; i < m->field_count; i++) {
		const struct pool_field *f = &m->fields[i];

		names[i].field = f;
		names[i].custom = p->field[f->declaration_index]->json_name != NULL;
	}
	if (m->field_count)
		qsort(names, m->field_count, sizeof(*names), compare_json_names);
	for (uint32_t i = 1; i < m->field_count; i++) {
		const struct pool_field *a = names[i - 1].field, *b = names[i].field;

		if (strcmp(a->json_name, b->json_name) != 0 ||
		    (tolerant && !(names[i - 1].custom && names[i].custom)))
			continue;
		return link_fail(l, b->full_name, "its JSON name \"%s\" is that of \"%s\", too",
				 b->json_name, a->name);
	}
	return STATUS_OK;
}

/* ---------------------------------------------------------------- oneofs */

static enum status check_oneofs(struct linker *l, const struct pool_message *m)
{
	bool synthetic = false;

	for (uint32_t i = 0; i < m->oneof_count; i++) {
		const struct pool_oneof *o = &m->oneofs[i];

		if (!o->field_count)
			return link_fail(l, m->full_name, "the oneof \"%s\" has no fields",
					 o->name);
		if (o->synthetic && o->field_count > 1)
			return link_fail(
				l, m->full_name,
				"the oneof \"%s\" of an optional field has others in it",
				o->name);
		if (synthetic && !o->synthetic)
			return link_fail(
				l, m->full_name,
				"the oneof \"%s\" comes after one of an optional field",
				o->name);
		synthetic = o->synthetic;
		for (uint32_t k = 0; k < o->field_count; k++)
			if (o->fields[k]->repeated || o->fields[k]->required)
				return link_fail(l, o->fields[k]->full_name,
						 "fields of a oneof have no label");
	}
	return STATUS_OK;
}

enum status rules_check_message(struct linker *l, const struct pool_message *m,
				const MessageProto *p)
{
	const char **names = arena_alloc(l->scratch, m->field_count * sizeof(char *));
	enum status status;

	if (m->file->is_proto3 && m->is_extendable)
		return link_fail(l, m->full_name, "proto3 has no extension ranges");
	if (m->file->is_proto3 && m->is_message_set)
		return link_fail(l, m->full_name, "proto3 has no message sets");
	if (m->is_message_set && m->field_count)
		return link_fail(l, m->full_name, "a message set has extensions only");
	status = check_message_numbers(l, m, p);
	if (status != STATUS_OK)
		return status;
	for (uint32_t i = 0; i < m->field_count; i++)
		names[i] = m->fields[i].name;
	status = check_reserved_names(l, m->full_name, p->reserved_name, p->n_reserved_name,
				      names, m->field_count);
	if (status == STATUS_OK)
		status = check_json_names(l, m, p);
	if (status == STATUS_OK)
		status = check_oneofs(l, m);
	return status;
}

/* ----------------------------------------------------------------- enums */

static enum status check_aliases(struct linker *l, const struct pool_enum *e,
				 const EnumProto *p)
{
	if (p->options && p->options->has_allow_alias && p->options->allow_alias)
		return STATUS_OK;
	for (uint32_t i = 1; i < e->value_count; i++) {
		const struct pool_enum_value *a = &e->values[e->by_number[i - 1]];
		const struct pool_enum_value *b = &e->values[e->by_number[i]];

		if (a->number == b->number)
			return link_fail(l, e->full_name,
					 "\"%s\" and \"%s\" have the same number %d", a->name,
					 b->name, a->number);
	}
	return STATUS_OK;
}

static enum status check_enum_ranges(struct linker *l, const struct pool_enum *e,
				     const EnumProto *p)
{
	const size_t n = p->n_reserved_range;
	struct range *ranges = arena_alloc(l->scratch, n * sizeof(*ranges));
	enum status status;

	for (size_t i = 0; i < n; i++)
		ranges[i] = (struct range){p->reserved_range[i]->start,
					   p->reserved_range[i]->end, "a reserved range"};
	status = check_overlaps(l, e->full_name, ranges, n);
	/* Both are sorted, so one pass finds a value inside a range. */
	for (size_t i = 0, r = 0; status == STATUS_OK && i < e->value_count && r < n;) {
		const struct pool_enum_value *v = &e->values[e->by_number[i]];

		if (v->number > ranges[r].last)
			r++;
		else if (v->number < ranges[r].first)
			i++;
		else
			return link_fail(l, e->full_name, "the number %d of \"%s\" is reserved",
					 v->number, v->name);
	}
	return status;
}

enum status rules_check_enum(struct linker *l, const struct pool_enum *e, const EnumProto *p)
{
	const char **names = arena_alloc(l->scratch, e->value_count * sizeof(char *));
	enum status status;

	if (!e->value_count)
		return link_fail(l, e->full_name, "an enum needs a value");
	if (!e->closed && e->values[0].number != 0)
		return link_fail(l, e->full_name, "the first value of a proto3 enum must be 0");
	status = check_aliases(l, e, p);
	if (status == STATUS_OK)
		status = check_enum_ranges(l, e, p);
	for (uint32_t i = 0; i < e->value_count; i++)
		names[i] = e->values[i].name;
	if (status == STATUS_OK)
		status = check_reserved_names(l, e->full_name, p->reserved_name,
					      p->n_reserved_name, names, e->value_count);
	return status;
}

/* ---------------------------------------------------------------- fields */

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

/* Entries are nested in the message of their field, so they have been linked before it. */
static enum status check_map(struct linker *l, const struct pool_field *f)
{
	const struct pool_message *e = f->type_message;

	if (!f->repeated || f->is_extension || e->parent != f->message ||
	    !is_entry_name(e->name, f->name))
		return link_fail(l, f->full_name, "\"%s\" is the entry of another map",
				 e->full_name);
	if (e->field_count != 2 || e->oneof_count || e->fields[0].number != 1 ||
	    e->fields[1].number != 2 || strcmp(e->fields[0].name, "key") != 0 ||
	    strcmp(e->fields[1].name, "value") != 0 || e->fields[0].repeated ||
	    e->fields[1].repeated || e->fields[0].required || e->fields[1].required ||
	    e->is_extendable)
		return link_fail(l, e->full_name, "a map entry has a key = 1 and a value = 2");
	if (!is_map_key(&e->fields[0]))
		return link_fail(l, f->full_name, "this type cannot be a map's key");
	return STATUS_OK;
}

static enum status check_default(struct linker *l, const struct pool_field *f,
				 const FieldProto *p)
{
	if (!p->default_value)
		return STATUS_OK;
	if (l->unit->file.is_proto3)
		return link_fail(l, f->full_name, "proto3 fields have no default values");
	if (f->repeated || f->type_message)
		return link_fail(l, f->full_name, "lists and messages have no default values");
	if (f->type_enum &&
	    !pool_enum_value_by_name(f->type_enum, p->default_value, strlen(p->default_value)))
		return link_fail(l, f->full_name, "its default \"%s\" is not in \"%s\"",
				 p->default_value, f->type_enum->full_name);
	return STATUS_OK;
}

static enum status check_proto3_field(struct linker *l, const struct pool_field *f)
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

static enum status check_label(struct linker *l, const struct pool_field *f,
			       const FieldProto *p)
{
	const bool optional3 = p->has_proto3_optional && p->proto3_optional;

	if (p->label < GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL ||
	    p->label > GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED)
		return link_fail(l, f->full_name, "there is no label %d", (int)p->label);
	if (!optional3)
		return STATUS_OK;
	if (!l->unit->file.is_proto3 || f->repeated || f->required)
		return link_fail(l, f->full_name, "it cannot be a proto3 optional field");
	if (!f->is_extension && !p->has_oneof_index)
		return link_fail(l, f->full_name, "as an optional field it needs a oneof");
	return STATUS_OK;
}

enum status rules_check_field(struct linker *l, const struct pool_field *f, const FieldProto *p)
{
	enum status status = check_label(l, f, p);

	if (status != STATUS_OK)
		return status;
	if (p->number < 1 || p->number > WIRE_MAX_FIELD_NUMBER)
		return link_fail(l, f->full_name, "a field cannot have the number %d",
				 p->number);
	if (p->number >= RESERVED_FIRST && p->number <= RESERVED_LAST)
		return link_fail(l, f->full_name, "the numbers %d to %d are protobuf's own",
				 RESERVED_FIRST, RESERVED_LAST);
	if (!f->is_extension && p->extendee && *p->extendee)
		return link_fail(l, f->full_name, "a field of a message cannot extend another");
	if (f->json_name_len > 1 && !f->is_extension && f->json_name[0] == '[' &&
	    f->json_name[f->json_name_len - 1] == ']')
		return link_fail(l, f->full_name,
				 "its JSON name \"%s\" is that of an extension", f->json_name);
	if (p->options && p->options->has_packed && p->options->packed &&
	    (!f->repeated || f->wire_type == WIRE_BYTES || f->wire_type == WIRE_GROUP_START))
		return link_fail(l, f->full_name, "only lists of numbers can be packed");
	if (f->type == POOL_TYPE_MESSAGE && f->type_message->is_map_entry)
		status = check_map(l, f);
	if (status == STATUS_OK && l->unit->file.is_proto3)
		status = check_proto3_field(l, f);
	if (status == STATUS_OK)
		status = check_default(l, f, p);
	return status;
}

/* proto3 files may extend the options of descriptor.proto, nothing else. */
static bool is_options_message(const struct pool_message *m)
{
	const size_t prefix = sizeof("google.protobuf.") - 1, len = strlen(m->full_name);

	return !strncmp(m->full_name, "google.protobuf.", prefix) && len > prefix + 7 &&
	       !strcmp(m->full_name + len - 7, "Options");
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

enum status rules_check_extension(struct linker *l, const struct pool_field *f)
{
	if (!is_in_extension_range(f))
		return link_fail(l, f->full_name, "\"%s\" has no extension range with %u",
				 f->message->full_name, f->number);
	if (f->required)
		return link_fail(l, f->full_name, "an extension cannot be required");
	if (f->oneof >= 0)
		return link_fail(l, f->full_name, "an extension cannot be in a oneof");
	if (f->message->is_message_set && (f->type != POOL_TYPE_MESSAGE || f->repeated))
		return link_fail(l, f->full_name, "a message set holds single messages");
	if (l->unit->file.is_proto3 && !is_options_message(f->message))
		return link_fail(l, f->full_name, "proto3 files may extend options only");
	return STATUS_OK;
}
