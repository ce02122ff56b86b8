#include "common/base/resolver.h"

#include <string.h>

#include "common/base/clock.h"
#include "tests/support/suite.h"

static struct error err;

static uint64_t in_ms(uint64_t ms)
{
	return clock_monotonic_ns() + ms * 1000000;
}

START_TEST(names_of_this_machine)
{
	struct resolver *r = resolver_new(1);
	struct resolver_answer answer;

	ck_assert_int_eq(resolver_lookup(r, "localhost", in_ms(60000), &answer, &err),
			 STATUS_OK);
	ck_assert_uint_ge(answer.count, 1);
	for (size_t i = 0; i < answer.count; i++)
		ck_assert(!strcmp(answer.addresses[i], "127.0.0.1") ||
			  !strcmp(answer.addresses[i], "::1"));
	resolver_free(r);
}
END_TEST

START_TEST(what_has_no_address)
{
	struct resolver *r = resolver_new(4);
	struct resolver_answer answer = {.count = 7};

	/* No resolver need be asked to know that these are no names. */
	ck_assert_int_eq(resolver_lookup(r, "a..b", in_ms(60000), &answer, &err),
			 STATUS_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.message, "a..b"));
	ck_assert_uint_eq(answer.count, 7);
	resolver_free(r);
}
END_TEST

START_TEST(no_wait_goes_beyond_the_deadline)
{
	struct resolver *r = resolver_new(4);
	struct resolver_answer answer;
	enum status status = resolver_lookup(r, "name.invalid", in_ms(0), &answer, &err);

	/* It may be quick and know already. */
	ck_assert(status == STATUS_DEADLINE_EXCEEDED || status == STATUS_UNAVAILABLE);
	resolver_free(r); /* while the lookup goes on */
}
END_TEST

START_TEST(lookups_are_bounded)
{
	struct resolver *r = resolver_new(0);
	struct resolver_answer answer;

	ck_assert_int_eq(resolver_lookup(r, "localhost", in_ms(60000), &answer, &err),
			 STATUS_RESOURCE_EXHAUSTED);
	resolver_free(r);
	resolver_free(NULL);
}
END_TEST

int main(void)
{
	return suite_run("resolver", NULL, NULL,
			 (const TTest *const[]){names_of_this_machine, what_has_no_address,
						no_wait_goes_beyond_the_deadline,
						lookups_are_bounded, NULL});
}
