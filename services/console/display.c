#include "services/console/display.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/daemon/daemon.h"
#include "services/console/gather.h"

enum { PAGE = 50, MAX_NAMESPACES = 64, MAX_DESCRIBED = 100 };

struct view {
	const struct display_sources *sources;
	const struct display_request *request;
	struct gather *gather;
	json_t *data;
	struct strbuf *summary;
};

/* ------------------------------------------------------------------ asking */

static size_t ask(struct view *v, enum daemon_name daemon, const char *path, json_t *request)
{
	return gather_add(v->gather, v->sources->daemons[daemon].channel, path, request);
}

static void run(struct view *v)
{
	gather_run(v->gather, v->request->options);
}

static size_t ask_list(struct view *v, const char *collection, json_t *filter,
		       const char *order_by, int page_size)
{
	return ask(v, DAEMON_REPO, "/collector.CollectionService/List",
		   json_pack("{s:s, s:s, s:o, s:s, s:i}", "namespace", "system",
			     "collectionName", collection, "filter", filter, "orderBy",
			     order_by, "pageSize", page_size));
}

/* {"namespace": ...} where one was asked for, and the wanted state. */
static json_t *record_filter(const struct view *v, const char *state)
{
	json_t *filter = json_object();

	if (*v->request->ns)
		json_object_set_new(filter, "namespace", json_string(v->request->ns));
	if (*state)
		json_object_set_new(filter, "state", json_string(state));
	return filter;
}

/* ----------------------------------------------------------------- reading */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* 64-bit integers are strings in proto3 JSON, and zero is left out. */
static long long number_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_string(value))
		return strtoll(json_string_value(value), NULL, 10);
	return json_is_integer(value) ? json_integer_value(value) : 0;
}

static const json_t *list_of(const struct view *v, size_t call, const char *key)
{
	return json_object_get(gather_reply(v->gather, call, NULL), key);
}

