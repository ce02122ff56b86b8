/* Who uses the types and methods of a namespace, as the repo's system collections say. */
#ifndef SERVICES_REGISTRY_USERS_H
#define SERVICES_REGISTRY_USERS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/client/collection_records.h"
#include "common/client/dispatch_records.h"
#include "common/client/workflow_records.h"

struct rpc_channel;

/* Of all kinds together: what is in memory while a change is checked is bounded. */
enum { USERS_MAX = 100000 };

struct users {
	struct collection_record *collections;
	struct handler_record *handlers;
	struct workflow_definition *workflows; /* every version */
	size_t collection_count, handler_count, workflow_count;
};

/*
 * Ask the repo, until @deadline_ns on clock_monotonic_ns(). Blocks. What is
 * returned is in @arena. UNAVAILABLE: it cannot be asked. DEADLINE_EXCEEDED: it
 * takes too long. RESOURCE_EXHAUSTED: more than USERS_MAX.
 */
enum status users_ask(struct rpc_channel *repo, const char *ns, uint64_t deadline_ns,
		      struct arena *arena, struct users *ret, struct error *err) MUST_CHECK;

#endif
