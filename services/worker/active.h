/*
 * What engine.c and attempt.c share: a run in memory, the engine that holds it,
 * and writing that outlasts an absent repo. Private to them.
 */
#ifndef SERVICES_WORKER_ACTIVE_H
#define SERVICES_WORKER_ACTIVE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/base/status.h"
#include "common/client/workflow_records.h"
#include "services/worker/engine.h"
#include "services/worker/run.h"

struct attempt;
struct delays;
struct rpc_channel;
struct rpc_pool;

enum { ACTIVE_REPO_TIMEOUT_MS = 10000 };

struct event {
	struct event *next;
	size_t task;
	bool is_retry; /* the pause is over; else an attempt has ended */
	struct run_attempt attempt;
};

/* A run in memory. */
struct active {
	struct engine *engine;
	char *key;          /* "<namespace>/<run>" */
	struct arena arena; /* definition, run, results; grows until the run is over */
	struct workflow_definition definition;
	struct workflow_run run; /* touched by the advancing thread alone */
	char *etag;              /* the same */
	bool recovered;
	pthread_mutex_t mu; /* arena, and all below */
	struct event *events, **last_event;
	bool advancing;
	unsigned refs;                 /* the engine's, and one for each job, call and delay */
	struct engine_waiter *waiters; /* engine.mu */
};

struct engine {
	struct daemon *daemon;
	struct type_cache *types;
	struct rpc_channel *repo, *dispatcher;
	struct rpc_pool *pool;
	struct delays *delays;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t changed;
	struct map runs;       /* key -> struct active, one reference */
	struct attempt *calls; /* under way */
	unsigned live;         /* struct actives */
	bool closing;
};

/* Who holds no reference any more must not touch @a. */
void active_ref(struct active *a);
void active_unref(struct active *a);

/* Zeroed, in the run's arena; lives as long as the run is in memory. */
void *active_alloc(struct active *a, size_t size);

/* Hand @event (from active_alloc()) to whoever advances the run. */
void active_add_event(struct active *a, struct event *event);

/*
 * Run @work(@arg) on the engine's pool; it owns a reference to @a. The queue has
 * room for all that runs can ask for.
 */
void active_submit(struct active *a, void (*work)(void *arg), void *arg);

/* A job: takes the events of the run @arg (struct active *), with its reference. */
void engine_advance(void *arg);
bool engine_is_closing(struct engine *e);

/* Wait until the engine closes, at most @delay_ms. False: it closes. */
bool engine_pause(struct engine *e, int delay_ms);

/* Is @status that of a daemon which is away, or has no time now? */
bool engine_is_absence(enum status status);

/* Do @step until the repo is there to answer. CANCELLED: the engine closes. */
enum status engine_persist(struct engine *e, enum status (*step)(void *arg, struct error *err),
			   void *arg, struct error *err) MUST_CHECK;

#endif
