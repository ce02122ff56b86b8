#include "services/worker/engine.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/client/repo_client.h"
#include "common/daemon/daemon.h"
#include "common/rpc/pool.h"
#include "services/worker/active.h"
#include "services/worker/attempt.h"
#include "services/worker/delay.h"

enum { THREADS = 8, QUEUE = ENGINE_MAX_RUNS * 4 };

/* -------------------------------------------------------------- a run's record */

/* In a call to engine_persist(): a deadline after which the write may have happened
 * makes the etag wrong, so what is there is compared. */
struct run_write {
	struct active *active;
	struct arena arena;
	struct bytes packed;
	bool tried;
};

static enum status write_again(struct run_write *w, const struct rpc_options *options,
			       struct error *err)
{
	struct active *a = w->active;
	struct repo_record there;
	enum status status =
		repo_client_get(a->engine->repo, "system", ACTIVE_WORKFLOWS_COLLECTION, a->key,
				options, &w->arena, &there, err);

	if (status != STATUS_OK)
		return status;
	if (!bytes_equal(there.item, w->packed))
		return error_set(err, STATUS_ABORTED, "run %s was changed by another worker",
				 a->key);
	free(a->etag);
	a->etag = xstrdup(there.etag);
	return STATUS_OK;
}

static enum status write_run_step(void *arg, struct error *err)
{
	struct run_write *w = arg;
	struct active *a = w->active;
	struct rpc_options options = {.timeout_ms = ACTIVE_REPO_TIMEOUT_MS};
	const char *etag;
	enum status status = repo_client_put(
		a->engine->repo, "system", ACTIVE_WORKFLOWS_COLLECTION, a->key, a->etag, false,
		ACTIVE_WORKFLOW_TYPE, w->packed, &options, &w->arena, &etag, err);

	if (status == STATUS_ABORTED && w->tried)
		return write_again(w, &options, err);
	w->tried = true;
	if (status == STATUS_OK) {
		free(a->etag);
		a->etag = xstrdup(etag);
	}
	return status;
}

static enum status write_run(struct active *a, struct error *err)
{
	struct run_write w = {.active = a};
	enum status status;

	arena_init(&w.arena, 0);
	w.packed = workflow_run_pack(&a->run, &w.arena);
	status = engine_persist(a->engine, write_run_step, &w, err);
	arena_release(&w.arena);
	return status;
}

/* ------------------------------------------------------------------- the end */

static void wake_waiters(struct active *a)
{
	struct engine *e = a->engine;
	struct engine_waiter *w;
	struct arena arena;
	struct bytes packed;

	pthread_mutex_lock(&e->mu);
	(void)map_remove(&e->runs, a->key);
	w = a->waiters;
	a->waiters = NULL;
	daemon_set_number(e->daemon, "active_runs", (int64_t)e->runs.count);
	pthread_mutex_unlock(&e->mu);
	arena_init(&arena, 0);
	packed = workflow_run_pack(&a->run, &arena);
	while (w) {
		struct engine_waiter *next = w->next;
		w->ended(w, packed);
		w = next;
	}
	arena_release(&arena);
	active_unref(a);
}

/* Its record is another's now, or cannot be written: leave it to the next start. */
static void abandon(struct active *a, const struct error *err)
{
	if (err->status != STATUS_CANCELLED)
		log_error("run %s is left alone: %s", a->key, err->message);
	wake_waiters(a);
}

/* ------------------------------------------------------------------ advancing */

/* The next event; NULL: none, and this thread no longer advances the run. */
static struct event *take_event(struct active *a)
{
	struct event *event;

	pthread_mutex_lock(&a->mu);
	event = a->events;
	if (event) {
		a->events = event->next;
		if (!a->events)
			a->last_event = &a->events;
	}
	pthread_mutex_unlock(&a->mu);
	return event;
}

