/* .proto files compiled by the user's protoc. */
#ifndef SERVICES_CONSOLE_CTL_PROTOC_H
#define SERVICES_CONSOLE_CTL_PROTOC_H

#include <stddef.h>

#include "common/base/status.h"
#include "common/base/strbuf.h"

/*
 * Compile @count .proto files in one run, with imports and comments, into a
 * serialized FileDescriptorSet appended to @out. @roots are the directories that
 * imports are found under, and that the files' names begin below (ends with NULL).
 * INVALID_ARGUMENT: protoc refused it, and said why on standard error.
 * UNAVAILABLE: there is no protoc.
 */
enum status protoc_compile(const char *const *files, size_t count, const char *const *roots,
			   struct strbuf *out, struct error *err) MUST_CHECK;

#endif
