/*
 * Compressed messages as gRPC hands them over, for tests that inflate them.
 */
#ifndef TESTS_SUPPORT_RECEIVED_H
#define TESTS_SUPPORT_RECEIVED_H

#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/strbuf.h"

/*
 * rpc_inflate() of @packed, received in pieces of @piece bytes; what it was is added to @out.
 * gRPC's status code. Aborts where rpc_inflate() does not keep its word.
 */
int received_inflate(struct bytes packed, size_t piece, size_t limit, struct strbuf *out);

#endif
