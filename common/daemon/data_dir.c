#include "common/daemon/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"

static enum status system_error(struct error *err, const char *what, const char *path)
{
	return error_set(err, STATUS_INTERNAL, "cannot %s %s: %s", what, path, strerror(errno));
}

static enum status make_dir(const char *path, struct error *err)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return system_error(err, "make", path);
	if (stat(path, &st))
		return system_error(err, "use", path);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, STATUS_INTERNAL, "%s is not a directory", path);
	return STATUS_OK;
}

enum status data_dir_open(const char *data, const char *name, int *ret_lock, struct error *err)
{
	char *dir AUTO_FREE = xasprintf("%s/%s", data, name);
	char *path AUTO_FREE = xasprintf("%s/lock", dir);
	enum status status = make_dir(data, err);
	int fd;

	if (status == STATUS_OK)
		status = make_dir(dir, err);
	if (status != STATUS_OK)
		return status;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return system_error(err, "open", path);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "%s is in use by another %s daemon", dir, name);
	}
	*ret_lock = fd;
	return STATUS_OK;
}

/* ---------------------------------------------------------------- the key */

static enum status read_key(int fd, const char *path, char ret_key[HEX_KEY_BYTES],
			    struct error *err)
{
	char text[HEX_KEY_BYTES + 1];
	struct stat st;
	ssize_t n = read(fd, text, sizeof(text));

	if (n < 0 || fstat(fd, &st))
		return system_error(err, "read", path);
	if (st.st_mode & 077)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "%s can be read by others: chmod 600 it", path);
	if (n != HEX_KEY_BYTES || text[HEX_KEY_BYTES - 1] != '\n' ||
	    strspn(text, "0123456789abcdef") != HEX_KEY_BYTES - 1)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "%s is damaged: stop all daemons and remove it", path);
	memcpy(ret_key, text, HEX_KEY_BYTES - 1);
	ret_key[HEX_KEY_BYTES - 1] = '\0';
	return STATUS_OK;
}

static enum status write_temporary(const char *path, struct error *err)
{
	char line[HEX_KEY_BYTES + 1];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool written;

	if (fd < 0)
		return system_error(err, "make", path);
	random_hex_key(line);
	line[HEX_KEY_BYTES - 1] = '\n';
	written = write(fd, line, HEX_KEY_BYTES) == HEX_KEY_BYTES && !fsync(fd);
	close(fd);
	return written ? STATUS_OK : system_error(err, "write", path);
}

static void sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		/* A key lost with the machine is made anew by the next start. */
		(void)fsync(fd);
		close(fd);
	}
}

/* link(2) makes one of several daemons the author; the others read its key. */
static enum status make_key(const char *data, const char *path, struct error *err)
{
	char *temporary AUTO_FREE = xasprintf("%s.%ld", path, (long)getpid());
	enum status status = write_temporary(temporary, err);

	if (status == STATUS_OK && link(temporary, path) && errno != EEXIST)
		status = system_error(err, "make", path);
	unlink(temporary);
	sync_dir(data);
	return status;
}

enum status data_dir_read_key(const char *data, char ret_key[HEX_KEY_BYTES], struct error *err)
{
	char *path AUTO_FREE = xasprintf("%s/daemon.key", data);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum status status;

	if (fd < 0 && errno == ENOENT) {
		status = make_key(data, path, err);
		if (status != STATUS_OK)
			return status;
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return system_error(err, "read", path);
	status = read_key(fd, path, ret_key, err);
	close(fd);
	return status;
}
