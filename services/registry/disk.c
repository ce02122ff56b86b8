#include "services/registry/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/hash.h"

/* Linux has it, and <unistd.h> tells of it only where everything of GNU is wanted. */
int syncfs(int fd);

static enum status system_error(struct error *err, const char *what, const char *path)
{
	bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;

	return error_set(err, full ? STATUS_RESOURCE_EXHAUSTED : STATUS_INTERNAL,
			 "cannot %s %s: %s", what, path, strerror(errno));
}

static enum status sync_dir(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum status status = STATUS_OK;

	if (fd < 0)
		return system_error(err, "open", path);
	if (fsync(fd))
		status = system_error(err, "sync", path);
	close(fd);
	return status;
}

static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
}

enum status disk_make_parents(const char *root, const char *path, enum disk_sync sync,
			      struct error *err)
{
	char *dir AUTO_FREE = xstrdup(path);
	enum status status = STATUS_OK;

	for (char *p = dir + strlen(root) + 1; status == STATUS_OK && (p = strchr(p, '/'));
	     p++) {
		*p = '\0';
		if (!mkdir(dir, 0700)) {
			char *parent AUTO_FREE = parent_of(dir);
			if (sync == DISK_SYNC)
				status = sync_dir(parent, err);
		} else if (errno != EEXIST) {
			status = system_error(err, "make", dir);
		}
		*p = '/';
	}
	return status;
}

static enum status write_all(int fd, const char *path, struct bytes data, struct error *err)
{
	while (data.size) {
		ssize_t n = write(fd, data.data, data.size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return system_error(err, "write", path);
		data.data += n;
		data.size -= (size_t)n;
	}
	return STATUS_OK;
}

static enum status sync_file(int fd, const char *path, struct error *err)
{
	return fsync(fd) ? system_error(err, "sync", path) : STATUS_OK;
}

enum status disk_write(const char *path, struct bytes data, enum disk_sync sync,
		       struct error *err)
{
	char *temporary AUTO_FREE = xasprintf("%s.tmp", path);
	char *parent AUTO_FREE = parent_of(path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	enum status status;

	if (fd < 0)
		return system_error(err, "make", temporary);
	status = write_all(fd, temporary, data, err);
	if (status == STATUS_OK && sync == DISK_SYNC)
		status = sync_file(fd, temporary, err);
	close(fd);
	if (status == STATUS_OK && rename(temporary, path))
		status = system_error(err, "rename", temporary);
	if (status != STATUS_OK) {
		unlink(temporary);
		return status;
	}
	return sync == DISK_SYNC ? sync_dir(parent, err) : STATUS_OK;
}

enum status disk_sync_all(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum status status = STATUS_OK;

	if (fd < 0)
		return system_error(err, "open", path);
	if (syncfs(fd))
		status = system_error(err, "sync", path);
	close(fd);
	return status;
}

enum status disk_append(const char *path, struct bytes data, bool *ret_restored,
			struct error *err)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	enum status status;
	off_t end;

	*ret_restored = true;
	if (fd < 0)
		return system_error(err, "open", path);
	end = lseek(fd, 0, SEEK_END);
	status = end < 0 ? system_error(err, "read", path) : write_all(fd, path, data, err);
	if (status == STATUS_OK && fdatasync(fd))
		status = system_error(err, "sync", path);
	if (status != STATUS_OK && end >= 0)
		*ret_restored = !ftruncate(fd, end) && !fdatasync(fd);
	close(fd);
	return status;
}

enum status disk_read(const char *path, size_t max_bytes, struct strbuf *out, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum status status = STATUS_OK;
	size_t start = out->len;
	ssize_t n;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return error_set(err, STATUS_NOT_FOUND, "%s is not there", path);
	if (fd < 0)
		return system_error(err, "open", path);
	do {
		strbuf_grow(out, 1 << 16);
		n = read(fd, out->buf + out->len, 1 << 16);
		if (n > 0)
			out->len += (size_t)n;
	} while (out->len - start <= max_bytes && (n > 0 || (n < 0 && errno == EINTR)));
	if (n < 0)
		status = system_error(err, "read", path);
	else if (out->len - start > max_bytes)
		status = error_set(err, STATUS_RESOURCE_EXHAUSTED,
				   "%s is larger than %zu bytes", path, max_bytes);
	close(fd);
	out->buf[out->len] = '\0';
	return status;
}

uint64_t disk_checksum(struct bytes data)
{
	static const uint8_t key[HASH_KEY_BYTES] = "collector-tree1"; /* not a secret */

	return hash_siphash(key, data.data, data.size);
}
