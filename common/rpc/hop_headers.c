#include "common/rpc/hop_headers.h"

#include "common/rpc/channel.h"
#include "common/rpc/inbound.h"
#include "common/rpc/outbound.h"
#include "common/rpc/proxy.h"

static bool is_one_of(const grpc_slice *key, const char *const *names)
{
	for (; *names; names++)
		if (rpc_slice_is(key, *names))
			return true;
	return false;
}

/* May request metadata @key go on over @route? */
static bool may_pass(const grpc_slice *key, const struct rpc_route *route)
{
	/* Written by each hop's own transport, or about this hop alone. */
	static const char *const hop[] = {"user-agent",
					  "te",
					  "host",
					  "connection",
					  "proxy-authorization",
					  "content-type",
					  "grpc-timeout",
					  "grpc-encoding",
					  "grpc-accept-encoding",
					  "grpc-internal-encoding-request",
					  "grpc-previous-rpc-attempts",
					  RPC_REQUEST_ID_HEADER,
					  NULL};
	static const char *const credentials[] = {"authorization", "cookie", NULL};

	if (rpc_slice_has_prefix(key, RPC_INTERNAL_PREFIX) || is_one_of(key, hop))
		return false;
	if (is_one_of(key, credentials))
		return route->forward_authorization &&
		       route->channel->trust == RPC_TRUST_FOREIGN;
	for (size_t i = 0; i < route->header_count; i++)
		if (rpc_slice_is(key, route->headers[i].key))
			return false; /* the route says it anew */
	return true;
}

void hop_headers_of_request(struct rpc_headers *to, const struct rpc_call *c,
			    const struct rpc_route *route)
{
	const struct rpc_client_options *client = &route->channel->client->options;

	for (size_t i = 0; i < c->metadata.count; i++)
		if (may_pass(&c->metadata.metadata[i].key, route))
			rpc_headers_pass(to, &c->metadata.metadata[i]);
	(void)rpc_headers_add(to, RPC_REQUEST_ID_HEADER, c->identity.request_id);
	if (route->channel->trust == RPC_TRUST_DAEMON)
		rpc_headers_add_identity(to, client->daemon_key, client->name,
					 &c->identity.caller);
	for (size_t i = 0; i < route->header_count; i++)
		(void)rpc_headers_add(to, route->headers[i].key, route->headers[i].value);
}

void hop_headers_of_answer(struct rpc_headers *to, const grpc_metadata_array *from)
{
	for (size_t i = 0; i < from->count; i++)
		if (!rpc_slice_has_prefix(&from->metadata[i].key, RPC_INTERNAL_PREFIX))
			rpc_headers_pass(to, &from->metadata[i]);
}
