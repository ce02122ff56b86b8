#include "services/repo/page_token.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/suite.h"

static const struct page_token_key key = {{1, 2, 3}};
static struct arena arena;

static void setup(void)
{
	arena_init(&arena, 0);
}

static void teardown(void)
{
	arena_release(&arena);
}

static struct page sample(void)
{
	struct page page = {.key_count = 4, .total_count = 77};

	page.position.row = 1234567890123;
	page.position.keys[0] = (struct query_value){.type = VALUE_INT, .integer = -5};
	page.position.keys[1] = (struct query_value){.type = VALUE_REAL, .real = 0.5};
	page.position.keys[2] =
		(struct query_value){.type = VALUE_TEXT, .text = "a\0b", .len = 3};
	page.position.keys[3] = (struct query_value){.type = VALUE_NULL};
	return page;
}

static enum status read_as(const char *scope, const char *token, struct page *ret)
{
	struct error err;
	enum status status =
		page_token_read(&key, bytes_of_string(scope), token, &arena, ret, &err);

	if (status != STATUS_OK)
		ck_assert_str_eq(err.field, "page_token");
	return status;
}

START_TEST(a_token_says_what_was_put_into_it)
{
	struct page page = sample(), got;
	AUTO_STRBUF token = STRBUF_INIT;

	page_token_write(&key, bytes_of_string("q"), &page, &token);
	ck_assert_int_eq(read_as("q", token.buf, &got), STATUS_OK);
	ck_assert_int_eq(got.total_count, 77);
	ck_assert_int_eq(got.position.row, 1234567890123);
	ck_assert_uint_eq(got.key_count, 4);
	ck_assert_int_eq(got.position.keys[0].integer, -5);
	ck_assert_double_eq(got.position.keys[1].real, 0.5);
	ck_assert_mem_eq(got.position.keys[2].text, "a\0b", 3);
	ck_assert_int_eq(got.position.keys[3].type, VALUE_NULL);
}
END_TEST

START_TEST(any_change_is_noticed)
{
	static const char alphabet[] = "AZaz09-_";
	struct page page = sample(), got;
	AUTO_STRBUF token = STRBUF_INIT;

	page_token_write(&key, bytes_of_string("q"), &page, &token);
	ck_assert_int_eq(read_as("other", token.buf, &got), STATUS_INVALID_ARGUMENT);
	for (size_t i = 0; i < token.len; i++) {
		const char was = token.buf[i];

		for (size_t j = 0; j < sizeof(alphabet) - 1; j++) {
			if (alphabet[j] == was)
				continue;
			token.buf[i] = alphabet[j];
			ck_assert_int_eq(read_as("q", token.buf, &got),
					 STATUS_INVALID_ARGUMENT);
		}
		token.buf[i] = was;
	}
	for (size_t len = 0; len < token.len; len++) {
		char *cut = arena_strndup(&arena, token.buf, len);

		ck_assert_int_eq(read_as("q", cut, &got), STATUS_INVALID_ARGUMENT);
	}
	ck_assert_int_eq(read_as("q", "!!!!", &got), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(read_as("q", "", &got), STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(another_key_reads_nothing)
{
	static const struct page_token_key other = {{9}};
	struct page page = sample(), got;
	AUTO_STRBUF token = STRBUF_INIT;
	struct error err;

	page_token_write(&other, bytes_of_string("q"), &page, &token);
	ck_assert_int_eq(
		page_token_read(&key, bytes_of_string("q"), token.buf, &arena, &got, &err),
		STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(the_key_is_made_once)
{
	char path[] = "/tmp/collector-test-key-XXXXXX";
	struct page_token_key first, second;
	struct error err;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	/* An empty file is what a crash may leave. */
	ck_assert_int_eq(page_token_load_key(path, &first, &err), STATUS_OK);
	ck_assert_int_eq(page_token_load_key(path, &second, &err), STATUS_OK);
	ck_assert_mem_eq(&first, &second, sizeof(first));
	unlink(path);
}
END_TEST

int main(void)
{
	return suite_run(
		"repo/page_token", setup, teardown,
		(const TTest *const[]){a_token_says_what_was_put_into_it, any_change_is_noticed,
				       another_key_reads_nothing, the_key_is_made_once, NULL});
}