static void line(struct view *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(struct view *v, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	strbuf_vaddf(v->summary, fmt, args);
	va_end(args);
	strbuf_addch(v->summary, '\n');
}

/* A source that failed is named: what is missing below it is not "none". */
static bool answered(struct view *v, size_t call, const char *what)
{
	const struct error *err;

	if (gather_reply(v->gather, call, &err))
		return true;
	/* A system collection that nobody has written to yet. */
	if (err->status != STATUS_NOT_FOUND) {
		json_t *problems = json_object_get(v->data, "problems");
		if (!problems) {
			problems = json_array();
			json_object_set_new(v->data, "problems", problems);
		}
		json_array_append_new(problems,
				      json_sprintf("%s: %s: %s", what, status_name(err->status),
						   err->message));
		line(v, "%s: not known now (%s: %s)", what, status_name(err->status),
		     err->message);
	}
	return false;
}

static void put(json_t *object, const char *key, json_t *value)
{
	json_object_set_new(object, key, value);
}

static void put_number(json_t *object, const char *key, long long value)
{
	put(object, key, json_integer(value));
}

/* ---------------------------------------------------------------- overview */

static json_t *daemon_row(struct view *v, const struct display_daemon *daemon, size_t call)
{
	const struct error *err;
	const json_t *stats = gather_reply(v->gather, call, &err), *method, *problem;
	json_t *row = json_pack("{s:s, s:s}", "name", daemon->name, "address", daemon->address);
	long long calls = 0, errors = 0;
	size_t i;

	if (!stats) {
		put(row, "state", json_string("unreachable"));
		put(row, "problem", json_string(err->message));
		line(v, "  %-10s  unreachable at %s: %s", daemon->name, daemon->address,
		     err->message);
		return row;
	}
	json_array_foreach(json_object_get(stats, "methods"), i, method)
	{
		calls += number_of(method, "calls");
		errors += number_of(method, "errors");
	}
	put(row, "state", json_string("up"));
	put(row, "version", json_string(text_of(stats, "version")));
	put(row, "started_at", json_string(text_of(stats, "startedAt")));
	put_number(row, "pid", number_of(stats, "pid"));
	put_number(row, "memory_bytes", number_of(stats, "memoryBytes"));
	put_number(row, "live_calls", number_of(stats, "liveCalls"));
	put_number(row, "calls", calls);
	put_number(row, "errors", errors);
	put(row, "numbers", json_deep_copy(json_object_get(stats, "numbers")));
	put(row, "problems", json_deep_copy(json_object_get(stats, "problems")));
	line(v, "  %-10s  up at %s, %lld calls, %lld errors, %.1f MiB", daemon->name,
	     daemon->address, calls, errors, (double)number_of(stats, "memoryBytes") / 1048576);
	json_array_foreach(json_object_get(stats, "problems"), i, problem)
		line(v, "    problem: %s", json_string_value(problem));
	return row;
}

static const char *const run_states[] = {"WORKFLOW_PENDING",   "WORKFLOW_RUNNING",
					 "WORKFLOW_SUCCEEDED", "WORKFLOW_FAILED",
					 "WORKFLOW_CANCELLED", "WORKFLOW_PAUSED"};
enum { RUN_STATES = sizeof(run_states) / sizeof(run_states[0]) };

static void ask_run_counts(struct view *v, size_t calls[RUN_STATES])
{
	for (int i = 0; i < RUN_STATES; i++)
		calls[i] =
			ask_list(v, "active_workflows", record_filter(v, run_states[i]), "", 1);
}

static json_t *run_counts(struct view *v, const size_t calls[RUN_STATES])
{
	json_t *counts = json_object();
	AUTO_STRBUF text = STRBUF_INIT;

	if (!answered(v, calls[0], "workflow runs"))
		return counts;
	for (int i = 0; i < RUN_STATES; i++) {
		long long n = number_of(gather_reply(v->gather, calls[i], NULL), "totalCount");
		put_number(counts, run_states[i], n);
		if (n)
			strbuf_addf(&text, "%s%lld %s", text.len ? ", " : "", n,
				    run_states[i] + strlen("WORKFLOW_"));
	}
	line(v, "workflow runs: %s", text.len ? text.buf : "none");
	return counts;
}

static void show_overview(struct view *v)
{
	size_t stats[DAEMON_COUNT] = {0}, runs[RUN_STATES], files, services, collections,
	       handlers, mesh;
	const char *ns = v->request->ns;
	json_t *rows = json_array();

	for (size_t i = 0; i < v->sources->daemon_count; i++)
		stats[i] = ask(v, (enum daemon_name)i, "/collector.DaemonService/GetStats",
			       json_object());
	files = ask(v, DAEMON_REGISTRY, "/collector.CollectorRegistry/ListProtos",
		    json_pack("{s:s, s:i}", "namespace", ns, "pageSize", 1));
	services = ask(v, DAEMON_REGISTRY, "/collector.CollectorRegistry/ListServices",
		       json_pack("{s:s, s:i}", "namespace", ns, "pageSize", 1));
	collections = ask_list(v, "collections", record_filter(v, ""), "", 1);
	handlers = ask(v, DAEMON_DISPATCHER, "/collector.CollectiveDispatcher/ListHandlers",
		       json_pack("{s:s}", "namespace", ns));
	mesh = ask(v, DAEMON_DISPATCHER, "/collector.CollectiveDispatcher/ListConnections",
		   json_object());
	ask_run_counts(v, runs);
	run(v);

	line(v, "daemons");
	for (size_t i = 0; i < v->sources->daemon_count; i++)
		json_array_append_new(rows, daemon_row(v, &v->sources->daemons[i], stats[i]));
	put(v->data, "daemons", rows);
	if (answered(v, files, "registered files") && answered(v, services, "services")) {
		long long f = number_of(gather_reply(v->gather, files, NULL), "totalCount");
		long long s = number_of(gather_reply(v->gather, services, NULL), "totalCount");
		put_number(v->data, "files", f);
		put_number(v->data, "services", s);
		line(v, "registry: %lld files, %lld services in namespace %s", f, s,
		     *ns ? ns : "default");
	}
	if (answered(v, collections, "collections")) {
		long long n =
			number_of(gather_reply(v->gather, collections, NULL), "totalCount");
		put_number(v->data, "collections", n);
		line(v, "collections: %lld", n);
	}
	if (answered(v, handlers, "handlers") && answered(v, mesh, "connections")) {
		size_t h = json_array_size(list_of(v, handlers, "servers"));
		size_t c = json_array_size(list_of(v, mesh, "connections"));
		put_number(v->data, "handlers", (long long)h);
		put_number(v->data, "connections", (long long)c);
		line(v, "dispatcher %s: %zu handlers, %zu connections",
		     text_of(gather_reply(v->gather, mesh, NULL), "collectorId"), h, c);
	}
	put(v->data, "workflows", run_counts(v, runs));
}

/* -------------------------------------------------------------- registries */

static json_t *namespace_row(struct view *v, const char *ns, size_t files, size_t services)
{
	json_t *row = json_pack("{s:s}", "namespace", ns), *item;
	json_t *file_rows = json_array(), *service_rows = json_array();
	size_t i;

	json_array_foreach(list_of(v, files, "protos"), i, item)
	{
		json_t *messages = json_object_get(item, "messageNames");
		json_array_append_new(file_rows,
				      json_pack("{s:s, s:I, s:O?}", "file",
						text_of(item, "fileName"), "version",
						(json_int_t)number_of(item, "version"),
						"messages", messages));
		line(v, "  %-40s version %lld, %zu messages", text_of(item, "fileName"),
		     number_of(item, "version"), json_array_size(messages));
	}
	json_array_foreach(list_of(v, services, "services"), i, item)
	{
		json_t *methods = json_object_get(item, "methodNames");
		json_array_append_new(service_rows, json_pack("{s:s, s:O?}", "service",
							      text_of(item, "serviceName"),
							      "methods", methods));
		line(v, "  %-40s %zu methods", text_of(item, "serviceName"),
		     json_array_size(methods));
	}
	put(row, "files", file_rows);
	put(row, "services", service_rows);
	return row;
}

static void show_registries(struct view *v)
{
	size_t first = ask(v, DAEMON_REGISTRY, "/collector.CollectorRegistry/ListNamespaces",
			   json_object());
	size_t files[MAX_NAMESPACES], services[MAX_NAMESPACES], count = 0, i;
	const char *names[MAX_NAMESPACES];
	json_t *rows = json_array(), *name;

	run(v);
	put(v->data, "namespaces", rows);
	if (!answered(v, first, "registry"))
		return;
	json_array_foreach(list_of(v, first, "namespaces"), i, name)
	{
		const char *ns = json_string_value(name);
		json_t *request;
		if (count == MAX_NAMESPACES || (*v->request->ns && strcmp(v->request->ns, ns)))
			continue;
		request = json_pack("{s:s, s:s, s:i}", "namespace", ns, "prefix",
				    v->request->prefix, "pageSize", PAGE);
		files[count] =
			ask(v, DAEMON_REGISTRY, "/collector.CollectorRegistry/ListProtos",
			    json_incref(request));
		services[count] = ask(v, DAEMON_REGISTRY,
				      "/collector.CollectorRegistry/ListServices", request);
		names[count++] = ns;
	}
	run(v);
	for (i = 0; i < count; i++) {
		line(v, "namespace %s: %lld files, %lld services", names[i],
		     number_of(gather_reply(v->gather, files[i], NULL), "totalCount"),
		     number_of(gather_reply(v->gather, services[i], NULL), "totalCount"));
		json_array_append_new(rows, namespace_row(v, names[i], files[i], services[i]));
	}
	if (!count)
		line(v, "nothing is registered: collectorctl registry register FILE.proto");
}

/* ------------------------------------------------------------- collections */

static json_t *collection_row(struct view *v, const json_t *collection, size_t call)
{
	const json_t *described = gather_reply(v->gather, call, NULL);
	const char *type = text_of(json_object_get(collection, "messageType"), "messageName");
	long long records = number_of(described, "recordCount");
	long long bytes = number_of(described, "storageSizeBytes");

	line(v, "  %s/%s: %s, %lld records, %.1f KiB", text_of(collection, "namespace"),
	     text_of(collection, "name"), *type ? type : "any type", records,
	     (double)bytes / 1024);
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:O?}", "namespace",
			 text_of(collection, "namespace"), "name", text_of(collection, "name"),
			 "type", type, "records", (json_int_t)records, "bytes",
			 (json_int_t)bytes, "indexes", json_object_get(described, "indexes"));
}

