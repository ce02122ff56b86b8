#include "services/console/ctl/schema_command.h"

#include <jansson.h>
#include <stdio.h>

#include "services/console/ctl/command.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/session.h"

/* JSON text from the registry, indented. */
static int print_json(const char *text, const char *what)
{
	json_error_t where;
	json_t *json;

	if (!*text) {
		fprintf(stderr, "collectorctl: there is no %s\n", what);
		return EXIT_FAILURE;
	}
	json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &where);
	if (!json) {
		fprintf(stderr, "collectorctl: the registry's %s is no JSON: %s\n", what,
			where.text);
		return EXIT_FAILURE;
	}
	output_json(json);
	json_decref(json);
	return 0;
}

int schema_command(struct session *s, const struct arguments *args)
{
	const bool skeleton = arguments_has(args, "skeleton");
	json_t *reply;
	struct error err;
	int code;

	if (session_call(s, "/collector.CollectorRegistry/GetJsonSchema",
			 json_pack("{s:s, s:s}", "namespace", s->ns, "messageName",
				   args->positional[0]),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	code = skeleton ? print_json(json_text(reply, "skeleton"),
				     "skeleton: the message requires itself")
			: print_json(json_text(reply, "jsonSchema"), "schema");
	json_decref(reply);
	return code;
}
