/*
 * The command line of collectorctl: "noun verb ARGS... --flags", flags anywhere,
 * as `--name value`, `--name=value` or `-n value`; `--` ends them.
 */
#ifndef SERVICES_CONSOLE_CTL_ARGUMENTS_H
#define SERVICES_CONSOLE_CTL_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

struct flag {
	const char *name;
	char letter;       /* 0: none */
	const char *value; /* what it takes, for the help text; NULL: it is a switch */
	const char *help;
};

enum { ARGUMENTS_MAX = 4096 };

struct given_flag {
	const struct flag *flag;
	const char *value; /* NULL for switches */
};

struct arguments {
	const char **positional;
	size_t count;
	struct given_flag *flags;
	size_t flag_count;
};

/*
 * Sort @argv into words and flags. @tables are arrays that end with a NULL name; the list
 * of them ends with NULL. Values are borrowed from @argv. False: *ret_problem says why
 * (owned by the caller), such as an unknown flag.
 */
bool arguments_parse(struct arguments *a, int argc, char **argv,
		     const struct flag *const *tables, char **ret_problem);
void arguments_release(struct arguments *a);

/* The flag's last value; NULL: not given. */
const char *arguments_value(const struct arguments *a, const char *name);
bool arguments_has(const struct arguments *a, const char *name);

/* The @nth value of a flag that may be repeated; NULL: no more. */
const char *arguments_nth(const struct arguments *a, const char *name, size_t nth);

#endif
