#include "tests/support/metadata.h"

#include <grpc/slice.h>
#include <stdlib.h>

#include "common/base/alloc.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	abort();
}

static grpc_slice of_hex(const char *hex)
{
	size_t size = strlen(hex) / 2;
	grpc_slice slice = grpc_slice_malloc(size);

	for (size_t i = 0; i < size; i++)
		GRPC_SLICE_START_PTR(slice)
	[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	return slice;
}

grpc_metadata metadata_pair(const char *key, const char *value)
{
	grpc_slice name = grpc_slice_from_copied_string(key);

	return (grpc_metadata){.key = name,
			       .value = grpc_is_binary_header(name)
						? of_hex(value)
						: grpc_slice_from_copied_string(value)};
}

static void describe_pair(const grpc_metadata *m, struct strbuf *out)
{
	const uint8_t *value = GRPC_SLICE_START_PTR(m->value);
	size_t size = GRPC_SLICE_LENGTH(m->value);

	strbuf_addstr(out, "  ");
	strbuf_add(out, GRPC_SLICE_START_PTR(m->key), GRPC_SLICE_LENGTH(m->key));
	strbuf_addstr(out, ": ");
	if (grpc_is_binary_header(m->key))
		for (size_t i = 0; i < size; i++)
			strbuf_addf(out, "%02x", value[i]);
	else
		strbuf_add_json_escaped(out, (const char *)value, size);
	strbuf_addch(out, '\n');
}

void metadata_describe(const grpc_metadata_array *array, struct strbuf *out)
{
	const grpc_metadata **sorted = xcalloc(array->count + 1, sizeof(*sorted));

	for (size_t i = 0; i < array->count; i++) {
		const grpc_metadata *m = &array->metadata[i];
		size_t at = i;
		for (; at && grpc_slice_cmp(sorted[at - 1]->key, m->key) > 0; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = m;
	}
	for (size_t i = 0; i < array->count; i++)
		describe_pair(sorted[i], out);
	free(sorted);
}
