/*
 * collectorctl: the commands of a person or script, each a few calls of the
 * front door. The tables below say what there is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/console/ctl/arguments.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/session.h"

static const struct flag global_flags[] = {
	{"address", 'a', "HOST:PORT", "the front door (COLLECTOR_ADDRESS, 127.0.0.1:50051)"},
	{"namespace", 'n', "NAME", "the namespace (COLLECTOR_NAMESPACE, default)"},
	{"output", 'o', "table|json", "how results are printed (COLLECTOR_OUTPUT, table)"},
	{"timeout", 't', "DURATION", "for each call: 500ms, 10s, 2m (COLLECTOR_TIMEOUT, 30s)"},
	{"help", 'h', NULL, "explain the command"},
	{"version", 'V', NULL, "print the version"},
	{NULL, 0, NULL, NULL},
};

static const struct command *const tables[] = {
	registry_commands, collection_commands, record_commands,   watch_commands,
	file_commands,     rpc_commands,        workflow_commands, dispatcher_commands,
	console_commands,  status_commands,
};
enum { TABLE_COUNT = sizeof(tables) / sizeof(tables[0]) };

static void print_flags(FILE *to, const struct flag *flags)
{
	for (; flags && flags->name; flags++) {
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", flags->name, flags->value ? " " : "",
			 flags->value ? flags->value : "");
		fprintf(to, "  %s%c%s %-28s %s\n", flags->letter ? "-" : " ",
			flags->letter ? flags->letter : ' ', flags->letter ? "," : " ", left,
			flags->help);
	}
}

static void print_command_line(FILE *to, const struct command *c)
{
	char left[80];

	snprintf(left, sizeof(left), "%s%s%s%s%s", c->noun, c->verb ? " " : "",
		 c->verb ? c->verb : "", *c->words ? " " : "", c->words);
	fprintf(to, "  %-40s %s\n", left, c->summary);
}

/* All commands, or those of @noun. */
static void print_help(FILE *to, const char *noun)
{
	fputs("usage: collectorctl NOUN VERB [ARGUMENTS] [FLAGS]\n\ncommands:\n", to);
	for (int t = 0; t < TABLE_COUNT; t++)
		for (const struct command *c = tables[t]; c->noun; c++)
			if (!noun || !strcmp(noun, c->noun))
				print_command_line(to, c);
	fputs("\nflags of every command:\n", to);
	print_flags(to, global_flags);
	fputs("\nexit codes: 0 done, 1 failed, 2 wrong usage, 64 + N: gRPC status N\n", to);
}

static void print_command_help(FILE *to, const struct command *c)
{
	fprintf(to, "usage: collectorctl %s%s%s%s%s [FLAGS]\n\n%s\n", c->noun,
		c->verb ? " " : "", c->verb ? c->verb : "", *c->words ? " " : "", c->words,
		c->summary);
	if (c->details)
		fprintf(to, "\n%s\n", c->details);
	if (c->flags) {
		fputs("\nflags:\n", to);
		print_flags(to, c->flags);
	}
	fputs("\nflags of every command:\n", to);
	print_flags(to, global_flags);
}

static const struct command *find_command(const char *noun, const char *verb)
{
	for (int t = 0; t < TABLE_COUNT; t++)
		for (const struct command *c = tables[t]; c->noun; c++)
			if (!strcmp(noun, c->noun) &&
			    (!c->verb || (verb && !strcmp(verb, c->verb))))
				return c;
	return NULL;
}

static bool is_noun(const char *word)
{
	for (int t = 0; t < TABLE_COUNT; t++)
		for (const struct command *c = tables[t]; c->noun; c++)
			if (!strcmp(word, c->noun))
				return true;
	return false;
}

static int wrong_usage(char *problem, const struct command *c)
{
	fprintf(stderr, "collectorctl: %s\n", problem);
	if (c)
		fprintf(stderr, "try: collectorctl %s%s%s --help\n", c->noun,
			c->verb ? " " : "", c->verb ? c->verb : "");
	else
		fputs("try: collectorctl --help\n", stderr);
	free(problem);
	return EXIT_CODE_USAGE;
}

