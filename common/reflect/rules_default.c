/* Is the default of a proto2 field one of its type's values? */
#include <stdlib.h>
#include <string.h>

#include "common/reflect/link.h"

static bool is_decimal(const struct pool_field *f)
{
	return f->type == POOL_TYPE_FLOAT || f->type == POOL_TYPE_DOUBLE;
}

/* Like protoc's, this is as generous as C's: blanks in front, hex, octal, any size. */
static bool is_number(const struct pool_field *f, const char *text)
{
	char *end = NULL;

	if (is_decimal(f))
		(void)strtod(text, &end); /* only how far it reads matters */
	else
		(void)strtoull(text, &end, 0); /* as above */
	return *text && !*end;
}

enum status rules_check_default(struct linker *l, const struct pool_field *f, const char *text)
{
	if (l->unit->file.is_proto3)
		return link_fail(l, f->full_name, "proto3 fields have no default values");
	if (f->repeated || f->type_message)
		return link_fail(l, f->full_name, "lists and messages have no default values");
	if (f->type == POOL_TYPE_STRING || f->type == POOL_TYPE_BYTES)
		return STATUS_OK;
	if (f->type == POOL_TYPE_BOOL)
		return !strcmp(text, "true") || !strcmp(text, "false")
			       ? STATUS_OK
			       : link_fail(l, f->full_name,
					   "its default \"%s\" is neither true nor false",
					   text);
	if (f->type_enum)
		return pool_enum_value_by_name(f->type_enum, text, strlen(text))
			       ? STATUS_OK
			       : link_fail(l, f->full_name,
					   "its default \"%s\" is not in \"%s\"", text,
					   f->type_enum->full_name);
	return is_number(f, text)
		       ? STATUS_OK
		       : link_fail(l, f->full_name, "its default \"%s\" is not a number", text);
}
