/*
 * Any paths over any two messages. Bytes: the type, the length of the paths, the
 * length of the first message (two bytes), the paths with commas between them,
 * the first message, the second one.
 */
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/status.h"
#include "common/reflect/mask.h"
#include "common/reflect/wire.h"
#include "tests/fuzz/fuzz.h"

enum { MAX_PATHS = 16 };

static struct error err;

struct input {
	const struct pool_message *type;
	char *paths[MAX_PATHS];
	size_t path_count;
	struct bytes base, patch;
};

static size_t split(char *text, char *parts[MAX_PATHS])
{
	size_t count = 0;

	while (text && count < MAX_PATHS) {
		char *comma = strchr(text, ',');

		parts[count++] = text;
		if (comma)
			*comma++ = '\0';
		text = comma;
	}
	return count;
}

static void check_valid(const struct input *in, const struct strbuf *out)
{
	FUZZ_CHECK(wire_validate(fuzz_pool(), in->type, fuzz_written(out), 0, &err) ==
			   STATUS_OK,
		   &err, NULL);
}

/* Done twice is done once. */
static void check_prune(const struct input *in)
{
	const char *const *paths = (const char *const *)in->paths;
	AUTO_STRBUF once = STRBUF_INIT, twice = STRBUF_INIT;

	FUZZ_CHECK(mask_prune(in->type, in->base, paths, in->path_count, &once, &err) ==
			   STATUS_OK,
		   &err, NULL);
	check_valid(in, &once);
	FUZZ_CHECK(mask_prune(in->type, fuzz_written(&once), paths, in->path_count, &twice,
			      &err) == STATUS_OK,
		   &err, NULL);
	FUZZ_CHECK(bytes_equal(fuzz_written(&once), fuzz_written(&twice)), NULL, NULL);
}

static void merge(const struct input *in, struct bytes base, struct strbuf *out)
{
	AUTO_STRBUF merged = STRBUF_INIT;

	FUZZ_CHECK(mask_merge(fuzz_pool(), in->type, base, in->patch,
			      (const char *const *)in->paths, in->path_count, &merged,
			      &err) == STATUS_OK,
		   &err, NULL);
	check_valid(in, &merged);
	FUZZ_CHECK(wire_normalize(fuzz_pool(), in->type, fuzz_written(&merged), out, &err) ==
			   STATUS_OK,
		   &err, NULL);
}

static void check_merge(const struct input *in)
{
	AUTO_STRBUF once = STRBUF_INIT, twice = STRBUF_INIT;

	merge(in, in->base, &once);
	merge(in, fuzz_written(&once), &twice);
	FUZZ_CHECK(bytes_equal(fuzz_written(&once), fuzz_written(&twice)), NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes rest = bytes_of(data, size);
	struct input in = {.type = fuzz_type(fuzz_take_byte(&rest))};
	const size_t path_bytes = fuzz_take_byte(&rest);
	size_t base_bytes = fuzz_take_byte(&rest);

	base_bytes = base_bytes << 8 | fuzz_take_byte(&rest);
	const struct bytes text = fuzz_take(&rest, path_bytes);
	char *paths AUTO_FREE = xstrndup((const char *)text.data, text.size);
	in.path_count = text.size ? split(paths, in.paths) : 0;
	in.base = fuzz_take(&rest, base_bytes);
	in.patch = rest;
	if (mask_check(in.type, MASK_READ, (const char *const *)in.paths, in.path_count,
		       &err) != STATUS_OK ||
	    wire_validate(fuzz_pool(), in.type, in.base, 0, &err) != STATUS_OK ||
	    wire_validate(fuzz_pool(), in.type, in.patch, 0, &err) != STATUS_OK)
		return 0;
	check_prune(&in);
	if (mask_check(in.type, MASK_UPDATE, (const char *const *)in.paths, in.path_count,
		       &err) == STATUS_OK)
		check_merge(&in);
	return 0;
}
