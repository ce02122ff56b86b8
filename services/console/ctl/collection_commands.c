#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/labels.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/paging.h"
#include "services/console/ctl/session.h"

static json_t *flag_list(const struct arguments *args, const char *flag)
{
	json_t *list = json_array();
	const char *value;

	for (size_t i = 0; (value = arguments_nth(args, flag, i)); i++)
		json_array_append_new(list, json_string(value));
	return list;
}

static int run_create(struct session *s, const struct arguments *args)
{
	const char *type = arguments_value(args, "type");
	json_t *collection, *labels, *reply;
	struct error err;

	if (labels_parse(args, "label", &labels, &err) != STATUS_OK)
		return session_fail(&err);
	collection =
		json_pack("{s:s, s:s, s:{s:s}, s:o, s:o, s:b, s:{s:o}}", "namespace", s->ns,
			  "name", args->positional[0], "messageType", "messageName",
			  type ? type : "", "indexedFields", flag_list(args, "index"),
			  "fullTextFields", flag_list(args, "full-text"), "fullTextDisabled",
			  arguments_has(args, "no-full-text"), "metadata", "labels", labels);
	if (!collection) {
		error_set(&err, STATUS_INVALID_ARGUMENT, "an argument is not valid UTF-8");
		return session_fail(&err);
	}
	if (session_call(s, "/collector.CollectionRepo/CreateCollection",
			 json_pack("{s:o}", "collection", collection), &reply,
			 &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("collection %s created\n", json_text(reply, "collectionId"));
	json_decref(reply);
	return 0;
}

/* What a command line changes, and nothing else. */
static json_t *modify_request(struct session *s, const struct arguments *args, json_t *labels)
{
	const bool no_text = arguments_has(args, "no-full-text");
	json_t *mask = json_array();

	if (arguments_has(args, "index") || arguments_has(args, "no-index"))
		json_array_append_new(mask, json_string("indexed_fields"));
	if (arguments_has(args, "full-text") || arguments_has(args, "all-text"))
		json_array_append_new(mask, json_string("full_text_fields"));
	if (no_text || arguments_has(args, "full-text") || arguments_has(args, "all-text"))
		json_array_append_new(mask, json_string("full_text_disabled"));
	if (arguments_has(args, "label"))
		json_array_append_new(mask, json_string("labels"));
	if (arguments_has(args, "schema"))
		json_array_append_new(mask, json_string("schema"));
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:b, s:o}", "namespace", s->ns,
			 "collectionName", args->positional[0], "updateMask", mask,
			 "indexedFields", flag_list(args, "index"), "fullTextFields",
			 flag_list(args, "full-text"), "fullTextDisabled", no_text, "labels",
			 labels);
}

static int run_modify(struct session *s, const struct arguments *args)
{
	json_t *labels, *request, *reply;
	struct error err;

	if (labels_parse(args, "label", &labels, &err) != STATUS_OK)
		return session_fail(&err);
	request = modify_request(s, args, labels);
	if (!json_array_size(json_object_get(request, "updateMask"))) {
		json_decref(request);
		fputs("collectorctl: say what to change; try: collectorctl collection modify"
		      " --help\n",
		      stderr);
		return EXIT_CODE_USAGE;
	}
	if (session_call(s, "/collector.CollectionService/Modify", request, &reply, &err) !=
	    STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("collection %s/%s modified%s\n", s->ns, args->positional[0],
		       json_is_true(json_object_get(json_object_get(reply, "collection"),
						    "building"))
			       ? "; it is being built: see collection describe"
			       : "");
	json_decref(reply);
	return 0;
}

static int run_list(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"NAME", "TYPE", "INDEXED FIELDS", "CREATED",
					      NULL};
	json_t *labels, *all, *c;
	struct error err;
	size_t i;

	if (labels_parse(args, "label", &labels, &err) != STATUS_OK)
		return session_fail(&err);
	if (paging_collect(s, "/collector.CollectionRepo/Discover",
			   json_pack("{s:s, s:o}", "namespace", s->ns, "labelFilter", labels),
			   "collections", 0, &all, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "collections"), i, c)
		{
			table_add(t, json_text(c, "name"));
			table_add(t,
				  json_text(json_object_get(c, "messageType"), "messageName"));
			table_add_json(t, json_object_get(c, "indexedFields"));
			table_add(t, json_text(json_object_get(c, "metadata"), "createdAt"));
		}
		table_print(t, "no collections in this namespace");
	}
	json_decref(all);
	return 0;
}

