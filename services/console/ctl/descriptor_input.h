/* The files that a user's words stand for, as one descriptor set. */
#ifndef SERVICES_CONSOLE_CTL_DESCRIPTOR_INPUT_H
#define SERVICES_CONSOLE_CTL_DESCRIPTOR_INPUT_H

#include <stddef.h>

#include "common/base/status.h"
#include "common/base/strbuf.h"

struct arguments;

/*
 * Each of @words is a .proto file, a directory of them, a serialized
 * FileDescriptorSet, or "-": such a set on standard input. What is .proto is
 * compiled in one run of protoc, with the --proto-path values of @args as roots;
 * without any, each directory is one, and where the program runs is. Appends a
 * FileDescriptorSet to @out, in which a file is once.
 * INVALID_ARGUMENT: a word stands for nothing, or two files have the same name.
 */
enum status descriptor_input_read(const struct arguments *args, const char *const *words,
				  size_t count, struct strbuf *out,
				  struct error *err) MUST_CHECK;

#endif
