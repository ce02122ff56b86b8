#include "services/worker/attempt.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strbuf.h"
#include "common/client/dispatcher_client.h"
#include "common/client/repo_client.h"
#include "common/client/type_cache.h"
#include "common/reflect/pool.h"
#include "services/worker/active.h"
#include "services/worker/delay.h"
#include "services/worker/template.h"

enum {
	ABSENCE_FIRST_MS = 100, /* pauses while no handler can be reached */
	ABSENCE_MAX_MS = 2000,
	ABSENCE_TRIES = 40, /* a good minute; then the attempt has failed */
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

static void execute(void *arg);

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
	active_add_event(a, event);
	active_ref(a);
	active_submit(a, engine_advance, a);
	free_attempt(t);
}

static enum status read_stored(struct attempt *t, struct error *err)
{
	struct rpc_options options = {.timeout_ms = ACTIVE_REPO_TIMEOUT_MS};
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
	struct rpc_options options = {.timeout_ms = ACTIVE_REPO_TIMEOUT_MS};
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
	status = engine_persist(t->active->engine, write_execution_step, t, &err);
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
		active_submit(t->active, execute, t);
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

	if (engine_is_closing(t->active->engine))
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
	active_submit(t->active, answered, t);
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
	struct rpc_options options = {.timeout_ms = ACTIVE_REPO_TIMEOUT_MS};
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
	if (engine_persist(t->active->engine, read_stored_step, t, &err) == STATUS_OK)
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

	if (engine_is_closing(t->active->engine)) {
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
	} else if (engine_is_absence(status) && t->absences < ABSENCE_TRIES) {
		wait_for_handler(t);
	} else {
		conclude_failed(t, status, err.message);
	}
}

void attempt_start(struct active *a, size_t task)
{
	struct attempt *t = xcalloc(1, sizeof(*t));

	t->active = a;
	t->task = task;
	t->number = a->run.tasks[task].attempt + 1;
	arena_init(&t->arena, 0);
	active_ref(a);
	active_submit(a, execute, t);
}

void attempt_cancel_all(struct engine *e)
{
	for (struct attempt *t = e->calls; t; t = t->next)
		if (t->pending)
			rpc_cancel(t->pending);
}
