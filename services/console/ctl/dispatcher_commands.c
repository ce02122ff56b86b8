#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/console/ctl/command.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/paging.h"
#include "services/console/ctl/session.h"

static int run_register(struct session *s, const struct arguments *args)
{
	const char *service = args->positional[0], *slash = strchr(service, '/'),
		   *address = args->count > 1 ? args->positional[1] : "",
		   *collection = arguments_value(args, "collection");
	json_t *reply;
	struct error err;

	if (session_call(s, "/collector.CollectiveDispatcher/RegisterHandler",
			 json_pack("{s:s, s:{s:s%}, s:s, s:s, s:s, s:s, s:b}", "namespace",
				   s->ns, "service", "serviceName", service,
				   slash ? (size_t)(slash - service) : strlen(service),
				   "methodName", slash ? slash + 1 : "", "kind",
				   collection ? "HANDLER_COLLECTION" : "HANDLER_BACKEND",
				   "collectionName", collection ? collection : "", "address",
				   address, "forwardAuthorization",
				   arguments_has(args, "forward-authorization")),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("%s\n", json_text(json_object_get(reply, "server"), "id"));
	json_decref(reply);
	return 0;
}

static int run_list(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"ID",     "KIND",    "SERVICE",
					      "METHOD", "ADDRESS", NULL};
	json_t *all, *h;
	struct error err;
	size_t i;

	(void)args;
	if (paging_collect(s, "/collector.CollectiveDispatcher/ListHandlers",
			   json_pack("{s:s}", "namespace", s->ns), "servers", 0, &all,
			   &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "servers"), i, h)
		{
			const char *method = json_text(h, "methodName"),
				   *kind = json_text(h, "kind");
			table_add(t, json_text(h, "id"));
			table_add(t, *kind ? kind : "HANDLER_BACKEND");
			table_add(t, json_text(json_object_get(h, "service"), "serviceName"));
			table_add(t, *method ? method : "*");
			table_add(t, json_text(h, "address"));
		}
		table_print(t, "no handlers in this namespace");
	}
	json_decref(all);
	return 0;
}

static int run_remove(struct session *s, const struct arguments *args)
{
	struct error err;

	for (size_t i = 0; i < args->count; i++)
		if (session_call(s, "/collector.CollectiveDispatcher/UnregisterHandler",
				 json_pack("{s:s, s:s}", "namespace", s->ns, "id",
					   args->positional[i]),
				 NULL, &err) != STATUS_OK)
			return session_fail(&err);
	return 0;
}

static int run_connect(struct session *s, const struct arguments *args)
{
	json_t *namespaces = json_array(), *reply;
	struct error err;

	for (size_t i = 1; i < args->count; i++)
		json_array_append_new(namespaces, json_string(args->positional[i]));
	if (session_call(s, "/collector.CollectiveDispatcher/ConnectPeer",
			 json_pack("{s:s, s:o}", "address", args->positional[0], "namespaces",
				   namespaces),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("connected to %s\n",
		       json_text(json_object_get(reply, "connection"), "targetCollectorId"));
	json_decref(reply);
	return 0;
}

static int run_peers(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"COLLECTOR", "ADDRESS", "STATE",
					      "SHARED NAMESPACES", NULL};
	json_t *reply, *c;
	struct error err;
	size_t i;

	(void)args;
	if (session_call(s, "/collector.CollectiveDispatcher/ListConnections", json_object(),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(reply);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(reply, "connections"), i, c)
		{
			const char *state = json_text(c, "state");
			table_add(t, json_text(c, "targetCollectorId"));
			table_add(t, json_text(c, "address"));
			table_add(t, *state ? state : "CONNECTION_UP");
			table_add_json(t, json_object_get(c, "sharedNamespaces"));
		}
		table_print(t, "no peers");
	}
	json_decref(reply);
	return 0;
}

static int run_disconnect(struct session *s, const struct arguments *args)
{
	struct error err;

	for (size_t i = 0; i < args->count; i++)
		if (session_call(s, "/collector.CollectiveDispatcher/Disconnect",
				 json_pack("{s:s}", "collectorId", args->positional[i]), NULL,
				 &err) != STATUS_OK)
			return session_fail(&err);
	return 0;
}

static int run_routes(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"COLLECTOR", "ADDRESS", "HOW", "NAMESPACES",
					      NULL};
	json_t *reply, *c;
	struct error err;
	size_t i;

	(void)args;
	if (session_call(s, "/collector.CollectiveDispatcher/ListConnections", json_object(),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(json_object_get(reply, "collectors"));
	} else {
		const char *self = json_text(reply, "collectorId");
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(reply, "collectors"), i, c)
		{
			const char *id = json_text(c, "id");
			bool direct = json_is_true(json_object_get(c, "isDirectPeer"));
			table_add(t, id);
			table_add(t, json_text(c, "address"));
			table_add(t, !strcmp(id, self) ? "here" : direct ? "peer" : "heard of");
			table_add_json(t, json_object_get(c, "namespaces"));
		}
		table_print(t, "no collectors");
	}
	json_decref(reply);
	return 0;
}

