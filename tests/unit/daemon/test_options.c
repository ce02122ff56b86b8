#include "common/daemon/options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "tests/support/suite.h"

struct config {
	const char *name;
	int64_t size;
	bool fast;
	const char **peers;
};

static const struct daemon_option rows[] = {
	{"name", DAEMON_OPTION_STRING, "anna", 0, 0, offsetof(struct config, name), "a name"},
	{"page-size", DAEMON_OPTION_INT, "10", 1, 100, offsetof(struct config, size), "a size"},
	{"fast", DAEMON_OPTION_BOOL, NULL, 0, 0, offsetof(struct config, fast), "a switch"},
	{"peers", DAEMON_OPTION_LIST, NULL, 0, 0, offsetof(struct config, peers), "a list"},
	{NULL, DAEMON_OPTION_STRING, NULL, 0, 0, 0, NULL},
};

static struct arena arena;
static struct config config;
static enum options_request request;
static struct error err;

static void setup(void)
{
	arena_init(&arena, 0);
	unsetenv("COLLECTOR_NAME");
	unsetenv("COLLECTOR_PAGE_SIZE");
	unsetenv("COLLECTOR_CONFIG");
}

static void teardown(void)
{
	arena_release(&arena);
}

/* @words ends with NULL. */
static enum status read_words(const char *const *words)
{
	const struct option_set sets[] = {{rows, &config}, {NULL, NULL}};
	char *argv[16] = {(char *)"test"};
	int argc = 1;

	while (*words)
		argv[argc++] = (char *)*words++;
	return options_read(sets, argc, argv, &arena, &request, &err);
}

#define READ(...) read_words((const char *const[]){__VA_ARGS__, NULL})

static char *file_with(const char *text)
{
	static char path[] = "/tmp/collector-options-XXXXXX";
	int fd;

	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return path;
}

START_TEST(defaults)
{
	ck_assert_int_eq(READ(NULL), STATUS_OK);
	ck_assert_str_eq(config.name, "anna");
	ck_assert_int_eq(config.size, 10);
	ck_assert(!config.fast);
	ck_assert_ptr_null(config.peers[0]);
	ck_assert_int_eq(request, OPTIONS_RUN);
}
END_TEST

START_TEST(flags_in_both_forms)
{
	ck_assert_int_eq(READ("--name", "bert", "--page-size=7", "--fast", "--peers", "a,b",
			      "--peers=c", "-n"),
			 STATUS_OK);
	ck_assert_str_eq(config.name, "bert");
	ck_assert_int_eq(config.size, 7);
	ck_assert(config.fast);
	ck_assert_str_eq(config.peers[2], "c");
	ck_assert_ptr_null(config.peers[3]);
	ck_assert_int_eq(request, OPTIONS_CHECK);
}
END_TEST

START_TEST(flags_win_over_environment_over_file)
{
	char *path = file_with("{\"name\": \"file\", \"page_size\": 2, \"fast\": true, "
			       "\"peers\": [\"x\", \"y\"]}");

	setenv("COLLECTOR_PAGE_SIZE", "3", 1);
	ck_assert_int_eq(READ("--config", path, "--name=flag"), STATUS_OK);
	ck_assert_str_eq(config.name, "flag");
	ck_assert_int_eq(config.size, 3);
	ck_assert(config.fast);
	ck_assert_str_eq(config.peers[1], "y");
	unlink(path);
}
END_TEST

static void refuse_file(const char *text, const char *field)
{
	char *path = file_with(text);

	ck_assert_int_eq(READ("--config", path), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, field ? field : path);
	unlink(path);
}

START_TEST(a_bad_file_is_refused_naming_the_key)
{
	refuse_file("{\"nmae\": \"x\"}", "nmae");
	refuse_file("{\"page_size\": \"2\"}", "page_size");
	refuse_file("{\"page_size\": 2.5}", "page_size");
	refuse_file("{\"page_size\": 101}", "page_size");
	refuse_file("{\"peers\": [1]}", "peers");
	refuse_file("{\"fast\": 1}", "fast");
	refuse_file("[]", NULL);
	refuse_file("{\"name\": \"a\", \"name\": \"b\"}", NULL);
	refuse_file("{", NULL);
	ck_assert_int_eq(READ("--config", "/nonexistent/x.json"), STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(bad_flags_are_refused_naming_them)
{
	ck_assert_int_eq(READ("--nmae", "x"), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "--nmae");
	ck_assert_int_eq(READ("word"), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(READ("--name"), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(READ("--page-size", "0"), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "--page-size");
	ck_assert_int_eq(READ("--page-size", "12x"), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(READ("--page-size", "99999999999999999999"), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(READ("--fast=yes"), STATUS_INVALID_ARGUMENT);
	setenv("COLLECTOR_PAGE_SIZE", "many", 1);
	ck_assert_int_eq(READ(NULL), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "COLLECTOR_PAGE_SIZE");
}
END_TEST

START_TEST(help_looks_at_nothing_else)
{
	setenv("COLLECTOR_PAGE_SIZE", "many", 1);
	ck_assert_int_eq(READ("--help"), STATUS_OK);
	ck_assert_int_eq(request, OPTIONS_HELP);
	ck_assert_int_eq(READ("--version"), STATUS_OK);
	ck_assert_int_eq(request, OPTIONS_VERSION);
}
END_TEST

START_TEST(printing_gives_a_file_that_reads_back)
{
	const struct option_set sets[] = {{rows, &config}, {NULL, NULL}};
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	ck_assert_int_eq(READ("--name", "b\"c", "--peers=p,q", "--fast"), STATUS_OK);
	options_print(sets, to);
	fclose(to);
	config = (struct config){0};
	char *path = file_with(text);
	ck_assert_int_eq(READ("--config", path), STATUS_OK);
	ck_assert_str_eq(config.name, "b\"c");
	ck_assert_str_eq(config.peers[1], "q");
	ck_assert(config.fast);
	unlink(path);
	free(text);
}
END_TEST

int main(void)
{
	return suite_run("options", setup, teardown,
			 (const TTest *const[]){
				 defaults,
				 flags_in_both_forms,
				 flags_win_over_environment_over_file,
				 a_bad_file_is_refused_naming_the_key,
				 bad_flags_are_refused_naming_them,
				 help_looks_at_nothing_else,
				 printing_gives_a_file_that_reads_back,
				 NULL,
			 });
}
