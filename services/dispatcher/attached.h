/*
 * A process that serves methods through its Attach stream: calls go down to it,
 * answers come up, at most so many at a time; more wait here, in a bounded queue.
 *
 * Calls that were not sent when the stream ends were certainly not processed. Of
 * those that were, nobody knows. A call that was given up by its caller keeps its
 * place until it is answered: the process is still at it.
 *
 * Thread-safe; one mutex, held while a message is queued on the stream, never while
 * a call is told its outcome.
 */
#ifndef SERVICES_DISPATCHER_ATTACHED_H
#define SERVICES_DISPATCHER_ATTACHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/client/dispatcher_client.h"

struct attached;

enum {
	ATTACHED_DEFAULT_IN_FLIGHT = 16,
	ATTACHED_MAX_IN_FLIGHT = 256,
	ATTACHED_MAX_WAITING = 1024,
	ATTACHED_PING_AFTER_MS = 5000,
	ATTACHED_DEAD_AFTER_MS = 15000,
};

/*
 * Puts messages on the stream; attach_rpc.c has them. The call may have ended, but is
 * not freed before attached_end() has returned.
 */
struct attached_stream {
	void *call; /* the Attach call */
	void (*reply)(void);
};
void attached_send_call(const struct attached_stream *s, uint64_t call_id,
			const struct dispatch_request *request, int timeout_ms);
void attached_send_cancel(const struct attached_stream *s, uint64_t call_id);
void attached_send_ping(const struct attached_stream *s);

/* How a call ended; borrowed for the duration of the callback. */
struct attached_outcome {
	bool not_processed; /* certain: the process did not get it */
	enum status status;
	const char *message;
	const char *output_type; /* "": none */
	struct bytes output;
};
typedef void attached_done(void *arg, const struct attached_outcome *outcome);

/* One reference, for the caller. */
struct attached *attached_new(const struct attached_stream *stream, unsigned max_in_flight);
struct attached *attached_ref(struct attached *at);
void attached_unref(struct attached *at);

/*
 * Call it, or wait for its turn. @parent is the inbound call that this one serves: its
 * end takes the call back. @request and what it points to live until @done, which
 * runs exactly once, on any thread, perhaps before this returns.
 */
void attached_call(struct attached *at, const struct dispatch_request *request, void *parent,
		   attached_done *done, void *arg);

/* The stream has room again: send what waits. */
void attached_pump(struct attached *at);

/* An answer came. False: to no call that is under way. */
bool attached_answered(struct attached *at, uint64_t call_id,
		       const struct attached_outcome *outcome);

/* A sign of life came. */
void attached_heard(struct attached *at);

/*
 * No more calls: those that wait go elsewhere. True: none is under way, the stream can
 * end now; else attached_is_idle() after an answer tells when.
 */
bool attached_leave(struct attached *at);
bool attached_is_idle(struct attached *at);

/* The stream has ended; @why is told to the calls. Nothing is sent any more. */
void attached_end(struct attached *at, const char *why);

/* Ping a process that was quiet. False: it has been for too long. */
bool attached_check(struct attached *at, uint64_t now_ns);

/* Is it there, and not leaving? */
bool attached_is_open(struct attached *at);

#endif
