/* What goes on with records: watching them, leasing them, methods called for them. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/reflect/json_in.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/stream.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/filter.h"
#include "services/console/ctl/labels.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/session.h"

enum { WATCH_MS = 24 * 3600 * 1000 };

/* What requests for records begin with; NULL: @err says why. */
static json_t *begin_request(struct session *s, const struct arguments *args, struct error *err)
{
	json_t *filter = NULL, *labels = NULL, *request;

	if (filter_parse(args, &filter, err) != STATUS_OK)
		return NULL;
	if (labels_parse(args, "label", &labels, err) != STATUS_OK) {
		json_decref(filter);
		return NULL;
	}
	request = json_pack("{s:s, s:s, s:o, s:o}", "namespace", s->ns, "collectionName",
			    args->positional[0], "filter", filter, "labelFilters", labels);
	if (!request)
		error_set(err, STATUS_INVALID_ARGUMENT, "an argument is not valid UTF-8");
	return request;
}

/* A flag's whole number into @request. */
static enum status set_number(json_t *request, const char *key, const struct arguments *args,
			      const char *flag, struct error *err)
{
	const char *text = arguments_value(args, flag);
	char *end;

	if (!text)
		return STATUS_OK;
	long long number = strtoll(text, &end, 10);
	if (end == text || *end)
		return error_set(err, STATUS_INVALID_ARGUMENT, "--%s takes a whole number",
				 flag);
	json_object_set_new(request, key, json_integer(number));
	return STATUS_OK;
}

/* ------------------------------------------------------------ watch */

/* "INCARNATION:SEQUENCE", and ":ROW" in the middle of a snapshot. */
static enum status set_cursor(json_t *request, const char *text, struct error *err)
{
	const char *colon = text ? strchr(text, ':') : NULL;
	long long sequence, row = 0;

	if (!text)
		return STATUS_OK;
	if (!colon || sscanf(colon, ":%lld:%lld", &sequence, &row) < 1)
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "--cursor takes what watch printed as its cursor");
	json_object_set_new(request, "cursor",
			    json_pack("{s:s%, s:I, s:I}", "incarnation", text,
				      (size_t)(colon - text), "sequence", (json_int_t)sequence,
				      "snapshotRow", (json_int_t)row));
	return STATUS_OK;
}

static enum status watch_request(struct session *s, const struct arguments *args,
				 struct strbuf *out, struct error *err)
{
	static const char name[] = "collector.WatchRecordsRequest";
	json_t *request = begin_request(s, args, err);
	enum status status;
	char *text;

	if (!request)
		return err->status;
	if (arguments_has(args, "snapshot"))
		json_object_set_new(request, "initialSnapshot", json_true());
	if (arguments_has(args, "unmatched"))
		json_object_set_new(request, "includeUnmatched", json_true());
	status = set_cursor(request, arguments_value(args, "cursor"), err);
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (status == STATUS_OK)
		status = json_to_wire(s->types, pool_message(s->types, name, sizeof(name) - 1),
				      text, strlen(text), 0, out, err);
	free(text);
	return status;
}

static void print_event(const struct session *s, const json_t *event)
{
	const json_t *info = json_object_get(event, "info");
	const char *kind = json_text(event, "kind");

	if (s->output == OUTPUT_JSON) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	/* The first kind is 0, which JSON leaves out. */
	printf("%-9s %s %s\n", *kind ? kind + strlen("RECORD_") : "UPSERTED",
	       json_text(info, "id"), json_text(info, "etag"));
}

static void print_cursor(const json_t *answer)
{
	const json_t *cursor = json_object_get(answer, "cursor");
	const char *sequence = json_text(cursor, "sequence");
	const char *row = json_text(cursor, "snapshotRow");

	fprintf(stderr, "cursor %s:%s%s%s\n", json_text(cursor, "incarnation"),
		*sequence ? sequence : "0", *row ? ":" : "", row);
}