static int run_command(const struct command *c, const struct arguments *all)
{
	struct arguments args = *all;
	size_t used = c->verb ? 2 : 1;
	struct session session;
	char *problem;
	int code;

	args.positional += used;
	args.count -= used;
	if (arguments_has(all, "help")) {
		print_command_help(stdout, c);
		return 0;
	}
	if (args.count < c->min_words || args.count > c->max_words) {
		fprintf(stderr, "collectorctl: usage: collectorctl %s%s%s %s\n", c->noun,
			c->verb ? " " : "", c->verb ? c->verb : "", c->words);
		return EXIT_CODE_USAGE;
	}
	if (!session_init(&session, &args, &problem))
		return wrong_usage(problem, c);
	code = c->run(&session, &args);
	session_release(&session);
	if (fflush(stdout) || ferror(stdout)) {
		perror("collectorctl: standard output");
		return code ? code : 1;
	}
	return code;
}

/* The flags that a command line may hold depend on its words, and what is a
 * word on the flags: so the command is found with all flags known, then its
 * line is parsed with its own. */
static const struct command *command_of(int argc, char **argv, struct arguments *ret_words)
{
	const struct flag *every[TABLE_COUNT * 16 + 2] = {global_flags};
	size_t n = 1;
	char *problem = NULL;

	for (int t = 0; t < TABLE_COUNT; t++)
		for (const struct command *c = tables[t]; c->noun; c++)
			if (c->flags && n < TABLE_COUNT * 16)
				every[n++] = c->flags;
	every[n] = NULL;
	/* The command that tells what is wrong is in front of it. */
	while (!arguments_parse(ret_words, argc, argv, every, &problem)) {
		free(problem);
		arguments_release(ret_words);
		argc--;
	}
	return ret_words->count
		       ? find_command(ret_words->positional[0],
				      ret_words->count > 1 ? ret_words->positional[1] : NULL)
		       : NULL;
}

/* False: *ret_problem says why the line would be wrong for any command. */
static bool parse_global_flags(int argc, char **argv, char **ret_problem)
{
	const struct flag *const own[] = {global_flags, NULL};
	struct arguments args;
	bool fine = arguments_parse(&args, argc, argv, own, ret_problem);

	arguments_release(&args);
	return fine;
}

static int without_command(const struct arguments *words, int argc, char **argv)
{
	char *problem;

	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-V")) {
			puts("collectorctl " COLLECTOR_VERSION);
			return 0;
		}
	if (!words->count && !parse_global_flags(argc, argv, &problem))
		return wrong_usage(problem, NULL);
	if (words->count && strcmp(words->positional[0], "help") &&
	    !is_noun(words->positional[0])) {
		fprintf(stderr, "collectorctl: there is no '%s'; try: collectorctl --help\n",
			words->positional[0]);
		return EXIT_CODE_USAGE;
	}
	bool asked = arguments_has(words, "help") ||
		     (words->count && !strcmp(words->positional[0], "help"));
	print_help(asked ? stdout : stderr,
		   words->count && is_noun(words->positional[0]) ? words->positional[0] : NULL);
	return asked ? 0 : EXIT_CODE_USAGE;
}

int main(int argc, char **argv)
{
	struct arguments words, args;
	const struct command *c = command_of(argc - 1, argv + 1, &words);
	char *problem = NULL;
	int code;

	if (!c) {
		code = without_command(&words, argc - 1, argv + 1);
		arguments_release(&words);
		return code;
	}
	const struct flag *const own[] = {global_flags, c->flags ? c->flags : global_flags,
					  NULL};
	if (arguments_parse(&args, argc - 1, argv + 1, own, &problem))
		code = run_command(c, &args);
	else
		code = wrong_usage(problem, c);
	arguments_release(&args);
	arguments_release(&words);
	return code;
}
