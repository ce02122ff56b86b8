/* Reserved numbers and names, sorted so that they can be searched. */
#include <stdlib.h>
#include <string.h>

#include "common/reflect/link.h"

typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__EnumDescriptorProto EnumProto;

static int compare_ranges(const void *a, const void *b)
{
	const struct pool_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void set_names(struct linker *l, struct pool_reserved *r, char *const *from,
		      size_t count)
{
	const char **names = arena_alloc(&l->unit->arena, count * sizeof(char *));

	for (size_t i = 0; i < count; i++)
		names[i] = arena_strdup(&l->unit->arena, from[i]);
	if (count)
		qsort(names, count, sizeof(*names), compare_names);
	r->names = names;
	r->name_count = (uint32_t)count;
}

enum status reserved_check_names(struct linker *l, const char *symbol, char *const *reserved,
				 size_t reserved_count, const char **names, size_t count)
{
	const char **sorted = arena_alloc(l->scratch, reserved_count * sizeof(char *));

	if (!reserved_count)
		return STATUS_OK;
	memcpy(sorted, reserved, reserved_count * sizeof(char *));
	qsort(sorted, reserved_count, sizeof(*sorted), compare_names);
	for (size_t i = 1; i < reserved_count; i++)
		if (!strcmp(sorted[i - 1], sorted[i]))
			return link_fail(l, symbol, "the name \"%s\" is reserved twice",
					 sorted[i]);
	for (size_t i = 0; i < count; i++)
		if (bsearch(&names[i], sorted, reserved_count, sizeof(*sorted), compare_names))
			return link_fail(l, symbol, "the name \"%s\" is reserved", names[i]);
	return STATUS_OK;
}

void reserved_of_message(struct linker *l, struct pool_message *m, const MessageProto *p)
{
	struct pool_range *ranges =
		arena_alloc(&l->unit->arena, p->n_reserved_range * sizeof(*ranges));
	size_t count = 0;

	for (size_t i = 0; i < p->n_reserved_range; i++) {
		/* Their end is not included, and one that runs backwards reserves nothing. */
		const struct pool_range r = {p->reserved_range[i]->start,
					     (int64_t)p->reserved_range[i]->end - 1};
		if (r.first <= r.last)
			ranges[count++] = r;
	}
	if (count)
		qsort(ranges, count, sizeof(*ranges), compare_ranges);
	m->reserved.ranges = ranges;
	m->reserved.range_count = (uint32_t)count;
	set_names(l, &m->reserved, p->reserved_name, p->n_reserved_name);
}

void reserved_of_enum(struct linker *l, struct pool_enum *e, const EnumProto *p)
{
	const size_t count = p->n_reserved_range;
	struct pool_range *ranges = arena_alloc(&l->unit->arena, count * sizeof(*ranges));

	for (size_t i = 0; i < count; i++) /* their end is included */
		ranges[i] = (struct pool_range){p->reserved_range[i]->start,
						p->reserved_range[i]->end};
	if (count)
		qsort(ranges, count, sizeof(*ranges), compare_ranges);
	e->reserved.ranges = ranges;
	e->reserved.range_count = (uint32_t)count;
	set_names(l, &e->reserved, p->reserved_name, p->n_reserved_name);
}