/* False: events came meanwhile. */
static bool stop_advancing(struct active *a)
{
	bool stopped;

	pthread_mutex_lock(&a->mu);
	stopped = !a->events;
	if (stopped)
		a->advancing = false;
	pthread_mutex_unlock(&a->mu);
	return stopped;
}

struct retry {
	struct active *active;
	size_t task;
};

static void retry_due(void *arg, bool cancelled)
{
	struct retry *r = arg;
	struct active *a = r->active;
	struct event *event;

	if (cancelled) {
		free(r);
		active_unref(a);
		return;
	}
	event = active_alloc(a, sizeof(*event));
	*event = (struct event){.task = r->task, .is_retry = true};
	free(r);
	active_add_event(a, event);
	active_submit(a, engine_advance, a); /* with the delay's reference */
}

static void take(struct active *a, const struct event *event)
{
	double jitter = (double)(random_u64() >> 11) / (double)(1ull << 53);
	struct retry *r;
	int delay_ms;

	if (event->is_retry) {
		a->run.tasks[event->task].state = EXECUTION_PENDING;
		return;
	}
	delay_ms =
		run_take_attempt(&a->run, &a->definition, event->task, &event->attempt, jitter);
	if (delay_ms < 0)
		return;
	r = xcalloc(1, sizeof(*r));
	*r = (struct retry){a, event->task};
	active_ref(a);
	delays_add(a->engine->delays, delay_ms, retry_due, r);
}

static bool has_failed(const struct active *a)
{
	for (size_t i = 0; i < a->run.task_count; i++)
		if (a->run.tasks[i].state == EXECUTION_FAILED)
			return true;
	return false;
}

static void start_ready(struct active *a)
{
	if (has_failed(a))
		return;
	for (size_t i = 0; i < a->run.task_count; i++) {
		if (!run_is_ready(&a->run, &a->definition, i))
			continue;
		a->run.tasks[i].state = EXECUTION_RUNNING;
		attempt_start(a, i);
	}
}

/* Everything that has happened, one write, what can begin now. False: it is over. */
static bool advance_once(struct active *a)
{
	bool changed = a->run.state == WORKFLOW_PENDING;
	struct event *event;
	struct error err;

	while ((event = take_event(a))) {
		changed |= !event->is_retry;
		take(a, event);
	}
	if (a->run.state == WORKFLOW_PENDING) {
		a->run.state = WORKFLOW_RUNNING;
		a->run.started_us = clock_unix_us();
	}
	bool ended = run_settle(&a->run, &a->definition, clock_unix_us());
	if (changed && write_run(a, &err) != STATUS_OK) {
		abandon(a, &err);
		return false;
	}
	if (ended) {
		wake_waiters(a);
		return false;
	}
	start_ready(a);
	return true;
}

/* One thread advances a run; others leave their events to it. */
void engine_advance(void *arg)
{
	struct active *a = arg;
	bool mine;

	pthread_mutex_lock(&a->mu);
	mine = !a->advancing;
	a->advancing = true;
	pthread_mutex_unlock(&a->mu);
	if (mine && !engine_is_closing(a->engine))
		while (advance_once(a) && !stop_advancing(a)) {
		}
	active_unref(a);
}

/* ------------------------------------------------------------------- the engine */

struct engine *engine_new(struct daemon *d, struct type_cache *types)
{
	struct engine *e = xcalloc(1, sizeof(*e));

	e->daemon = d;
	e->types = types;
	e->repo = daemon_channel(d, DAEMON_REPO);
	e->dispatcher = daemon_channel(d, DAEMON_DISPATCHER);
	e->pool = rpc_pool_new("engine", THREADS, QUEUE);
	e->delays = delays_new();
	pthread_mutex_init(&e->mu, NULL);
	pthread_cond_init(&e->changed, NULL);
	return e;
}

static void unref_run(void *a)
{
	active_unref(a);
}

