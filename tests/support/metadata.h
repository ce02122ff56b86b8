/*
 * gRPC metadata as tests write and compare it: values of "-bin" keys in hex.
 */
#ifndef TESTS_SUPPORT_METADATA_H
#define TESTS_SUPPORT_METADATA_H

#include <grpc/grpc.h>

#include "common/base/strbuf.h"

/* Both slices are owned by the caller. */
grpc_metadata metadata_pair(const char *key, const char *value);

/*
 * Append a line "  key: value" for each pair, sorted by key: only the order of
 * the values of one key means something.
 */
void metadata_describe(const grpc_metadata_array *array, struct strbuf *out);

#endif
