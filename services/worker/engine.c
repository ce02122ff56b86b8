#include "services/worker/engine.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "common/client/dispatcher_client.h"
#include "common/client/repo_client.h"
#include "common/client/type_cache.h"
#include "common/client/workflow_records.h"
#include "common/daemon/daemon.h"
#include "common/reflect/pool.h"
#include "common/rpc/pool.h"
#include "services/worker/delay.h"
#include "services/worker/run.h"
#include "services/worker/template.h"

enum {
	THREADS = 8,
	QUEUE = ENGINE_MAX_RUNS * 4,
	REPO_TIMEOUT_MS = 10000,
	REPO_RETRY_FIRST_MS = 50,
	REPO_RETRY_MAX_MS = 2000,
	ABSENCE_FIRST_MS = 100, /* pauses while no handler can be reached */
	ABSENCE_MAX_MS = 2000,
	ABSENCE_TRIES = 40, /* a good minute; then the attempt has failed */
};

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

/* One attempt at a task, on its way. */
struct attempt {
	struct active *active;
	size_t task;
	int number;
	unsigned absences;
	struct arena arena;
	char *id;
	struct workflow_execution execution;
	struct rpc_pending *pending; /* engine.mu */
	struct attempt *previous, *next;
	/* The answer, copied out of the callback. */
	enum status status;
	struct error err;
	struct bytes reply;
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

static void advance(void *arg);
static void execute(void *arg);

/* ------------------------------------------------------------------ lifetime */

static void active_ref(struct active *a)
{
	pthread_mutex_lock(&a->mu);
	a->refs++;
	pthread_mutex_unlock(&a->mu);
}

static void active_unref(struct active *a)
{
	struct engine *e = a->engine;
	bool last;

	pthread_mutex_lock(&a->mu);
	last = --a->refs == 0;
	pthread_mutex_unlock(&a->mu);
	if (!last)
		return;
	arena_release(&a->arena);
	pthread_mutex_destroy(&a->mu);
	free(a->key);
	free(a->etag);
	free(a);
	pthread_mutex_lock(&e->mu);
	e->live--;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->mu);
}

static bool is_closing(struct engine *e)
{
	bool closing;

	pthread_mutex_lock(&e->mu);
	closing = e->closing;
	pthread_mutex_unlock(&e->mu);
	return closing;
}

/* The queue has room for all that runs can ask for; @work owns a reference to @a. */
static void submit(struct active *a, void (*work)(void *arg), void *arg)
{
	if (!rpc_pool_submit(a->engine->pool, work, arg)) {
		log_error(
			"the engine's queue is full: run %s stands still until the next start",
			a->key);
		active_unref(a);
	}
}

/* --------------------------------------------------------------------- writing */

/* Wait until the engine closes, at most @delay_ms. False: it closes. */
static bool pause_ms(struct engine *e, int delay_ms)
{
	struct timespec until = delay_until(delay_ms);
	bool closing;

	pthread_mutex_lock(&e->mu);
	while (!e->closing)
		if (pthread_cond_timedwait(&e->changed, &e->mu, &until))
			break;
	closing = e->closing;
	pthread_mutex_unlock(&e->mu);
	return !closing;
}

static bool is_absent(enum status status)
{
	return status == STATUS_UNAVAILABLE || status == STATUS_DEADLINE_EXCEEDED ||
	       status == STATUS_RESOURCE_EXHAUSTED;
}

/* Do @step until the repo is there to answer. CANCELLED: the engine closes. */
static enum status persist(struct engine *e, enum status (*step)(void *arg, struct error *err),
			   void *arg, struct error *err)
{
	int delay_ms = REPO_RETRY_FIRST_MS;

	for (;;) {
		enum status status = step(arg, err);
		if (!is_absent(status))
			return status;
		if (!pause_ms(e, delay_ms))
			return error_set(err, STATUS_CANCELLED, "the worker stops");
		delay_ms = delay_ms * 2 < REPO_RETRY_MAX_MS ? delay_ms * 2 : REPO_RETRY_MAX_MS;
	}
}