static void show_collections(struct view *v)
{
	size_t list = ask_list(v, "collections", record_filter(v, ""), "namespace, name",
			       MAX_DESCRIBED);
	size_t calls[MAX_DESCRIBED] = {0}, i;
	json_t *rows = json_array(), *c;

	run(v);
	put(v->data, "collections", rows);
	if (!answered(v, list, "collections"))
		return;
	json_array_foreach(list_of(v, list, "items"), i, c)
	{
		if (i < MAX_DESCRIBED)
			calls[i] = ask(v, DAEMON_REPO, "/collector.CollectionService/Describe",
				       json_pack("{s:s, s:s}", "namespace",
						 text_of(c, "namespace"), "collectionName",
						 text_of(c, "name")));
	}
	run(v);
	line(v, "%lld collections",
	     number_of(gather_reply(v->gather, list, NULL), "totalCount"));
	json_array_foreach(list_of(v, list, "items"), i, c)
	{
		if (i < MAX_DESCRIBED)
			json_array_append_new(rows, collection_row(v, c, calls[i]));
	}
}

/* ------------------------------------------------------ workflows, executions */

static void show_workflows(struct view *v)
{
	size_t definitions =
		ask_list(v, "workflow_definitions", record_filter(v, ""), "", PAGE);
	size_t runs =
		ask_list(v, "active_workflows", record_filter(v, v->request->state), "", PAGE);
	size_t counts[RUN_STATES], i;
	json_t *definition_rows = json_array(), *run_rows = json_array(), *item;

	ask_run_counts(v, counts);
	run(v);
	put(v->data, "counts", run_counts(v, counts));
	if (answered(v, definitions, "workflow definitions"))
		json_array_foreach(list_of(v, definitions, "items"), i, item)
		{
			size_t tasks = json_array_size(json_object_get(item, "tasks"));
			json_array_append_new(definition_rows,
					      json_pack("{s:s, s:s, s:I, s:I}", "namespace",
							text_of(item, "namespace"), "name",
							text_of(item, "name"), "version",
							(json_int_t)number_of(item, "version"),
							"tasks", (json_int_t)tasks));
			line(v, "definition %s/%s version %lld, %zu tasks",
			     text_of(item, "namespace"), text_of(item, "name"),
			     number_of(item, "version"), tasks);
		}
	json_array_foreach(list_of(v, runs, "items"), i, item)
	{
		const char *state = text_of(item, "state");
		state = *state ? state : run_states[0];
		json_array_append_new(run_rows, json_pack("{s:s, s:s, s:s, s:s}", "namespace",
							  text_of(item, "namespace"), "id",
							  text_of(item, "id"), "definition",
							  text_of(item, "workflowDefinitionId"),
							  "state", state));
		line(v, "run %s of %s: %s", text_of(item, "id"),
		     text_of(item, "workflowDefinitionId"), state);
	}
	put(v->data, "definitions", definition_rows);
	put(v->data, "runs", run_rows);
}

