#include "services/repo/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "services/repo/directory.h"

#define DRAFT_SUFFIX ".new"

enum { DRAFT_NAME_BYTES = UUID_TEXT_BYTES + sizeof(DRAFT_SUFFIX) };

struct files {
	char *directory;
	pthread_mutex_t mu; /* is_made */
	bool is_made;       /* the directory, and its entry is on disk */
};

static enum status fail(const char *what, const char *name, struct error *err)
{
	const int saved = errno;
	const bool is_full = saved == ENOSPC || saved == EDQUOT || saved == EFBIG;

	return error_set(err, is_full ? STATUS_RESOURCE_EXHAUSTED : STATUS_UNAVAILABLE,
			 "cannot %s file %s: %s", what, name, strerror(saved));
}

static int open_directory(const struct files *files)
{
	return open(files->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void draft_name(const char *name, char out[DRAFT_NAME_BYTES])
{
	(void)snprintf(out, DRAFT_NAME_BYTES, "%s" DRAFT_SUFFIX, name);
}

struct files *files_new(const char *directory)
{
	struct files *files = xcalloc(1, sizeof(*files));

	pthread_mutex_init(&files->mu, NULL);
	files->directory = xasprintf("%s/files", directory);
	return files;
}

void files_free(struct files *files)
{
	if (!files)
		return;
	pthread_mutex_destroy(&files->mu);
	free(files->directory);
	free(files);
}

/* Nobody may rely on the directory before its own entry is on disk. */
static enum status make_directory(struct files *files, struct error *err)
{
	enum status status = STATUS_OK;

	pthread_mutex_lock(&files->mu);
	if (!files->is_made)
		status = directory_make(files->directory, err);
	files->is_made = status == STATUS_OK;
	pthread_mutex_unlock(&files->mu);
	return status;
}

void files_remove_left_overs(struct files *files, bool (*is_known)(void *arg, const char *name),
			     void *arg)
{
	DIR *dir = opendir(files->directory);
	const struct dirent *found;

	if (!dir)
		return;
	while ((found = readdir(dir)))
		if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0 &&
		    !is_known(arg, found->d_name))
			(void)unlinkat(dirfd(dir), found->d_name, 0);
	closedir(dir);
}

static void remove_at(const struct files *files, const char *name)
{
	int directory = open_directory(files);

	if (directory < 0)
		return;
	(void)unlinkat(directory, name, 0);
	close(directory);
}

void files_remove(struct files *files, const char *name)
{
	remove_at(files, name);
}

/* ------------------------------------------------------------ writing */

enum status file_draft_begin(struct file_draft *draft, struct files *files, struct error *err)
{
	char name[DRAFT_NAME_BYTES];
	enum status status = make_directory(files, err);
	int directory;

	if (status != STATUS_OK)
		return status;
	directory = open_directory(files);
	if (directory < 0)
		return fail("open the directory of", "", err);
	*draft = (struct file_draft){0};
	random_uuid7(clock_unix_us() / 1000, draft->name);
	draft_name(draft->name, name);
	draft->fd = openat(directory, name,
			   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (draft->fd < 0)
		status = fail("create", name, err);
	else
		draft->files = files;
	close(directory);
	sha256_init(&draft->sha256);
	return status;
}

enum status file_draft_add(struct file_draft *draft, struct bytes data, struct error *err)
{
	for (size_t at = 0; at < data.size;) {
		ssize_t written = write(draft->fd, data.data + at, data.size - at);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return fail("write", draft->name, err);
		at += (size_t)written;
	}
	sha256_add(&draft->sha256, data.data, data.size);
	draft->size_bytes += (int64_t)data.size;
	return STATUS_OK;
}

static enum status rename_draft(const struct files *files, const char *name, struct error *err)
{
	char draft[DRAFT_NAME_BYTES];
	int directory = open_directory(files);
	enum status status = STATUS_OK;

	if (directory < 0)
		return fail("open the directory of", name, err);
	draft_name(name, draft);
	if (renameat(directory, draft, directory, name) != 0)
		status = fail("rename", name, err);
	close(directory);
	return status;
}

enum status file_draft_end(struct file_draft *draft, uint8_t ret_sha256[SHA256_BYTES],
			   struct error *err)
{
	struct files *files = draft->files;
	enum status status = fsync(draft->fd) == 0 ? STATUS_OK : fail("sync", draft->name, err);

	if (status == STATUS_OK)
		status = rename_draft(files, draft->name, err);
	if (status != STATUS_OK) {
		file_draft_drop(draft);
		return status;
	}
	close(draft->fd);
	draft->files = NULL;
	sha256_end(&draft->sha256, ret_sha256);
	return STATUS_OK;
}

void file_draft_drop(struct file_draft *draft)
{
	char name[DRAFT_NAME_BYTES];

	if (!draft->files)
		return;
	close(draft->fd);
	draft_name(draft->name, name);
	remove_at(draft->files, name);
	draft->files = NULL;
}

enum status files_sync(struct files *files, struct error *err)
{
	int directory = open_directory(files);
	enum status status = STATUS_OK;

	if (directory < 0)
		return fail("open the directory of", "", err);
	if (fsync(directory) != 0)
		status = fail("sync the directory of", "", err);
	close(directory);
	return status;
}

/* ------------------------------------------------------------ reading */

enum status files_open(struct files *files, const char *name, int *ret_fd, struct error *err)
{
	enum status status = STATUS_OK;
	int directory = open_directory(files), fd = -1;

	if (directory >= 0)
		fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		*ret_fd = fd;
	else if (errno == ENOENT)
		status = error_set(err, STATUS_NOT_FOUND, "file %s is gone", name);
	else
		status = fail("open", name, err);
	if (directory >= 0)
		close(directory);
	return status;
}

enum status files_read(int fd, uint64_t offset, void *out, size_t size, struct error *err)
{
	for (size_t at = 0; at < size;) {
		ssize_t got = pread(fd, (char *)out + at, size - at, (off_t)(offset + at));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(err, STATUS_DATA_LOSS, "cannot read a file: %s",
					 strerror(errno));
		if (got == 0)
			return error_set(err, STATUS_DATA_LOSS, "a file ends before byte %llu",
					 (unsigned long long)(offset + size));
		at += (size_t)got;
	}
	return STATUS_OK;
}
