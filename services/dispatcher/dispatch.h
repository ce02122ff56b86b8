/*
 * Running one call of Serve or Dispatch: the local handler, or the collectors
 * that can serve it, one after the other while it is certain that nothing was
 * done. Starts where it may wait for the registry, or at once if all is known that it
 * needs; goes on in callbacks, blocks nobody.
 */
#ifndef SERVICES_DISPATCHER_DISPATCH_H
#define SERVICES_DISPATCHER_DISPATCH_H

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

struct candidates;
struct dispatcher;

/* How it ended; borrowed for the duration of the callback. */
struct dispatch_result {
	/*
	 * The envelope's: not OK means that no handler answered, @err says why, and
	 * @not_processed that none was reached.
	 */
	enum status envelope;
	struct error err;
	bool not_processed;
	/* What the handler answered. */
	enum status status;
	const char *message;
	const char *output_type;
	struct bytes output;
	const char *handled_by; /* a collector's id */
};

struct dispatch {
	struct dispatcher *d;
	void *call; /* the inbound call; everything below lives as long as it */
	const char *ns, *service, *method;
	const char *target;     /* "": any collector */
	const char *input_type; /* full message name; NULL: what the method takes */
	struct bytes input;
	bool serve;      /* a Serve: its Dispatch is in the history, where it began */
	bool local_only; /* nobody else may be asked */
	bool idempotent; /* the caller says so */
	const struct rpc_header
		*hints; /* of a DispatchRequest, for whoever it is passed on to */
	size_t hint_count;
	bool native;                     /* of a registered method alone */
	const struct candidates *before; /* were called already; NULL: nobody was */
	/* Called once, on any thread; ends the call. */
	void (*finish)(struct dispatch *x, const struct dispatch_result *result);
};

/*
 * The caller has checked the names. @x is in the call's arena. May wait for the registry
 * and the repo: not for a loop's thread.
 */
void dispatch_start(struct dispatch *x);

/*
 * The same on any thread, if there is nothing to wait for and little to do. False: nothing
 * has happened, and dispatch_start() is to be called on the pool.
 */
bool dispatch_try_start(struct dispatch *x);

enum { DISPATCH_MAX_HOPS = 5 };

/*
 * The metadata that a call to another collector carries: @via with this
 * collector added, in @arena. FAILED_PRECONDITION: a loop, or too many hops.
 */
struct arena;
enum status dispatch_via(const char *via, const char *self, struct arena *arena,
			 const char **ret_via, struct error *err) MUST_CHECK;

#define DISPATCH_VIA_HEADER         "collector-via"
#define DISPATCH_NAMESPACE_HEADER   "collector-namespace"
#define DISPATCH_TARGET_HEADER      "collector-target"
#define DISPATCH_IDEMPOTENCY_HEADER "collector-idempotency-key"

/*
 * "true": as the routing hint "idempotent"="true" of a DispatchRequest, for native calls
 * and for Serve, which have no hints.
 */
#define DISPATCH_IDEMPOTENT_HEADER "collector-idempotent"

/* Does the call's metadata say so? */
bool dispatch_says_idempotent(void *call);

#endif
