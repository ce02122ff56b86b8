#include "common/base/status.h"

#include <string.h>

#include "tests/support/suite.h"

START_TEST(names_go_both_ways)
{
	for (int i = 0; i <= STATUS_UNAUTHENTICATED; i++) {
		enum status back;
		ck_assert(status_by_name(status_name((enum status)i), &back));
		ck_assert_int_eq(back, i);
	}
	ck_assert_str_eq(status_name((enum status)99), "UNKNOWN");
	ck_assert(!status_by_name("CODE_42", &(enum status){0}));
}
END_TEST

START_TEST(errors_carry_field_and_message)
{
	struct error err;

	ck_assert_int_eq(error_field(&err, "qty", "not %d", 5), STATUS_INVALID_ARGUMENT);
	error_prefix_field(&err, "orders[2]");
	ck_assert_str_eq(err.field, "orders[2].qty");
	ck_assert_str_eq(err.message, "not 5");
	ck_assert_int_eq(error_set(&err, STATUS_ABORTED, "changed"), STATUS_ABORTED);
	ck_assert_str_eq(err.field, "");
	error_prefix_field(&err, "item");
	ck_assert_str_eq(err.field, "item");
	ck_assert_int_eq(error_set(NULL, STATUS_ABORTED, "changed"), STATUS_ABORTED);
}
END_TEST

START_TEST(long_messages_are_cut_between_characters)
{
	char text[2000];
	struct error err;

	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa9", 3);
	error_set(&err, STATUS_INTERNAL, "x%s", text);
	ck_assert_uint_lt(strlen(err.message), sizeof(err.message));
	ck_assert_uint_eq(strlen(err.message) % 2, 1); /* x and whole characters */
}
END_TEST

int main(void)
{
	return suite_run(
		"status", NULL, NULL,
		(const TTest *const[]){names_go_both_ways, errors_carry_field_and_message,
				       long_messages_are_cut_between_characters, NULL});
}
