/* Descriptor sets from what a user has: .proto files (by protoc) or sets. */
#ifndef SERVICES_CONSOLE_CTL_PROTOC_H
#define SERVICES_CONSOLE_CTL_PROTOC_H

#include <stddef.h>

#include "common/base/status.h"
#include "common/base/strbuf.h"

/*
 * Compile @file with protoc, with imports and comments, into a serialized
 * FileDescriptorSet appended to @out. @roots are the directories that imports
 * are found under (ends with NULL); without any, the current directory.
 * *ret_name is the file's name below its root, borrowed from @file.
 * INVALID_ARGUMENT: protoc refused it, and said why on standard error.
 * UNAVAILABLE: there is no protoc.
 */
enum status protoc_compile(const char *file, const char *const *roots, struct strbuf *out,
			   const char **ret_name, struct error *err) MUST_CHECK;

#endif
