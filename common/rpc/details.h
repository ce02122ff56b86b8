/*
 * google.rpc.Status as it travels in grpc-status-details-bin. Private to
 * common/rpc.
 */
#ifndef COMMON_RPC_DETAILS_H
#define COMMON_RPC_DETAILS_H

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "common/rpc/call.h"

enum { RPC_DETAILS_MAX_VIOLATION_BYTES = 3072 };

/*
 * Append a Status with an ErrorInfo; if @err blames a field a BadRequest; and the
 * first of the @violations as a PreconditionFailure, up to
 * RPC_DETAILS_MAX_VIOLATION_BYTES.
 */
void rpc_details_write(const struct error *err, const struct rpc_violation *violations,
		       size_t count, const char *request_id, struct strbuf *out);

/* Put the first field that the details blame into err->field; none: leave it. */
void rpc_details_read(struct bytes details, struct error *err);

#endif
