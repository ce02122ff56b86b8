/*
 * The commands of collectorctl, one row each; main.c has the tables. A command
 * gets a session (session.h) and its arguments and returns the exit code: 0,
 * 1 for a plain failure, 2 for wrong usage, 64 + the gRPC code of a failed call.
 */
#ifndef SERVICES_CONSOLE_CTL_COMMAND_H
#define SERVICES_CONSOLE_CTL_COMMAND_H

#include "services/console/ctl/arguments.h"

struct session;

enum { EXIT_CODE_USAGE = 2, EXIT_CODE_GRPC = 64 };

struct command {
	const char *noun, *verb;  /* verb NULL: the noun alone */
	const char *words;        /* "NAME [ID]", for the help text */
	const char *summary;      /* one line */
	const char *details;      /* more for `help`, or NULL */
	const struct flag *flags; /* ends with a NULL name; or NULL */
	size_t min_words, max_words;
	int (*run)(struct session *s, const struct arguments *args);
};

/* Each ends with a NULL noun. */
extern const struct command registry_commands[];
extern const struct command collection_commands[];
extern const struct command record_commands[];
extern const struct command watch_commands[];
extern const struct command file_commands[];
extern const struct command rpc_commands[];
extern const struct command workflow_commands[];
extern const struct command dispatcher_commands[];
extern const struct command console_commands[];
extern const struct command status_commands[];

#endif
