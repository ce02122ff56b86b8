/* Full text: what users write is literal, the index is what it should be. */
#include <sqlite3.h>

#include "common/base/alloc.h"
#include "services/repo/store_internal.h"
#include "tests/support/suite.h"
#include "tests/unit/repo/fixture.h"

/* collector.Execution */
enum { WORKFLOW = 2 };

static void setup(void)
{
	static const char *const indexed[] = {NULL};

	fixture_open("collector.Execution", indexed, true);
}

static void add(const char *id, const char *text)
{
	AUTO_STRBUF proto = STRBUF_INIT;

	wire_add_string(&proto, WORKFLOW, text);
	struct store_write *const all[] = {fixture_write(id, &proto), NULL};
	fixture_commit(all);
}

/* The expression that is made of a user's text. */
static const char *expression_of(const char *text)
{
	struct query *q = fixture_query();

	query_set_text(q, text, false);
	ck_assert_int_eq(q->matches_nothing, !*q->match);
	return q->match;
}

START_TEST(words_phrases_and_prefixes)
{
	static const struct {
		const char *text, *expression;
	} cases[] = {
		{"", ""},
		{"one", "\"one\""},
		{" one\ttwo\n", "\"one\" \"two\""},
		{"one*", "\"one\" *"},
		{"one***", "\"one\" *"},
		{"*", ""},
		{"* one", "\"one\""},
		{"\"one two\"", "\"one two\""},
		{"\"one tw\"*", "\"one tw\" *"},
		{"\"one tw\" *", "\"one tw\""},
		{"\"open", "\"open\""},
		{"a\"b c\"d", "\"a\" \"b c\" \"d\""},
		{"\"\"\"\"", ""},
		{"AND (OR) col:x ^y", "\"AND\" \"(OR)\" \"col:x\" \"^y\""},
		{"... -- !", ""},
		{"fo*o", "\"fo*o\""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(expression_of(cases[i].text), cases[i].expression);
}
END_TEST

START_TEST(long_texts_are_cut_at_a_character)
{
	char text[QUERY_TEXT_MAX_BYTES + 3];

	memset(text, 'a', sizeof(text));
	memcpy(text + QUERY_TEXT_MAX_BYTES - 1, "\xc3\xa9x", 4);
	ck_assert_uint_eq(strlen(expression_of(text)), QUERY_TEXT_MAX_BYTES - 1 + 2);
}
END_TEST

/* What no client can send, but nothing else keeps away: bytes that are no UTF-8. */
START_TEST(random_bytes_are_no_error)
{
	char text[64];

	add("a", "one two three");
	for (int i = 0; i < 20000; i++) {
		const size_t len = (size_t)rand() % (sizeof(text) - 1);
		struct query *q = fixture_query();

		for (size_t j = 0; j < len; j++)
			text[j] = (char)(1 + rand() % (rand() % 2 ? 255 : 126));
		text[len] = '\0';
		query_set_text(q, text, false);
		(void)fixture_find(q);
	}
}
END_TEST

static void run_sql(const char *sql)
{
	AUTO_FREE char *path = xasprintf("%s/collection.db", f.directory);
	struct database *db;
	struct error err;

	ck_assert_int_eq(database_open(path, DATABASE_WRITE, &db, &err), STATUS_OK);
	ck_assert_int_eq(text_store_register(db, &err), STATUS_OK);
	ck_assert_msg(database_exec(db, sql, &err) == STATUS_OK, "%s", err.message);
	database_close(db);
}

static const char *find(const char *text)
{
	struct query *q = fixture_query();

	query_set_text(q, text, false);
	return fixture_find(q);
}

START_TEST(the_index_can_be_checked_and_rebuilt)
{
	struct store_write remove = {
		.is_delete = true, .id = "b", .expectation = STORE_MUST_EXIST};
	struct store_write *const removes[] = {&remove, NULL};

	add("a", "pears and apples");
	add("b", "apples");
	add("a", "plums");
	fixture_commit(removes);
	add("c", "more plums");
	run_sql("INSERT INTO text (text, rank) VALUES ('integrity-check', 1)");
	run_sql("INSERT INTO text (text) VALUES ('rebuild')");
	run_sql("INSERT INTO text (text, rank) VALUES ('integrity-check', 1)");
	ck_assert_str_eq(find("plum"), "a c");
	ck_assert_str_eq(find("apples"), "");
}
END_TEST

int main(void)
{
	return suite_run("text", setup, fixture_close,
			 (const TTest *const[]){words_phrases_and_prefixes,
						long_texts_are_cut_at_a_character,
						random_bytes_are_no_error,
						the_index_can_be_checked_and_rebuilt, NULL});
}
