/*
 * How a Dispatch would be routed now, and why: the same questions that dispatch.c asks,
 * answered about every candidate, without calling one. Blocks on the registry.
 */
#ifndef SERVICES_DISPATCHER_EXPLAIN_H
#define SERVICES_DISPATCHER_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"

struct dispatcher;
struct rpc_options;

/* As collector.CandidateKind numbers them. */
enum candidate_kind { CANDIDATE_HANDLER = 0, CANDIDATE_PEER = 1, CANDIDATE_HEARD_OF = 2 };

struct candidate {
	enum candidate_kind kind;
	const char *id, *address;
	bool eligible; /* it would be called now; of several, one by chance */
	const char *reason;
	unsigned in_flight;
	uint64_t round_trip_us;
};

struct explanation {
	bool registered;
	const char *decision;
	const struct candidate *candidates; /* the eligible first */
	size_t count;
};

struct explain_question {
	const char *ns, *service, *method;
	const char *target; /* "": any collector */
};

/* All in @arena. @options are those of the question to the registry. */
struct explanation explain(struct dispatcher *d, const struct explain_question *q,
			   const struct rpc_options *options, struct arena *arena);

#endif
