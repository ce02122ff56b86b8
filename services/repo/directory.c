#include "services/repo/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"

enum { MAX_DEPTH = 64 };

static enum status fail(const char *what, const char *path, struct error *err)
{
	const int saved = errno;

	return error_set(err,
			 saved == ENOSPC || saved == EDQUOT ? STATUS_RESOURCE_EXHAUSTED
							    : STATUS_UNAVAILABLE,
			 "cannot %s %s: %s", what, path, strerror(saved));
}

static enum status directory_sync(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return fail("open", path, err);
	enum status status = fsync(fd) == 0 ? STATUS_OK : fail("sync", path, err);
	close(fd);
	return status;
}

static enum status sync_parent(const char *path, struct error *err)
{
	AUTO_FREE char *parent = xstrdup(path);
	char *slash = strrchr(parent, '/');

	if (slash && slash != parent)
		*slash = '\0';
	return directory_sync(slash ? parent : ".", err);
}

enum status directory_make_scratch(const char *path, struct error *err)
{
	return mkdir(path, 0700) == 0 || errno == EEXIST ? STATUS_OK : fail("make", path, err);
}

enum status directory_make(const char *path, struct error *err)
{
	enum status status = directory_make_scratch(path, err);

	/* Also when it was there: a crash may have come before its sync. */
	return status == STATUS_OK ? sync_parent(path, err) : status;
}

enum status directory_move(const char *from, const char *to, struct error *err)
{
	if (rename(from, to) != 0)
		return fail("move to", to, err);
	return sync_parent(to, err);
}

/* Descriptors, not paths: what is swapped for a link meanwhile leads nowhere. */
static void remove_in(int parent, const char *name, int depth)
{
	struct dirent *found;
	DIR *dir;
	int fd;

	if (unlinkat(parent, name, 0) == 0 || depth == MAX_DEPTH)
		return;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return;
	}
	while ((found = readdir(dir)))
		if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
			remove_in(fd, found->d_name, depth + 1);
	closedir(dir);
	/* What stays is tried again at the next start. */
	(void)unlinkat(parent, name, AT_REMOVEDIR);
}

void directory_remove(const char *path)
{
	remove_in(AT_FDCWD, path, 0);
}
