#include "common/reflect/descriptor.h"

#include <string.h>

#include "common/base/hash.h"

const char *pool_scalar_name(enum pool_type type)
{
	static const char *const names[] = {
		[POOL_TYPE_DOUBLE] = "double",     [POOL_TYPE_FLOAT] = "float",
		[POOL_TYPE_INT64] = "int64",       [POOL_TYPE_UINT64] = "uint64",
		[POOL_TYPE_INT32] = "int32",       [POOL_TYPE_FIXED64] = "fixed64",
		[POOL_TYPE_FIXED32] = "fixed32",   [POOL_TYPE_BOOL] = "bool",
		[POOL_TYPE_STRING] = "string",     [POOL_TYPE_BYTES] = "bytes",
		[POOL_TYPE_UINT32] = "uint32",     [POOL_TYPE_SFIXED32] = "sfixed32",
		[POOL_TYPE_SFIXED64] = "sfixed64", [POOL_TYPE_SINT32] = "sint32",
		[POOL_TYPE_SINT64] = "sint64",
	};

	return (size_t)type < sizeof(names) / sizeof(names[0]) ? names[type] : NULL;
}

const struct pool_enum_value *pool_enum_value_by_number(const struct pool_enum *e,
							int32_t number)
{
	uint32_t low = 0, high = e->value_count;

	if (number >= 0 && (uint32_t)number < e->sequential)
		return &e->values[number];
	/* Aliases are sorted by declaration: the leftmost is the first. */
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (e->values[e->by_number[middle]].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == e->value_count || e->values[e->by_number[low]].number != number)
		return NULL;
	return &e->values[e->by_number[low]];
}

/* As strcmp() would on a @name without NUL. */
static int compare_name(const char *name, size_t len, const char *other, size_t other_len)
{
	const int order = memcmp(name, other, len < other_len ? len : other_len);

	return order ? order : (len > other_len) - (len < other_len);
}

const struct pool_enum_value *pool_enum_value_by_name(const struct pool_enum *e,
						      const char *name, size_t len)
{
	uint32_t low = 0, high = e->value_count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const struct pool_enum_value *v = &e->values[e->by_name[middle]];
		const int order = compare_name(name, len, v->name, v->name_len);

		if (!order)
			return v;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct pool_field *pool_field_by_name(const struct pool_message *m, const char *name,
					    size_t len)
{
	const struct pool_field *f, *by_name = NULL;

	/* What is one field's JSON name may be another's name: the former wins. */
	for (uint32_t i = (uint32_t)hash_bytes(name, len) & m->name_mask;
	     (f = m->name_table[i]); i = (i + 1) & m->name_mask) {
		if (f->json_name_len == len && !memcmp(f->json_name, name, len))
			return f;
		if (f->name_len == len && !memcmp(f->name, name, len))
			by_name = f;
	}
	return by_name;
}

const struct pool_field *pool_field_by_proto_name(const struct pool_message *m,
						  const char *name, size_t len)
{
	const struct pool_field *f;

	for (uint32_t i = (uint32_t)hash_bytes(name, len) & m->name_mask;
	     (f = m->name_table[i]); i = (i + 1) & m->name_mask)
		if (f->name_len == len && !memcmp(f->name, name, len))
			return f;
	return NULL;
}

const struct pool_field *pool_declared_field(const struct pool_message *m, uint32_t number)
{
	uint32_t low = 0, high = m->field_count;

	if (number < m->dense_count)
		return m->dense[number];
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (m->fields[middle].number == number)
			return &m->fields[middle];
		if (m->fields[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct pool_method *pool_method(const struct pool_service *s, const char *name,
				      size_t len)
{
	uint32_t low = 0, high = s->method_count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const struct pool_method *method = &s->methods[s->by_name[middle]];
		const int order = compare_name(name, len, method->name, strlen(method->name));

		if (!order)
			return method;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
