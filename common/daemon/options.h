/*
 * Options: tables of rows (daemon.h), filled from defaults, a JSON file, the
 * environment and flags, each winning over the one before.
 */
#ifndef COMMON_DAEMON_OPTIONS_H
#define COMMON_DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/daemon/daemon.h"

/* A table and the struct that its offsets point into. */
struct option_set {
	const struct daemon_option *rows; /* ends with a NULL name */
	void *config;
};

enum options_request {
	OPTIONS_RUN,
	OPTIONS_CHECK, /* -n: validate, print, exit */
	OPTIONS_HELP,
	OPTIONS_VERSION,
};

enum { OPTIONS_MAX_ROWS = 64, OPTIONS_MAX_FILE_BYTES = 1 << 20 };

/*
 * Read argv[1..argc) and what goes with it into the sets. @sets ends with NULL
 * rows. Texts are in @arena. With OPTIONS_HELP and OPTIONS_VERSION nothing else
 * is looked at. INVALID_ARGUMENT: err->field names the flag, variable or key.
 */
enum status options_read(const struct option_set *sets, int argc, char **argv,
			 struct arena *arena, enum options_request *ret_request,
			 struct error *err) MUST_CHECK;

/* The effective values as a JSON object, a line each. */
void options_print(const struct option_set *sets, FILE *to);
void options_print_help(const struct option_set *sets, FILE *to);

#endif
