/*
 * The state of one run and the rules by which it changes: pure functions over
 * plain structs, no clock, no I/O.
 */
#ifndef SERVICES_WORKER_RUN_H
#define SERVICES_WORKER_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/client/workflow_records.h"

/*
 * Give @run a state for every task of @d, in the definition's order; what the
 * record already says of a task stays. Texts are borrowed from @d; the array is
 * in @arena.
 */
void run_prepare(struct workflow_run *run, const struct workflow_definition *d,
		 struct arena *arena);

/* May task @i be called now: not begun, and all that it depends on has succeeded? */
bool run_is_ready(const struct workflow_run *run, const struct workflow_definition *d,
		  size_t i);

/* How one attempt ended. */
struct run_attempt {
	int number; /* from 1 */
	const char *execution_id;
	enum status status;
	const char *message;
	struct typed_message output;
};

/*
 * Take the result of an attempt at task @i. Texts and bytes are borrowed and must
 * live as long as the run. Returns the pause before the next attempt in
 * milliseconds, -1: there is none. @jitter is drawn from [0, 1).
 */
int run_take_attempt(struct workflow_run *run, const struct workflow_definition *d, size_t i,
		     const struct run_attempt *attempt, double jitter);

/* Is any task under way or waiting for its next attempt? */
bool run_is_busy(const struct workflow_run *run);

/*
 * When nothing is busy and nothing can become so, end the run: SUCCEEDED when
 * every task has, else FAILED. True: it has ended, now or before.
 */
bool run_settle(struct workflow_run *run, const struct workflow_definition *d, uint64_t now_us);
bool run_has_ended(const struct workflow_run *run);

#endif
