#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/strbuf.h"
#include "services/console/ctl/breakages.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/describe.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/paging.h"
#include "services/console/ctl/registry_change.h"
#include "services/console/ctl/schema_command.h"
#include "services/console/ctl/session.h"

#define REGISTRY "/collector.CollectorRegistry/"

/* ------------------------------------------------------- list, describe */

static void add_names(struct table *t, const json_t *names)
{
	AUTO_STRBUF text = STRBUF_INIT;
	json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
		strbuf_addf(&text, "%s%s", i ? " " : "", json_string_value(name));
	table_add(t, strbuf_str(&text));
}

static int list_files(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"FILE", "VERSION", "MESSAGES", "SERVICES", NULL};
	json_t *request = json_pack("{s:s, s:s}", "namespace", s->ns, "prefix",
				    args->count ? args->positional[0] : "");
	json_t *all = NULL, *p;
	struct error err;
	size_t i;

	if (paging_collect(s, REGISTRY "ListProtos", request, "protos", 0, &all, &err) !=
	    STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "protos"), i, p)
		{
			table_add(t, json_text(p, "fileName"));
			table_add_json(t, json_object_get(p, "version"));
			table_addf(t, "%zu",
				   json_array_size(json_object_get(p, "messageNames")));
			add_names(t, json_object_get(p, "serviceNames"));
		}
		table_print(t, "no files are registered in this namespace");
	}
	json_decref(all);
	return 0;
}

static int list_services(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"SERVICE", "FILE", "METHODS", NULL};
	json_t *request = json_pack("{s:s, s:s}", "namespace", s->ns, "prefix",
				    args->count ? args->positional[0] : "");
	json_t *all = NULL, *service;
	struct error err;
	size_t i;

	if (paging_collect(s, REGISTRY "ListServices", request, "services", 0, &all, &err) !=
	    STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "services"), i, service)
		{
			table_add(t, json_text(service, "serviceName"));
			table_add(t, json_text(service, "fileName"));
			add_names(t, json_object_get(service, "methodNames"));
		}
		table_print(t, "no services are registered in this namespace");
	}
	json_decref(all);
	return 0;
}

static int run_list(struct session *s, const struct arguments *args)
{
	return arguments_has(args, "services") ? list_services(s, args) : list_files(s, args);
}

static int run_describe(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF out = STRBUF_INIT;
	struct error err;
	enum status status =
		describe_symbol(s, args->positional[0], s->output == OUTPUT_JSON, &out, &err);

	if (status != STATUS_OK)
		return session_fail(&err);
	fputs(strbuf_str(&out), stdout);
	return 0;
}

/* -------------------------------------------------------------- versions */

static int run_versions(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"VERSION", "REGISTERED", "BYTES", "CURRENT",
					      NULL};
	json_t *request =
		json_pack("{s:s, s:s}", "namespace", s->ns, "fileName", args->positional[0]);
	json_t *all = NULL, *v;
	struct error err;
	size_t i;

	if (paging_collect(s, REGISTRY "ListVersions", request, "versions", 0, &all, &err) !=
	    STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "versions"), i, v)
		{
			bool is_current = json_is_true(json_object_get(v, "current"));
			table_add(t, json_text(v, "version"));
			table_add(t, json_text(v, "registeredAt"));
			table_add(t, json_text(v, "sizeBytes"));
			table_add(t, is_current ? "yes" : "");
		}
		table_print(t, "the file has no versions");
	}
	json_decref(all);
	return 0;
}

/* ------------------------------------------------------------------ diff */

