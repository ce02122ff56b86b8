#include "common/reflect/cwire.h"

#include <string.h>

#include "collector/collection_server.pb-c.h"
#include "common/reflect/wire.h"
#include "tests/support/suite.h"

static struct error err;

static enum status check(const struct strbuf *message)
{
	return cwire_check(&collector__create_request__descriptor,
			   bytes_of(message->buf, message->len), &err);
}

START_TEST(a_good_message_passes)
{
	AUTO_STRBUF m = STRBUF_INIT;

	wire_add_string(&m, 1, "default");
	wire_add_string(&m, 2, "orders");
	size_t item = wire_open(&m, 3);
	wire_add_string(&m, 1, "type.googleapis.com/a.B");
	wire_add_bytes(&m, 2, bytes_of("\0\xff", 2));
	wire_close(&m, item);
	wire_add_uint(&m, 19, 7); /* unknown */
	ck_assert_int_eq(check(&m), STATUS_OK);
}
END_TEST

START_TEST(text_is_utf8_without_nul_and_the_path_is_told)
{
	static const struct bytes bad[] = {{(const uint8_t *)"a\0b", 3},
					   {(const uint8_t *)"\xff", 1},
					   {(const uint8_t *)"\xed\xa0\x80", 3}};

	for (size_t i = 0; i < 3; i++) {
		AUTO_STRBUF m = STRBUF_INIT;
		size_t item = wire_open(&m, 3);
		wire_add_bytes(&m, 1, bad[i]);
		wire_close(&m, item);
		ck_assert_int_eq(check(&m), STATUS_INVALID_ARGUMENT);
		ck_assert_str_eq(err.field, "item.type_url");
	}
}
END_TEST

START_TEST(truncated_and_malformed_ones_are_refused)
{
	AUTO_STRBUF m = STRBUF_INIT;

	wire_add_string(&m, 1, "default");
	m.len--;
	ck_assert_int_eq(check(&m), STATUS_INVALID_ARGUMENT);
	strbuf_reset(&m);
	strbuf_add(&m, "\x00\x00", 2); /* field number 0 */
	ck_assert_int_eq(check(&m), STATUS_INVALID_ARGUMENT);
	strbuf_reset(&m);
	strbuf_add(&m, "\x0f", 1); /* wire type 7 */
	ck_assert_int_eq(check(&m), STATUS_INVALID_ARGUMENT);
	strbuf_reset(&m);
	strbuf_add(&m, "\x0a\xff\xff\xff\xff\x0f", 6); /* 4 GiB announced */
	ck_assert_int_eq(check(&m), STATUS_INVALID_ARGUMENT);
}
END_TEST

/* Struct within Value within Struct: recursion that a client can make endless. */
START_TEST(depth_is_bounded)
{
	AUTO_STRBUF inner = STRBUF_INIT;
	AUTO_STRBUF m = STRBUF_INIT;

	for (int i = 0; i < 5000; i++) {
		AUTO_STRBUF value = STRBUF_INIT;
		AUTO_STRBUF entry = STRBUF_INIT;
		wire_add_bytes(&value, 5, bytes_of(inner.buf, inner.len)); /* struct_value */
		wire_add_bytes(&entry, 2, bytes_of(value.buf, value.len)); /* entry.value */
		strbuf_reset(&inner);
		wire_add_bytes(&inner, 1, bytes_of(entry.buf, entry.len)); /* fields */
	}
	wire_add_bytes(&m, 3, bytes_of(inner.buf, inner.len)); /* ListRequest.filter */
	ck_assert_int_eq(
		cwire_check(&collector__list_request__descriptor, bytes_of(m.buf, m.len), &err),
		STATUS_INVALID_ARGUMENT);
}
END_TEST

int main(void)
{
	return suite_run("cwire", NULL, NULL,
			 (const TTest *const[]){a_good_message_passes,
						text_is_utf8_without_nul_and_the_path_is_told,
						truncated_and_malformed_ones_are_refused,
						depth_is_bounded, NULL});
}
