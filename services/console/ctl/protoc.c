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
		return error_set(err, STATUS_INVALID_ARGUMENT, "protoc refused the files");
	return STATUS_OK;
}

/* A file of arguments, a line each: a command line would not hold so many. */
static bool write_arguments(FILE *to, const char *const *files, size_t count,
			    const char *const *roots, const char *result)
{
	fprintf(to, "--include_imports\n--include_source_info\n--descriptor_set_out=%s\n",
		result);
	for (; *roots; roots++)
		fprintf(to, "-I%s\n", *roots);
	for (size_t i = 0; i < count; i++)
		fprintf(to, "%s\n", files[i]);
	return !fflush(to) && !ferror(to);
}

enum status protoc_compile(const char *const *files, size_t count, const char *const *roots,
			   struct strbuf *out, struct error *err)
{
	char directory[] = "/tmp/collectorctl-XXXXXX";
	char *arguments AUTO_FREE = NULL, *at AUTO_FREE = NULL, *result AUTO_FREE = NULL;
	enum status status;
	FILE *to;

	if (!mkdtemp(directory))
		return error_set(err, STATUS_INTERNAL, "cannot make a temporary directory: %s",
				 strerror(errno));
	arguments = xasprintf("%s/arguments", directory);
	at = xasprintf("@%s", arguments);
	result = xasprintf("%s/result", directory);
	to = fopen(arguments, "wx");
	if (!to || !write_arguments(to, files, count, roots, result))
		status = error_set(err, STATUS_INTERNAL, "cannot write %s: %s", arguments,
				   strerror(errno));
	else
		status = run((char *[]){"protoc", at, NULL}, err);
	if (to)
		fclose(to);
	if (status == STATUS_OK)
		status = session_read_file(result, out, err);
	(void)unlink(arguments); /* what is left over is the system's to clean */
	(void)unlink(result);
	(void)rmdir(directory);
	return status;
}
