/*
 * One attempt at a task: its input, the call of its method by Dispatch, its final
 * Execution, and the event that tells the run. Waits on no thread.
 */
#ifndef SERVICES_WORKER_ATTEMPT_H
#define SERVICES_WORKER_ATTEMPT_H

#include <stddef.h>

struct active;
struct engine;

/* Begin the next attempt at task @task of @a, which is advanced by the caller. */
void attempt_start(struct active *a, size_t task);

/* Cancel the calls under way. The caller holds the engine's mutex. */
void attempt_cancel_all(struct engine *e);

#endif
