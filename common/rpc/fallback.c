/* Calls of methods that nobody registered, until they are routed. */
#include <grpc/byte_buffer.h>
#include <string.h>

#include "common/rpc/inbound.h"
#include "common/rpc/payload.h"

/* "/service/method" of printable characters, and short: nothing else is a method. */
static bool take_path(struct rpc_call *c)
{
	struct bytes b = rpc_slice_bytes(&c->details.method);

	if (!b.size || b.size >= sizeof(c->path_text) || b.data[0] != '/')
		return false;
	for (size_t i = 0; i < b.size; i++)
		if (b.data[i] <= ' ' || b.data[i] > '~' || b.data[i] == '"')
			return false;
	memcpy(c->path_text, b.data, b.size);
	c->path_text[b.size] = '\0';
	return true;
}

void rpc_fallback_open(struct rpc_call *c)
{
	const struct rpc_fallback *fallback = c->method->server->options.fallback;

	if (!take_path(c)) {
		memcpy(c->path_text, "/", 2);
		rpc_call_reject(c, STATUS_UNIMPLEMENTED, "this is not the name of a method");
	} else if (!fallback) {
		rpc_call_reject(c, STATUS_UNIMPLEMENTED, "there is no method %s", c->path_text);
	} else {
		fallback->route(fallback->arg, c);
	}
}

static void fallback_message(struct rpc_call *c, grpc_byte_buffer *payload)
{
	(void)c; /* nothing is read before the call is routed */
	if (payload)
		grpc_byte_buffer_destroy(payload);
}

static void fallback_closed(struct rpc_call *c, bool cancelled)
{
	if (!cancelled)
		return;
	rpc_call_set_end(c, GRPC_STATUS_CANCELLED, grpc_empty_slice(), NULL, 0);
	rpc_call_flush(c);
}

const struct rpc_call_ops rpc_fallback_ops = {
	.message = fallback_message,
	.closed = fallback_closed,
};
