/*
 * Who calls, and what travels from hop to hop beside the message: request id,
 * traceparent, and between this collector's own daemons the verified caller.
 * Private to common/rpc.
 */
#ifndef COMMON_RPC_IDENTITY_H
#define COMMON_RPC_IDENTITY_H

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/rpc/call.h"

#define RPC_INTERNAL_PREFIX    "collector-internal-"
#define RPC_KEY_HEADER         RPC_INTERNAL_PREFIX "key"
#define RPC_DAEMON_HEADER      RPC_INTERNAL_PREFIX "daemon"
#define RPC_PRINCIPAL_HEADER   RPC_INTERNAL_PREFIX "principal"
#define RPC_KIND_HEADER        RPC_INTERNAL_PREFIX "kind"
#define RPC_REQUEST_ID_HEADER  "x-request-id"
#define RPC_TRACEPARENT_HEADER "traceparent"
#define RPC_NOT_PROCESSED      "collector-not-processed"
#define RPC_STATUS_DETAILS     "grpc-status-details-bin"

enum { RPC_REQUEST_ID_BYTES = 65, RPC_CALLER_NAME_BYTES = 65, RPC_TRACEPARENT_BYTES = 56 };

struct rpc_identity {
	char request_id[RPC_REQUEST_ID_BYTES];
	bool request_id_given;                   /* the caller sent it */
	char traceparent[RPC_TRACEPARENT_BYTES]; /* "" when there is none */
	char caller_name[RPC_CALLER_NAME_BYTES];
	struct rpc_caller caller; /* name points to caller_name */
};

/*
 * Read a call's request metadata. @daemon_key NULL believes nobody. *identity
 * must not move afterwards; @fallback_id is used when the caller sent no sane
 * request id.
 */
void rpc_identity_read(const grpc_metadata_array *metadata, const char *daemon_key,
		       uint64_t fallback_id, struct rpc_identity *identity);

bool rpc_slice_is(const grpc_slice *slice, const char *text);
bool rpc_slice_has_prefix(const grpc_slice *slice, const char *prefix);

/*
 * Growing outbound metadata, whose slices it owns.
 */
struct rpc_headers {
	grpc_metadata *items;
	size_t count, capacity;
};

void rpc_headers_release(struct rpc_headers *h);

/* False: gRPC forbids this key or value; nothing is added. */
bool rpc_headers_add(struct rpc_headers *h, const char *key, const char *value);

/* A received pair, by reference. Illegal ones, which gRPC would refuse to send, are left out. */
void rpc_headers_pass(struct rpc_headers *h, const grpc_metadata *pair);

/*
 * The key of daemon @name; with @caller, its rights instead of @name's.
 */
void rpc_headers_add_identity(struct rpc_headers *h, const char *daemon_key, const char *name,
			      const struct rpc_caller *caller);

#endif
