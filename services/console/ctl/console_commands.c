#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/session.h"

static int run_show(struct session *s, const struct arguments *args)
{
	char *what AUTO_FREE = xstrdup(args->count ? args->positional[0] : "OVERVIEW");
	/* Without -n the display is of all namespaces. */
	const char *ns = arguments_has(args, "namespace") ? s->ns : "";
	json_t *reply;
	struct error err;

	for (char *p = what; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	if (session_call(s, "/collector.CollectorConsole/Display",
			 json_pack("{s:s, s:s}", "displayType", what, "namespace", ns), &reply,
			 &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("%s\n", json_text(reply, "summary"));
	json_decref(reply);
	return 0;
}

const struct command console_commands[] = {
	{"console", "show", "[WHAT]",
	 "overview, registries, collections, connections, workflows, executions", NULL, NULL, 0,
	 1, run_show},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
