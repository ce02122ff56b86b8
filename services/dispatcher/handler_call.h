/*
 * Calling one handler, whatever it is: a backend natively, an attached process down its
 * stream, a collection by calls of the repo. In a namespace with a Serve wrapper the
 * wrapper gets the call instead, with the handler named in its context.
 *
 * Blocks on the repo only; the rest goes on in callbacks.
 */
#ifndef SERVICES_DISPATCHER_HANDLER_CALL_H
#define SERVICES_DISPATCHER_HANDLER_CALL_H

#include "common/base/bytes.h"
#include "services/dispatcher/attached.h"
#include "services/dispatcher/typed.h"

struct dispatcher;
struct handler;
struct pool_method;

/* In the arena of @call, with what it points to, until @done. */
struct handler_call {
	struct dispatcher *d;
	void *call; /* the inbound call that this one serves */
	struct handler *handler;
	const char *ns, *service, *method;
	const char *input_type;
	struct bytes input;
	const struct pool_method *registered; /* NULL: nobody registered it */
	attached_done *done;
	void *arg;

	/* Private */
	struct dispatch_request request;
	struct rpc_header context[DISPATCH_MAX_CONTEXT];
	struct typed_request typed;
	struct handler_call *wrapped; /* this one is of the wrapper */
};

/* @done runs once, on any thread, perhaps before this returns. */
void handler_call_start(struct handler_call *c);

#endif
