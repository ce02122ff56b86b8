#include "common/reflect/builtin.h"

/* As protoc --descriptor_set_out wrote it; the Makefile names the file. */
__asm__(".section .rodata\n"
	".global collector_builtin_fds\n"
	".global collector_builtin_fds_end\n"
	"collector_builtin_fds:\n"
	".incbin \"" BUILTIN_FDS "\"\n"
	"collector_builtin_fds_end:\n"
	".previous");

extern const unsigned char collector_builtin_fds[], collector_builtin_fds_end[];

struct bytes builtin_descriptor_set(void)
{
	return bytes_of(collector_builtin_fds,
			(size_t)(collector_builtin_fds_end - collector_builtin_fds));
}
