/* Files on disk: drafts, what a crash leaves, links that are not followed. */
#include "services/repo/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "services/repo/directory.h"
#include "services/repo/file_streams.h"
#include "services/repo/file_uri.h"
#include "tests/support/suite.h"

static char directory[48];
static struct files *files;
static struct error err;

static void setup(void)
{
	memcpy(directory, "/tmp/collector-test-files-XXXXXX", 33);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	files = files_new(directory);
}

static void teardown(void)
{
	files_free(files);
	directory_remove(directory);
}

static unsigned count_files(void)
{
	AUTO_FREE char *path = xasprintf("%s/files", directory);
	DIR *dir = opendir(path);
	unsigned count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count ? count - 2 : 0; /* without . and .. */
}

static void write_file(const char *text, char ret_name[UUID_TEXT_BYTES])
{
	struct file_draft draft = {0};
	uint8_t sha256[SHA256_BYTES];

	ck_assert_int_eq(file_draft_begin(&draft, files, &err), STATUS_OK);
	ck_assert_int_eq(file_draft_add(&draft, bytes_of_string(text), &err), STATUS_OK);
	ck_assert_int_eq(draft.size_bytes, (int64_t)strlen(text));
	ck_assert_int_eq(file_draft_end(&draft, sha256, &err), STATUS_OK);
	ck_assert_int_eq(files_sync(files, &err), STATUS_OK);
	memcpy(ret_name, draft.name, UUID_TEXT_BYTES);
	/* Over: giving it up does nothing. */
	file_draft_drop(&draft);
}

START_TEST(what_was_written_is_read)
{
	char name[UUID_TEXT_BYTES], text[6] = "";
	int fd;

	write_file("content", name);
	ck_assert_int_eq(files_open(files, name, &fd, &err), STATUS_OK);
	ck_assert_int_eq(files_read(fd, 2, text, 5, &err), STATUS_OK);
	ck_assert_str_eq(text, "ntent");
	ck_assert_int_eq(files_read(fd, 4, text, 5, &err), STATUS_DATA_LOSS);
	close(fd);
	files_remove(files, name);
	ck_assert_int_eq(files_open(files, name, &fd, &err), STATUS_NOT_FOUND);
}
END_TEST

START_TEST(a_draft_that_is_given_up_leaves_nothing)
{
	struct file_draft draft = {0};

	ck_assert_int_eq(file_draft_begin(&draft, files, &err), STATUS_OK);
	ck_assert_int_eq(file_draft_add(&draft, bytes_of_string("x"), &err), STATUS_OK);
	ck_assert_uint_eq(count_files(), 1);
	file_draft_drop(&draft);
	ck_assert_uint_eq(count_files(), 0);
}
END_TEST

static bool is_it(void *arg, const char *name)
{
	return !strcmp(arg, name);
}

START_TEST(left_overs_are_removed)
{
	char kept[UUID_TEXT_BYTES], lost[UUID_TEXT_BYTES];
	struct file_draft draft = {0};
	int fd;

	/* Without a directory there is nothing to do. */
	files_remove_left_overs(files, is_it, (void *)"x");
	write_file("kept", kept);
	write_file("lost", lost);
	ck_assert_int_eq(file_draft_begin(&draft, files, &err), STATUS_OK);
	files_remove_left_overs(files, is_it, kept);
	ck_assert_uint_eq(count_files(), 1);
	ck_assert_int_eq(files_open(files, kept, &fd, &err), STATUS_OK);
	close(fd);
	/* As after a crash: it cannot be ended, and nothing is left of it. */
	uint8_t sha256[SHA256_BYTES];
	ck_assert_int_eq(file_draft_end(&draft, sha256, &err), STATUS_UNAVAILABLE);
	ck_assert_uint_eq(count_files(), 1);
}
END_TEST

START_TEST(links_are_not_followed)
{
	char name[UUID_TEXT_BYTES];
	int fd;

	write_file("x", name);
	AUTO_FREE char *inside = xasprintf("%s/files/link", directory);
	ck_assert_int_eq(symlink("/etc/passwd", inside), 0);
	ck_assert_int_eq(files_open(files, "link", &fd, &err), STATUS_UNAVAILABLE);
	/* Nor is the directory itself. */
	AUTO_FREE char *real = xasprintf("%s/files", directory);
	AUTO_FREE char *moved = xasprintf("%s/moved", directory);
	ck_assert_int_eq(rename(real, moved), 0);
	ck_assert_int_eq(symlink(moved, real), 0);
	ck_assert_int_eq(files_open(files, name, &fd, &err), STATUS_UNAVAILABLE);
	struct file_draft draft = {0};
	ck_assert_int_eq(file_draft_begin(&draft, files, &err), STATUS_UNAVAILABLE);
	ck_assert_int_eq(unlink(real), 0);
	ck_assert_int_eq(rename(moved, real), 0);
}
END_TEST

/* ------------------------------------------------------------ names */

