#include "services/console/ctl/descriptor_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/console/ctl/arguments.h"
#include "tests/support/suite.h"

static const struct flag flags[] = {{"proto-path", 'I', "DIR", ""}, {0}};

static char directory[64];
static struct error err;

static void enter(void)
{
	snprintf(directory, sizeof(directory), "/tmp/test-input-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
}

static void leave(void)
{
	char command[128];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a name of ours */
}

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "wb");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void write_proto(const char *path, const char *text)
{
	write_file(path, text, strlen(text));
}

/* A set of files of those names, each in @package. */
static void write_set(const char *path, const char *package, const char *const *names)
{
	AUTO_STRBUF set = STRBUF_INIT;

	for (; *names; names++) {
		size_t mark = wire_open(&set, 1);
		wire_add_string(&set, 1, *names);
		wire_add_string(&set, 2, package);
		wire_close(&set, mark);
	}
	write_file(path, set.buf, set.len);
}

/* @words end with NULL; the names of the files that come, each behind a space. */
static enum status read_words(const char *const *words, const char *root, char names[256])
{
	char *argv[] = {"-I", (char *)root};
	const struct flag *const tables[] = {flags, NULL};
	AUTO_STRBUF set = STRBUF_INIT;
	struct arguments args;
	struct arena arena;
	struct bytes *files, name;
	size_t count = 0, n = 0;
	char *problem;
	enum status status;

	ck_assert(arguments_parse(&args, root ? 2 : 0, argv, tables, &problem));
	while (words[n])
		n++;
	status = descriptor_input_read(&args, words, n, &set, &err);
	arguments_release(&args);
	names[0] = '\0';
	if (status != STATUS_OK)
		return status;
	arena_init(&arena, 0);
	ck_assert_int_eq(
		pool_split_set(bytes_of(set.buf, set.len), &arena, &files, &count, &err),
		STATUS_OK);
	for (size_t i = 0, at = 0; i < count; i++) {
		ck_assert(wire_find_bytes(files[i], 1, &name));
		at += (size_t)snprintf(names + at, 256 - at, " %.*s", (int)name.size,
				       (const char *)name.data);
	}
	arena_release(&arena);
	return STATUS_OK;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

START_TEST(sets_are_joined)
{
	char names[256];

	enter();
	write_set("1.binpb", "a", WORDS("x.proto", "y.proto"));
	write_set("2.binpb", "a", WORDS("y.proto", "z.proto"));
	ck_assert_int_eq(read_words(WORDS("1.binpb", "2.binpb", "1.binpb"), NULL, names),
			 STATUS_OK);
	ck_assert_str_eq(names, " x.proto y.proto z.proto");
	leave();
}
END_TEST

START_TEST(files_of_one_name_must_be_the_same)
{
	char names[256];

	enter();
	write_set("1.binpb", "a", WORDS("x.proto"));
	write_set("2.binpb", "b", WORDS("x.proto"));
	ck_assert_int_eq(read_words(WORDS("1.binpb", "2.binpb"), NULL, names),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(err.message, "x.proto"));
	leave();
}
END_TEST

START_TEST(sources_and_directories_are_compiled_in_one_run)
{
	char names[256];

	enter();
	ck_assert_int_eq(mkdir("d", 0700), 0);
	ck_assert_int_eq(mkdir("d/e", 0700), 0);
	write_proto("d/a.proto",
		    "syntax = \"proto3\"; import \"e/b.proto\"; message A { B b = 1; }");
	write_proto("d/e/b.proto", "syntax = \"proto3\"; message B {}");
	write_proto("d/e/note.txt", "not compiled");
	write_proto("top.proto", "syntax = \"proto3\"; message Top {}");
	ck_assert_int_eq(read_words(WORDS("top.proto", "d"), NULL, names), STATUS_OK);
	ck_assert_ptr_nonnull(strstr(names, " a.proto"));
	ck_assert_ptr_nonnull(strstr(names, " e/b.proto"));
	ck_assert_ptr_nonnull(strstr(names, " top.proto"));
	/* With a root of the user's own, names begin below that. */
	ck_assert_int_eq(read_words(WORDS("d/e"), ".", names), STATUS_OK);
	ck_assert_str_eq(names, " d/e/b.proto");
	leave();
}
END_TEST

START_TEST(what_stands_for_nothing_is_refused)
{
	char names[256];

	enter();
	ck_assert_int_eq(mkdir("empty", 0700), 0);
	write_proto("text", "hello");
	write_proto("nothing", "");
	write_proto("nameless", "\x0a\x00");
	ck_assert_int_eq(read_words(WORDS("none"), NULL, names), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(read_words(WORDS("empty"), NULL, names), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(read_words(WORDS("text"), NULL, names), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(read_words(WORDS("nothing"), NULL, names), STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(read_words(WORDS("nameless"), NULL, names), STATUS_INVALID_ARGUMENT);
	leave();
}
END_TEST

int main(void)
{
	return suite_run("descriptor_input", NULL, NULL,
			 (const TTest *const[]){sets_are_joined,
						files_of_one_name_must_be_the_same,
						sources_and_directories_are_compiled_in_one_run,
						what_stands_for_nothing_is_refused, NULL});
}
