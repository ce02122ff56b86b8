#include "services/console/ctl/registry_change.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/reflect/wire.h"
#include "services/console/ctl/arguments.h"
#include "services/console/ctl/breakages.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/descriptor_input.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/session.h"

#define REGISTRY "/collector.CollectorRegistry/"

enum { EXIT_CODE_BREAKS = 1 }; /* of a check: it was done, and something would break */

/* A change that may be tried first: its request but for how it is to be done. */
struct change {
	const char *method;
	struct bytes request;
	/* The field numbers of validate_only and force in it, and the name of the list of
	 * breakages in the answer. */
	unsigned validate_field, force_field;
	const char *list;
};

static enum status call(struct session *s, const struct change *c, unsigned flag_field,
			json_t **ret_reply, struct error *err)
{
	AUTO_STRBUF request = STRBUF_INIT;

	strbuf_add(&request, c->request.data, c->request.size);
	if (flag_field)
		wire_add_uint(&request, flag_field, 1);
	return session_call_bytes(s, c->method, bytes_of(request.buf, request.len), ret_reply,
				  err);
}

/* The error, and all that the change was refused for: a trial tells it. */
static int fail(struct session *s, const struct change *c, const struct error *err)
{
	json_t *trial = NULL;
	struct error ignored; /* the refusal itself is told */
	int code = session_fail(err);

	if (err->status != STATUS_FAILED_PRECONDITION)
		return code;
	if (call(s, c, c->validate_field, &trial, &ignored) == STATUS_OK)
		breakages_print(stderr, json_object_get(trial, c->list));
	json_decref(trial);
	return code;
}

/* What a trial found, for a person; the exit code. */
static int show_trial(const struct change *c, const json_t *reply)
{
	const json_t *list = json_object_get(reply, c->list);
	size_t count = json_array_size(list);

	breakages_print(stdout, list);
	if (!count)
		puts("nothing breaks");
	return count ? EXIT_CODE_BREAKS : 0;
}

static int run(struct session *s, const struct arguments *args, const struct change *c,
	       bool is_trial, void (*show)(const struct session *s, const json_t *reply))
{
	unsigned flag = is_trial                       ? c->validate_field
			: arguments_has(args, "force") ? c->force_field
						       : 0;
	json_t *reply;
	struct error err;
	int code = 0;

	if (call(s, c, flag, &reply, &err) != STATUS_OK)
		return fail(s, c, &err);
	if (s->output == OUTPUT_JSON) {
		output_json(reply);
		code = is_trial && json_array_size(json_object_get(reply, c->list))
			       ? EXIT_CODE_BREAKS
			       : 0;
	} else if (is_trial) {
		code = show_trial(c, reply);
	} else {
		show(s, reply);
		breakages_print(stderr, json_object_get(reply, c->list));
	}
	json_decref(reply);
	return code;
}

/* ------------------------------------------------------- register, check */

static void show_files(const struct session *s, const json_t *reply)
{
	static const char *const columns[] = {"FILE", "RESULT", "VERSION", NULL};
	struct table *t = table_new(columns);
	json_t *f;
	size_t i;

	(void)s;
	json_array_foreach(json_object_get(reply, "files"), i, f)
	{
		const char *id = json_text(f, "protoId"), *slash = strchr(id, '/');
		const char *version = json_text(f, "version");
		table_add(t, slash ? slash + 1 : id);
		table_add(t, json_is_true(json_object_get(f, "unchanged")) ? "unchanged"
			     : strcmp(version, "1")                        ? "updated"
									   : "registered");
		table_add(t, version);
	}
	table_print(t, "there was nothing to register");
}

static int register_files(struct session *s, const struct arguments *args, bool is_trial)
{
	AUTO_STRBUF set = STRBUF_INIT;
	AUTO_STRBUF request = STRBUF_INIT;
	struct change c = {.method = REGISTRY "RegisterFiles",
			   .validate_field = 3,
			   .force_field = 4,
			   .list = "breakages"};
	struct error err;

	if (descriptor_input_read(args, args->positional, args->count, &set, &err) != STATUS_OK)
		return session_fail(&err);
	wire_add_string(&request, 1, s->ns);
	wire_add_bytes(&request, 2, bytes_of(set.buf, set.len));
	c.request = bytes_of(request.buf, request.len);
	return run(s, args, &c, is_trial, show_files);
}

int registry_change_register(struct session *s, const struct arguments *args)
{
	return register_files(s, args, false);
}

int registry_change_check(struct session *s, const struct arguments *args)
{
	return register_files(s, args, true);
}

/* ---------------------------------------------------------------- import */

int registry_change_import(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF request = STRBUF_INIT;
	struct change c = {.method = REGISTRY "ImportFromReflection",
			   .validate_field = 4,
			   .force_field = 5,
			   .list = "breakages"};

	wire_add_string(&request, 1, s->ns);
	wire_add_string(&request, 2, args->positional[0]);
	for (size_t i = 1; i < args->count; i++)
		wire_add_string(&request, 3, args->positional[i]);
	c.request = bytes_of(request.buf, request.len);
	return run(s, args, &c, arguments_has(args, "check"), show_files);
}

/* ------------------------------------------------------------ unregister */

static void show_unregistered(const struct session *s, const json_t *reply)
{
	printf("unregistered; namespace %s is at version %s\n", s->ns,
	       json_text(reply, "namespaceVersion"));
}

int registry_change_unregister(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF request = STRBUF_INIT;
	struct change c = {.method = REGISTRY "Unregister",
			   .validate_field = 3,
			   .force_field = 4,
			   .list = "users"};

	wire_add_string(&request, 1, s->ns);
	wire_add_string(&request, 2, args->positional[0]);
	c.request = bytes_of(request.buf, request.len);
	return run(s, args, &c, arguments_has(args, "check"), show_unregistered);
}