static void print_description(const json_t *d)
{
	const json_t *c = json_object_get(d, "collectionDefinition"), *index;
	size_t i;

	printf("collection   %s/%s\n", json_text(c, "namespace"), json_text(c, "name"));
	printf("type         %s\n",
	       json_text(json_object_get(c, "messageType"), "messageName"));
	printf("records      %s\n",
	       json_object_get(d, "recordCount") ? json_text(d, "recordCount") : "0");
	printf("bytes        %s\n", json_text(d, "storageSizeBytes"));
	printf("created      %s\n", json_text(json_object_get(c, "metadata"), "createdAt"));
	json_array_foreach(json_object_get(d, "indexes"), i, index) printf(
		"%-12s %s (%s)\n", i ? "" : "indexes", json_text(index, "field"),
		json_object_get(index, "state") ? json_text(index, "state") : "INDEX_READY");
}

static void print_build(const json_t *d)
{
	const json_t *build = json_object_get(d, "build");

	if (build)
		printf("building     %s, %s of %s\n", json_text(build, "step"),
		       *json_text(build, "recordsDone") ? json_text(build, "recordsDone") : "0",
		       *json_text(build, "recordsTotal") ? json_text(build, "recordsTotal")
							 : "0");
}

static int run_describe(struct session *s, const struct arguments *args)
{
	json_t *reply;
	struct error err;

	if (session_call(s, "/collector.CollectionService/Describe",
			 json_pack("{s:s, s:s}", "namespace", s->ns, "collectionName",
				   args->positional[0]),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else {
		print_description(reply);
		print_build(reply);
	}
	json_decref(reply);
	return 0;
}

static int run_delete(struct session *s, const struct arguments *args)
{
	json_t *reply;
	struct error err;

	if (!arguments_has(args, "yes")) {
		fprintf(stderr, "collectorctl: this deletes every record of %s/%s; say --yes\n",
			s->ns, args->positional[0]);
		return EXIT_CODE_USAGE;
	}
	if (session_call(s, "/collector.CollectionRepo/DeleteCollection",
			 json_pack("{s:{s:s, s:s}, s:b}", "collection", "namespace", s->ns,
				   "name", args->positional[0], "mustExist", 1),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("collection %s/%s deleted\n", s->ns, args->positional[0]);
	json_decref(reply);
	return 0;
}

static const struct flag create_flags[] = {
	{"type", 'T', "MESSAGE", "the type of its records, registered before; none: any type"},
	{"index", 'i', "FIELD", "a field to index, nested ones as a.b; may be repeated"},
	{"full-text", 0, "FIELD", "a field for full-text search; none: every text"},
	{"no-full-text", 0, NULL, "without full-text search"},
	{"label", 'l', "KEY=VALUE", "a label; may be repeated"},
	{NULL, 0, NULL, NULL},
};
static const struct flag label_flags[] = {
	{"label", 'l', "KEY=VALUE", "only those with this label; may be repeated"},
	{NULL, 0, NULL, NULL},
};
static const struct flag modify_flags[] = {
	{"index", 'i', "FIELD", "the fields to index from now on; may be repeated"},
	{"no-index", 0, NULL, "no indexes"},
	{"full-text", 0, "FIELD", "the fields of full text from now on; may be repeated"},
	{"all-text", 0, NULL, "full text of every text"},
	{"no-full-text", 0, NULL, "without full-text search"},
	{"label", 'l', "KEY=VALUE", "its labels from now on; may be repeated"},
	{"schema", 0, NULL, "use the version of the type that is registered now"},
	{NULL, 0, NULL, NULL},
};
static const struct flag yes_flags[] = {
	{"yes", 'y', NULL, "do it"},
	{NULL, 0, NULL, NULL},
};

const struct command collection_commands[] = {
	{"collection", "create", "NAME", "make a collection of a registered type", NULL,
	 create_flags, 1, 1, run_create},
	{"collection", "modify", "NAME",
	 "change indexes, full text, labels, or the type's version",
	 "Only what the flags name is changed. What takes long is built in the background.",
	 modify_flags, 1, 1, run_modify},
	{"collection", "list", "", "list the namespace's collections", NULL, label_flags, 0, 0,
	 run_list},
	{"collection", "describe", "NAME", "counts, sizes and indexes of a collection", NULL,
	 NULL, 1, 1, run_describe},
	{"collection", "delete", "NAME", "delete a collection and its records", NULL, yes_flags,
	 1, 1, run_delete},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