/* In a call to persist(): a deadline after which the write may have happened
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
	struct rpc_options options = {.timeout_ms = REPO_TIMEOUT_MS};
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
	status = persist(a->engine, write_run_step, &w, err);
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

static void add_event(struct active *a, struct event *event)
{
	pthread_mutex_lock(&a->mu);
	event->next = NULL;
	*a->last_event = event;
	a->last_event = &event->next;
	pthread_mutex_unlock(&a->mu);
}

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

static void *active_alloc(struct active *a, size_t size)
{
	void *p;

	pthread_mutex_lock(&a->mu);
	p = arena_zalloc(&a->arena, size);
	pthread_mutex_unlock(&a->mu);
	return p;
}

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
	add_event(a, event);
	submit(a, advance, a); /* with the delay's reference */
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
		struct attempt *t;
		if (!run_is_ready(&a->run, &a->definition, i))
			continue;
		a->run.tasks[i].state = EXECUTION_RUNNING;
		t = xcalloc(1, sizeof(*t));
		t->active = a;
		t->task = i;
		t->number = a->run.tasks[i].attempt + 1;
		arena_init(&t->arena, 0);
		active_ref(a);
		submit(a, execute, t);
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
static void advance(void *arg)
{
	struct active *a = arg;
	bool mine;

	pthread_mutex_lock(&a->mu);
	mine = !a->advancing;
	a->advancing = true;
	pthread_mutex_unlock(&a->mu);
	if (mine && !is_closing(a->engine))
		while (advance_once(a) && !stop_advancing(a)) {
		}
	active_unref(a);
}

/* ------------------------------------------------------------------- attempts */

static void free_attempt(struct attempt *t)
{
	struct active *a = t->active;

	arena_release(&t->arena);
	free(t->id);
	free(t);
	active_unref(a);
}

static struct typed_message keep_message(struct active *a, const struct typed_message *m)
{
	struct typed_message kept = {NULL, bytes_of(NULL, 0)};

	if (m->type) {
		kept.type = arena_strdup(&a->arena, m->type);
		kept.value = bytes_of(arena_memdup(&a->arena, m->value.data, m->value.size),
				      m->value.size);
	}
	return kept;
}

/* Tell the run how the attempt ended; the attempt goes. */
static void report(struct attempt *t)
{
	const struct workflow_execution *x = &t->execution;
	struct active *a = t->active;
	struct event *event = active_alloc(a, sizeof(*event));

	pthread_mutex_lock(&a->mu);
	*event = (struct event){
		.task = t->task,
		.attempt = {.number = t->number,
			    .execution_id = arena_strdup(&a->arena, t->id),
			    .status = x->error_status,
			    .message = arena_strdup(&a->arena, x->error_message),
			    .output = keep_message(a, &x->output)},
	};
	pthread_mutex_unlock(&a->mu);
	add_event(a, event);
	active_ref(a);
	submit(a, advance, a);
	free_attempt(t);
}

static enum status read_stored(struct attempt *t, struct error *err)
{
	struct rpc_options options = {.timeout_ms = REPO_TIMEOUT_MS};
	struct repo_record there;
	enum status status =
		repo_client_get(t->active->engine->repo, "system", EXECUTIONS_COLLECTION, t->id,
				&options, &t->arena, &there, err);

	return status == STATUS_OK
		       ? workflow_execution_unpack(there.item, &t->arena, &t->execution, err)
		       : status;
}

static enum status read_stored_step(void *arg, struct error *err)
{
	return read_stored(arg, err);
}

static enum status write_execution_step(void *arg, struct error *err)
{
	struct attempt *t = arg;
	struct rpc_options options = {.timeout_ms = REPO_TIMEOUT_MS};
	enum status status = repo_client_create(
		t->active->engine->repo, "system", EXECUTIONS_COLLECTION, t->id, EXECUTION_TYPE,
		workflow_execution_pack(&t->execution, &t->arena), &options, &t->arena, NULL,
		NULL, err);

	/* Another has told how this attempt ended: that is how it ended. */
	return status == STATUS_ALREADY_EXISTS ? read_stored(t, err) : status;
}

/* The attempt is over: write it down once and for all, then go on. */
static void conclude(struct attempt *t)
{
	struct error err;
	enum status status;

	t->execution.finished_us = clock_unix_us();
	status = persist(t->active->engine, write_execution_step, t, &err);
	if (status == STATUS_OK) {
		report(t);
		return;
	}
	if (status != STATUS_CANCELLED)
		log_error("execution %s cannot be written: %s", t->id, err.message);
	free_attempt(t); /* as after a crash, the next start repeats it */
}

