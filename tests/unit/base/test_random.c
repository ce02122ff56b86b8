#include "common/base/random.h"

#include <string.h>

#include "common/base/clock.h"
#include "tests/support/suite.h"

START_TEST(uuid7_has_version_variant_and_order)
{
	char a[UUID_TEXT_BYTES], b[UUID_TEXT_BYTES];

	random_uuid7(0x0123456789abu, a);
	random_uuid7(0x0123456789acu, b);
	ck_assert_uint_eq(strlen(a), 36);
	ck_assert_int_eq(strncmp(a, "01234567-89ab-7", 15), 0);
	ck_assert_ptr_nonnull(strchr("89ab", a[19]));
	ck_assert_int_lt(strcmp(a, b), 0);
	random_uuid7(0x0123456789abu, b);
	ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(uuid7_of_one_millisecond_are_in_order)
{
	char last[UUID_TEXT_BYTES], next[UUID_TEXT_BYTES];

	random_uuid7(0x0200000000000u, last);
	for (int i = 0; i < 10000; i++) {
		random_uuid7(0x0200000000000u, next);
		ck_assert_int_lt(strcmp(last, next), 0);
		memcpy(last, next, sizeof(last));
	}
}
END_TEST

START_TEST(keys_are_hex_and_differ)
{
	char a[HEX_KEY_BYTES], b[HEX_KEY_BYTES];

	random_hex_key(a);
	random_hex_key(b);
	ck_assert_uint_eq(strspn(a, "0123456789abcdef"), 64);
	ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(clock_text_is_rfc3339)
{
	char out[CLOCK_TEXT_BYTES];

	clock_format(0, out);
	ck_assert_str_eq(out, "1970-01-01T00:00:00.000000Z");
	clock_format(1700000000123456u, out);
	ck_assert_str_eq(out, "2023-11-14T22:13:20.123456Z");
	ck_assert_uint_le(clock_monotonic_ns(), clock_monotonic_ns());
}
END_TEST

int main(void)
{
	return suite_run("random", NULL, NULL,
			 (const TTest *const[]){uuid7_has_version_variant_and_order,
						uuid7_of_one_millisecond_are_in_order,
						keys_are_hex_and_differ, clock_text_is_rfc3339,
						NULL});
}
