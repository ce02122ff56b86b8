/* The types of tests/support/types, as protoc compiled them. */
#ifndef TESTS_SUPPORT_TYPES_H
#define TESTS_SUPPORT_TYPES_H

#include "common/base/bytes.h"

struct pool;

/* A serialized FileDescriptorSet of them, comments included; lives in the program. */
struct bytes types_descriptor_set(void);

/* They and the built-in ones. The caller owns the reference. Ends the program on failure. */
struct pool *types_pool(void);

#endif