static const char *uri_of(const char *record_id, const char *path)
{
	static struct strbuf out;

	strbuf_reset(&out);
	file_uri_write("ns", "c", record_id, path, &out);
	return strbuf_str(&out);
}

START_TEST(uris_come_back)
{
	static const char *const cases[][3] = {
		{"a", "b/c.txt", "collector://ns/c/a/b/c.txt"},
		{"", "x", "collector://ns/c//x"},
		{"a", "", "collector://ns/c/a"},
		{"a/b c", "d%e/\xc3\xa9?", "collector://ns/c/a%2Fb%20c/d%25e/%C3%A9%3F"},
	};
	struct file_uri uri;
	struct arena arena;

	arena_init(&arena, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = uri_of(cases[i][0], cases[i][1]);

		ck_assert_str_eq(text, cases[i][2]);
		ck_assert_int_eq(file_uri_read(text, "data_uri", &arena, &uri, &err),
				 STATUS_OK);
		ck_assert_str_eq(uri.ns, "ns");
		ck_assert_str_eq(uri.collection, "c");
		ck_assert_str_eq(uri.record_id, cases[i][0]);
		ck_assert_str_eq(uri.path, cases[i][1]);
	}
	arena_release(&arena);
}
END_TEST

START_TEST(what_is_no_uri)
{
	static const char *const cases[] = {
		"",
		"http://ns/c/a/b",
		"collector:/ns/c/a",
		"collector://",
		"collector://ns",
		"collector://ns/c",
		"collector://ns/c/a%2",
		"collector://ns/c/%zz/x",
		"collector://ns/c/a/%00",
		"collector://ns/c/a/%",
	};
	struct file_uri uri;
	struct arena arena;

	arena_init(&arena, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(file_uri_read(cases[i], "data_uri", &arena, &uri, &err),
				 STATUS_INVALID_ARGUMENT);
		ck_assert_str_eq(err.field, "data_uri");
	}
	arena_release(&arena);
}
END_TEST

START_TEST(paths)
{
	static const char *const bad[] = {"",     "/a",    "a/",  "a//b", ".",
					  "a/..", "../a",  "a/.", "a\nb", "a\\b",
					  "\xff", "a/./b", NULL};
	char deep[2 * FILE_PATH_MAX_PARTS + 2];

	for (size_t i = 0; bad[i]; i++)
		ck_assert_int_eq(file_path_check(bad[i], "path", &err),
				 STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(file_path_check("a/b c/...", "path", &err), STATUS_OK);
	for (size_t i = 0; i < sizeof(deep); i++)
		deep[i] = i % 2 ? '/' : 'x';
	deep[2 * FILE_PATH_MAX_PARTS - 1] = '\0';
	ck_assert_int_eq(file_path_check(deep, "path", &err), STATUS_OK);
	deep[2 * FILE_PATH_MAX_PARTS - 1] = '/';
	deep[2 * FILE_PATH_MAX_PARTS + 1] = '\0';
	ck_assert_int_eq(file_path_check(deep, "path", &err), STATUS_INVALID_ARGUMENT);
}
END_TEST

/* ------------------------------------------------------------ streams */

static unsigned evictions;
static bool is_moving;

static bool evict(struct file_stream *stream)
{
	(void)stream;
	evictions += !is_moving;
	return !is_moving;
}

START_TEST(a_stream_that_stands_still_gives_its_place)
{
	struct file_streams *streams = file_streams_new(2, 60);
	struct file_stream a = {.evict = evict}, b = {.evict = evict}, c = {.evict = evict};

	ck_assert_int_eq(file_streams_enter(streams, &a, &err), STATUS_OK);
	ck_assert_int_eq(file_streams_enter(streams, &b, &err), STATUS_OK);
	ck_assert_int_eq(file_streams_enter(streams, &c, &err), STATUS_RESOURCE_EXHAUSTED);
	ck_assert_uint_eq(evictions, 0);
	/* As if nothing had happened for a minute and a bit. */
	a.moved_ns -= 61 * UINT64_C(1000000000);
	is_moving = true;
	ck_assert_int_eq(file_streams_enter(streams, &c, &err), STATUS_RESOURCE_EXHAUSTED);
	is_moving = false;
	ck_assert_int_eq(file_streams_enter(streams, &c, &err), STATUS_OK);
	ck_assert_uint_eq(evictions, 1);
	ck_assert_ptr_null(a.link);
	file_streams_leave(streams, &a);
	file_streams_leave(streams, &b);
	ck_assert_int_eq(file_streams_enter(streams, &a, &err), STATUS_OK);
	file_streams_leave(streams, &a);
	file_streams_leave(streams, &c);
	file_streams_leave(streams, &c);
	file_streams_free(streams);
}
END_TEST

int main(void)
{
	return suite_run("files", setup, teardown,
			 (const TTest *const[]){what_was_written_is_read,
						a_draft_that_is_given_up_leaves_nothing,
						left_overs_are_removed, links_are_not_followed,
						uris_come_back, what_is_no_uri, paths,
						a_stream_that_stands_still_gives_its_place,
						NULL});
}
