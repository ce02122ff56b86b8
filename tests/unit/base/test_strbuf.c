#include "common/base/strbuf.h"

#include <stdlib.h>

#include "tests/support/suite.h"

START_TEST(empty_buffer_is_a_string)
{
	struct strbuf sb = STRBUF_INIT;

	ck_assert_str_eq(strbuf_str(&sb), "");
	strbuf_reset(&sb);
	strbuf_truncate(&sb, 10);
	ck_assert_uint_eq(sb.len, 0);
	strbuf_release(&sb);
}
END_TEST

START_TEST(grows_and_stays_terminated)
{
	AUTO_STRBUF sb = STRBUF_INIT;

	for (int i = 0; i < 10000; i++)
		strbuf_addf(&sb, "%d,", i % 10);
	ck_assert_uint_eq(sb.len, 20000);
	ck_assert_uint_eq(strlen(sb.buf), 20000);
	for (int i = 0; i < 1000; i++)
		strbuf_addch(&sb, 'x');
	ck_assert_uint_eq(strlen(sb.buf), 21000);
	strbuf_truncate(&sb, 3);
	ck_assert_str_eq(sb.buf, "0,1");
}
END_TEST

START_TEST(holds_nul_bytes)
{
	AUTO_STRBUF sb = STRBUF_INIT;

	strbuf_add(&sb, "a\0b", 3);
	ck_assert_uint_eq(sb.len, 3);
	ck_assert_mem_eq(sb.buf, "a\0b\0", 4);
}
END_TEST

START_TEST(json_escapes)
{
	AUTO_STRBUF sb = STRBUF_INIT;

	strbuf_add_json_escaped(&sb, "a\"b\\c\n\x01\xc3\xa9", 9);
	ck_assert_str_eq(sb.buf, "a\\\"b\\\\c\\n\\u0001\xc3\xa9");
}
END_TEST

START_TEST(detach_empties)
{
	struct strbuf sb = STRBUF_INIT;
	size_t len;
	char *s;

	strbuf_addstr(&sb, "hello");
	s = strbuf_detach(&sb, &len);
	ck_assert_str_eq(s, "hello");
	ck_assert_uint_eq(len, 5);
	ck_assert_uint_eq(sb.len, 0);
	free(s);
	s = strbuf_detach(&sb, NULL);
	ck_assert_str_eq(s, "");
	free(s);
}
END_TEST

int main(void)
{
	return suite_run("strbuf", NULL, NULL,
			 (const TTest *const[]){
				 empty_buffer_is_a_string,
				 grows_and_stays_terminated,
				 holds_nul_bytes,
				 json_escapes,
				 detach_empties,
				 NULL,
			 });
}
