/*
 * Who is asked next with a call that nobody has processed yet, or that may be repeated: the
 * other handlers here, then the collectors that serve the namespace, nobody twice.
 *
 * One call's; it is asked on one thread at a time.
 */
#ifndef SERVICES_DISPATCHER_CANDIDATES_H
#define SERVICES_DISPATCHER_CANDIDATES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"

struct arena;
struct dispatcher;
struct handler;
struct peer;

enum { CANDIDATES_MAX_TRIES = 8 }; /* of handlers, and of peers */

struct candidates {
	struct dispatcher *d;
	const char *ns, *service, *method;
	/* Those that were called. They may be gone by now: never looked into. */
	const struct handler *handlers[CANDIDATES_MAX_TRIES];
	size_t handler_count;
	const struct peer *peers[CANDIDATES_MAX_TRIES];
	const char *peer_ids[CANDIDATES_MAX_TRIES]; /* in the call's arena */
	size_t peer_count;
	bool is_unsure; /* one of them may have processed it */
};

/* One that was not called yet, to be given back; NULL: there is none, or enough were. */
struct handler *candidates_take_handler(const struct candidates *c, bool attached_only);

/* The same, and none that @call has come by: that would be a loop. */
struct peer *candidates_take_peer(const struct candidates *c, void *call);

/* It is called now. */
void candidates_call_handler(struct candidates *c, const struct handler *handler);
void candidates_call_peer(struct candidates *c, const struct peer *peer, struct arena *arena);

/* How many were called. */
size_t candidates_count(const struct candidates *c);

/*
 * May @call, which ended with @status, be given to the next one? When nobody knows whether it
 * was done, only what may be done twice.
 */
bool candidates_may_go_on(struct candidates *c, void *call, enum status status,
			  bool not_processed, bool may_repeat);

/* Nobody is left: @last is how the last one failed, NULL: nobody was called. */
void candidates_describe_none(const struct candidates *c, const struct error *last,
			      bool is_registered, struct error *ret_err);

#endif
