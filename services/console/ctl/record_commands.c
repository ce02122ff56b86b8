#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/json_in.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/filter.h"
#include "services/console/ctl/import.h"
#include "services/console/ctl/labels.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/paging.h"
#include "services/console/ctl/record.h"
#include "services/console/ctl/session.h"

enum { DEFAULT_LIMIT = 20, MAX_COLUMNS = 32, DEFAULT_COLUMNS = 4 };

enum status record_type_of(struct session *s, const char *collection,
			   const struct pool_message **ret_type, struct error *err)
{
	json_t *reply;
	enum status status = session_call(
		s, "/collector.CollectionService/Describe",
		json_pack("{s:s, s:s}", "namespace", s->ns, "collectionName", collection),
		&reply, err);

	if (status != STATUS_OK)
		return status;
	const char *name = json_text(
		json_object_get(json_object_get(reply, "collectionDefinition"), "messageType"),
		"messageName");
	status = *name ? session_message_type(s, name, ret_type, err)
		       : error_set(err, STATUS_FAILED_PRECONDITION,
				   "collection %s has no type: name one with --type",
				   collection);
	json_decref(reply);
	return status;
}

static enum status type_for(struct session *s, const struct arguments *args,
			    const char *collection, const struct pool_message **ret_type,
			    struct error *err)
{
	const char *name = arguments_value(args, "type");

	return name ? session_message_type(s, name, ret_type, err)
		    : record_type_of(s, collection, ret_type, err);
}

void record_put_create(struct strbuf *out, const char *ns, const char *collection,
		       const char *id, const char *type, struct bytes item)
{
	wire_add_string(out, 1, ns);
	wire_add_string(out, 2, collection);
	session_put_any(out, 3, type, item);
	if (*id)
		wire_add_string(out, 4, id);
}

static void put_labels(struct strbuf *out, unsigned number, const json_t *labels)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)labels, key, value)
	{
		size_t mark = wire_open(out, number);
		wire_add_string(out, 1, key);
		wire_add_string(out, 2, json_string_value(value));
		wire_close(out, mark);
	}
}

/* The item that -d gives, as wire bytes of the collection's type. */
static enum status read_item(struct session *s, const struct arguments *args,
			     const struct pool_message **ret_type, struct strbuf *out,
			     struct error *err)
{
	AUTO_STRBUF text = STRBUF_INIT;
	enum status status = type_for(s, args, args->positional[0], ret_type, err);

	if (status == STATUS_OK)
		status = session_read_data(args, &text, err);
	if (status != STATUS_OK)
		return status;
	return json_to_wire(s->types, *ret_type, strbuf_str(&text), text.len, 0, out, err);
}

static void put_request_id(struct strbuf *request, const struct arguments *args)
{
	const char *id = arguments_value(args, "request-id");

	if (id)
		wire_add_string(request, 110, id);
}

/* What Update and Delete depend on, in the numbers that both have. */
static enum status put_conditions(struct strbuf *request, const struct arguments *args,
				  struct error *err)
{
	const char *etag = arguments_value(args, "etag");
	const char *token = arguments_value(args, "lease-token");
	char *end;

	if (etag)
		wire_add_string(request, 100, etag);
	put_request_id(request, args);
	if (!token)
		return STATUS_OK;
	const long long number = strtoll(token, &end, 10);
	if (end == token || *end || number <= 0)
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "--lease-token takes a lease's number");
	wire_add_uint(request, 111, (uint64_t)number);
	return STATUS_OK;
}

