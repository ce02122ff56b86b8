/*
 * What of a forwarded call's metadata crosses a hop, in either direction. Private to
 * common/rpc.
 */
#ifndef COMMON_RPC_HOP_HEADERS_H
#define COMMON_RPC_HOP_HEADERS_H

#include "common/rpc/identity.h"

struct rpc_call;
struct rpc_route;

/* The request metadata that @call goes on with over @route, appended to @to. */
void hop_headers_of_request(struct rpc_headers *to, const struct rpc_call *call,
			    const struct rpc_route *route);

/* Headers or trailers that an upstream sent, as its client gets them; by reference. */
void hop_headers_of_answer(struct rpc_headers *to, const grpc_metadata_array *from);

#endif
