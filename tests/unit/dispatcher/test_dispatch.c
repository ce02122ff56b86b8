#include "services/dispatcher/dispatch.h"

#include "common/base/arena.h"
#include "tests/support/suite.h"

static struct error err;

START_TEST(loops_and_long_ways_are_refused)
{
	struct arena arena;
	const char *via;

	arena_init(&arena, 0);
	ck_assert_int_eq(dispatch_via(NULL, "me", &arena, &via, &err), STATUS_OK);
	ck_assert_str_eq(via, "me");
	ck_assert_int_eq(dispatch_via("a,b", "me", &arena, &via, &err), STATUS_OK);
	ck_assert_str_eq(via, "a,b,me");
	ck_assert_int_eq(dispatch_via("a,me,b", "me", &arena, &via, &err),
			 STATUS_FAILED_PRECONDITION);
	ck_assert_int_eq(dispatch_via("a,metoo", "me", &arena, &via, &err), STATUS_OK);
	ck_assert_int_eq(dispatch_via("a,b,c,d,e", "me", &arena, &via, &err),
			 STATUS_FAILED_PRECONDITION);
	arena_release(&arena);
}
END_TEST

int main(void)
{
	return suite_run("dispatch", NULL, NULL,
			 (const TTest *const[]){loops_and_long_ways_are_refused, NULL});
}