static void conclude_failed(struct attempt *t, enum status status, const char *message)
{
	t->execution.state = EXECUTION_FAILED;
	t->execution.error_status = status;
	t->execution.error_message = arena_strdup(&t->arena, message);
	conclude(t);
}

/* --------------------------------------------------------------- calling methods */

static void call_again(void *arg, bool cancelled)
{
	struct attempt *t = arg;

	if (cancelled)
		free_attempt(t);
	else
		submit(t->active, execute, t);
}

/* Nobody was there to take the call: the same attempt waits for somebody. */
static void wait_for_handler(struct attempt *t)
{
	int delay_ms = ABSENCE_FIRST_MS;

	for (unsigned i = 0; i < t->absences && delay_ms < ABSENCE_MAX_MS; i++)
		delay_ms *= 2;
	t->absences++;
	delays_add(t->active->engine->delays,
		   delay_ms < ABSENCE_MAX_MS ? delay_ms : ABSENCE_MAX_MS, call_again, t);
}

static void take_answer(struct attempt *t)
{
	struct workflow_execution *x = &t->execution;
	struct dispatch_answer answer;
	struct error err;

	if (dispatch_response_unpack(t->reply, &t->arena, &answer, &err) != STATUS_OK) {
		conclude_failed(t, err.status, err.message);
		return;
	}
	x->executor_id = answer.handled_by;
	if (answer.status != STATUS_OK) {
		conclude_failed(t, answer.status, answer.message);
		return;
	}
	x->state = EXECUTION_SUCCEEDED;
	if (*answer.output_type)
		x->output = (struct typed_message){answer.output_type, answer.output};
	conclude(t);
}

static void answered(void *arg)
{
	struct attempt *t = arg;

	if (is_closing(t->active->engine))
		free_attempt(t);
	else if (t->status == STATUS_OK)
		take_answer(t);
	else if (t->status == STATUS_UNAVAILABLE && t->absences < ABSENCE_TRIES)
		wait_for_handler(t);
	else
		conclude_failed(t, t->status, t->err.message);
}

static void unlink_call(struct engine *e, struct attempt *t)
{
	pthread_mutex_lock(&e->mu);
	if (t->previous)
		t->previous->next = t->next;
	else
		e->calls = t->next;
	if (t->next)
		t->next->previous = t->previous;
	t->pending = NULL;
	pthread_mutex_unlock(&e->mu);
}

/* On the client's loop: copy, and leave. */
static void call_done(void *arg, enum status status, const struct error *err,
		      struct bytes reply, const struct rpc_outcome *outcome)
{
	struct attempt *t = arg;

	(void)outcome;
	unlink_call(t->active->engine, t);
	t->status = status;
	if (status != STATUS_OK)
		t->err = *err;
	t->reply = bytes_of(arena_memdup(&t->arena, reply.data, reply.size), reply.size);
	submit(t->active, answered, t);
}

static void call_method(struct attempt *t, const struct typed_message *input)
{
	struct active *a = t->active;
	struct engine *e = a->engine;
	struct rpc_header key = {"collector-idempotency-key", t->id};
	struct rpc_options options = {.timeout_ms = ENGINE_CALL_TIMEOUT_MS,
				      .wait_for_ready = true,
				      .headers = &key,
				      .header_count = 1};
	struct dispatch_request request = {.ns = a->run.ns,
					   .service = t->execution.service,
					   .method = t->execution.method,
					   .target = "",
					   .input_type = input->type,
					   .input = input->value};
	struct bytes packed = dispatch_request_pack(&request, &t->arena);

	pthread_mutex_lock(&e->mu);
	t->previous = NULL;
	t->next = e->calls;
	if (e->calls)
		e->calls->previous = t;
	e->calls = t;
	/* Under the lock, so that closing finds a call that can be cancelled. */
	rpc_start_raw(e->dispatcher, DISPATCH_PATH, packed, &options, call_done, t,
		      &t->pending);
	if (e->closing)
		rpc_cancel(t->pending);
	pthread_mutex_unlock(&e->mu);
}

/* ------------------------------------------------------------------------ inputs */

static const struct workflow_task_state *only_dependency(const struct attempt *t)
{
	const struct active *a = t->active;
	const struct workflow_task *task = &a->definition.tasks[t->task];

	if (task->dependency_count != 1)
		return NULL;
	for (size_t i = 0; i < a->run.task_count; i++)
		if (!strcmp(a->run.tasks[i].task_id, task->dependencies[0]))
			return &a->run.tasks[i];
	return NULL;
}

