/*
 * A server of somebody else, on the bare gRPC core with a thread per call: what
 * clients and proxies are tested against. It looks at no service's name, and
 * does what the method's says:
 *
 *	Echo    send every message back; at the half-close, end
 *	Greet   the same, but its headers come before anything is read
 *	Down    send the first message back `want-count` times, then end
 *	Up      take messages to the half-close, answer "<messages> <bytes>", end
 *	Refuse  end at once, having read nothing
 *	Deaf    send headers, read nothing, stay until the call is over
 *	Flood   send the first message back until the call is over
 *	Flaky   the same as Echo, but every other call is UNAVAILABLE at once
 *	Drop    read `want-reads` messages, then end UNAVAILABLE unless `want-code` says how
 *	Decline the same, and say that nothing was processed
 *	Boast   the same as Refuse, with collector-internal-key sent both ways
 *
 * Any other is UNIMPLEMENTED. Request metadata says how the call ends
 * (`want-code`, `want-message-bin`; else OK), and what was sent under
 * x-grpc-test-echo-initial... comes back in the headers, what was sent under
 * x-grpc-test-echo-trailing... in the trailers.
 */
#ifndef TESTS_SUPPORT_BARE_SERVER_H
#define TESTS_SUPPORT_BARE_SERVER_H

#include <stdint.h>

#include "common/base/strbuf.h"

struct bare_server;

/* What all calls together did. */
enum bare_count {
	BARE_BEGUN,
	BARE_ENDED,
	BARE_CANCELLED, /* among the ended */
	BARE_HALF_CLOSES,
	BARE_READ, /* messages */
	BARE_WRITTEN,
	BARE_COUNTS,
};

/* @port 0 picks one. NULL: the port is taken. */
struct bare_server *bare_server_new(int port);

/* Cancels what is live. */
void bare_server_free(struct bare_server *b);
int bare_server_port(const struct bare_server *b);

unsigned bare_server_count(struct bare_server *b, enum bare_count which);
void bare_server_wait(struct bare_server *b, enum bare_count which, unsigned value);

/* The path and metadata of the latest call, a line each, in a fixed order. */
void bare_server_request(struct bare_server *b, struct strbuf *out);

/* Whom the latest call was for; each hop has its own. */
void bare_server_authority(struct bare_server *b, struct strbuf *out);

/* What the latest call had left when it came in; -1: it brought no deadline. */
int64_t bare_server_time_left_ms(struct bare_server *b);

#endif
