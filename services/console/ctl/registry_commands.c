#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/describe.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/paging.h"
#include "services/console/ctl/protoc.h"
#include "services/console/ctl/session.h"

enum { MAX_PROTO_PATHS = 64 };

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && !strcmp(s + n - k, end);
}

/* The descriptor set that @path stands for, and the file in it that is meant
 * (NULL: the last, which nothing else in the set imports). */
static enum status load_set(const struct arguments *args, const char *path, struct strbuf *out,
			    const char **ret_name, struct error *err)
{
	const char *roots[MAX_PROTO_PATHS + 1];
	size_t n = 0;

	if (!ends_with(path, ".proto")) {
		*ret_name = NULL;
		return session_read_file(path, out, err);
	}
	for (const char *root;
	     n < MAX_PROTO_PATHS && (root = arguments_nth(args, "proto-path", n));)
		roots[n++] = root;
	roots[n] = NULL;
	return protoc_compile(path, roots, out, ret_name, err);
}

static bool file_has_name(struct bytes file, const char *name)
{
	struct bytes found;

	return wire_find_bytes(file, 1, &found) && found.size == strlen(name) &&
	       !memcmp(found.data, name, found.size);
}

static bool is_built_in(struct session *s, struct bytes file)
{
	struct bytes name;

	return wire_find_bytes(file, 1, &name) &&
	       pool_file(s->types, (const char *)name.data, name.size);
}

/* A RegisterProtoRequest: namespace 1, file_descriptor 2, dependencies 3. The
 * files go as they are: packing them anew would lose what we do not know. */
static enum status build_request(struct session *s, struct bytes set, const char *name,
				 struct strbuf *out, struct error *err)
{
	struct bytes *files;
	size_t count, target;
	enum status status = pool_split_set(set, &s->arena, &files, &count, err);

	if (status != STATUS_OK)
		return status;
	if (!count)
		return error_set(err, STATUS_INVALID_ARGUMENT, "the descriptor set is empty");
	for (target = count - 1; name && target && !file_has_name(files[target], name);)
		target--;
	wire_add_string(out, 1, s->ns);
	wire_add_bytes(out, 2, files[target]);
	for (size_t i = 0; i < count; i++)
		if (i != target && !is_built_in(s, files[i]))
			wire_add_bytes(out, 3, files[i]);
	return STATUS_OK;
}

static enum status register_one(struct session *s, const struct arguments *args,
				const char *path, json_t **ret_reply, struct error *err)
{
	AUTO_STRBUF set = STRBUF_INIT;
	AUTO_STRBUF request = STRBUF_INIT;
	const char *name;
	enum status status = load_set(args, path, &set, &name, err);

	if (status == STATUS_OK)
		status = build_request(s, bytes_of(set.buf, set.len), name, &request, err);
	if (status != STATUS_OK)
		return status;
	return session_call_bytes(s, "/collector.CollectorRegistry/RegisterProto",
				  bytes_of(request.buf, request.len), ret_reply, err);
}

static int run_register(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"FILE", "RESULT", "MESSAGES", "SERVICES", NULL};
	struct table *table = table_new(columns);
	json_t *replies = json_array();
	struct error err;
	int code = 0;

	for (size_t i = 0; i < args->count && !code; i++) {
		json_t *reply;
		if (register_one(s, args, args->positional[i], &reply, &err) != STATUS_OK) {
			fprintf(stderr, "%s: ", args->positional[i]);
			code = session_fail(&err);
			break;
		}
		table_add(table, args->positional[i]);
		table_add(table, json_is_true(json_object_get(reply, "unchanged"))
					 ? "unchanged"
					 : "registered");
		table_addf(table, "%zu",
			   json_array_size(json_object_get(reply, "registeredMessages")));
		table_addf(table, "%zu",
			   json_array_size(json_object_get(reply, "registeredServices")));
		json_array_append_new(replies, reply);
	}
	if (s->output == OUTPUT_JSON && !code)
		output_json(args->count == 1 ? json_array_get(replies, 0) : replies);
	table_print(s->output == OUTPUT_JSON ? table_new(columns) : table, "");
	json_decref(replies);
	return code;
}

static void add_names(struct table *t, const json_t *names)
{
	AUTO_STRBUF text = STRBUF_INIT;
	json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
		strbuf_addf(&text, "%s%s", i ? " " : "", json_string_value(name));
	table_add(t, strbuf_str(&text));
}

static int list_files(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"FILE", "VERSION", "MESSAGES", "SERVICES", NULL};
	json_t *request = json_pack("{s:s, s:s}", "namespace", s->ns, "prefix",
				    args->count ? args->positional[0] : "");
	json_t *all = NULL, *p;
	struct error err;
	size_t i;

	if (paging_collect(s, "/collector.CollectorRegistry/ListProtos", request, "protos", 0,
			   &all, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "protos"), i, p)
		{
			table_add(t, json_text(p, "fileName"));
			table_add_json(t, json_object_get(p, "version"));
			table_addf(t, "%zu",
				   json_array_size(json_object_get(p, "messageNames")));
			add_names(t, json_object_get(p, "serviceNames"));
		}
		table_print(t, "no files are registered in this namespace");
	}
	json_decref(all);
	return 0;
}

static int list_services(struct session *s, const struct arguments *args)
{
	static const char *const columns[] = {"SERVICE", "FILE", "METHODS", NULL};
	json_t *request = json_pack("{s:s, s:s}", "namespace", s->ns, "prefix",
				    args->count ? args->positional[0] : "");
	json_t *all = NULL, *service;
	struct error err;
	size_t i;

	if (paging_collect(s, "/collector.CollectorRegistry/ListServices", request, "services",
			   0, &all, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		struct table *t = table_new(columns);
		json_array_foreach(json_object_get(all, "services"), i, service)
		{
			table_add(t, json_text(service, "serviceName"));
			table_add(t, json_text(service, "fileName"));
			add_names(t, json_object_get(service, "methodNames"));
		}
		table_print(t, "no services are registered in this namespace");
	}
	json_decref(all);
	return 0;
}

static int run_list(struct session *s, const struct arguments *args)
{
	return arguments_has(args, "services") ? list_services(s, args) : list_files(s, args);
}

static int run_describe(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF out = STRBUF_INIT;
	struct error err;
	enum status status =
		describe_symbol(s, args->positional[0], s->output == OUTPUT_JSON, &out, &err);

	if (status != STATUS_OK)
		return session_fail(&err);
	fputs(strbuf_str(&out), stdout);
	return 0;
}

static const struct flag register_flags[] = {
	{"proto-path", 'I', "DIR", "where imports are found; may be repeated (.)"},
	{NULL, 0, NULL, NULL},
};
static const struct flag list_flags[] = {
	{"services", 's', NULL, "list services with their methods instead of files"},
	{NULL, 0, NULL, NULL},
};

const struct command registry_commands[] = {
	{"registry", "register", "FILE...", "register types and services",
	 "A FILE is a .proto, compiled with protoc, or a binary FileDescriptorSet. Imports go\n"
	 "along, all or nothing.",
	 register_flags, 1, ARGUMENTS_MAX, run_register},
	{"registry", "list", "[PREFIX]", "list what is registered in the namespace", NULL,
	 list_flags, 0, 1, run_list},
	{"registry", "describe", "NAME",
	 "print a message, enum, service or file as .proto text",
	 "With -o json the file that declares it, as a FileDescriptorProto.", NULL, 1, 1,
	 run_describe},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
