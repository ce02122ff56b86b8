#include "common/daemon/data_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "tests/support/suite.h"

static char root[64];
static char *data;
static struct error err;

static void setup(void)
{
	memcpy(root, "/tmp/collector-data-XXXXXX", 27);
	ck_assert_ptr_nonnull(mkdtemp(root));
	data = xasprintf("%s/data", root);
}

static void teardown(void)
{
	char *command = xasprintf("rm -rf '%s'", root);

	ck_assert_int_eq(system(command), 0);
	free(command);
	free(data);
}

START_TEST(directories_are_private)
{
	char *dir = xasprintf("%s/repo", data);
	struct stat st;
	int lock;

	ck_assert_int_eq(data_dir_open(data, "repo", &lock, &err), STATUS_OK);
	ck_assert_int_eq(stat(dir, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
	close(lock);
	free(dir);
}
END_TEST

START_TEST(one_process_at_a_time)
{
	int lock, second;

	ck_assert_int_eq(data_dir_open(data, "repo", &lock, &err), STATUS_OK);
	ck_assert_int_eq(data_dir_open(data, "repo", &second, &err),
			 STATUS_FAILED_PRECONDITION);
	ck_assert_ptr_nonnull(strstr(err.message, "in use"));
	ck_assert_int_eq(data_dir_open(data, "worker", &second, &err), STATUS_OK);
	close(lock);
	close(second);
	ck_assert_int_eq(data_dir_open(data, "repo", &lock, &err), STATUS_OK);
	close(lock);
}
END_TEST

START_TEST(starters_at_the_same_time_agree_on_the_key)
{
	enum { STARTERS = 8 };
	char key[HEX_KEY_BYTES], other[HEX_KEY_BYTES];
	int pipes[2], lock;

	ck_assert_int_eq(data_dir_open(data, "repo", &lock, &err), STATUS_OK);
	ck_assert_int_eq(pipe(pipes), 0);
	for (int i = 0; i < STARTERS; i++)
		if (!fork()) {
			if (data_dir_read_key(data, key, &err) != STATUS_OK)
				_exit(1);
			_exit(write(pipes[1], key, sizeof(key)) != sizeof(key));
		}
	for (int i = 0; i < STARTERS; i++) {
		int wstatus;
		ck_assert_int_gt(wait(&wstatus), 0);
		ck_assert_int_eq(wstatus, 0);
	}
	ck_assert_int_eq(data_dir_read_key(data, key, &err), STATUS_OK);
	for (int i = 0; i < STARTERS; i++) {
		ck_assert_int_eq(read(pipes[0], other, sizeof(other)), sizeof(other));
		ck_assert_str_eq(other, key);
	}
	close(lock);
}
END_TEST

START_TEST(a_key_that_others_can_read_is_refused)
{
	char key[HEX_KEY_BYTES], *path = xasprintf("%s/daemon.key", data);
	int lock;

	ck_assert_int_eq(data_dir_open(data, "repo", &lock, &err), STATUS_OK);
	ck_assert_int_eq(data_dir_read_key(data, key, &err), STATUS_OK);
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert_int_eq(data_dir_read_key(data, key, &err), STATUS_FAILED_PRECONDITION);
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert_int_eq(truncate(path, 10), 0);
	ck_assert_int_eq(data_dir_read_key(data, key, &err), STATUS_FAILED_PRECONDITION);
	close(lock);
	free(path);
}
END_TEST

START_TEST(a_file_in_the_way_is_told)
{
	FILE *f = fopen(data, "w");
	int lock;

	fclose(f);
	ck_assert_int_eq(data_dir_open(data, "repo", &lock, &err), STATUS_INTERNAL);
	ck_assert_ptr_nonnull(strstr(err.message, "not a directory"));
}
END_TEST

int main(void)
{
	return suite_run("data_dir", setup, teardown,
			 (const TTest *const[]){
				 directories_are_private,
				 one_process_at_a_time,
				 starters_at_the_same_time_agree_on_the_key,
				 a_key_that_others_can_read_is_refused,
				 a_file_in_the_way_is_told,
				 NULL,
			 });
}
