#include "services/dispatcher/sampling.h"

#include "tests/support/suite.h"

static struct sampling s;
static uint64_t now_ns;

static void setup(void)
{
	sampling_init(&s, 1000, 500, 100);
	now_ns = UINT64_C(5000000000);
}

static void teardown(void)
{
}

static bool keeps(uint64_t duration_us, bool failed, uint64_t *ret_stands_for)
{
	return sampling_keeps(&s, &(struct sampling_call){now_ns, duration_us, failed},
			      ret_stands_for);
}

START_TEST(up_to_the_limit_all_are_kept)
{
	uint64_t others;

	/* A burst of a second's worth, then 1,000 a second for ten. */
	for (int i = 0; i < 1000; i++)
		ck_assert(keeps(100, false, &others) && !others);
	for (int i = 0; i < 10000; i++) {
		now_ns += 1000001;
		ck_assert(keeps(100, false, &others) && !others);
	}
}
END_TEST

/* How many are kept of those that come in @seconds. */
static uint64_t kept_of(unsigned per_second, unsigned seconds)
{
	uint64_t others, kept = 0;

	for (unsigned i = 0; i < per_second * seconds; i++) {
		now_ns += 1000000000 / per_second;
		kept += keeps(100, false, &others);
	}
	return kept;
}

static void ck_assert_about(uint64_t value, uint64_t expected)
{
	ck_assert_uint_ge(value, expected - expected / 20);
	ck_assert_uint_le(value, expected + expected / 20);
}

START_TEST(bursts_that_are_few_in_a_second_are_all_kept)
{
	uint64_t others;

	for (int i = 0; i < 100; i++) {
		for (int k = 0; k < 90; k++) /* 30,000 a second, for 3 milliseconds */
			ck_assert(keeps(100, false, &others) && !others);
		now_ns += 100000000;
	}
}
END_TEST

START_TEST(above_it_what_is_kept_stands_for_the_rest)
{
	uint64_t others, kept = 0, stood_for = 0;

	for (int i = 0; i < 200000; i++) { /* 20,000 a second */
		now_ns += 50000;
		if (keeps(100, false, &others)) {
			kept++;
			stood_for += others;
		}
	}
	ck_assert_uint_ge(kept, 1000);
	/* those since the last one kept */
	ck_assert_uint_le(200000 - kept - stood_for, 250);
}
END_TEST

START_TEST(the_more_there_are_the_less_is_kept)
{
	(void)kept_of(2000, 3); /* until the room of a burst is used up */
	ck_assert_about(kept_of(1100, 10), 9100);
	ck_assert_about(kept_of(2000, 10), 5000);
	ck_assert_about(kept_of(5000, 10), 2000);
	ck_assert_about(kept_of(10000, 10), 1000);
	ck_assert_about(kept_of(100000, 10), 1000);
}
END_TEST

START_TEST(back_below_the_limit_all_are_kept_at_once)
{
	uint64_t others;

	(void)kept_of(50000, 3);
	(void)kept_of(1000, 1); /* of its first 20 milliseconds some are left out */
	for (int i = 0; i < 5000; i++) {
		now_ns += 1000001;
		ck_assert(keeps(100, false, &others));
	}
	(void)kept_of(50000, 3);
	ck_assert_uint_ge(kept_of(900, 1), 900 - 2 * 20);
}
END_TEST

START_TEST(failures_cost_no_more_than_ever)
{
	uint64_t others, kept = 0;

	(void)kept_of(20000, 3);
	for (int i = 0; i < 200000; i++) {
		now_ns += 50000;
		kept += keeps(100, true, &others);
	}
	ck_assert_about(kept, 15000); /* the room of all, and their own */
}
END_TEST

START_TEST(failures_have_room_of_their_own)
{
	uint64_t others, kept = 0;

	for (int i = 0; i < 100000; i++) {
		now_ns += 50000;
		if (i % 100 == 0) /* 200 a second */
			kept += keeps(100, true, &others);
		else
			(void)keeps(100, false, &others);
	}
	ck_assert_uint_eq(kept, 1000);
}
END_TEST

/* Failures that are kept before others must not be taken for what most calls are. */
START_TEST(failures_stand_for_failures)
{
	uint64_t others, stood_for[2] = {0};

	for (int i = 0; i < 400000; i++) {
		bool failed = i % 10 == 0; /* 2,000 of 20,000 a second: more than have room */
		now_ns += 50000;
		if (keeps(100, failed, &others))
			stood_for[failed] += 1 + others;
	}
	ck_assert_about(stood_for[true], 40000);
	ck_assert_about(stood_for[false], 360000);
}
END_TEST

START_TEST(the_slowest_have_too)
{
	uint64_t others, kept = 0;

	for (int i = 0; i < 200000; i++) {
		now_ns += 50000;
		bool slow = i % 400 == 399; /* 50 a second */
		bool keep = keeps(slow ? 90000 : 100, false, &others);
		if (slow && i >= 40000) /* which they are is known after the first second */
			kept += keep;
	}
	ck_assert_uint_eq(kept, 400);
}
END_TEST

START_TEST(a_clock_that_stands_still_or_durations_of_any_size_are_fine)
{
	static const uint64_t durations[] = {0, 1, 3, 4, 5, 1000, UINT64_MAX};
	uint64_t others;

	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
		ck_assert(keeps(durations[i], false, &others));
	now_ns -= 1000000000;
	ck_assert(keeps(1, false, &others));
}
END_TEST

int main(void)
{
	return suite_run("sampling", setup, teardown,
			 (const TTest *const[]){
				 up_to_the_limit_all_are_kept,
				 bursts_that_are_few_in_a_second_are_all_kept,
				 above_it_what_is_kept_stands_for_the_rest,
				 the_more_there_are_the_less_is_kept,
				 back_below_the_limit_all_are_kept_at_once,
				 failures_cost_no_more_than_ever,
				 failures_have_room_of_their_own,
				 failures_stand_for_failures,
				 the_slowest_have_too,
				 a_clock_that_stands_still_or_durations_of_any_size_are_fine,
				 NULL,
			 });
}
