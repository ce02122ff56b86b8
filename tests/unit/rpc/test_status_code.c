#include "collector/common.pb-c.h"
#include "common/rpc/status_code.h"
#include "tests/support/suite.h"

START_TEST(every_status_comes_back)
{
	for (int s = STATUS_OK; s <= STATUS_UNAUTHENTICATED; s++)
		ck_assert_int_eq(
			status_from_collector_code(status_to_collector_code((enum status)s)),
			s);
}
END_TEST

START_TEST(every_code_of_the_contract_comes_back)
{
	const ProtobufCEnumDescriptor *d = &collector__status__code__descriptor;

	ck_assert_uint_eq(d->n_values, 17);
	for (unsigned i = 0; i < d->n_values; i++) {
		int code = d->values[i].value;
		enum status status = status_from_collector_code(code);
		ck_assert_int_eq(status_to_collector_code(status), code);
		/* The two numberings differ, their names do not. */
		ck_assert_str_eq(status_name(status), d->values[i].name);
	}
}
END_TEST

START_TEST(numbers_are_the_contracts)
{
	ck_assert_int_eq(status_to_collector_code(STATUS_NOT_FOUND), 4);
	ck_assert_int_eq(status_to_collector_code(STATUS_DATA_LOSS), 14);
	ck_assert_int_eq(status_to_collector_code(STATUS_DEADLINE_EXCEEDED), 100);
	ck_assert_int_eq(status_to_collector_code(STATUS_UNAUTHENTICATED), 101);
}
END_TEST

START_TEST(foreign_numbers)
{
	ck_assert_int_eq(status_from_collector_code(200), STATUS_OK);
	ck_assert_int_eq(status_from_collector_code(99), STATUS_UNKNOWN);
	ck_assert_int_eq(status_from_collector_code(-1), STATUS_UNKNOWN);
	ck_assert_int_eq(status_to_collector_code((enum status)17), 2);
}
END_TEST

int main(void)
{
	return suite_run("status_code", NULL, NULL,
			 (const TTest *const[]){
				 every_status_comes_back,
				 every_code_of_the_contract_comes_back,
				 numbers_are_the_contracts,
				 foreign_numbers,
				 NULL,
			 });
}
