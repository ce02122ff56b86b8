#include "services/worker/run.h"

#include <string.h>

#include "services/worker/definition.h"
#include "tests/support/suite.h"

/*
 *	a ---> b ---> d
 *	 \---> c ----/
 */
static const char *const on_a[] = {"a"}, *const on_bc[] = {"b", "c"};
static struct workflow_task tasks[] = {
	{.id = "a", .retry = {1, 1000, 60000, 2}},
	{.id = "b", .dependencies = on_a, .dependency_count = 1, .retry = {3, 1000, 3000, 2}},
	{.id = "c", .dependencies = on_a, .dependency_count = 1, .retry = {1, 1000, 60000, 2}},
	{.id = "d", .dependencies = on_bc, .dependency_count = 2, .retry = {1, 1000, 60000, 2}},
};
static const struct workflow_definition diamond = {.tasks = tasks, .task_count = 4};
static struct arena arena;
static struct workflow_run run;

static void setup(void)
{
	arena_init(&arena, 0);
	run = (struct workflow_run){.state = WORKFLOW_RUNNING};
	run_prepare(&run, &diamond, &arena);
}

static void teardown(void)
{
	arena_release(&arena);
}

static int finish(size_t task, int number, enum status status)
{
	struct run_attempt attempt = {.number = number,
				      .execution_id = "x",
				      .status = status,
				      .message = "because",
				      .output = {tasks[task].id, bytes_of(NULL, 0)}};

	run.tasks[task].state = EXECUTION_RUNNING;
	return run_take_attempt(&run, &diamond, task, &attempt, 0.5);
}

static unsigned ready(void)
{
	unsigned set = 0;

	for (size_t i = 0; i < 4; i++)
		set |= (unsigned)run_is_ready(&run, &diamond, i) << i;
	return set;
}

START_TEST(tasks_become_ready_in_order)
{
	ck_assert_uint_eq(ready(), 1);
	finish(0, 1, STATUS_OK);
	ck_assert_uint_eq(ready(), 2 + 4);
	finish(1, 1, STATUS_OK);
	ck_assert_uint_eq(ready(), 4);
	ck_assert(!run_settle(&run, &diamond, 5));
	finish(2, 1, STATUS_OK);
	ck_assert_uint_eq(ready(), 8);
	finish(3, 1, STATUS_OK);
	ck_assert(run_settle(&run, &diamond, 7));
	ck_assert_int_eq(run.state, WORKFLOW_SUCCEEDED);
	ck_assert_uint_eq(run.finished_us, 7);
	ck_assert_str_eq(run.current_output.type, "d");
}
END_TEST

START_TEST(retries_back_off_to_their_maximum)
{
	finish(0, 1, STATUS_OK);
	/* 1 s, then 2 s, a half of each drawn by lot (here its middle) */
	ck_assert_int_eq(finish(1, 1, STATUS_INTERNAL), 750);
	ck_assert_int_eq(run.tasks[1].state, EXECUTION_RETRYING);
	ck_assert(run_is_busy(&run));
	ck_assert(!run_settle(&run, &diamond, 1));
	ck_assert_int_eq(finish(1, 2, STATUS_INTERNAL), 1500);
	ck_assert_int_eq(finish(1, 3, STATUS_INTERNAL), -1);
	ck_assert_int_eq(run.tasks[1].state, EXECUTION_FAILED);
}
END_TEST

START_TEST(what_cannot_get_better_is_not_tried_again)
{
	finish(0, 1, STATUS_OK);
	ck_assert_int_eq(finish(1, 1, STATUS_INVALID_ARGUMENT), -1);
	ck_assert_int_eq(run.tasks[1].state, EXECUTION_FAILED);
}
END_TEST

START_TEST(a_failure_waits_for_what_is_under_way)
{
	finish(0, 1, STATUS_OK);
	run.tasks[1].state = EXECUTION_RUNNING;
	finish(2, 1, STATUS_ABORTED);
	ck_assert(!run_settle(&run, &diamond, 1));
	finish(1, 1, STATUS_OK);
	ck_assert(run_settle(&run, &diamond, 9));
	ck_assert_int_eq(run.state, WORKFLOW_FAILED);
	ck_assert_int_eq(run.error_status, STATUS_ABORTED);
	ck_assert_str_eq(run.error_message, "because");
	ck_assert(run_settle(&run, &diamond, 10));
	ck_assert_uint_eq(run.finished_us, 9);
}
END_TEST

START_TEST(a_run_taken_up_again_repeats_what_was_under_way)
{
	struct workflow_task_state stored[] = {
		{.task_id = "c", .state = EXECUTION_RUNNING, .attempt = 0},
		{.task_id = "a", .state = EXECUTION_SUCCEEDED, .attempt = 1},
		{.task_id = "b", .state = EXECUTION_RETRYING, .attempt = 2},
	};

	run.tasks = stored;
	run.task_count = 3;
	run_prepare(&run, &diamond, &arena);
	ck_assert_uint_eq(run.task_count, 4);
	ck_assert_str_eq(run.tasks[3].task_id, "d");
	ck_assert_int_eq(run.tasks[1].attempt, 2);
	ck_assert_uint_eq(ready(), 2 + 4);
}
END_TEST

int main(void)
{
	return suite_run("run", setup, teardown,
			 (const TTest *const[]){
				 tasks_become_ready_in_order,
				 retries_back_off_to_their_maximum,
				 what_cannot_get_better_is_not_tried_again,
				 a_failure_waits_for_what_is_under_way,
				 a_run_taken_up_again_repeats_what_was_under_way,
				 NULL,
			 });
}
