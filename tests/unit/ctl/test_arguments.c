#include "services/console/ctl/arguments.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

static const struct flag global[] = {{"output", 'o', "FORM", ""}, {"help", 'h', NULL, ""}, {0}};
static const struct flag own[] = {{"filter", 'f', "EXPR", ""}, {0}};
static const struct flag *const tables[] = {global, own, NULL};

static bool parse(struct arguments *a, char **ret_problem, int argc, ...)
{
	static char *argv[16];
	va_list words;

	va_start(words, argc);
	for (int i = 0; i < argc; i++)
		argv[i] = va_arg(words, char *);
	va_end(words);
	return arguments_parse(a, argc, argv, tables, ret_problem);
}

START_TEST(words_and_flags_in_any_order)
{
	struct arguments a;
	char *problem;

	ck_assert(parse(&a, &problem, 7, "record", "-o", "json", "list", "--filter=a=b", "x",
			"-fc>1"));
	ck_assert_uint_eq(a.count, 3);
	ck_assert_str_eq(a.positional[2], "x");
	ck_assert_str_eq(arguments_value(&a, "output"), "json");
	ck_assert_str_eq(arguments_nth(&a, "filter", 0), "a=b");
	ck_assert_str_eq(arguments_nth(&a, "filter", 1), "c>1");
	ck_assert_ptr_null(arguments_nth(&a, "filter", 2));
	ck_assert(!arguments_has(&a, "help"));
	arguments_release(&a);
}
END_TEST

START_TEST(dashes_end_flags_and_one_dash_is_a_word)
{
	struct arguments a;
	char *problem;

	ck_assert(parse(&a, &problem, 4, "-", "--", "--help", "-o"));
	ck_assert_uint_eq(a.count, 3);
	ck_assert_str_eq(a.positional[1], "--help");
	arguments_release(&a);
}
END_TEST

static void refuse(const char *expected, int argc, char *x, char *y)
{
	struct arguments a;
	char *problem = NULL;

	ck_assert(!parse(&a, &problem, argc, x, y));
	ck_assert_msg(strstr(problem, expected) != NULL, "%s", problem);
	free(problem);
	arguments_release(&a);
}

START_TEST(mistakes_are_named)
{
	refuse("unknown flag --nope", 2, "x", "--nope");
	refuse("unknown flag -z", 2, "x", "-z");
	refuse("--output needs a value: FORM", 2, "x", "-o");
	refuse("--help takes no value", 2, "x", "--help=1");
}
END_TEST

int main(void)
{
	return suite_run("arguments", NULL, NULL,
			 (const TTest *const[]){words_and_flags_in_any_order,
						dashes_end_flags_and_one_dash_is_a_word,
						mistakes_are_named, NULL});
}
