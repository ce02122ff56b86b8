#include "services/worker/run.h"

#include <string.h>

#include "services/worker/definition.h"

void run_prepare(struct workflow_run *run, const struct workflow_definition *d,
		 struct arena *arena)
{
	struct workflow_task_state *tasks =
		arena_zalloc(arena, (d->task_count + 1) * sizeof(*tasks));

	for (size_t i = 0; i < d->task_count; i++) {
		tasks[i] =
			(struct workflow_task_state){.execution_id = "", .error_message = ""};
		for (size_t k = 0; k < run->task_count; k++)
			if (!strcmp(run->tasks[k].task_id, d->tasks[i].id))
				tasks[i] = run->tasks[k];
		tasks[i].task_id = d->tasks[i].id;
		/* Whoever was calling it is gone: it is called again, as the same attempt. */
		if (tasks[i].state == EXECUTION_RUNNING || tasks[i].state == EXECUTION_RETRYING)
			tasks[i].state = EXECUTION_PENDING;
	}
	run->tasks = tasks;
	run->task_count = d->task_count;
}

bool run_is_ready(const struct workflow_run *run, const struct workflow_definition *d, size_t i)
{
	const struct workflow_task *t = &d->tasks[i];

	if (run->tasks[i].state != EXECUTION_PENDING)
		return false;
	for (size_t k = 0; k < t->dependency_count; k++)
		if (run->tasks[definition_find(d, t->dependencies[k])].state !=
		    EXECUTION_SUCCEEDED)
			return false;
	return true;
}

/* Trying again cannot help what is wrong with the call itself. */
static bool is_retryable(enum status status)
{
	return status != STATUS_INVALID_ARGUMENT && status != STATUS_UNIMPLEMENTED &&
	       status != STATUS_PERMISSION_DENIED && status != STATUS_UNAUTHENTICATED &&
	       status != STATUS_FAILED_PRECONDITION && status != STATUS_OUT_OF_RANGE;
}

/* initial * multiplier^(n-1), at most the maximum; half of it is drawn by lot. */
static int pause_after(const struct workflow_retry *r, int attempt, double jitter)
{
	double pause = r->initial_delay_ms;

	for (int i = 1; i < attempt && pause < r->max_delay_ms; i++)
		pause *= r->multiplier;
	if (pause > r->max_delay_ms)
		pause = r->max_delay_ms;
	return (int)(pause / 2 + pause / 2 * jitter);
}

int run_take_attempt(struct workflow_run *run, const struct workflow_definition *d, size_t i,
		     const struct run_attempt *attempt, double jitter)
{
	const struct workflow_retry *retry = &d->tasks[i].retry;
	struct workflow_task_state *t = &run->tasks[i];

	t->attempt = attempt->number;
	t->execution_id = attempt->execution_id;
	t->error_status = attempt->status;
	t->error_message = attempt->status == STATUS_OK ? "" : attempt->message;
	if (attempt->status == STATUS_OK) {
		t->state = EXECUTION_SUCCEEDED;
		t->output = attempt->output;
		run->current_output = attempt->output;
		return -1;
	}
	if (attempt->number < retry->max_attempts && is_retryable(attempt->status)) {
		t->state = EXECUTION_RETRYING;
		return pause_after(retry, attempt->number, jitter);
	}
	t->state = EXECUTION_FAILED;
	return -1;
}

bool run_is_busy(const struct workflow_run *run)
{
	for (size_t i = 0; i < run->task_count; i++)
		if (run->tasks[i].state == EXECUTION_RUNNING ||
		    run->tasks[i].state == EXECUTION_RETRYING)
			return true;
	return false;
}

bool run_has_ended(const struct workflow_run *run)
{
	return run->state == WORKFLOW_SUCCEEDED || run->state == WORKFLOW_FAILED ||
	       run->state == WORKFLOW_CANCELLED;
}

/* The output of a run is that of the task that no other waits for, the last such. */
static void choose_output(struct workflow_run *run, const struct workflow_definition *d)
{
	for (size_t i = d->task_count; i--;) {
		bool is_waited_for = false;
		for (size_t k = 0; k < d->task_count; k++)
			for (size_t j = 0; j < d->tasks[k].dependency_count; j++)
				is_waited_for |=
					!strcmp(d->tasks[k].dependencies[j], d->tasks[i].id);
		if (!is_waited_for) {
			run->current_output = run->tasks[i].output;
			return;
		}
	}
}

bool run_settle(struct workflow_run *run, const struct workflow_definition *d, uint64_t now_us)
{
	const struct workflow_task_state *failed = NULL;
	bool all_done = true;

	if (run_has_ended(run))
		return true;
	for (size_t i = 0; i < run->task_count; i++) {
		all_done &= run->tasks[i].state == EXECUTION_SUCCEEDED;
		if (!failed && run->tasks[i].state == EXECUTION_FAILED)
			failed = &run->tasks[i];
	}
	if (!all_done && !(failed && !run_is_busy(run)))
		return false;
	run->state = all_done ? WORKFLOW_SUCCEEDED : WORKFLOW_FAILED;
	run->finished_us = now_us;
	if (all_done) {
		choose_output(run, d);
	} else {
		run->error_status = failed->error_status;
		run->error_message = failed->error_message;
	}
	return true;
}
