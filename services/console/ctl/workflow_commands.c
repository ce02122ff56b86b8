#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/reflect/json_in.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/labels.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/paging.h"
#include "services/console/ctl/session.h"

static int run_define(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF text = STRBUF_INIT;
	json_t *definition = NULL, *reply;
	json_error_t problem;
	struct error err;

	if (session_read_file(args->positional[0], &text, &err) != STATUS_OK)
		return session_fail(&err);
	definition = json_loadb(strbuf_str(&text), text.len, JSON_REJECT_DUPLICATES, &problem);
	if (!json_is_object(definition)) {
		error_set(&err, STATUS_INVALID_ARGUMENT, "%s: line %d: %s", args->positional[0],
			  definition ? 1 : problem.line,
			  definition ? "not a JSON object" : problem.text);
		json_decref(definition);
		return session_fail(&err);
	}
	if (!json_object_get(definition, "namespace"))
		json_object_set_new(definition, "namespace", json_string(s->ns));
	if (session_call(s, "/collector.CollectiveWorker/DefineWorkflow",
			 json_pack("{s:o, s:b}", "definition", definition, "validateOnly",
				   arguments_has(args, "dry-run")),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	const json_t *defined = json_object_get(reply, "definition");
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else if (arguments_has(args, "dry-run"))
		printf("workflow %s is valid, %zu tasks\n", json_text(defined, "name"),
		       json_array_size(json_object_get(defined, "tasks")));
	else
		printf("workflow %s version %s defined, %zu tasks\n",
		       json_text(defined, "name"), json_text(defined, "version"),
		       json_array_size(json_object_get(defined, "tasks")));
	json_decref(reply);
	return 0;
}

/* The type that the workflow's definition gives its input. */
static enum status input_type(struct session *s, const struct arguments *args,
			      const struct pool_message **ret_type, struct error *err)
{
	const char *name = arguments_value(args, "type");
	json_t *reply;
	enum status status;

	if (name)
		return session_message_type(s, name, ret_type, err);
	status = session_call(
		s, "/collector.CollectiveWorker/GetWorkflowDefinition",
		json_pack("{s:s, s:s}", "namespace", s->ns, "name", args->positional[0]),
		&reply, err);
	if (status != STATUS_OK)
		return status;
	name = json_text(json_object_get(json_object_get(reply, "definition"), "inputType"),
			 "messageName");
	status = *name ? session_message_type(s, name, ret_type, err)
		       : error_set(err, STATUS_FAILED_PRECONDITION,
				   "workflow %s says no input type: name one with --type",
				   args->positional[0]);
	json_decref(reply);
	return status;
}

static enum status build_start(struct session *s, const struct arguments *args,
			       struct strbuf *request, struct error *err)
{
	AUTO_STRBUF text = STRBUF_INIT;
	AUTO_STRBUF input = STRBUF_INIT;
	const struct pool_message *type;
	const char *id = arguments_value(args, "id");
	enum status status;

	wire_add_string(request, 1, s->ns);
	wire_add_string(request, 2, args->positional[0]);
	if (id)
		wire_add_string(request, 100, id);
	if (!arguments_has(args, "data"))
		return STATUS_OK;
	status = input_type(s, args, &type, err);
	if (status == STATUS_OK)
		status = session_read_data(args, &text, err);
	if (status == STATUS_OK)
		status = json_to_wire(s->types, type, strbuf_str(&text), text.len, 0, &input,
				      err);
	if (status == STATUS_OK)
		session_put_any(request, 3, type->full_name, bytes_of(input.buf, input.len));
	return status;
}

static void print_task_states(const json_t *run)
{
	static const char *const columns[] = {"TASK", "STATE", "ATTEMPT", "ERROR", NULL};
	struct table *t = table_new(columns);
	const char *id;
	json_t *task;

	json_object_foreach(json_object_get(run, "taskExecutions"), id, task)
	{
		const char *state = json_text(task, "state");
		table_add(t, id);
		table_add(t, *state ? state : "EXECUTION_PENDING");
		table_add_json(t, json_object_get(task, "attemptNumber"));
		table_add(t, json_text(json_object_get(task, "error"), "message"));
	}
	table_print(t, "no task has started");
}

static void print_run(const json_t *run)
{
	const char *state = json_text(run, "state");
	const json_t *output = json_object_get(run, "currentOutput");

	printf("workflow  %s\n", json_text(run, "id"));
	printf("state     %s\n", *state ? state : "WORKFLOW_PENDING");
	if (json_object_get(run, "error"))
		printf("error     %s\n", json_text(json_object_get(run, "error"), "message"));
	putchar('\n');
	print_task_states(run);
	if (output) {
		fputs("\noutput\n", stdout);
		output_json(output);
	}
}

static int show_run(struct session *s, const char *path, const char *id)
{
	json_t *reply;
	struct error err;
	int code = 0;

	if (session_call(s, path, json_pack("{s:s, s:s}", "namespace", s->ns, "workflowId", id),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	const json_t *run = json_object_get(reply, "workflow");
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		print_run(run);
	if (!strcmp(json_text(run, "state"), "WORKFLOW_FAILED"))
		code = 1;
	json_decref(reply);
	return code;
}

static int run_start(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF request = STRBUF_INIT;
	json_t *reply;
	struct error err;
	int code = 0;

	if (build_start(s, args, &request, &err) != STATUS_OK ||
	    session_call_bytes(s, "/collector.CollectiveWorker/StartWorkflow",
			       bytes_of(request.buf, request.len), &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (arguments_has(args, "wait"))
		code = show_run(s, "/collector.CollectiveWorker/WaitWorkflow",
				json_text(reply, "workflowId"));
	else if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("%s\n", json_text(reply, "workflowId"));
	json_decref(reply);
	return code;
}

static int run_show(struct session *s, const struct arguments *args)
{
	return show_run(s, "/collector.CollectiveWorker/GetWorkflowStatus",
			args->positional[0]);
}

static int run_wait(struct session *s, const struct arguments *args)
{
	return show_run(s, "/collector.CollectiveWorker/WaitWorkflow", args->positional[0]);
}

static int run_history(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"TASK",     "ATTEMPT",  "STATE", "STARTED",
					      "FINISHED", "EXECUTOR", "ERROR", NULL};
	json_t *all, *e;
	struct error err;
	size_t i;

	if (paging_collect(s, "/collector.CollectiveWorker/GetWorkflowHistory",
			   json_pack("{s:s, s:s}", "namespace", s->ns, "workflowId",
				     args->positional[0]),
			   "executions", 0, &all, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "executions"), i, e)
		{
			table_add(t, json_text(e, "taskId"));
			table_add_json(t, json_object_get(e, "attemptNumber"));
			table_add(t, json_text(e, "state"));
			table_add(t, json_text(e, "startedAt"));
			table_add(t, json_text(e, "finishedAt"));
			table_add(t, json_text(e, "executorId"));
			table_add(t, json_text(json_object_get(e, "error"), "message"));
		}
		table_print(t, "nothing has been executed yet");
	}
	json_decref(all);
	return 0;
}

static int run_list(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"WORKFLOW", "DEFINITION", "STATE", "STARTED",
					      NULL};
	json_t *all, *w;
	struct error err;
	size_t i;

	if (paging_collect(s, "/collector.CollectiveWorker/ListWorkflows",
			   json_pack("{s:s, s:s}", "namespace", s->ns, "workflowName",
				     args->count ? args->positional[0] : ""),
			   "workflows", 0, &all, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "workflows"), i, w)
		{
			const char *state = json_text(w, "state");
			table_add(t, json_text(w, "id"));
			table_add(t, json_text(w, "workflowDefinitionId"));
			table_add(t, *state ? state : "WORKFLOW_PENDING");
			table_add(t, json_text(w, "startedAt"));
		}
		table_print(t, "no workflow has been started in this namespace");
	}
	json_decref(all);
	return 0;
}

static const struct flag define_flags[] = {
	{"dry-run", 0, NULL, "only check it"},
	{NULL, 0, NULL, NULL},
};
static const struct flag start_flags[] = {
	{"data", 'd', "JSON|@FILE|-", "the input"},
	{"type", 'T', "MESSAGE", "the input's type, where the definition has none"},
	{"id", 0, "ID", "the run's id: starting twice under one id starts once"},
	{"wait", 'w', NULL, "wait until it has ended, and show it"},
	{NULL, 0, NULL, NULL},
};

const struct command workflow_commands[] = {
	{"workflow", "define", "FILE|-", "define a workflow from JSON, or a new version of it",
	 NULL, define_flags, 1, 1, run_define},
	{"workflow", "start", "NAME", "start a run; prints its id", NULL, start_flags, 1, 1,
	 run_start},
	{"workflow", "show", "ID", "state, tasks and output of a run", NULL, NULL, 1, 1,
	 run_show},
	{"workflow", "wait", "ID", "wait until a run has ended, then show it", NULL, NULL, 1, 1,
	 run_wait},
	{"workflow", "history", "ID", "every attempt of a run", NULL, NULL, 1, 1, run_history},
	{"workflow", "list", "[NAME]", "list runs", NULL, NULL, 0, 1, run_list},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