static void show_executions(struct view *v)
{
	size_t list = ask_list(v, "executions", record_filter(v, v->request->state), "", PAGE),
	       i;
	json_t *rows = json_array(), *e;

	run(v);
	put(v->data, "executions", rows);
	if (!answered(v, list, "executions"))
		return;
	put_number(v->data, "total",
		   number_of(gather_reply(v->gather, list, NULL), "totalCount"));
	line(v, "%lld executions",
	     number_of(gather_reply(v->gather, list, NULL), "totalCount"));
	json_array_foreach(list_of(v, list, "items"), i, e)
	{
		const char *error = text_of(json_object_get(e, "error"), "message");
		json_array_append_new(
			rows,
			json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "id", text_of(e, "id"),
				  "workflow", text_of(e, "workflowId"), "task",
				  text_of(e, "taskId"), "state", text_of(e, "state"), "attempt",
				  (json_int_t)number_of(e, "attemptNumber"), "error", error));
		line(v, "  %s %s %s attempt %lld%s%s", text_of(e, "workflowId"),
		     text_of(e, "taskId"), text_of(e, "state"), number_of(e, "attemptNumber"),
		     *error ? ": " : "", error);
	}
}

/* ------------------------------------------------------------- connections */

static void show_handlers(struct view *v, size_t call)
{
	json_t *rows = json_array(), *h;
	size_t i;

	put(v->data, "handlers", rows);
	if (!answered(v, call, "handlers"))
		return;
	json_array_foreach(list_of(v, call, "servers"), i, h)
	{
		const char *service = text_of(json_object_get(h, "service"), "serviceName");
		const char *method = text_of(h, "methodName");
		json_array_append_new(rows,
				      json_pack("{s:s, s:s, s:s, s:s}", "id", text_of(h, "id"),
						"service", service, "method", method, "address",
						text_of(h, "address")));
		line(v, "handler %s/%s at %s", service, *method ? method : "*",
		     text_of(h, "address"));
	}
}

