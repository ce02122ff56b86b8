#include "common/rpc/patience.h"

#include "tests/support/suite.h"

enum { LOOK_NS = 100000, SHORT_NS = 30000, LONG_NS = 1000000 };

static struct patience p;

static void setup(void)
{
	patience_init(&p, LOOK_NS);
}

static void teardown(void)
{
}

static void wait_often(unsigned times, uint64_t waited_ns)
{
	for (unsigned i = 0; i < times; i++)
		patience_waited(&p, waited_ns);
}

START_TEST(who_never_looks_never_does)
{
	patience_init(&p, 0);
	wait_often(10000, 0);
	wait_often(10000, SHORT_NS);
	ck_assert(!patience_has(&p));
}
END_TEST

START_TEST(enough_short_waits_in_a_row_are_needed)
{
	wait_often(PATIENCE_FEWEST - 1, SHORT_NS);
	ck_assert(!patience_has(&p));
	wait_often(1, LONG_NS);
	wait_often(PATIENCE_FEWEST - 1, SHORT_NS);
	ck_assert(!patience_has(&p));
	wait_often(1, SHORT_NS);
	ck_assert(patience_has(&p));
	patience_lose(&p);
	ck_assert(!patience_has(&p));
}
END_TEST

START_TEST(what_is_there_already_is_no_wait)
{
	wait_often(10000, PATIENCE_SLEEP_NS - 1);
	ck_assert(!patience_has(&p));
}
END_TEST

START_TEST(it_stays_while_looks_find_something)
{
	wait_often(PATIENCE_FEWEST, SHORT_NS);
	for (int i = 0; i < 10000; i++) {
		ck_assert(patience_has(&p));
		patience_looked(&p, true, SHORT_NS);
	}
}
END_TEST

/* Every 17th wait is a long one: the worst there is. */
START_TEST(looks_in_vain_become_rare)
{
	unsigned vain = 0;

	for (int i = 0; i < 10000; i++) {
		wait_often(PATIENCE_FEWEST, SHORT_NS);
		if (patience_has(&p)) {
			patience_looked(&p, false, LOOK_NS);
			vain++;
		}
		wait_often(1, LONG_NS);
	}
	ck_assert_uint_eq(vain, 1);
	/* Short waits alone, as many as it takes by now, bring it back. */
	wait_often(2 * PATIENCE_FEWEST, SHORT_NS);
	ck_assert(patience_has(&p));
}
END_TEST

START_TEST(it_is_bounded_and_comes_back)
{
	for (int i = 0; i < 100; i++) {
		wait_often(PATIENCE_MOST, SHORT_NS);
		ck_assert(patience_has(&p));
		patience_looked(&p, false, LOOK_NS);
	}
	ck_assert_uint_eq(p.enough, PATIENCE_MOST);
	wait_often(PATIENCE_MOST, SHORT_NS);
	for (int i = 0; i < PATIENCE_MOST; i++)
		patience_looked(&p, true, SHORT_NS);
	ck_assert_uint_eq(p.enough, PATIENCE_FEWEST);
}
END_TEST

int main(void)
{
	return suite_run("patience", setup, teardown,
			 (const TTest *const[]){
				 who_never_looks_never_does,
				 enough_short_waits_in_a_row_are_needed,
				 what_is_there_already_is_no_wait,
				 it_stays_while_looks_find_something,
				 looks_in_vain_become_rare,
				 it_is_bounded_and_comes_back,
				 NULL,
			 });
}