static int run_create(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF item = STRBUF_INIT;
	AUTO_STRBUF request = STRBUF_INIT;
	const struct pool_message *type;
	json_t *labels = NULL, *reply;
	struct error err;

	if (read_item(s, args, &type, &item, &err) != STATUS_OK ||
	    labels_parse(args, "label", &labels, &err) != STATUS_OK)
		return session_fail(&err);
	record_put_create(&request, s->ns, args->positional[0],
			  args->count > 1 ? args->positional[1] : "", type->full_name,
			  bytes_of(item.buf, item.len));
	put_labels(&request, 100, labels);
	put_request_id(&request, args);
	json_decref(labels);
	if (session_call_bytes(s, "/collector.CollectionService/Create",
			       bytes_of(request.buf, request.len), &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("%s\n", json_text(reply, "id"));
	json_decref(reply);
	return 0;
}

static int run_update(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF item = STRBUF_INIT;
	AUTO_STRBUF request = STRBUF_INIT;
	const struct pool_message *type;
	const char *path;
	json_t *reply;
	struct error err;

	if (read_item(s, args, &type, &item, &err) != STATUS_OK ||
	    put_conditions(&request, args, &err) != STATUS_OK)
		return session_fail(&err);
	wire_add_string(&request, 1, s->ns);
	wire_add_string(&request, 2, args->positional[0]);
	wire_add_string(&request, 3, args->positional[1]);
	session_put_any(&request, 4, type->full_name, bytes_of(item.buf, item.len));
	for (size_t i = 0; (path = arguments_nth(args, "mask", i)); i++)
		wire_add_string(&request, 5, path);
	if (arguments_has(args, "allow-missing"))
		wire_add_uint(&request, 101, 1);
	if (session_call_bytes(s, "/collector.CollectionService/Update",
			       bytes_of(request.buf, request.len), &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		printf("%s\n", args->positional[1]);
	json_decref(reply);
	return 0;
}

static int run_get(struct session *s, const struct arguments *args)
{
	json_t *reply;
	struct error err;

	if (session_call(s, "/collector.CollectionService/Get",
			 json_pack("{s:s, s:s, s:s}", "namespace", s->ns, "collectionName",
				   args->positional[0], "id", args->positional[1]),
			 &reply, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(reply);
	} else {
		json_t *item = json_object_get(reply, "item");
		json_object_del(item, "@type");
		output_json(item);
	}
	json_decref(reply);
	return 0;
}

/* One of them, with what it depends on. */
static enum status delete_one(struct session *s, const struct arguments *args, const char *id,
			      struct error *err)
{
	AUTO_STRBUF request = STRBUF_INIT;
	enum status status = put_conditions(&request, args, err);

	wire_add_string(&request, 1, s->ns);
	wire_add_string(&request, 2, args->positional[0]);
	wire_add_string(&request, 3, id);
	wire_add_uint(&request, 101, 1);
	if (status == STATUS_OK)
		status = session_call_bytes(s, "/collector.CollectionService/Delete",
					    bytes_of(request.buf, request.len), NULL, err);
	return status;
}

static int run_delete(struct session *s, const struct arguments *args)
{
	struct error err;

	if (args->count > 2 &&
	    (arguments_has(args, "request-id") || arguments_has(args, "lease-token") ||
	     arguments_has(args, "etag"))) {
		(void)!error_set(&err, STATUS_INVALID_ARGUMENT,
				 "--etag, --lease-token and --request-id are for one record");
		return session_fail(&err);
	}
	for (size_t i = 1; i < args->count; i++)
		if (delete_one(s, args, args->positional[i], &err) != STATUS_OK)
			return session_fail(&err);
	return 0;
}

/* ----------------------------------------------------------------- tables */

/* The first few plain fields of the type of @item, or those that --columns names. */
static size_t choose_columns(struct session *s, const struct arguments *args,
			     const json_t *item, const char *columns[MAX_COLUMNS])
{
	const char *chosen = arguments_value(args, "columns");
	const char *url = json_text(item, "@type"), *slash = strrchr(url, '/');
	const struct pool_message *type =
		slash ? pool_message(s->types, slash + 1, strlen(slash + 1)) : NULL;
	size_t n = 0;

	while (chosen && *chosen && n < MAX_COLUMNS) {
		size_t len = strcspn(chosen, ",");
		columns[n++] = arena_strndup(&s->arena, chosen, len);
		chosen += len + (chosen[len] == ',');
	}
	for (uint32_t i = 0; !n && type && i < type->field_count; i++) {
		size_t plain = 0;
		for (; i < type->field_count && plain < DEFAULT_COLUMNS; i++) {
			const struct pool_field *f = &type->fields[i];
			if (!f->repeated && !f->type_message && f->type != POOL_TYPE_BYTES)
				columns[n + plain++] = f->json_name;
		}
		n += plain;
	}
	return n;
}

/* The value at a dotted path of JSON names or proto names. */
static const json_t *value_at(struct session *s, const json_t *item, const char *path)
{
	const char *url = json_text(item, "@type"), *slash = strrchr(url, '/');
	const struct pool_message *type =
		slash ? pool_message(s->types, slash + 1, strlen(slash + 1)) : NULL;

	while (item && *path) {
		size_t len = strcspn(path, ".");
		char *part AUTO_FREE = xstrndup(path, len);
		const struct pool_field *f = type ? pool_field_by_name(type, part, len) : NULL;
		item = json_object_get(item, f ? f->json_name : part);
		type = f ? f->type_message : NULL;
		path += len + (path[len] == '.');
	}
	return item;
}

static void print_records(struct session *s, const struct arguments *args, const json_t *items,
			  const json_t *infos, const json_t *scores)
{
	const char *names[MAX_COLUMNS], *heads[MAX_COLUMNS + 3] = {"ID"};
	size_t first = 1, n = choose_columns(s, args, json_array_get(items, 0), names), i;
	struct table *t;
	json_t *item;

	if (scores)
		heads[first++] = "SCORE";
	for (i = 0; i < n; i++)
		heads[first + i] = names[i];
	heads[first + n] = NULL;
	t = table_new(heads);
	json_array_foreach(items, i, item)
	{
		table_add(t, json_text(json_array_get(infos, i), "id"));
		if (scores)
			table_addf(t, "%.3f", json_number_value(json_array_get(scores, i)));
		for (size_t c = 0; c < n; c++)
			table_add_json(t, value_at(s, item, names[c]));
	}
	table_print(t, "no records match");
}

static size_t limit_of(const struct arguments *args)
{
	const char *text = arguments_value(args, "limit");

	return text ? strtoul(text, NULL, 10) : DEFAULT_LIMIT;
}

/* The flags that say which records, as List's request has them; *ret is owned. */
static enum status list_request(struct session *s, const struct arguments *args, json_t **ret,
				struct error *err)
{
	const char *order = arguments_value(args, "order-by");
	json_t *filter, *labels;
	enum status status = filter_parse(args, &filter, err);

	if (status != STATUS_OK)
		return status;
	status = labels_parse(args, "label", &labels, err);
	if (status != STATUS_OK) {
		json_decref(filter);
		return status;
	}
	*ret = json_pack("{s:s, s:s, s:o, s:s, s:o}", "namespace", s->ns, "collectionName",
			 args->positional[0], "filter", filter, "orderBy", order ? order : "",
			 "labelFilters", labels);
	return STATUS_OK;
}

static int run_list(struct session *s, const struct arguments *args)
{
	json_t *request, *all;
	struct error err;

	if (list_request(s, args, &request, &err) != STATUS_OK ||
	    paging_collect(s, "/collector.CollectionService/List", request, "items",
			   limit_of(args), &all, &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON) {
		output_json(all);
	} else {
		const json_t *items = json_object_get(all, "items");
		const char *total = json_text(all, "totalCount");
		print_records(s, args, items, json_object_get(all, "infos"), NULL);
		fprintf(stderr, "%zu of %s\n", json_array_size(items), *total ? total : "0");
	}
	json_decref(all);
	return 0;
}

static void print_found(struct session *s, const struct arguments *args, json_t *reply)
{
	json_t *items = json_array(), *infos = json_array(), *scores = json_array(), *r;
	const char *total = json_text(reply, "totalCount");
	size_t i;

	json_array_foreach(json_object_get(reply, "results"), i, r)
	{
		json_t *score = json_object_get(r, "score");
		json_array_append(items, json_object_get(r, "item"));
		json_array_append(infos, json_object_get(r, "info"));
		json_array_append_new(scores, score ? json_incref(score) : json_real(0));
	}
	print_records(s, args, items, infos, arguments_has(args, "text") ? scores : NULL);
	fprintf(stderr, "%zu of %s\n", json_array_size(items), *total ? total : "0");
	json_decref(items);
	json_decref(infos);
	json_decref(scores);
}

/* The same as Search's request: it orders by one field, and its name alone is descending. */
static enum status search_request(struct session *s, const struct arguments *args, json_t **ret,
				  struct error *err)
{
	const char *text = arguments_value(args, "text"),
		   *order = arguments_value(args, "order-by");
	const size_t len = order ? strlen(order) : 0;
	const bool descending = len > 5 && !strcmp(order + len - 5, " desc");
	enum status status = list_request(s, args, ret, err);

	if (status != STATUS_OK)
		return status;
	char *field AUTO_FREE = xstrndup(order ? order : "", descending ? len - 5 : len);
	json_object_set_new(*ret, "orderBy", json_string(field));
	json_object_set_new(*ret, "ascending", json_boolean(order && !descending));
	json_object_set_new(*ret, "fullText", json_string(text ? text : ""));
	json_object_set_new(*ret, "ftsSyntax", json_boolean(arguments_has(args, "fts-syntax")));
	json_object_set_new(*ret, "limit", json_integer((json_int_t)limit_of(args)));
	return STATUS_OK;
}

static int run_search(struct session *s, const struct arguments *args)
{
	json_t *request, *reply;
	struct error err;

	if (search_request(s, args, &request, &err) != STATUS_OK ||
	    session_call(s, "/collector.CollectionService/Search", request, &reply, &err) !=
		    STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		print_found(s, args, reply);
	json_decref(reply);
	return 0;
}

static void print_plan(const json_t *reply)
{
	json_t *step, *line;
	size_t i, j;

	fputs(json_text(reply, "summary"), stdout);
	json_array_foreach(json_object_get(reply, "steps"), i, step)
	{
		printf("\n%s\n", json_text(step, "name"));
		json_array_foreach(json_object_get(step, "plan"), j, line)
			printf("  %s\n", json_string_value(line));
	}
}

static int run_explain(struct session *s, const struct arguments *args)
{
	const bool is_search = arguments_has(args, "text");
	const char *max = arguments_value(args, "max-records");
	json_t *request, *query, *reply;
	struct error err;
	enum status status = is_search ? search_request(s, args, &query, &err)
				       : list_request(s, args, &query, &err);

	if (status != STATUS_OK)
		return session_fail(&err);
	if (!is_search)
		json_object_set_new(query, "pageSize",
				    json_integer((json_int_t)limit_of(args)));
	request =
		json_pack("{s:o, s:s, s:b}", is_search ? "search" : "list", query, "maxRecords",
			  max ? max : "0", "planOnly", arguments_has(args, "plan-only"));
	if (session_call(s, "/collector.CollectionService/ExplainQuery", request, &reply,
			 &err) != STATUS_OK)
		return session_fail(&err);
	if (s->output == OUTPUT_JSON)
		output_json(reply);
	else
		print_plan(reply);
	json_decref(reply);
	return 0;
}

static int run_import(struct session *s, const struct arguments *args)
{
	return import_run(s, args);
}

static const struct flag create_flags[] = {
	{"data", 'd', "JSON|@FILE|-", "the record"},
	{"type", 'T', "MESSAGE", "its type, where the collection has none"},
	{"label", 'l', "KEY=VALUE", "a label; may be repeated"},
	{"request-id", 0, "ID", "done once, however often it is sent with this"},
	{NULL, 0, NULL, NULL},
};
static const struct flag update_flags[] = {
	{"data", 'd', "JSON|@FILE|-", "the record"},
	{"type", 'T', "MESSAGE", "its type, where the collection has none"},
	{"mask", 'm', "PATH", "change only this field; may be repeated"},
	{"etag", 0, "ETAG", "only while the record is this one"},
	{"lease-token", 0, "N", "only while this lease of the record is held"},
	{"request-id", 0, "ID", "done once, however often it is sent with this"},
	{"allow-missing", 0, NULL, "create it when it is not there"},
	{NULL, 0, NULL, NULL},
};
static const struct flag delete_flags[] = {
	{"etag", 0, "ETAG", "only while the record is this one"},
	{"lease-token", 0, "N", "only while this lease of the record is held"},
	{"request-id", 0, "ID", "done once, however often it is sent with this"},
	{NULL, 0, NULL, NULL},
};
static const struct flag list_flags[] = {
	{"filter", 'f', "EXPRESSION", "path=value, !=, <, <=, >, >=, ~, 'path in [..]', path?"},
	{"where", 'w', "JSON", "a filter with $and, $or, $not: {\"$or\": [{..}, {..}]}"},
	{"label", 'l', "KEY=VALUE", "only with this label; may be repeated"},
	{"order-by", 's', "FIELDS", "such as 'section, installed_size_kb desc'"},
	{"limit", 'L', "N", "at most so many; 0 for all (20)"},
	{"columns", 'c', "A,B,C", "the fields that the table shows"},
	{NULL, 0, NULL, NULL},
};
static const struct flag search_flags[] = {
	{"text", 'q', "WORDS", "full-text search, best first"},
	{"fts-syntax", 0, NULL, "WORDS are an FTS5 expression"},
	{"filter", 'f', "EXPRESSION", "path=value, !=, <, <=, >, >=, ~, 'path in [..]', path?"},
	{"where", 'w', "JSON", "a filter with $and, $or, $not: {\"$or\": [{..}, {..}]}"},
	{"label", 'l', "KEY=VALUE", "only with this label; may be repeated"},
	{"order-by", 's', "FIELD", "'field' or 'field desc'; the score without it"},
	{"limit", 'L', "N", "at most so many (20)"},
	{"columns", 'c', "A,B,C", "the fields that the table shows"},
	{NULL, 0, NULL, NULL},
};
static const struct flag explain_flags[] = {
	{"text", 'q', "WORDS", "explain a search for these words, else a list"},
	{"fts-syntax", 0, NULL, "WORDS are an FTS5 expression"},
	{"filter", 'f', "EXPRESSION", "path=value, !=, <, <=, >, >=, ~, 'path in [..]', path?"},
	{"where", 'w', "JSON", "a filter with $and, $or, $not: {\"$or\": [{..}, {..}]}"},
	{"label", 'l', "KEY=VALUE", "only with this label; may be repeated"},
	{"order-by", 's', "FIELDS", "as list or search take it"},
	{"limit", 'L', "N", "the page's size (20)"},
	{"plan-only", 0, NULL, "look at no record"},
	{"max-records", 0, "N", "look at no more than so many (100000)"},
	{NULL, 0, NULL, NULL},
};
static const struct flag import_flags[] = {
	{"type", 'T', "MESSAGE", "the records' type, where the collection has none"},
	{"in-flight", 0, "N", "records under way at once (64)"},
	{"on-conflict", 0, "fail|skip|replace", "what to do with ids that exist (fail)"},
	{"quiet", 'q', NULL, "no progress"},
	{NULL, 0, NULL, NULL},
};

const struct command record_commands[] = {
	{"record", "create", "COLLECTION [ID]", "store a record; prints its id", NULL,
	 create_flags, 1, 2, run_create},
	{"record", "get", "COLLECTION ID", "print a record", NULL, NULL, 2, 2, run_get},
	{"record", "update", "COLLECTION ID", "replace a record, or some of its fields", NULL,
	 update_flags, 2, 2, run_update},
	{"record", "delete", "COLLECTION ID...", "delete records", NULL, delete_flags, 2,
	 ARGUMENTS_MAX, run_delete},
	{"record", "list", "COLLECTION", "list records", NULL, list_flags, 1, 1, run_list},
	{"record", "search", "COLLECTION", "find records by text and fields", NULL,
	 search_flags, 1, 1, run_search},
	{"record", "explain", "COLLECTION", "tell why a list or search is slow",
	 "Which indexes are used, and how many records are looked at.", explain_flags, 1, 1,
	 run_explain},
	{"record", "import", "COLLECTION FILE|-", "store many records from JSON lines",
	 "Each line is {\"id\": \"...\", \"item\": {...}}, or a record without an id.",
	 import_flags, 2, 2, run_import},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
