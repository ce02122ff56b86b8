/* What protoc forbids in enums: numbers, and names that are too much alike. */
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/reflect/link.h"

typedef Google__Protobuf__EnumDescriptorProto EnumProto;

/* ---------------------------------------------------------------- numbers */

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

static enum status check_ranges(struct linker *l, const struct pool_enum *e, const EnumProto *p)
{
	const size_t n = p->n_reserved_range;
	struct link_range *ranges = arena_alloc(l->scratch, n * sizeof(*ranges));
	enum status status;

	for (size_t i = 0; i < n; i++) {
		ranges[i] = (struct link_range){p->reserved_range[i]->start,
						p->reserved_range[i]->end, "a reserved range"};
		if (ranges[i].first > ranges[i].last)
			return link_fail(l, e->full_name, "a reserved range %d to %d is empty",
					 p->reserved_range[i]->start,
					 p->reserved_range[i]->end);
	}
	status = ranges_check(l, e->full_name, ranges, n);
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

/* ------------------------------------------------------------------ names */

/* What a value is called by languages that leave the enum's name out. */
struct short_name {
	char *text;
	const struct pool_enum_value *value; /* in the order of their declaration */
};

static int compare_short_names(const void *a, const void *b)
{
	const struct short_name *x = a, *y = b;
	const int order = strcmp(x->text, y->text);

	return order ? order : (x->value > y->value) - (x->value < y->value);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* @name without the enum's in front of it, whatever their case and underscores. */
static const char *without_prefix(const char *name, const char *prefix)
{
	const char *at = name;

	for (;; at++) {
		prefix += strspn(prefix, "_");
		if (!*prefix)
			break;
		at += strspn(at, "_");
		if (!*at || lower(*at) != lower(*prefix++))
			return name;
	}
	at += strspn(at, "_");
	return *at ? at : name;
}

/* ORDER_STATE_NEW of OrderState becomes New. */
static char *short_name_of(struct linker *l, const struct pool_enum *e, const char *name)
{
	const char *at = without_prefix(name, e->name);
	char *text = arena_alloc(l->scratch, strlen(at) + 1), *out = text;
	bool up = true;

	for (; *at; at++) {
		if (*at != '_')
			*out++ = up ? upper(*at) : lower(*at);
		up = *at == '_';
	}
	*out = '\0';
	return text;
}

static enum status check_short_names(struct linker *l, const struct pool_enum *e)
{
	struct short_name *names = arena_alloc(l->scratch, e->value_count * sizeof(*names));

	for (uint32_t i = 0; i < e->value_count; i++)
		names[i] = (struct short_name){short_name_of(l, e, e->values[i].name),
					       &e->values[i]};
	qsort(names, e->value_count, sizeof(*names), compare_short_names);
	for (uint32_t i = 1, first = 0; i < e->value_count; i++) {
		if (strcmp(names[i].text, names[first].text) != 0)
			first = i;
		else if (names[i].value->number != names[first].value->number)
			return link_fail(l, e->full_name,
					 "\"%s\" and \"%s\" are the same name where the "
					 "enum's, case and underscores do not count",
					 names[first].value->name, names[i].value->name);
	}
	return STATUS_OK;
}

/* ------------------------------------------------------------------- enum */

static enum status check_interpreted(struct linker *l, const struct pool_enum *e,
				     const EnumProto *p)
{
	const size_t scope_len = strlen(e->full_name) - strlen(e->name);
	enum status status = link_interpreted(
		l, e->full_name, p->options ? p->options->n_uninterpreted_option : 0);

	for (uint32_t i = 0; status == STATUS_OK && i < e->value_count; i++) {
		AUTO_STRBUF path = STRBUF_INIT;

		if (!p->value[i]->options)
			continue;
		strbuf_addf(&path, "%.*s%s", (int)scope_len, e->full_name, e->values[i].name);
		status = link_interpreted(l, path.buf,
					  p->value[i]->options->n_uninterpreted_option);
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
		status = check_ranges(l, e, p);
	for (uint32_t i = 0; i < e->value_count; i++)
		names[i] = e->values[i].name;
	if (status == STATUS_OK)
		status = reserved_check_names(l, e->full_name, p->reserved_name,
					      p->n_reserved_name, names, e->value_count);
	if (status == STATUS_OK && !e->closed)
		status = check_short_names(l, e);
	if (status == STATUS_OK)
		status = check_interpreted(l, e, p);
	return status;
}
