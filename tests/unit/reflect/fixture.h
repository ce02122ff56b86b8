/*
 * A pool for tests: the built-in descriptors and what protoc makes of a text.
 */
#ifndef TESTS_UNIT_REFLECT_FIXTURE_H
#define TESTS_UNIT_REFLECT_FIXTURE_H

#include "common/base/bytes.h"
#include "common/base/strbuf.h"

struct pool;

/* Compile @source as @name ("t.proto") with protoc into a FileDescriptorProto. */
void fixture_compile(const char *name, const char *source, struct strbuf *out);

/* The built-ins with @source, or a FileDescriptorProto, in addition; the caller unrefs it. */
struct pool *fixture_pool(const char *source);
struct pool *fixture_pool_of(struct bytes file);

#endif
