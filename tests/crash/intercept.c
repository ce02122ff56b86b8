/*
 * The system calls that our code makes on files: the linker sends them here
 * (--wrap, see the Makefile), and they are recorded when they concern the
 * directory that is watched. No seam in the code itself is needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/journal.h"

int __real_open(const char *path, int flags, ...);
int __real_openat(int directory, const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t offset);
int __real_ftruncate(int fd, off_t size);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_rename(const char *from, const char *to);
int __real_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __real_mkdir(const char *path, mode_t mode);
int __real_mkdirat(int directory, const char *path, mode_t mode);
int __real_unlink(const char *path);
int __real_unlinkat(int directory, const char *path, int flags);
int __real_rmdir(const char *path);

int __wrap_open(const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdirat(int directory, const char *path, mode_t mode);
int __wrap_unlink(const char *path);
int __wrap_unlinkat(int directory, const char *path, int flags);
int __wrap_rmdir(const char *path);

/* ------------------------------------------------------------ places */

/* A path as its directory's inode and the name in it. */
struct place {
	char path[PATH_MAX];
	const char *name;
	uint64_t directory;
};

static uint64_t inode_at(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_ino : 0;
}

static bool path_of_fd(int fd, char out[PATH_MAX])
{
	char link[64];
	ssize_t len;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, out, PATH_MAX - 1);
	if (len < 0)
		return false;
	out[len] = '\0';
	return journal_covers(out);
}

/* False: nothing that is watched. */
static bool locate(int directory, const char *path, struct place *ret)
{
	char parent[PATH_MAX];
	char *slash;

	if (!journal_is_recording())
		return false;
	if (*path == '/') {
		(void)snprintf(ret->path, sizeof(ret->path), "%s", path);
	} else {
		if (directory == AT_FDCWD || !path_of_fd(directory, parent))
			return false;
		if (snprintf(ret->path, sizeof(ret->path), "%s/%s", parent, path) >= PATH_MAX)
			abort();
	}
	if (!journal_covers(ret->path))
		return false;
	(void)snprintf(parent, sizeof(parent), "%s", ret->path);
	slash = strrchr(parent, '/');
	*slash = '\0';
	ret->name = ret->path + (slash - parent) + 1;
	ret->directory = inode_at(parent);
	return true;
}

/* ------------------------------------------------------------ calls */

static int open_file(int directory, const char *path, int flags, mode_t mode)
{
	struct place place;
	struct stat st;
	bool existed;
	int fd;

	if (!locate(directory, path, &place))
		return __real_openat(directory, path, flags, mode);
	journal_lock();
	existed = lstat(place.path, &st) == 0;
	fd = __real_openat(directory, path, flags, mode);
	if (fd >= 0 && !existed)
		journal_add(&(struct event){.type = EVENT_CREATE,
					    .file = inode_at(place.path),
					    .directory = place.directory,
					    .name = place.name});
	else if (fd >= 0 && (flags & O_TRUNC))
		journal_add(&(struct event){.type = EVENT_TRUNCATE, .file = st.st_ino});
	journal_unlock();
	return fd;
}

int __wrap_openat(int directory, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & O_CREAT)
		mode = (mode_t)va_arg(args, int);
	va_end(args);
	return open_file(directory, path, flags, mode);
}

int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & O_CREAT)
		mode = (mode_t)va_arg(args, int);
	va_end(args);
	return open_file(AT_FDCWD, path, flags, mode);
}

/* The inode of a descriptor, or 0: it is not watched. */
static uint64_t watched(int fd)
{
	char path[PATH_MAX];
	struct stat st;

	if (!journal_is_recording() || !path_of_fd(fd, path) || fstat(fd, &st) != 0)
		return 0;
	return st.st_ino;
}

static void record_write(uint64_t inode, const void *data, ssize_t size, off_t offset)
{
	if (size > 0)
		journal_add(&(struct event){.type = EVENT_WRITE,
					    .file = inode,
					    .offset = offset,
					    .data = data,
					    .data_size = (uint32_t)size});
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	const uint64_t inode = watched(fd);
	ssize_t written;

	if (!inode)
		return __real_write(fd, data, size);
	journal_lock();
	off_t offset =
		fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
	written = __real_write(fd, data, size);
	record_write(inode, data, written, offset);
	journal_unlock();
	return written;
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset)
{
	const uint64_t inode = watched(fd);
	ssize_t written;

	if (!inode)
		return __real_pwrite(fd, data, size, offset);
	journal_lock();
	written = __real_pwrite(fd, data, size, offset);
	record_write(inode, data, written, offset);
	journal_unlock();
	return written;
}

int __wrap_ftruncate(int fd, off_t size)
{
	const uint64_t inode = watched(fd);
	int failed;

	if (!inode)
		return __real_ftruncate(fd, size);
	journal_lock();
	failed = __real_ftruncate(fd, size);
	if (!failed)
		journal_add(
			&(struct event){.type = EVENT_TRUNCATE, .file = inode, .offset = size});
	journal_unlock();
	return failed;
}

/* What the real call would do is the model's business: here it is only recorded. */
static int sync_fd(uint64_t inode, uint64_t key)
{
	journal_lock();
	journal_add(&(struct event){.type = EVENT_SYNC, .file = inode, .key = key});
	journal_unlock();
	return 0;
}

int __wrap_fsync(int fd)
{
	const uint64_t inode = watched(fd);

	return inode ? sync_fd(inode, journal_caller_key()) : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	const uint64_t inode = watched(fd);

	return inode ? sync_fd(inode, journal_caller_key()) : __real_fdatasync(fd);
}

int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to)
{
	struct place a, b;
	int failed;

	if (!locate(from_directory, from, &a) || !locate(to_directory, to, &b))
		return __real_renameat(from_directory, from, to_directory, to);
	journal_lock();
	failed = __real_renameat(from_directory, from, to_directory, to);
	if (!failed)
		journal_add(&(struct event){.type = EVENT_RENAME,
					    .directory = a.directory,
					    .name = a.name,
					    .to_directory = b.directory,
					    .to = b.name});
	journal_unlock();
	return failed;
}

int __wrap_rename(const char *from, const char *to)
{
	return __wrap_renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int __wrap_mkdirat(int directory, const char *path, mode_t mode)
{
	struct place place;
	int failed;

	if (!locate(directory, path, &place))
		return __real_mkdirat(directory, path, mode);
	journal_lock();
	failed = __real_mkdirat(directory, path, mode);
	if (!failed)
		journal_add(&(struct event){.type = EVENT_MKDIR,
					    .file = inode_at(place.path),
					    .directory = place.directory,
					    .name = place.name});
	journal_unlock();
	return failed;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	return __wrap_mkdirat(AT_FDCWD, path, mode);
}

int __wrap_unlinkat(int directory, const char *path, int flags)
{
	struct place place;
	int failed;

	if (!locate(directory, path, &place))
		return __real_unlinkat(directory, path, flags);
	journal_lock();
	failed = __real_unlinkat(directory, path, flags);
	if (!failed)
		journal_add(&(struct event){.type = EVENT_REMOVE,
					    .directory = place.directory,
					    .name = place.name});
	journal_unlock();
	return failed;
}

int __wrap_unlink(const char *path)
{
	return __wrap_unlinkat(AT_FDCWD, path, 0);
}

int __wrap_rmdir(const char *path)
{
	return __wrap_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}