/* What is passed on where no template says what. */
static enum status choose_input(const struct attempt *t, const struct pool_message *type,
				struct typed_message *ret, struct error *err)
{
	const struct workflow_run *run = &t->active->run;
	const struct workflow_task_state *before = only_dependency(t);

	*ret = (struct typed_message){type->full_name, bytes_of(NULL, 0)};
	if (run->input.type && !strcmp(run->input.type, type->full_name))
		ret->value = run->input.value;
	else if (before && before->output.type && !strcmp(before->output.type, type->full_name))
		ret->value = before->output.value;
	else if (type->field_count)
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "nothing has the type %s: the task needs an input_config",
				 type->full_name);
	return STATUS_OK;
}

static enum status make_input(struct attempt *t, const struct pool *pool,
			      const struct pool_message *type, struct typed_message *ret,
			      struct error *err)
{
	const struct active *a = t->active;
	const struct workflow_task *task = &a->definition.tasks[t->task];
	struct template_scope scope = {pool, a->run.input, a->run.tasks, a->run.task_count};
	AUTO_STRBUF filled = STRBUF_INIT;
	enum status status;

	if (!task->has_template)
		return choose_input(t, type, ret, err);
	status = template_fill(&scope, task->template_struct, type, &filled, err);
	if (status == STATUS_OK)
		*ret = (struct typed_message){
			type->full_name,
			bytes_of(arena_memdup(&t->arena, filled.buf, filled.len), filled.len)};
	return status;
}

/* Everything that the call needs, except somebody to take it. */
static enum status prepare(struct attempt *t, struct typed_message *ret_input,
			   struct error *err)
{
	struct active *a = t->active;
	const struct workflow_task *task = &a->definition.tasks[t->task];
	struct rpc_options options = {.timeout_ms = REPO_TIMEOUT_MS};
	const struct pool_method *method;
	struct pool *pool;
	enum status status = type_cache_method(a->engine->types, a->run.ns, task->service,
					       task->method, &options, &pool, &method, err);

	if (status != STATUS_OK)
		return status;
	status = make_input(t, pool, method->input, ret_input, err);
	if (status == STATUS_OK)
		ret_input->type = arena_strdup(&t->arena, ret_input->type);
	pool_unref(pool);
	return status;
}

static void begin(struct attempt *t)
{
	struct active *a = t->active;
	const struct workflow_task *task = &a->definition.tasks[t->task];

	t->id = xasprintf("%s/%s/%s/0/%d", a->run.ns, a->run.id, task->id, t->number);
	t->execution = (struct workflow_execution){
		.id = t->id,
		.workflow_id = a->run.id,
		.task_id = task->id,
		.ns = a->run.ns,
		.service = task->service,
		.method = task->method,
		.error_message = "",
		.executor_id = "",
		.attempt = t->number,
		.started_us = clock_unix_us(),
	};
}

/* After a restart the attempt may have ended already, without the run's knowing. */
static bool adopt_stored(struct attempt *t)
{
	struct workflow_execution fresh = t->execution;
	struct error err;

	if (!t->active->recovered)
		return false;
	if (persist(t->active->engine, read_stored_step, t, &err) == STATUS_OK)
		return true;
	t->execution = fresh;
	return false;
}

/* On the pool. The tasks that it reads have succeeded: nobody writes them. */
static void execute(void *arg)
{
	struct attempt *t = arg;
	struct typed_message input;
	struct error err;
	enum status status;

	if (is_closing(t->active->engine)) {
		free_attempt(t);
		return;
	}
	if (!t->id) {
		begin(t);
		if (adopt_stored(t)) {
			report(t);
			return;
		}
	}
	status = prepare(t, &input, &err);
	if (status == STATUS_OK) {
		t->execution.input = input;
		call_method(t, &input);
	} else if (is_absent(status) && t->absences < ABSENCE_TRIES) {
		wait_for_handler(t);
	} else {
		conclude_failed(t, status, err.message);
	}
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
	for (struct attempt *t = e->calls; t; t = t->next)
		if (t->pending)
			rpc_cancel(t->pending);
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
		submit(a, advance, a);
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