static void print_candidates(const json_t *reply)
{
	static const char *const columns[] = {"CALLED",    "KIND",   "ID", "ADDRESS",
					      "IN FLIGHT", "REASON", NULL};
	struct table *t = table_new(columns);
	json_t *c;
	size_t i;

	printf("%s\n", json_text(reply, "decision"));
	json_array_foreach(json_object_get(reply, "candidates"), i, c)
	{
		const char *kind = json_text(c, "kind");
		json_t *in_flight = json_object_get(c, "inFlight");
		table_add(t, json_is_true(json_object_get(c, "eligible")) ? "yes" : "no");
		table_add(t, *kind ? kind : "CANDIDATE_HANDLER");
		table_add(t, json_text(c, "id"));
		table_add(t, json_text(c, "address"));
		table_addf(t, "%lld", (long long)json_integer_value(in_flight));
		table_add(t, json_text(c, "reason"));
	}
	table_print(t, "nobody was considered");
}

static int run_explain(struct session *s, const struct arguments *args)
{
	const char *service = args->positional[0], *slash = strchr(service, '/'),
		   *target = arguments_value(args, "target");
	json_t *reply;
	struct error err;

	if (session_call(s, "/collector.CollectiveDispatcher/Explain",
			 json_pack("{s:s, s:{s:s%}, s:s, s:s}", "namespace", s->ns, "service",
				   "serviceName", service,
				   slash ? (size_t)(slash - service) : strlen(service),
				   "methodName", slash ? slash + 1 : "", "targetCollectorId",
				   target ? target : ""),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		print_candidates(reply);
	json_decref(reply);
	return 0;
}

/* ------------------------------------------------------------------- history */

enum { LOG_LIMIT = 20 };

/* The flag's value, at least 0 and at most @max; @otherwise without it. */
static enum status number_of(const struct arguments *args, const char *flag, int64_t max,
			     int64_t otherwise, int64_t *ret, struct error *err)
{
	const char *text = arguments_value(args, flag);
	char *end;
	long long value;

	if (!text) {
		*ret = otherwise;
		return STATUS_OK;
	}
	value = strtoll(text, &end, 10);
	if (end == text || *end || value < 0 || value > max)
		return error_field(err, flag, "'%s' is not a number from 0 to %lld", text,
				   (long long)max);
	*ret = value;
	return STATUS_OK;
}

/* List's filter for what the flags of `dispatch log` say. */
static json_t *log_filter(const struct session *s, const struct arguments *args,
			  int64_t slower_than_ms)
{
	const char *method = arguments_value(args, "method"),
		   *slash = method ? strchr(method, '/') : NULL,
		   *peer = arguments_value(args, "peer"), *code = arguments_value(args, "code");
	json_t *f = json_object();

	if (!arguments_has(args, "everywhere"))
		json_object_set_new(f, "namespace", json_string(s->ns));
	if (slash)
		json_object_set_new(f, "service.service_name",
				    json_stringn(method, (size_t)(slash - method)));
	if (method)
		json_object_set_new(f, "method_name", json_string(slash ? slash + 1 : method));
	if (peer)
		json_object_set_new(f, "target_collector_id", json_string(peer));
	if (code)
		json_object_set_new(f, "result_status.code", json_string(code));
	if (slower_than_ms >= 0)
		json_object_set_new(
			f, "duration_us",
			json_pack("{s:I}", "gt", (json_int_t)slower_than_ms * 1000));
	return f;
}

static void print_log(const json_t *all)
{
	static const char *const columns[] = {"TIME",        "NAMESPACE",  "METHOD", "CODE",
					      "DURATION US", "HANDLED BY", "TRACE",  NULL};
	struct table *t = table_new(columns);
	json_t *d;
	size_t i;

	json_array_foreach(json_object_get(all, "items"), i, d)
	{
		const char *code = json_text(json_object_get(d, "resultStatus"), "code");
		table_add(t, json_text(json_object_get(d, "metadata"), "createdAt"));
		table_add(t, json_text(d, "namespace"));
		table_addf(t, "%s/%s", json_text(json_object_get(d, "service"), "serviceName"),
			   json_text(d, "methodName"));
		table_add(t, *code ? code : "OK");
		table_add_json(t, json_object_get(d, "durationUs"));
		table_add(t, json_text(d, "targetCollectorId"));
		table_add(t, json_text(d, "traceId"));
	}
	table_print(t, "no calls match");
}

static int run_log(struct session *s, const struct arguments *args)
{
	int64_t limit, slower_than_ms;
	json_t *all;
	struct error err;

	if (number_of(args, "limit", INT32_MAX, LOG_LIMIT, &limit, &err) != STATUS_OK ||
	    number_of(args, "slower-than", INT32_MAX, -1, &slower_than_ms, &err) != STATUS_OK)
		return session_fail(&err);
	if (paging_collect(s, "/collector.CollectionService/List",
			   json_pack("{s:s, s:s, s:o, s:s}", "namespace", "system",
				     "collectionName", "dispatches", "filter",
				     log_filter(s, args, slower_than_ms), "orderBy", "id desc"),
			   "items", (size_t)limit, &all, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(all);
	else
		print_log(all);
	json_decref(all);
	return 0;
}

static const struct flag explain_flags[] = {
	{"target", 0, "COLLECTOR", "as if only this collector might serve it"},
	{NULL, 0, NULL, NULL},
};

static const struct flag log_flags[] = {
	{"method", 'm', "[SERVICE/]METHOD", "only calls of this method"},
	{"peer", 'p', "COLLECTOR", "only calls that this collector handled"},
	{"code", 0, "NAME", "only calls that ended so: OK, NOT_FOUND, ..."},
	{"slower-than", 0, "MILLISECONDS", "only calls that took longer"},
	{"everywhere", 'e', NULL, "of all namespaces"},
	{"limit", 'L', "N", "the last so many; 0 for all (20)"},
	{NULL, 0, NULL, NULL},
};

static const struct flag register_flags[] = {
	{"forward-authorization", 0, NULL, "the handler may see callers' credentials"},
	{"collection", 'c', "NAME", "bind them to this collection instead of a server"},
	{NULL, 0, NULL, NULL},
};

const struct command dispatcher_commands[] = {
	{"handler", "register", "SERVICE[/METHOD] [ADDRESS]", "bind methods to a gRPC server",
	 "The methods must be registered; without METHOD all of the service are bound.",
	 register_flags, 1, 2, run_register},
	{"handler", "list", "", "list what methods are bound to", NULL, NULL, 0, 0, run_list},
	{"handler", "remove", "ID...", "unbind", NULL, NULL, 1, ARGUMENTS_MAX, run_remove},
	{"mesh", "connect", "ADDRESS [NAMESPACE...]", "connect this collector to another", NULL,
	 NULL, 1, ARGUMENTS_MAX, run_connect},
	{"mesh", "disconnect", "COLLECTOR...", "end connections, on both sides", NULL, NULL, 1,
	 ARGUMENTS_MAX, run_disconnect},
	{"mesh", "peers", "", "list the collectors that this one is connected to", NULL, NULL,
	 0, 0, run_peers},
	{"mesh", "routes", "", "list the collectors that this one knows and what they serve",
	 NULL, NULL, 0, 0, run_routes},
	{"mesh", "explain", "SERVICE/METHOD", "tell how a call would be routed, and why",
	 "Nobody is called.", explain_flags, 1, 1, run_explain},
	{"dispatch", "log", "", "list the last calls, newest first",
	 "From system/dispatches, which other filters can search as well.", log_flags, 0, 0,
	 run_log},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
