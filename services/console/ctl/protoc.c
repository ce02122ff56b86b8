#include "services/console/ctl/protoc.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "services/console/ctl/session.h"

extern char **environ;

enum { MAX_ROOTS = 64 };

static enum status run(char *const *argv, struct error *err)
{
	pid_t pid;
	int wstatus, problem = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (problem)
		return error_set(err, STATUS_UNAVAILABLE,
				 "cannot run protoc (package protobuf-compiler): %s",
				 strerror(problem));
	while (waitpid(pid, &wstatus, 0) < 0)
		if (errno != EINTR)
			return error_set(err, STATUS_INTERNAL, "waitpid: %s", strerror(errno));
	if (WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == 127)
		return error_set(err, STATUS_UNAVAILABLE,
				 "cannot run protoc: install package protobuf-compiler");
	if (!WIFEXITED(wstatus) || WEXITSTATUS(wstatus))
		return error_set(err, STATUS_INVALID_ARGUMENT, "protoc refused the file");
	return STATUS_OK;
}

/* The part of @file below the first root that holds it; @file itself else. */
static const char *below_root(const char *file, const char *const *roots)
{
	for (; *roots; roots++) {
		size_t n = strlen(*roots);
		while (n && (*roots)[n - 1] == '/')
			n--;
		if (n && !strncmp(file, *roots, n) && file[n] == '/')
			return file + n + 1;
	}
	return strncmp(file, "./", 2) ? file : file + 2;
}

enum status protoc_compile(const char *file, const char *const *roots, struct strbuf *out,
			   const char **ret_name, struct error *err)
{
	static const char *const here[] = {".", NULL};
	char path[] = "/tmp/collectorctl-XXXXXX", *argv[MAX_ROOTS + 8];
	char *include[MAX_ROOTS], *result;
	size_t n = 0, root_count = 0;
	int fd = mkstemp(path);
	enum status status;

	if (fd < 0)
		return error_set(err, STATUS_INTERNAL, "cannot make a temporary file: %s",
				 strerror(errno));
	close(fd);
	if (!*roots)
		roots = here;
	result = xasprintf("--descriptor_set_out=%s", path);
	argv[n++] = "protoc";
	argv[n++] = "--include_imports";
	argv[n++] = "--include_source_info";
	argv[n++] = result;
	for (; roots[root_count] && root_count < MAX_ROOTS; root_count++)
		argv[n++] = include[root_count] = xasprintf("-I%s", roots[root_count]);
	argv[n++] = (char *)file;
	argv[n] = NULL;
	status = run(argv, err);
	if (status == STATUS_OK)
		status = session_read_file(path, out, err);
	unlink(path);
	free(result);
	while (root_count)
		free(include[--root_count]);
	*ret_name = below_root(file, roots);
	return status;
}