/* A declaration, each line behind @mark. */
static void print_declaration(char mark, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		printf("%c %.*s\n", mark, (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void print_diff(const char *file, const json_t *reply)
{
	const json_t *breakages = json_object_get(reply, "breakages");
	json_t *c;
	size_t i;

	printf("%s, version %s to %s\n", file, json_text(reply, "fromVersion"),
	       json_text(reply, "toVersion"));
	json_array_foreach(json_object_get(reply, "changes"), i, c)
	{
		printf("\n%s\n", json_text(c, "path"));
		print_declaration('-', json_text(c, "before"));
		print_declaration('+', json_text(c, "after"));
	}
	if (json_array_size(breakages))
		puts("\nbreaks:");
	breakages_print(stdout, breakages);
}

static bool parse_version(const char *text, json_int_t *ret)
{
	char *end;
	long long value = strtoll(text, &end, 10);

	if (*end || end == text || value < 1)
		return false;
	*ret = value;
	return true;
}

static int run_diff(struct session *s, const struct arguments *args)
{
	json_int_t versions[2] = {0, 0}; /* from, to; 0: the registry chooses */
	json_t *reply;
	struct error err;

	for (size_t i = 1; i < args->count; i++)
		if (!parse_version(args->positional[i], &versions[i - 1])) {
			fprintf(stderr, "collectorctl: '%s' is not a version\n",
				args->positional[i]);
			return EXIT_CODE_USAGE;
		}
	if (session_call(s, REGISTRY "Diff",
			 json_pack("{s:s, s:s, s:I, s:I}", "namespace", s->ns, "fileName",
				   args->positional[0], "fromVersion", versions[0], "toVersion",
				   versions[1]),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		print_diff(args->positional[0], reply);
	json_decref(reply);
	return 0;
}

/* ---------------------------------------------------------------- policy */

#define POLICY_PREFIX "COMPATIBILITY_POLICY_"

/* "wire-json" as COMPATIBILITY_POLICY_WIRE_JSON; NULL: there is no such policy. */
static const char *policy_of(const char *word)
{
	static const struct {
		const char *word, *name;
	} policies[] = {
		{"none", POLICY_PREFIX "NONE"},           {"wire", POLICY_PREFIX "WIRE"},
		{"wire-json", POLICY_PREFIX "WIRE_JSON"}, {"source", POLICY_PREFIX "SOURCE"},
		{"default", POLICY_PREFIX "UNSPECIFIED"},
	};

	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (!strcasecmp(word, policies[i].word) ||
		    !strcasecmp(word, policies[i].name + strlen(POLICY_PREFIX)))
			return policies[i].name;
	return NULL;
}

static int run_policy(struct session *s, const struct arguments *args)
{
	const char *policy = args->count ? policy_of(args->positional[0]) : NULL;
	json_t *request = json_pack("{s:s}", "namespace", s->ns), *reply;
	struct error err;

	if (args->count && !policy) {
		fprintf(stderr,
			"collectorctl: '%s' is not a policy: none, wire, wire-json, source or "
			"default\n",
			args->positional[0]);
		json_decref(request);
		return EXIT_CODE_USAGE;
	}
	if (policy)
		json_object_set_new(request, "policy", json_string(policy));
	if (session_call(s, policy ? REGISTRY "SetPolicy" : REGISTRY "GetPolicy", request,
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		puts(json_text(reply, "policy") + strlen(POLICY_PREFIX));
	json_decref(reply);
	return 0;
}

/* -------------------------------------------------------------- commands */

static const struct flag register_flags[] = {
	{"proto-path", 'I', "DIR", "where imports are found; may be repeated"},
	{"force", 0, NULL, "register although something breaks"},
	{NULL, 0, NULL, NULL},
};
static const struct flag check_flags[] = {
	{"proto-path", 'I', "DIR", "where imports are found; may be repeated"},
	{NULL, 0, NULL, NULL},
};
static const struct flag change_flags[] = {
	{"check", 0, NULL, "change nothing; tell what would break"},
	{"force", 0, NULL, "do it although something breaks"},
	{NULL, 0, NULL, NULL},
};
static const struct flag schema_flags[] = {
	{"skeleton", 0, NULL, "print a message to start from instead"},
	{NULL, 0, NULL, NULL},
};
static const struct flag list_flags[] = {
	{"services", 's', NULL, "list services with their methods instead of files"},
	{NULL, 0, NULL, NULL},
};

#define PATHS_HELP                                                                             \
	"A PATH is a .proto file or a directory of them, compiled with protoc; a binary\n"     \
	"FileDescriptorSet; or - for such a set on standard input. Without --proto-path\n"     \
	"imports are found below the directories given, and the current one.\n"

const struct command registry_commands[] = {
	{"registry", "register", "PATH...", "register types and services",
	 PATHS_HELP
	 "All are registered together with what they import, or none. What would break\n"
	 "users of a type, or the namespace's policy, is refused and listed.",
	 register_flags, 1, ARGUMENTS_MAX, registry_change_register},
	{"registry", "check", "PATH...", "tell what registering would break, change nothing",
	 PATHS_HELP "Exit code 1: something breaks.", check_flags, 1, ARGUMENTS_MAX,
	 registry_change_check},
	{"registry", "list", "[PREFIX]", "list what is registered in the namespace", NULL,
	 list_flags, 0, 1, run_list},
	{"registry", "describe", "NAME",
	 "print a message, enum, service or file as .proto text",
	 "With -o json the file that declares it, as a FileDescriptorProto.", NULL, 1, 1,
	 run_describe},
	{"registry", "schema", "MESSAGE", "print a JSON Schema of a message's JSON",
	 "JSON Schema 2020-12, with comments as descriptions.", schema_flags, 1, 1,
	 schema_command},
	{"registry", "versions", "FILE", "list the versions of a file, the newest first", NULL,
	 NULL, 1, 1, run_versions},
	{"registry", "diff", "FILE [FROM [TO]]", "compare two versions of a file",
	 "Without versions the current one with the one before it; with one, that with the\n"
	 "current one.",
	 NULL, 1, 3, run_diff},
	{"registry", "import", "ADDRESS [SERVICE...]",
	 "register the types of a live server, by its reflection",
	 "Without a SERVICE all of them. The registry dials host:port ADDRESS itself: only\n"
	 "loopback, and what its --allow-address allows.",
	 change_flags, 1, ARGUMENTS_MAX, registry_change_import},
	{"registry", "unregister", "FILE", "remove a file",
	 "Refused while something uses it; the users are listed.", change_flags, 1, 1,
	 registry_change_unregister},
	{"registry", "policy", "[POLICY]",
	 "show or set how freely the namespace's files change",
	 "none: anything that links. wire: binary data stays readable. wire-json: JSON too\n"
	 "(the default). source: generated code still compiles.",
	 NULL, 0, 1, run_policy},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
