#include "common/reflect/map_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/reflect/descriptor.h"

static bool is_signed(const struct pool_field *key)
{
	return key->type == POOL_TYPE_INT32 || key->type == POOL_TYPE_SINT32 ||
	       key->type == POOL_TYPE_SFIXED32 || key->type == POOL_TYPE_INT64 ||
	       key->type == POOL_TYPE_SINT64 || key->type == POOL_TYPE_SFIXED64;
}

static bool is_wide(const struct pool_field *key)
{
	return key->type == POOL_TYPE_INT64 || key->type == POOL_TYPE_SINT64 ||
	       key->type == POOL_TYPE_SFIXED64 || key->type == POOL_TYPE_UINT64 ||
	       key->type == POOL_TYPE_FIXED64;
}

/* NULL: it is no number of the key's type. */
static const char *read_number(const struct pool_field *key, const char *text, struct arena *a)
{
	const char *digits = text + (is_signed(key) && *text == '-');

	if (!*digits || strspn(digits, "0123456789") != strlen(digits))
		return NULL;
	errno = 0;
	if (is_signed(key)) {
		const long long n = strtoll(text, NULL, 10);

		if (errno || (!is_wide(key) && (n < INT32_MIN || n > INT32_MAX)))
			return NULL;
		return arena_printf(a, "%lld", n);
	}
	const unsigned long long n = strtoull(text, NULL, 10);

	if (errno || (!is_wide(key) && n > UINT32_MAX))
		return NULL;
	return arena_printf(a, "%llu", n);
}

bool map_key_read(const struct pool_field *key, struct bytes text, struct arena *arena,
		  struct bytes *ret_text)
{
	const char *copy = arena_strndup(arena, (const char *)text.data, text.size);

	if (key->type == POOL_TYPE_STRING) {
		*ret_text = bytes_of(copy, text.size);
		return true;
	}
	if (key->type == POOL_TYPE_BOOL) {
		*ret_text = bytes_of_string(copy);
		return !strcmp(copy, "true") || !strcmp(copy, "false");
	}
	copy = read_number(key, copy, arena);
	if (!copy)
		return false;
	*ret_text = bytes_of_string(copy);
	return true;
}
