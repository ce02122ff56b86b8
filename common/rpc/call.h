/*
 * An inbound call, as the methods of a protobuf-c service see it.
 *
 * A generated service method has the shape
 *
 *	void repo_get(Collector__CollectionService_Service *service,
 *	              const Collector__GetRequest *request,
 *	              Collector__GetResponse_Closure reply, void *call);
 *
 * where @call is a struct rpc_call *. It ends the call once: by reply(&message,
 * call), or by rpc_fail(). Both may happen later and on any thread; the request
 * and everything in the call's arena live until then. A method that never ends
 * its call keeps it until the deadline, when the server ends it.
 *
 * Streaming methods: for client-streaming ones the method runs once for every
 * message, one at a time, and then with a NULL request at the half-close; each
 * request lives until the method returns. Server-streaming ones may call
 * reply() many times and end with rpc_finish(call); a reply() that outruns its
 * client waits, or on a loop thread ends the call with RESOURCE_EXHAUSTED.
 *
 * A cancelled call must be ended by its method too, as any other, so that its
 * memory goes; what is then sent is dropped. Only a client-streaming call that
 * is cut off before its half-close is ended by the server itself: who keeps
 * such a call beyond its method's return takes rpc_hold().
 */
#ifndef COMMON_RPC_CALL_H
#define COMMON_RPC_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

struct rpc_call;

/* End the call with an error. @status must not be STATUS_OK. */
void rpc_fail(void *call, enum status status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * The same with what @err says: its field path becomes a google.rpc.BadRequest
 * in grpc-status-details-bin, beside an ErrorInfo.
 */
void rpc_fail_error(void *call, const struct error *err);

/* One thing that stands in the way: a google.rpc.PreconditionFailure.Violation. */
struct rpc_violation {
	const char *type, *subject, *description; /* never NULL */
};

/*
 * The same with all that stands in the way, the first of them as far as there
 * is room: clients take 8 KiB of metadata by default.
 */
void rpc_fail_violations(void *call, const struct error *err,
			 const struct rpc_violation *violations, size_t count);

/*
 * The same as rpc_fail_error(), telling the caller that nothing was done and that another server
 * may be asked instead.
 */
void rpc_fail_not_processed(void *call, const struct error *err);

/* End a server-streaming call with OK. */
void rpc_finish(void *call);

/*
 * Cut the call off with @status and @why: what is queued is dropped. Its method is
 * told as of any cancelled call, and ends it. Any thread that holds the call.
 */
void rpc_cut(void *call, enum status status, const char *why);

/*
 * For what a method allocates for its reply; freed when the call is. The
 * request is in it too. Only one thread at a time may use it.
 */
struct arena *rpc_arena(void *call);

/* The bytes of the (latest) request message; they live as long as it does. */
struct bytes rpc_request_bytes(void *call);

/* "/collector.CollectionService/Get" */
const char *rpc_method_path(void *call);

/* When the caller stops waiting, on clock_monotonic_ns(). Always finite. */
uint64_t rpc_deadline_ns(void *call);

/* Milliseconds until then, at least 0. */
int rpc_time_left_ms(void *call);

/* Has the client gone, or the deadline passed? Long work asks now and then. */
bool rpc_is_cancelled(void *call);

/*
 * Call @notify(@arg) once, on any thread, when the client goes or the deadline
 * passes; at once if that happened before. Not called after the call was ended.
 * Used to interrupt queries and waits. NULL @notify takes it back; after that
 * returns, it is not and will not be running.
 */
void rpc_on_cancel(void *call, void (*notify)(void *arg), void *arg);

/* Keep the call's memory alive beyond its end; pairs with rpc_release(). */
void rpc_hold(void *call);
void rpc_release(void *call);

/*
 * The same for who may come too late: false, and nothing held, while rpc_set_user()'s
 * @drop runs. Until that has returned the call may be asked, and replied to in vain.
 */
bool rpc_try_hold(void *call);

/* Messages that reply() queued and the client has not taken yet. */
unsigned rpc_backlog(void *call);

/* Would a reply() be queued without a wait? */
bool rpc_has_room(void *call);

/*
 * Call @notify(@arg), on a loop thread, whenever a queued message was taken: for
 * those who send the next only then. It must not block; @arg lives as long as
 * the call. Set before the first reply().
 */
void rpc_on_sent(void *call, void (*notify)(void *arg), void *arg);

/*
 * Run @work(@arg) on the call's loop thread, which must not wait in it; the call's memory is
 * held until then. For who has calls to end on a thread that has better to do: all that is
 * posted before the loop comes to it costs one wake-up. Once at a time for a call.
 */
void rpc_post(void *call, void (*work)(void *arg), void *arg);

/* Per-call state of a streaming method; @drop (may be NULL) frees it at the end. */
void rpc_set_user(void *call, void *user, void (*drop)(void *));
void *rpc_user(void *call);

/*
 * The first value of request metadata @key (lower case), NUL-terminated, in the
 * call's arena; NULL: not sent. Keys under "collector-internal-" are never
 * visible here.
 */
const char *rpc_metadata(void *call, const char *key);

/* Names the call in logs and across hops; printable, at most 64 bytes. */
const char *rpc_request_id(void *call);

/* --------------------------------------------------------- who is calling */

enum rpc_caller_kind {
	RPC_CALLER_ADMIN,  /* a local user, where no tokens are configured */
	RPC_CALLER_USER,   /* a named principal */
	RPC_CALLER_DAEMON, /* one of this collector's own daemons, for itself */
};

struct rpc_caller {
	enum rpc_caller_kind kind;
	const char *name; /* "local", a principal, or a daemon's name */
};

/*
 * Verified, never just claimed: a daemon is one that showed the daemon key; a
 * call that the front door forwards has the rights of the one it forwards for.
 */
const struct rpc_caller *rpc_caller(void *call);

#endif