void engine_free(struct engine *e)
{
	struct map runs;

	if (!e)
		return;
	pthread_mutex_lock(&e->mu);
	e->closing = true;
	attempt_cancel_all(e);
	runs = e->runs;
	e->runs = (struct map){0};
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->mu);
	delays_free(e->delays); /* gives back what waits */
	map_release(&runs, unref_run);
	pthread_mutex_lock(&e->mu);
	while (e->live)
		pthread_cond_wait(&e->changed, &e->mu);
	pthread_mutex_unlock(&e->mu);
	rpc_pool_free(e->pool);
	pthread_mutex_destroy(&e->mu);
	pthread_cond_destroy(&e->changed);
	free(e);
}

enum status engine_has_room(struct engine *e, struct error *err)
{
	bool full;

	pthread_mutex_lock(&e->mu);
	full = e->runs.count >= ENGINE_MAX_RUNS;
	pthread_mutex_unlock(&e->mu);
	return full ? error_set(err, STATUS_RESOURCE_EXHAUSTED,
				"%d workflows are running already", ENGINE_MAX_RUNS)
		    : STATUS_OK;
}

static struct active *new_active(struct engine *e, const char *etag, bool recovered)
{
	struct active *a = xcalloc(1, sizeof(*a));

	a->engine = e;
	a->etag = xstrdup(etag);
	a->recovered = recovered;
	a->last_event = &a->events;
	a->refs = 2; /* the engine's, and that of the first advance */
	arena_init(&a->arena, 0);
	pthread_mutex_init(&a->mu, NULL);
	pthread_mutex_lock(&e->mu);
	e->live++;
	pthread_mutex_unlock(&e->mu);
	return a;
}

static enum status load(struct active *a, struct bytes record, struct bytes definition,
			struct error *err)
{
	enum status status =
		workflow_definition_unpack(definition, &a->arena, &a->definition, err);

	if (status == STATUS_OK)
		status = workflow_run_unpack(record, &a->arena, &a->run, err);
	if (status == STATUS_OK)
		run_prepare(&a->run, &a->definition, &a->arena);
	return status;
}

enum status engine_add(struct engine *e, struct bytes record, const char *etag,
		       struct bytes definition, bool recovered, struct error *err)
{
	struct active *a = new_active(e, etag, recovered);
	enum status status = load(a, record, definition, err);
	bool added = false;

	if (status != STATUS_OK) {
		active_unref(a);
		active_unref(a);
		return status;
	}
	a->key = xasprintf("%s/%s", a->run.ns, a->run.id);
	pthread_mutex_lock(&e->mu);
	if (!e->closing && !map_get(&e->runs, a->key)) {
		map_put(&e->runs, a->key, a);
		added = true;
	}
	daemon_set_number(e->daemon, "active_runs", (int64_t)e->runs.count);
	pthread_mutex_unlock(&e->mu);
	if (added) {
		active_submit(a, engine_advance, a);
	} else { /* it is there, or all is over: both are fine */
		active_unref(a);
		active_unref(a);
	}
	return STATUS_OK;
}

bool engine_wait(struct engine *e, struct engine_waiter *w)
{
	struct active *a;

	pthread_mutex_lock(&e->mu);
	a = map_get(&e->runs, w->key);
	if (a) {
		w->next = a->waiters;
		a->waiters = w;
	}
	pthread_mutex_unlock(&e->mu);
	return a != NULL;
}

bool engine_forget(struct engine *e, struct engine_waiter *w)
{
	struct active *a;
	bool found = false;

	pthread_mutex_lock(&e->mu);
	a = map_get(&e->runs, w->key);
	for (struct engine_waiter **at = a ? &a->waiters : NULL; at && *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			found = true;
			break;
		}
	pthread_mutex_unlock(&e->mu);
	return found;
}

char *engine_definition_id(const char *ns, const char *name, int64_t version)
{
	return xasprintf("%s/%s/%" PRId64, ns, name, version);
}