/* False: all that was there is told, and no more is wanted. */
static enum status print_answer(struct session *s, const struct arguments *args,
				struct bytes message, bool *ret_more, struct error *err)
{
	static const char name[] = "collector.WatchRecordsResponse";
	AUTO_STRBUF text = STRBUF_INIT;
	json_t *answer, *event;
	size_t i;
	enum status status = session_render(s, pool_message(s->types, name, sizeof(name) - 1),
					    message, &text, err);

	if (status != STATUS_OK)
		return status;
	answer = json_loadb(text.buf, text.len, 0, NULL);
	json_array_foreach(json_object_get(answer, "events"), i, event) print_event(s, event);
	fflush(stdout);
	*ret_more = !arguments_has(args, "once") ||
		    !json_is_true(json_object_get(answer, "caughtUp"));
	if (json_is_true(json_object_get(answer, "caughtUp")))
		print_cursor(answer);
	json_decref(answer);
	return STATUS_OK;
}

static int run_watch(struct session *s, const struct arguments *args)
{
	struct rpc_options options = session_options(s);
	AUTO_STRBUF request = STRBUF_INIT;
	struct rpc_stream *stream = NULL;
	struct bytes message;
	struct error err;
	bool ended = false, more = true;
	enum status status = watch_request(s, args, &request, &err);

	if (!arguments_has(args, "timeout"))
		options.timeout_ms = WATCH_MS;
	if (status == STATUS_OK)
		status = rpc_stream_open(s->front_door, "/collector.CollectionService/Watch",
					 &options, &stream, &err);
	/* If it is over already, receiving tells why. */
	if (status == STATUS_OK && rpc_stream_send(stream, bytes_of(request.buf, request.len)))
		rpc_stream_half_close(stream);
	while (status == STATUS_OK && more && !ended) {
		status = rpc_stream_receive(stream, &message, &ended, &err);
		if (status == STATUS_OK && !ended)
			status = print_answer(s, args, message, &more, &err);
	}
	rpc_stream_free(stream);
	return status == STATUS_OK ? 0 : session_fail(&err);
}

/* ------------------------------------------------------------ leases */

static void print_leases(const json_t *records)
{
	static const char *const columns[] = {"ID", "TOKEN", "EXPIRES", NULL};
	struct table *t = table_new(columns);
	json_t *record;
	size_t i;

	json_array_foreach(records, i, record)
	{
		table_add(t, json_text(json_object_get(record, "info"), "id"));
		table_add(t, json_text(record, "token"));
		table_add(t, json_text(record, "expiresAt"));
	}
	table_print(t, "nothing to lease");
}

static int run_lease(struct session *s, const struct arguments *args)
{
	const char *owner = arguments_value(args, "owner");
	struct error err;
	json_t *request = begin_request(s, args, &err), *reply;

	if (!request)
		return session_fail(&err);
	json_object_set_new(request, "owner", json_string(owner ? owner : "collectorctl"));
	if (arguments_value(args, "order-by"))
		json_object_set_new(request, "orderBy",
				    json_string(arguments_value(args, "order-by")));
	if (set_number(request, "maxRecords", args, "limit", &err) != STATUS_OK ||
	    set_number(request, "durationMs", args, "duration-ms", &err) != STATUS_OK ||
	    set_number(request, "waitMs", args, "wait-ms", &err) != STATUS_OK) {
		json_decref(request);
		return session_fail(&err);
	}
	if (session_call(s, "/collector.CollectionService/Lease", request, &reply, &err) !=
	    STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		print_leases(json_object_get(reply, "records"));
	json_decref(reply);
	return 0;
}

/* Renew and release: one lease, by id and token. Exit code 1: it is not held any more. */
static int keep(struct session *s, const struct arguments *args, const char *path,
		const char *answered)
{
	json_t *request = json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "namespace", s->ns,
				    "collectionName", args->positional[0], "leases", "id",
				    args->positional[1], "token", args->positional[2]);
	json_t *reply;
	struct error err;
	bool held;

	if (set_number(request, "durationMs", args, "duration-ms", &err) != STATUS_OK) {
		json_decref(request);
		return session_fail(&err);
	}
	if (session_call(s, path, request, &reply, &err) != STATUS_OK)
		return session_fail(&err);
	held = json_array_size(json_object_get(reply, answered)) != 0;
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else if (!held)
		fprintf(stderr, "%s is not held by %s any more\n", args->positional[1],
			args->positional[2]);
	json_decref(reply);
	return held ? 0 : 1;
}

