/* What protoc forbids in messages: numbers, names, oneofs. */
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/reflect/link.h"
#include "common/reflect/wire.h"

typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__FieldDescriptorProto FieldProto;
typedef Google__Protobuf__DescriptorProto__ExtensionRange ExtensionRange;

/* ---------------------------------------------------------------- numbers */

static enum status check_extension_range(struct linker *l, const struct pool_message *m,
					 const ExtensionRange *r)
{
	/* Those of a message set are not field numbers on the wire. */
	const int64_t highest = m->is_message_set ? INT32_MAX : WIRE_MAX_FIELD_NUMBER;
	const int64_t last = (int64_t)r->end - 1;

	if (r->start > last)
		return link_fail(l, m->full_name, "an extension range %d to %lld is empty",
				 r->start, (long long)last);
	if (last > highest)
		return link_fail(l, m->full_name,
				 "an extension range ends at %lld, beyond %lld",
				 (long long)last, (long long)highest);
	return link_interpreted(l, m->full_name,
				r->options ? r->options->n_uninterpreted_option : 0);
}

static enum status add_ranges(struct linker *l, const struct pool_message *m,
			      const MessageProto *p, struct link_range *ranges, size_t *count)
{
	for (size_t i = 0; i < p->n_extension_range; i++) {
		const ExtensionRange *r = p->extension_range[i];
		const enum status status = check_extension_range(l, m, r);

		if (status != STATUS_OK)
			return status;
		ranges[(*count)++] = (struct link_range){r->start, (int64_t)r->end - 1,
							 "an extension range"};
	}
	for (size_t i = 0; i < p->n_reserved_range; i++)
		ranges[(*count)++] = (struct link_range){p->reserved_range[i]->start,
							 (int64_t)p->reserved_range[i]->end - 1,
							 "a reserved range"};
	for (size_t i = 0; i < *count; i++)
		if (ranges[i].first < 1)
			return link_fail(l, m->full_name, "%s starts at %lld", ranges[i].what,
					 (long long)ranges[i].first);
	return STATUS_OK;
}

static enum status check_numbers(struct linker *l, const struct pool_message *m,
				 const MessageProto *p)
{
	const size_t room = p->n_extension_range + p->n_reserved_range + m->field_count;
	struct link_range *ranges = arena_alloc(l->scratch, room * sizeof(*ranges));
	size_t count = 0;
	const enum status status = add_ranges(l, m, p, ranges, &count);

	if (status != STATUS_OK)
		return status;
	for (uint32_t i = 0; i < m->field_count; i++)
		ranges[count++] = (struct link_range){m->fields[i].number, m->fields[i].number,
						      m->fields[i].name};
	return ranges_check(l, m->full_name, ranges, count);
}

/* ----------------------------------------------------------------- oneofs */

/*
 * The fields of a oneof follow one another. @seen tells which oneofs have begun.
 */
static enum status check_oneof_order(struct linker *l, const struct pool_message *m,
				     const MessageProto *p)
{
	bool *begun = arena_zalloc(l->scratch, m->oneof_count * sizeof(*begun));

	for (size_t i = 0; i < p->n_field; i++) {
		const FieldProto *f = p->field[i], *before = i ? p->field[i - 1] : NULL;

		if (!f->has_oneof_index)
			continue;
		/* What has begun has a field before this one. */
		if (before && begun[f->oneof_index] &&
		    !(before->has_oneof_index && before->oneof_index == f->oneof_index))
			return link_fail(l, m->full_name,
					 "the fields of the oneof \"%s\" must be declared one "
					 "after the other, without \"%s\" between them",
					 m->oneofs[f->oneof_index].name, before->name);
		begun[f->oneof_index] = true;
	}
	return STATUS_OK;
}

static enum status check_oneof(struct linker *l, const struct pool_message *m,
			       const struct pool_oneof *o,
			       const Google__Protobuf__OneofDescriptorProto *p)
{
	AUTO_STRBUF path = STRBUF_INIT;

	if (!o->field_count)
		return link_fail(l, m->full_name, "the oneof \"%s\" has no fields", o->name);
	if (o->synthetic && o->field_count > 1)
		return link_fail(l, m->full_name,
				 "the oneof \"%s\" of an optional field has others in it",
				 o->name);
	for (uint32_t i = 0; i < o->field_count; i++)
		if (o->fields[i]->repeated || o->fields[i]->required)
			return link_fail(l, o->fields[i]->full_name,
					 "fields of a oneof have no label");
	strbuf_addf(&path, "%s.%s", m->full_name, o->name);
	return link_interpreted(l, path.buf,
				p->options ? p->options->n_uninterpreted_option : 0);
}

static enum status check_oneofs(struct linker *l, const struct pool_message *m,
				const MessageProto *p)
{
	enum status status = check_oneof_order(l, m, p);

	for (uint32_t i = 0; status == STATUS_OK && i < m->oneof_count; i++) {
		if (i && m->oneofs[i - 1].synthetic && !m->oneofs[i].synthetic)
			return link_fail(
				l, m->full_name,
				"the oneof \"%s\" comes after one of an optional field",
				m->oneofs[i].name);
		status = check_oneof(l, m, &m->oneofs[i], p->oneof_decl[i]);
	}
	return status;
}

/* ---------------------------------------------------------------- message */

static enum status check_syntax(struct linker *l, const struct pool_message *m)
{
	if (m->is_message_set && m->field_count)
		return link_fail(l, m->full_name, "a message set has extensions only");
	if (!m->file->is_proto3)
		return STATUS_OK;
	if (m->is_extendable)
		return link_fail(l, m->full_name, "proto3 has no extension ranges");
	if (m->is_message_set)
		return link_fail(l, m->full_name, "proto3 has no message sets");
	return members_check_letters(l, m);
}

enum status rules_check_message(struct linker *l, const struct pool_message *m,
				const MessageProto *p)
{
	const char **names = arena_alloc(l->scratch, m->field_count * sizeof(char *));
	enum status status = check_syntax(l, m);

	if (status == STATUS_OK)
		status = check_numbers(l, m, p);
	for (uint32_t i = 0; i < m->field_count; i++)
		names[i] = m->fields[i].name;
	if (status == STATUS_OK)
		status = reserved_check_names(l, m->full_name, p->reserved_name,
					      p->n_reserved_name, names, m->field_count);
	if (status == STATUS_OK)
		status = check_oneofs(l, m, p);
	if (status == STATUS_OK)
		status = link_interpreted(l, m->full_name,
					  p->options ? p->options->n_uninterpreted_option : 0);
	return status;
}
