/*
 * What can be done with a call that the server does not know. Forwarding it passes
 * message by message on, without parsing them: streams, metadata, deadline,
 * cancellation, status and trailers are kept; two messages are read ahead per
 * direction. Collecting it takes it for a unary call.
 */
#ifndef COMMON_RPC_PROXY_H
#define COMMON_RPC_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rpc/call.h"
#include "common/rpc/client.h"

/* How a forwarded call ended. */
struct rpc_forwarded {
	enum status status;
	uint64_t request_bytes, response_bytes;
	uint64_t duration_us;
	bool cancelled;
};

/* What came of an upstream that a call may be taken away from. */
struct rpc_failure {
	struct error err;
	bool not_processed; /* certain: it did nothing of the call */
};

struct strbuf;

enum rpc_direction { RPC_TO_UPSTREAM, RPC_TO_CLIENT };

struct rpc_route {
	struct rpc_channel *channel;
	const char *path; /* the method to call there; NULL: the same */
	/*
	 * Append what goes on instead of @message; with @arg, on the loop thread. False ends
	 * the call with INVALID_ARGUMENT. NULL: messages go on as they are.
	 */
	bool (*translate)(void *arg, enum rpc_direction direction, struct bytes message,
			  struct strbuf *out);
	/*
	 * The caller's `authorization` and `cookie` go along only when the handler
	 * was registered so. To own daemons (RPC_TRUST_DAEMON) never: they get the
	 * verified caller instead.
	 */
	bool forward_authorization;
	const struct rpc_header *headers; /* instead of the caller's of that name; copied */
	size_t header_count;
	/*
	 * The upstream has failed, with UNAVAILABLE or certainly without having done anything; the
	 * client has been given nothing, and what it sent is held: its first messages, two and
	 * 64 KiB at most, and what could not be sent yet. True: the call goes on elsewhere, by
	 * one of rpc_forward_next(), _failure(), _fail() and _collect(), at once or later, on any thread;
	 * until then it is held. False: the client gets the upstream's failure. Told on any thread,
	 * again for every upstream that fails; must not block. NULL: nothing is held, and
	 * the failure is passed on.
	 */
	bool (*failed)(void *arg, const struct rpc_failure *failure);
	/* Told once, on any thread, when it is over; the call is still there. May be NULL. */
	void (*done)(void *arg, const struct rpc_forwarded *result);
	void *arg;
};

/*
 * Only for calls given to rpc_fallback.route; ends the call. An upstream that cannot be
 * connected to is UNAVAILABLE, not processed. The channel is borrowed until the end.
 */
void rpc_forward(struct rpc_call *call, const struct rpc_route *route);

/*
 * Instead to another upstream: by @route's channel, path, headers and forward_authorization;
 * who is told, and what translates, stays.
 */
void rpc_forward_next(struct rpc_call *call, const struct rpc_route *route);

/* There is nobody else: the client gets the upstream's failure after all. */
void rpc_forward_failure(struct rpc_call *call);

/* The same with an error of one's own: as rpc_fail_error() or rpc_fail_not_processed(). */
void rpc_forward_fail(struct rpc_call *call, const struct error *err, bool not_processed);

/* As rpc_collect(), beginning with what is held; route.done is not told of such a call. */
void rpc_forward_collect(struct rpc_call *call, void (*done)(void *arg, struct rpc_call *call),
			 void *arg);

/*
 * Instead of forwarding: read the one message of a unary call, then @done(@arg), on
 * the loop thread, with it in rpc_request_bytes(). Who is given the call ends it with
 * rpc_answer() or rpc_fail(). Not told of a call that is cut off before.
 */
void rpc_collect(struct rpc_call *call, void (*done)(void *arg, struct rpc_call *call),
		 void *arg);

/* End such a call with OK and one message, which is copied. */
void rpc_answer(struct rpc_call *call, struct bytes message);

#endif
