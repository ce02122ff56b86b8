#include "tests/support/types.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/status.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"

/* As protoc --descriptor_set_out wrote it; the Makefile names the file. */
__asm__(".section .rodata\n"
	".global types_fds\n"
	".global types_fds_end\n"
	"types_fds:\n"
	".incbin \"" TYPES_FDS "\"\n"
	"types_fds_end:\n"
	".previous");

extern const unsigned char types_fds[], types_fds_end[];

struct bytes types_descriptor_set(void)
{
	return bytes_of(types_fds, (size_t)(types_fds_end - types_fds));
}

static struct pool *extended(struct pool *base, struct bytes set)
{
	struct pool *more;
	struct error err;

	if (pool_extend_set(base, set, &more, &err) != STATUS_OK) {
		fprintf(stderr, "%s: %s\n", err.field, err.message);
		abort();
	}
	pool_unref(base);
	return more;
}

struct pool *types_pool(void)
{
	return extended(extended(pool_new(), builtin_descriptor_set()), types_descriptor_set());
}
