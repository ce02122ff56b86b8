#include "services/worker/definition.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

enum { ROOM = DEFINITION_MAX_TASKS + 1 };

static struct workflow_task tasks[ROOM];
static char ids[ROOM][16];
static const char *before[ROOM][2];
static struct workflow_definition d;
static struct error err;

/* A chain of @count tasks t0 <- t1 <- ... */
static void make_chain(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		snprintf(ids[i], sizeof(ids[i]), "t%zu", i);
		before[i][0] = i ? ids[i - 1] : NULL;
		tasks[i] = (struct workflow_task){
			.id = ids[i],
			.service = "a.S",
			.service_ns = "",
			.method = "M",
			.input_type = "",
			.output_type = "",
			.continuation_id = "",
			.dependencies = before[i],
			.dependency_count = i ? 1 : 0,
			.retry = {1, 1000, 60000, 2},
		};
	}
	d = (struct workflow_definition){.ns = "",
					 .name = "chain",
					 .input_type = "",
					 .output_type = "",
					 .tasks = tasks,
					 .task_count = count};
}

static void refuse(const char *field)
{
	ck_assert_int_eq(definition_check_graph(&d, &err), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, field);
}

START_TEST(the_longest_chain_is_fine)
{
	make_chain(DEFINITION_MAX_TASKS);
	ck_assert_int_eq(definition_check_graph(&d, &err), STATUS_OK);
	ck_assert(definition_depends(&d, DEFINITION_MAX_TASKS - 1, "t0"));
	ck_assert(!definition_depends(&d, 0, "t1"));
	make_chain(DEFINITION_MAX_TASKS + 1);
	refuse("tasks");
	make_chain(0);
	refuse("tasks");
}
END_TEST

START_TEST(circles_are_found)
{
	make_chain(5);
	before[2][1] = ids[4];
	tasks[2].dependency_count = 2;
	refuse("tasks[2].dependencies");
	make_chain(1);
	before[0][0] = ids[0];
	tasks[0].dependency_count = 1;
	refuse("tasks[0].dependencies");
}
END_TEST

START_TEST(names_must_be_there_and_unique)
{
	make_chain(3);
	before[2][0] = "nobody";
	refuse("tasks[2].dependencies");
	make_chain(3);
	tasks[2].id = "t0";
	refuse("tasks[2].id");
	make_chain(3);
	tasks[1].id = "a b";
	refuse("tasks[1].id");
	make_chain(3);
	tasks[1].id = "a.b";
	refuse("tasks[1].id");
	make_chain(3);
	tasks[1].method = "";
	refuse("tasks[1].method_name");
	make_chain(3);
	before[2][1] = ids[1];
	tasks[2].dependency_count = 2;
	refuse("tasks[2].dependencies");
	make_chain(2);
	tasks[1].service_ns = "elsewhere";
	refuse("tasks[1].service.namespace");
	make_chain(2);
	d.name = "Not A Name";
	refuse("name");
}
END_TEST

START_TEST(retries_are_bounded)
{
	make_chain(2);
	tasks[1].retry.max_attempts = 101;
	refuse("tasks[1].retry_policy.max_attempts");
	make_chain(2);
	tasks[1].retry.multiplier = 0.5;
	refuse("tasks[1].retry_policy.backoff_multiplier");
	make_chain(2);
	tasks[1].retry.initial_delay_ms = -1;
	refuse("tasks[1].retry_policy");
}
END_TEST

int main(void)
{
	return suite_run("definition", NULL, NULL,
			 (const TTest *const[]){the_longest_chain_is_fine, circles_are_found,
						names_must_be_there_and_unique,
						retries_are_bounded, NULL});
}
