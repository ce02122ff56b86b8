/*
 * Calling the dispatcher. Blocks; results are in @arena. UNAVAILABLE: no
 * dispatcher.
 */
#ifndef COMMON_CLIENT_DISPATCHER_CLIENT_H
#define COMMON_CLIENT_DISPATCHER_CLIENT_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

struct dispatch_request {
	const char *ns, *service, *method;
	const char *target;     /* "" routes by itself */
	const char *input_type; /* full message name */
	struct bytes input;
};

struct dispatch_answer {
	const char *handled_by; /* collector id */
	enum status status;     /* what the handler answered */
	const char *message;    /* of a handler that failed, else "" */
	const char *output_type;
	struct bytes output;
};

/*
 * The result is the envelope's: NOT_FOUND no route, UNAVAILABLE no live handler,
 * INVALID_ARGUMENT a bad request. What the handler answered is in *ret.
 */
enum status dispatcher_client_dispatch(struct rpc_channel *dispatcher,
				       const struct dispatch_request *request,
				       const struct rpc_options *options, struct arena *arena,
				       struct dispatch_answer *ret,
				       struct error *err) MUST_CHECK;

#endif
