#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "services/console/ctl/command.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/paging.h"
#include "services/console/ctl/session.h"

static int run_register(struct session *s, const struct arguments *args)
{
	const char *service = args->positional[0], *slash = strchr(service, '/');
	json_t *reply;
	struct error err;

	if (session_call(s, "/collector.CollectiveDispatcher/RegisterHandler",
			 json_pack("{s:s, s:{s:s%}, s:s, s:s, s:b}", "namespace", s->ns,
				   "service", "serviceName", service,
				   slash ? (size_t)(slash - service) : strlen(service),
				   "methodName", slash ? slash + 1 : "", "address",
				   args->positional[1], "forwardAuthorization",
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
	static const char *const columns[] = {"ID", "SERVICE", "METHOD", "ADDRESS", NULL};
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
			const char *method = json_text(h, "methodName");
			table_add(t, json_text(h, "id"));
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

static const struct flag register_flags[] = {
	{"forward-authorization", 0, NULL, "the handler may see callers' credentials"},
	{NULL, 0, NULL, NULL},
};

const struct command dispatcher_commands[] = {
	{"handler", "register", "SERVICE[/METHOD] ADDRESS", "bind methods to a gRPC server",
	 "The methods must be registered; without METHOD all of the service are bound.",
	 register_flags, 2, 2, run_register},
	{"handler", "list", "", "list what methods are bound to", NULL, NULL, 0, 0, run_list},
	{"handler", "remove", "ID...", "unbind", NULL, NULL, 1, ARGUMENTS_MAX, run_remove},
	{"mesh", "connect", "ADDRESS [NAMESPACE...]", "connect this collector to another", NULL,
	 NULL, 1, ARGUMENTS_MAX, run_connect},
	{"mesh", "peers", "", "list the collectors that this one knows", NULL, NULL, 0, 0,
	 run_peers},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
