#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/client/daemon_client.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/session.h"

static const struct {
	const char *daemon, *service;
} daemons[] = {
	{"dispatcher", "collector.CollectiveDispatcher"},
	{"registry", "collector.CollectorRegistry"},
	{"repo", "collector.CollectionRepo"},
	{"worker", "collector.CollectiveWorker"},
	{"console", "collector.CollectorConsole"},
};
enum { COUNT = sizeof(daemons) / sizeof(daemons[0]), RETRY_MS = 25, PROBE_MS = 2000 };

/* How many are SERVING; @serving and @problem have one entry each. */
static int probe(struct session *s, bool *serving, struct error *problem)
{
	int up = 0;

	for (int i = 0; i < COUNT; i++) {
		struct rpc_options options = session_options(s);
		if (options.timeout_ms > PROBE_MS)
			options.timeout_ms = PROBE_MS;
		serving[i] = false;
		problem[i].message[0] = '\0';
		if (daemon_client_is_serving(s->front_door, daemons[i].service, &options,
					     &s->arena, &serving[i], &problem[i]) != STATUS_OK)
			serving[i] = false;
		up += serving[i];
	}
	return up;
}

static void print_status(struct session *s, const bool *serving, const struct error *problem)
{
	static const char *const columns[] = {"DAEMON", "STATE", "SERVICE", NULL};
	struct table *t = table_new(columns);
	json_t *all = json_object();

	for (int i = 0; i < COUNT; i++) {
		const char *state = serving[i]              ? "SERVING"
				    : problem[i].message[0] ? "UNREACHABLE"
							    : "NOT_SERVING";
		table_add(t, daemons[i].daemon);
		table_add(t, state);
		table_add(t, daemons[i].service);
		json_object_set_new(all, daemons[i].daemon, json_string(state));
	}
	if (s->output == OUTPUT_JSON) {
		json_t *out = json_pack("{s:s, s:o}", "address", s->address, "daemons", all);
		output_json(out);
		json_decref(out);
		table_print(table_new(columns), "");
		return;
	}
	json_decref(all);
	table_print(t, "");
}

/* The front door can only be asked; a daemon that starts cannot tell us. */
static int run_status(struct session *s, const struct arguments *args)
{
	bool serving[COUNT], wait = arguments_has(args, "wait");
	struct error problem[COUNT];
	uint64_t until = clock_monotonic_ns() + (uint64_t)s->timeout_ms * 1000000;
	int up = probe(s, serving, problem);

	while (wait && up < COUNT && clock_monotonic_ns() < until) {
		nanosleep(&(struct timespec){0, RETRY_MS * 1000000L}, NULL);
		up = probe(s, serving, problem);
	}
	if (!arguments_has(args, "quiet"))
		print_status(s, serving, problem);
	return up == COUNT ? 0 : 1;
}

static const struct flag status_flags[] = {
	{"wait", 'w', NULL, "wait until all are SERVING, as long as --timeout"},
	{"quiet", 'q', NULL, "only the exit code"},
	{NULL, 0, NULL, NULL},
};

const struct command status_commands[] = {
	{"status", NULL, "", "which daemons serve; exit code 1 unless all do", NULL,
	 status_flags, 0, 0, run_status},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