static int run_renew(struct session *s, const struct arguments *args)
{
	return keep(s, args, "/collector.CollectionService/Renew", "renewed");
}

static int run_release(struct session *s, const struct arguments *args)
{
	return keep(s, args, "/collector.CollectionService/Release", "released");
}

/* ------------------------------------------------------------ invoke */

static int run_invoke(struct session *s, const struct arguments *args)
{
	json_t *ids = json_array(), *reply;
	struct error err;

	for (size_t i = 2; i < args->count; i++)
		json_array_append_new(ids, json_string(args->positional[i]));
	if (session_call(s, "/collector.CollectionService/Invoke",
			 json_pack("{s:s, s:s, s:s, s:o}", "namespace", s->ns, "collectionName",
				   args->positional[0], "methodName", args->positional[1],
				   "itemIds", ids),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	output_json(s->output == OUTPUT_JSON ? reply : json_object_get(reply, "outputs"));
	json_decref(reply);
	return 0;
}

static const struct flag watch_flags[] = {
	{"cursor", 0, "CURSOR", "go on after this, as watch printed it"},
	{"snapshot", 0, NULL, "first every record that there is"},
	{"filter", 'f', "EXPRESSION", "path=value, !=, <, <=, >, >=, ~, 'path in [..]', path?"},
	{"label", 'l', "KEY=VALUE", "only with this label; may be repeated"},
	{"unmatched", 0, NULL, "tell also of changes to what does not match"},
	{"once", 0, NULL, "end when all that happened so far is told"},
	{NULL, 0, NULL, NULL},
};
static const struct flag lease_flags[] = {
	{"owner", 0, "NAME", "who takes them (collectorctl)"},
	{"limit", 'L', "N", "at most so many (1)"},
	{"duration-ms", 0, "N", "for how long (30000)"},
	{"wait-ms", 0, "N", "when there is none, wait so long for one"},
	{"filter", 'f', "EXPRESSION", "path=value, !=, <, <=, >, >=, ~, 'path in [..]', path?"},
	{"label", 'l', "KEY=VALUE", "only with this label; may be repeated"},
	{"order-by", 's', "FIELDS", "which ones first"},
	{NULL, 0, NULL, NULL},
};
static const struct flag renew_flags[] = {
	{"duration-ms", 0, "N", "for how long from now (30000)"},
	{NULL, 0, NULL, NULL},
};

const struct command watch_commands[] = {
	{"record", "watch", "COLLECTION", "tell of every change, until it is stopped",
	 "A line for each change. The cursor goes to standard error whenever all is told.",
	 watch_flags, 1, 1, run_watch},
	{"record", "lease", "COLLECTION", "take records for a while; prints ids and tokens",
	 NULL, lease_flags, 1, 1, run_lease},
	{"record", "renew", "COLLECTION ID TOKEN", "make a lease last longer", NULL,
	 renew_flags, 3, 3, run_renew},
	{"record", "release", "COLLECTION ID TOKEN", "end a lease", NULL, NULL, 3, 3,
	 run_release},
	{"record", "invoke", "COLLECTION METHOD [ID...]", "call a method for records",
	 "METHOD is as shop.v1.Orders/Ship; each record is the input of one call.", NULL, 3,
	 ARGUMENTS_MAX, run_invoke},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
