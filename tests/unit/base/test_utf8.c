#include "common/base/utf8.h"

#include <string.h>

#include "tests/support/suite.h"

/* Every code point in its one right form is valid; all else here is not. */
START_TEST(every_code_point)
{
	for (unsigned c = 0; c <= 0x10ffff; c++) {
		char s[4];
		size_t n;
		if (c < 0x80) {
			s[0] = (char)c;
			n = 1;
		} else if (c < 0x800) {
			s[0] = (char)(0xc0 | c >> 6);
			s[1] = (char)(0x80 | (c & 63));
			n = 2;
		} else if (c < 0x10000) {
			s[0] = (char)(0xe0 | c >> 12);
			s[1] = (char)(0x80 | (c >> 6 & 63));
			s[2] = (char)(0x80 | (c & 63));
			n = 3;
		} else {
			s[0] = (char)(0xf0 | c >> 18);
			s[1] = (char)(0x80 | (c >> 12 & 63));
			s[2] = (char)(0x80 | (c >> 6 & 63));
			s[3] = (char)(0x80 | (c & 63));
			n = 4;
		}
		bool surrogate = c >= 0xd800 && c < 0xe000;
		ck_assert_msg(utf8_valid(s, n) == !surrogate, "U+%04X", c);
		if (n > 1)
			ck_assert_msg(!utf8_valid(s, n - 1), "U+%04X cut", c);
	}
}
END_TEST

START_TEST(malformed)
{
	static const char *const bad[] = {"\xc0\x80",
					  "\xc1\xbf",
					  "\xe0\x80\x80",
					  "\xe0\x9f\xbf",
					  "\xf0\x80\x80\x80",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\x80",
					  "\xff",
					  "\xc3\x28",
					  "12345678\xc3",
					  "abcdefgh\x80ijklmnop",
					  NULL};

	for (int i = 0; bad[i]; i++)
		ck_assert_msg(!utf8_valid(bad[i], strlen(bad[i])), "case %d", i);
	ck_assert(utf8_valid("", 0));
	ck_assert(utf8_valid("12345678\xc3\xa9 and more ascii", 26));
}
END_TEST

START_TEST(cuts)
{
	ck_assert_uint_eq(utf8_cut("a\xc3\xa9", 3), 3);
	ck_assert_uint_eq(utf8_cut("a\xc3\xa9", 2), 1);
	ck_assert_uint_eq(utf8_cut("\xf0\x9f\x98\x80", 3), 0);
	ck_assert_uint_eq(utf8_cut("abc", 3), 3);
	ck_assert_uint_eq(utf8_cut("", 0), 0);
}
END_TEST

int main(void)
{
	return suite_run("utf8", NULL, NULL,
			 (const TTest *const[]){every_code_point, malformed, cuts, NULL});
}
