#include "services/console/ctl/filter.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "services/console/ctl/arguments.h"
#include "tests/support/suite.h"

static const struct flag filter_flag = {"filter", 'f', "EXPR", ""};

/* @expressions ends with NULL. */
static struct arguments given(const char *const *expressions)
{
	static struct given_flag flags[8];
	struct arguments a = {.flags = flags};

	for (; *expressions; expressions++)
		flags[a.flag_count++] = (struct given_flag){&filter_flag, *expressions};
	return a;
}

static void check_list(const char *const *expressions, const char *expected)
{
	struct arguments a = given(expressions);
	struct error err;
	json_t *filter;
	char *text;

	ck_assert_msg(filter_parse(&a, &filter, &err) == STATUS_OK, "%s: %s", *expressions,
		      err.message);
	text = json_dumps(filter, JSON_COMPACT | JSON_SORT_KEYS);
	ck_assert_str_eq(text, expected);
	free(text);
	json_decref(filter);
}

#define LIST(expected, ...) check_list((const char *const[]){__VA_ARGS__, NULL}, expected)

START_TEST(every_operator)
{
	LIST("{\"a\":{\"eq\":\"libs\"}}", "a=libs");
	LIST("{\"a\":{\"eq\":5}}", "a = 5");
	LIST("{\"a\":{\"eq\":\"5\"}}", "a=\"5\"");
	LIST("{\"a\":{\"ne\":true}}", "a!=true");
	LIST("{\"a\":{\"ge\":1.5}}", "a>=1.5");
	LIST("{\"a.b\":{\"gt\":-1}}", "a.b > -1");
	LIST("{\"a\":{\"contains\":\"x y\"}}", "a~x y");
	LIST("{\"a\":{\"in\":[\"x\",2]}}", "a in [\"x\", 2]");
	LIST("{\"a\":{\"exists\":true}}", "a?");
	LIST("{\"a\":{\"exists\":false}}", "!a?");
	LIST("{\"a\":{\"ge\":1,\"lt\":9}}", "a>=1", "a<9");
	LIST("{\"labels[\\\"a=b\\\"]\":{\"eq\":\"c\"}}", "labels[\"a=b\"]=c");
	LIST("{}", NULL);
}
END_TEST

START_TEST(malformed_ones_are_refused)
{
	static const char *const bad[] = {"a", "=5", "?", "!?", "", NULL};
	struct error err;
	json_t *filter;

	for (int i = 0; bad[i]; i++) {
		struct arguments a = given((const char *const[]){bad[i], NULL});
		ck_assert_msg(filter_parse(&a, &filter, &err) == STATUS_INVALID_ARGUMENT,
			      "'%s'", bad[i]);
	}
}
END_TEST

START_TEST(where_is_a_filter_in_json)
{
	static const struct flag where_flag = {"where", 'w', "JSON", ""};
	struct given_flag flags[] = {{&filter_flag, "a=1"},
				     {&where_flag, "{\"$or\":[{\"b\":2},{\"c\":3}]}"}};
	struct arguments a = {.flags = flags, .flag_count = 2};
	struct error err;
	json_t *filter;
	char *text;

	ck_assert_int_eq(filter_parse(&a, &filter, &err), STATUS_OK);
	text = json_dumps(filter, JSON_COMPACT | JSON_SORT_KEYS);
	ck_assert_str_eq(text, "{\"$and\":[{\"$or\":[{\"b\":2},{\"c\":3}]}],\"a\":{\"eq\":1}}");
	free(text);
	json_decref(filter);
	flags[1].value = "[1]";
	ck_assert_int_eq(filter_parse(&a, &filter, &err), STATUS_INVALID_ARGUMENT);
	flags[1].value = "{";
	ck_assert_int_eq(filter_parse(&a, &filter, &err), STATUS_INVALID_ARGUMENT);
}
END_TEST

int main(void)
{
	return suite_run("filter", NULL, NULL,
			 (const TTest *const[]){every_operator, malformed_ones_are_refused,
						where_is_a_filter_in_json, NULL});
}
