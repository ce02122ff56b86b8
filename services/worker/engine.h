/*
 * Running workflows. The engine keeps the runs that are not over in memory, each
 * advanced by one thread at a time; the truth is in the repo: a final Execution
 * for every attempt, created once, then the run's own record, replaced under its
 * etag. A crash between the two is healed by the next start, which repeats the
 * attempt under the same id and takes the result that is stored.
 *
 * Calls to methods wait on no thread. Thread-safe.
 */
#ifndef SERVICES_WORKER_ENGINE_H
#define SERVICES_WORKER_ENGINE_H

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/base/status.h"

struct daemon;
struct engine;
struct type_cache;

enum {
	ENGINE_MAX_RUNS = 20000,        /* in memory; a start beyond it is refused */
	ENGINE_CALL_TIMEOUT_MS = 30000, /* what a method gets for one attempt */
};

/* @types is borrowed. */
struct engine *engine_new(struct daemon *d, struct type_cache *types);

/* Calls under way are cancelled; nothing of what they did is lost but the attempt. */
void engine_free(struct engine *e);

/*
 * Take up a run that is stored: @record is its ActiveWorkflow with @etag, and
 * @definition its WorkflowDefinition. @recovered: it may have been begun before.
 * RESOURCE_EXHAUSTED: ENGINE_MAX_RUNS. INVALID_ARGUMENT: a record is damaged.
 */
enum status engine_add(struct engine *e, struct bytes record, const char *etag,
		       struct bytes definition, bool recovered, struct error *err) MUST_CHECK;

/* May another run be taken up? RESOURCE_EXHAUSTED: no. */
enum status engine_has_room(struct engine *e, struct error *err) MUST_CHECK;

/*
 * Who waits for a run's end. ended() is called once, on any thread, with the
 * run's final ActiveWorkflow, borrowed; never after engine_forget() returned true.
 */
struct engine_waiter {
	void (*ended)(struct engine_waiter *w, struct bytes record);
	struct engine_waiter *next;
	const char *key; /* "<namespace>/<run>", borrowed while waiting */
};

/* False: the run is not in memory; it is over or was never there. */
bool engine_wait(struct engine *e, struct engine_waiter *w);

/* Stop waiting. False: ended() was or is being called. */
bool engine_forget(struct engine *e, struct engine_waiter *w);

/*
 * The definition that runs of "<namespace>/<name>/<version>" follow, and other
 * ids of records.
 */
char *engine_definition_id(const char *ns, const char *name, int64_t version);

#endif
