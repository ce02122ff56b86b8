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

void reserved_of_message(struct linker *l, struct pool_message *m, const MessageProto *p)
{
	const size_t count = p->n_reserved_range;
	struct pool_range *ranges = arena_alloc(&l->unit->arena, count * sizeof(*ranges));

	for (size_t i = 0; i < count; i++) /* their end is not included */
		ranges[i] = (struct pool_range){p->reserved_range[i]->start,
						(int64_t)p->reserved_range[i]->end - 1};
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