static void show_connections(struct view *v)
{
	size_t mesh = ask(v, DAEMON_DISPATCHER,
			  "/collector.CollectiveDispatcher/ListConnections", json_object());
	size_t handlers =
		ask(v, DAEMON_DISPATCHER, "/collector.CollectiveDispatcher/ListHandlers",
		    json_pack("{s:s}", "namespace", v->request->ns));
	json_t *rows = json_array(), *c;
	size_t i;

	run(v);
	put(v->data, "connections", rows);
	if (answered(v, mesh, "connections")) {
		const json_t *reply = gather_reply(v->gather, mesh, NULL);
		put(v->data, "collector_id", json_string(text_of(reply, "collectorId")));
		line(v, "collector %s, %zu connections", text_of(reply, "collectorId"),
		     json_array_size(json_object_get(reply, "connections")));
		json_array_foreach(json_object_get(reply, "connections"), i, c)
		{
			const char *state = text_of(c, "state");
			state = *state ? state : "CONNECTION_UP";
			json_array_append_new(
				rows, json_pack("{s:s, s:s, s:s, s:I, s:O?}", "collector",
						text_of(c, "targetCollectorId"), "address",
						text_of(c, "address"), "state", state,
						"round_trip_us",
						(json_int_t)number_of(c, "roundTripUs"),
						"shared_namespaces",
						json_object_get(c, "sharedNamespaces")));
			line(v, "  %s at %s: %s, round trip %lld us",
			     text_of(c, "targetCollectorId"), text_of(c, "address"), state,
			     number_of(c, "roundTripUs"));
		}
	}
	show_handlers(v, handlers);
}

void display_view(const struct display_sources *sources, const struct display_request *request,
		  json_t **ret_data, struct strbuf *summary)
{
	static void (*const show[DISPLAY_VIEW_COUNT])(struct view *) = {
		[DISPLAY_OVERVIEW] = show_overview,
		[DISPLAY_REGISTRIES] = show_registries,
		[DISPLAY_COLLECTIONS] = show_collections,
		[DISPLAY_WORKFLOWS] = show_workflows,
		[DISPLAY_EXECUTIONS] = show_executions,
		[DISPLAY_CONNECTIONS] = show_connections,
	};
	struct view v = {.sources = sources,
			 .request = request,
			 .gather = gather_new(sources->types),
			 .data = json_object(),
			 .summary = summary};

	show[request->view](&v);
	gather_free(v.gather);
	*ret_data = v.data;
	if (summary->len && summary->buf[summary->len - 1] == '\n')
		strbuf_truncate(summary, summary->len - 1);
}
