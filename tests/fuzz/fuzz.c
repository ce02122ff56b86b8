#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/status.h"
#include "common/reflect/pool.h"
#include "tests/support/types.h"

const struct pool *fuzz_pool(void)
{
	static struct pool *pool;

	if (!pool)
		pool = types_pool();
	return pool;
}

const struct pool_message *fuzz_type(uint8_t choice)
{
	static const char *const names[] = {
		"types.v3.Tree",          "types.v3.Scalars",
		"types.v3.Presence",      "types.v3.Lists",
		"types.v3.Maps",          "types.v3.WellKnown",
		"types.v3.Order",         "types.v2.Closed",
		"types.v2.Required",      "types.v2.Groups",
		"types.v2.Extended",      "google.protobuf.Any",
		"google.protobuf.Struct", "google.protobuf.FileDescriptorProto",
	};
	const char *name = names[choice % (sizeof(names) / sizeof(*names))];

	return pool_message(fuzz_pool(), name, strlen(name));
}

struct bytes fuzz_take(struct bytes *in, size_t size)
{
	struct bytes taken = bytes_of(in->data, size < in->size ? size : in->size);

	in->data += taken.size;
	in->size -= taken.size;
	return taken;
}

uint8_t fuzz_take_byte(struct bytes *in)
{
	struct bytes b = fuzz_take(in, 1);

	return b.size ? *b.data : 0;
}

void fuzz_fail(const char *file, int line, const char *what, const struct error *err,
	       const struct strbuf *shown)
{
	fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
	if (err)
		fprintf(stderr, "  %s: %s\n", err->field, err->message);
	if (shown)
		fprintf(stderr, "  %s\n", strbuf_str(shown));
	abort();
}
