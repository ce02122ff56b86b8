/* CreateCollection, DeleteCollection, Discover, Route; and Meta. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/base/random.h"
#include "common/daemon/daemon.h"
#include "common/reflect/pool.h"
#include "common/reflect/search.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "services/repo/files_rpc.h"
#include "services/repo/invoke_rpc.h"
#include "services/repo/lease_rpc.h"
#include "services/repo/modify_rpc.h"
#include "services/repo/read_rpc.h"
#include "services/repo/watch_rpc.h"
#include "services/repo/write_rpc.h"

enum status definition_of(const struct repo *repo, struct bytes definition, struct arena *arena,
			  Collector__Collection **ret, struct error *err)
{
	ProtobufCMessage *message;

	if (rpc_unpack(&collector__collection__descriptor, definition, arena, &message, err) !=
	    STATUS_OK)
		return error_set(err, STATUS_DATA_LOSS, "a collection's definition is damaged");
	*ret = (Collector__Collection *)message;
	(*ret)->server_endpoint = (char *)daemon_listen_address(repo->daemon);
	return STATUS_OK;
}

/* ------------------------------------------------------------ CreateCollection */

/* What is made of a request before anything is written. */
struct plan {
	const char *ns;
	struct type type;
	struct store_definition store;
};

/* Or else it takes records of any type. */
bool definition_has_type(const Collector__Collection *c)
{
	return c->message_type && *c->message_type->message_name;
}

static enum status check_request(const Collector__Collection *c, void *call,
				 const char **ret_ns, struct error *err)
{
	enum status status;

	if (!c)
		return error_field(err, "collection", "a collection is required");
	status = names_check_namespace(c->namespace_, "collection.namespace", err);
	if (status == STATUS_OK)
		status = names_check_collection(c->name, "collection.name", err);
	if (status == STATUS_OK)
		status = repo_check(call, c->namespace_, NULL, ACCESS_WRITE, ret_ns, err);
	if (status != STATUS_OK)
		return status;
	if (definition_has_type(c))
		status = names_check_symbol(c->message_type->message_name,
					    "collection.message_type.message_name", err);
	if (status == STATUS_OK && c->message_type)
		status = names_check_nested_namespace(c->message_type->namespace_, *ret_ns,
						      "collection.message_type.namespace", err);
	if (status == STATUS_OK && c->metadata && c->metadata->n_labels > MAX_COLLECTION_LABELS)
		status = error_field(err, "collection.metadata.labels", "more than %d",
				     MAX_COLLECTION_LABELS);
	return status;
}

enum status resolve_paths(const struct type *type, char *const *names, size_t count,
			  bool is_text, const char *field, struct arena *arena,
			  const struct search_path *const **ret, struct error *err)
{
	const struct search_path **paths = arena_alloc(arena, (count + 1) * sizeof(*paths));

	for (size_t i = 0; i < count; i++) {
		struct search_path *path = arena_alloc(arena, sizeof(*path));
		enum status status =
			search_resolve(type->pool, type->message, names[i], arena, path, err);

		if (status != STATUS_OK) {
			const struct error why = *err;
			return error_field(err, field, "%s: %s", names[i], why.message);
		}
		if (!is_text && (path->is_list || path->crosses_list || path->is_map ||
				 path->kind == SEARCH_MESSAGE))
			return error_field(err, field,
					   "%s is no single value, which alone can be indexed",
					   names[i]);
		if (is_text && path->crosses_list)
			return error_field(err, field, "%s crosses a list: name the list",
					   names[i]);
		paths[i] = path;
	}
	*ret = paths;
	return STATUS_OK;
}

/* The definition as it is stored: what was asked for, and what only the server says. */
static struct bytes stored_definition(const Collector__Collection *asked, const char *ns,
				      uint64_t now_us, struct arena *arena)
{
	Collector__Collection *c = arena_memdup(arena, asked, sizeof(*asked));
	Collector__MessageTypeRef *type = NULL;
	Collector__Metadata *metadata = arena_alloc(arena, sizeof(*metadata));
	char *incarnation = arena_alloc(arena, UUID_TEXT_BYTES);

	collector__metadata__init(metadata);
	if (asked->metadata) {
		metadata->n_labels = asked->metadata->n_labels;
		metadata->labels = asked->metadata->labels;
	}
	metadata->created_at = metadata->updated_at = timestamp_of(arena, now_us);
	random_uuid7(now_us / 1000, incarnation);
	if (definition_has_type(asked)) {
		type = arena_memdup(arena, asked->message_type, sizeof(*asked->message_type));
		type->namespace_ = (char *)ns;
	}
	c->namespace_ = (char *)ns;
	c->message_type = type;
	c->metadata = metadata;
	c->server_endpoint = (char *)"";
	c->incarnation = incarnation;
	c->schema_version = 1;
	/* What a newer client sent and this program does not know is not kept. */
	c->base.n_unknown_fields = 0;
	return rpc_pack(&c->base, arena);
}

enum status take_vector(const Collector__VectorIndex *v, const struct type *type,
			const char *field, struct store_vectors *ret, struct error *err)
{
	struct vector_field found;
	char blamed[64];
	enum status status;

	*ret = (struct store_vectors){0};
	if (!v)
		return STATUS_OK;
	(void)snprintf(blamed, sizeof(blamed), "%s.dimensions", field);
	if (v->dimensions < 1 || v->dimensions > VECTOR_MAX_DIMENSIONS)
		return error_field(err, blamed, "must be 1 to %d", VECTOR_MAX_DIMENSIONS);
	(void)snprintf(blamed, sizeof(blamed), "%s.metric", field);
	if ((int)v->metric < VECTOR_COSINE || (int)v->metric > VECTOR_DOT)
		return error_field(err, blamed, "there is no metric %d", (int)v->metric);
	status = vector_field_find(type->message, v->field, &found, err);
	if (status != STATUS_OK) {
		const struct error why = *err;

		(void)snprintf(blamed, sizeof(blamed), "%s.field", field);
		return error_field(err, blamed, "%s", why.message);
	}
	ret->dimensions = (size_t)v->dimensions;
	ret->metric = (enum vector_metric)v->metric;
	return STATUS_OK;
}

enum status take_quota(const Collector__CollectionQuota *q, const char *field,
		       struct store_quota *ret, struct error *err)
{
	*ret = (struct store_quota){0};
	if (!q)
		return STATUS_OK;
	if (q->max_records < 0 || q->max_record_bytes < 0 || q->max_files < 0 ||
	    q->max_file_bytes < 0)
		return error_field(err, field, "limits must not be negative");
	*ret = (struct store_quota){q->max_records, q->max_record_bytes, q->max_files,
				    q->max_file_bytes};
	return STATUS_OK;
}

static enum status make_plan(struct repo *repo, const Collector__Collection *c, void *call,
			     struct plan *plan, struct error *err)
{
	struct arena *arena = rpc_arena(call);
	struct store_definition *d = &plan->store;
	enum status status = check_request(c, call, &plan->ns, err);

	if (status != STATUS_OK)
		return status;
	if (c->n_indexed_fields > MAX_INDEXED_FIELDS)
		return error_field(err, "collection.indexed_fields", "more than %d",
				   MAX_INDEXED_FIELDS);
	if (c->n_full_text_fields > MAX_TEXT_FIELDS)
		return error_field(err, "collection.full_text_fields", "more than %d",
				   MAX_TEXT_FIELDS);
	if (definition_has_type(c))
		status = types_find(repo->types, plan->ns, c->message_type->message_name, call,
				    arena, &plan->type, err);
	else
		types_dynamic(repo->types, &plan->type);
	if (status != STATUS_OK)
		return status;
	d->created_us = clock_unix_us();
	d->message_name = definition_has_type(c) ? c->message_type->message_name : "";
	d->descriptor_set = plan->type.descriptor_set;
	d->indexed_count = c->n_indexed_fields;
	d->has_text = !c->full_text_disabled;
	d->text_count = c->n_full_text_fields;
	status = resolve_paths(&plan->type, c->indexed_fields, d->indexed_count, false,
			       "collection.indexed_fields", arena, &d->indexed, err);
	if (status == STATUS_OK)
		status = resolve_paths(&plan->type, c->full_text_fields, d->text_count, true,
				       "collection.full_text_fields", arena, &d->text, err);
	if (status == STATUS_OK)
		status = take_vector(c->vector, &plan->type, "collection.vector", &d->vectors,
				     err);
	if (status == STATUS_OK)
		status = take_quota(c->quota, "collection.quota", &d->quota, err);
	d->definition = stored_definition(c, plan->ns, d->created_us, arena);
	return status;
}

static void repo_create_collection(Collector__CollectionRepo_Service *service,
				   const Collector__CreateCollectionRequest *request,
				   Collector__CreateCollectionResponse_Closure reply,
				   void *call)
{
	Collector__CreateCollectionResponse response =
		COLLECTOR__CREATE_COLLECTION_RESPONSE__INIT;
	struct repo *repo = repo_of_collections(service);
	struct arena *arena = rpc_arena(call);
	struct plan plan = {0};
	struct error err = {0};
	enum status status = make_plan(repo, request->collection, call, &plan, &err);

	if (status == STATUS_OK)
		status = catalog_create(repo->catalog, &plan.store, &err);
	pool_unref(plan.type.pool);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	response.status = status_ok(arena);
	response.collection_id =
		arena_printf(arena, "%s/%s", plan.ns, request->collection->name);
	response.server_endpoint = (char *)daemon_listen_address(repo->daemon);
	reply(&response, call);
}

/* ------------------------------------------------------------ DeleteCollection */

static enum status delete_collection(struct repo *repo,
				     const Collector__DeleteCollectionRequest *request,
				     void *call, int64_t *ret_records, struct error *err)
{
	const Collector__NamespacedName *c = request->collection;
	const char *ns;
	enum status status;

	if (!c)
		return error_field(err, "collection", "a collection is required");
	status = repo_check(call, c->namespace_, c->name, ACCESS_WRITE, &ns, err);
	if (status != STATUS_OK)
		return status;
	if (!strcmp(ns, CATALOG_NAMESPACE) && !strcmp(c->name, CATALOG_COLLECTION))
		return error_set(err, STATUS_PERMISSION_DENIED,
				 "the catalogue itself cannot be deleted");
	status = catalog_delete(repo->catalog, ns, c->name, clock_unix_us(), ret_records, err);
	return status == STATUS_NOT_FOUND && !request->must_exist ? STATUS_OK : status;
}

static void repo_delete_collection(Collector__CollectionRepo_Service *service,
				   const Collector__DeleteCollectionRequest *request,
				   Collector__DeleteCollectionResponse_Closure reply,
				   void *call)
{
	Collector__DeleteCollectionResponse response =
		COLLECTOR__DELETE_COLLECTION_RESPONSE__INIT;
	struct error err = {0};

	if (delete_collection(repo_of_collections(service), request, call,
			      &response.records_deleted, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	response.status = status_ok(rpc_arena(call));
	reply(&response, call);
}

/* ------------------------------------------------------------ Discover and Route */

static bool has_labels(const Collector__Collection *c, const Collector__DiscoverRequest *r)
{
	for (size_t i = 0; i < r->n_label_filter; i++) {
		bool found = false;

		for (size_t j = 0; c->metadata && j < c->metadata->n_labels; j++)
			found = found || (!strcmp(c->metadata->labels[j]->key,
						  r->label_filter[i]->key) &&
					  !strcmp(c->metadata->labels[j]->value,
						  r->label_filter[i]->value));
		if (!found)
			return false;
	}
	return true;
}

static bool is_wanted(const Collector__Collection *c, const Collector__DiscoverRequest *r)
{
	const Collector__MessageTypeRef *type = r->message_type_filter;

	if (type && *type->message_name &&
	    (!definition_has_type(c) ||
	     strcmp(type->message_name, c->message_type->message_name) != 0))
		return false;
	return has_labels(c, r);
}

/* Discover's page is known by the collection that it ended with. */
static enum status read_token(const struct repo *repo, const Collector__DiscoverRequest *r,
			      struct bytes scope, struct arena *arena, const char **ret_after,
			      struct error *err)
{
	struct page page;
	enum status status;

	*ret_after = "";
	if (!*r->page_token)
		return STATUS_OK;
	status = page_token_read(&repo->token_key, scope, r->page_token, arena, &page, err);
	if (status == STATUS_OK && page.key_count == 1)
		*ret_after = arena_strndup(arena, page.position.keys[0].text,
					   page.position.keys[0].len);
	return status;
}

static void write_token(const struct repo *repo, struct bytes scope, const char *last,
			struct arena *arena, Collector__DiscoverResponse *response)
{
	AUTO_STRBUF token = STRBUF_INIT;
	struct page page = {.key_count = 1};

	page.position.keys[0] =
		(struct query_value){.type = VALUE_TEXT, .text = last, .len = strlen(last)};
	page_token_write(&repo->token_key, scope, &page, &token);
	response->next_page_token = arena_strdup(arena, strbuf_str(&token));
}

static void scope_of(const Collector__DiscoverRequest *r, struct strbuf *out)
{
	strbuf_addf(out, "discover %s %s", r->namespace_,
		    r->message_type_filter ? r->message_type_filter->message_name : "");
	/* A sum, as maps have no order: filters that differ only in it are the same. */
	uint64_t sum = 0;
	for (size_t i = 0; i < r->n_label_filter; i++) {
		AUTO_STRBUF one = STRBUF_INIT;

		strbuf_addf(&one, "%zu:%s=%s", strlen(r->label_filter[i]->key),
			    r->label_filter[i]->key, r->label_filter[i]->value);
		sum += hash_siphash((const uint8_t[HASH_KEY_BYTES]){0}, one.buf, one.len);
	}
	strbuf_addf(out, " %llx", (unsigned long long)sum);
}

static enum status discover(struct repo *repo, const Collector__DiscoverRequest *r, void *call,
			    Collector__DiscoverResponse *response, struct error *err)
{
	struct arena *arena = rpc_arena(call);
	AUTO_STRBUF scope = STRBUF_INIT;
	struct catalog_item *items;
	const char *after, *id = "", *ns = NULL;
	size_t limit, count;
	enum status status = repo_page_size(r->page_size, "page_size", &limit, err);

	if (status == STATUS_OK && *r->namespace_)
		status = repo_check(call, r->namespace_, NULL, ACCESS_READ, &ns, err);
	scope_of(r, &scope);
	if (status == STATUS_OK)
		status =
			read_token(repo, r, bytes_of(scope.buf, scope.len), arena, &after, err);
	if (status != STATUS_OK)
		return status;
	count = catalog_list(repo->catalog, ns, arena, &items);
	response->collections = arena_alloc(arena, limit * sizeof(void *));
	for (size_t i = 0; i < count; i++) {
		Collector__Collection *c = NULL;
		const char *this_id = arena_printf(arena, "%s\t%s", items[i].ns, items[i].name);

		if (strcmp(this_id, after) <= 0)
			continue;
		status = definition_of(repo, items[i].definition, arena, &c, err);
		if (status != STATUS_OK)
			return status;
		if (!is_wanted(c, r))
			continue;
		if (response->n_collections == limit) {
			write_token(repo, bytes_of(scope.buf, scope.len), id, arena, response);
			break;
		}
		response->collections[response->n_collections++] = c;
		id = this_id;
	}
	response->status = status_ok(arena);
	return STATUS_OK;
}

static void repo_discover(Collector__CollectionRepo_Service *service,
			  const Collector__DiscoverRequest *request,
			  Collector__DiscoverResponse_Closure reply, void *call)
{
	Collector__DiscoverResponse response = COLLECTOR__DISCOVER_RESPONSE__INIT;
	struct error err = {0};

	if (discover(repo_of_collections(service), request, call, &response, &err) != STATUS_OK)
		rpc_fail_error(call, &err);
	else
		reply(&response, call);
}

static void repo_route(Collector__CollectionRepo_Service *service,
		       const Collector__RouteRequest *request,
		       Collector__RouteResponse_Closure reply, void *call)
{
	Collector__RouteResponse response = COLLECTOR__ROUTE_RESPONSE__INIT;
	struct repo *repo = repo_of_collections(service);
	struct arena *arena = rpc_arena(call);
	struct collection *c;
	struct error err = {0};
	enum status status =
		request->collection
			? repo_acquire(repo, call, request->collection->namespace_,
				       request->collection->name, ACCESS_READ, &c, &err)
			: error_field(&err, "collection", "a collection is required");

	if (status == STATUS_OK) {
		status = definition_of(repo, c->definition, arena, &response.collection, &err);
		catalog_release(repo->catalog, c);
	}
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	response.status = status_ok(arena);
	response.server_endpoint = (char *)daemon_listen_address(repo->daemon);
	reply(&response, call);
}

/* ------------------------------------------------------------ Meta, and the tables */

static void repo_meta(Collector__CollectionService_Service *service,
		      const Collector__MetaRequest *request,
		      Collector__MetaResponse_Closure reply, void *call)
{
	Collector__MetaResponse response = COLLECTOR__META_RESPONSE__INIT;

	(void)service;
	(void)request;
	response.status = status_ok(rpc_arena(call));
	response.server_version = (char *)COLLECTOR_VERSION;
	reply(&response, call);
}

/* Methods that are not here answer UNIMPLEMENTED. */
const Collector__CollectionService_Service record_methods = {
	.base = COLLECTOR__COLLECTION_SERVICE__BASE_INIT,
	.create = repo_create,
	.get = repo_get,
	.update = repo_update,
	.delete = repo_delete,
	.list = repo_list,
	.search = repo_search,
	.explain_query = repo_explain_query,
	.batch = repo_batch,
	.describe = repo_describe,
	.meta = repo_meta,
	.modify = repo_modify,
	.invoke = repo_invoke,
	.call = repo_invoke,
	.watch = repo_watch,
	.lease = repo_lease,
	.renew = repo_renew,
	.release = repo_release,
	.put_file = repo_put_file,
	.get_file = repo_get_file,
	.list_files = repo_list_files,
	.delete_file = repo_delete_file,
	.put_dir = repo_put_dir,
	.get_dir = repo_get_dir,
};

const Collector__CollectionRepo_Service collection_methods = {
	.base = COLLECTOR__COLLECTION_REPO__BASE_INIT,
	.create_collection = repo_create_collection,
	.discover = repo_discover,
	.route = repo_route,
	.search_collections = repo_search_collections,
	.delete_collection = repo_delete_collection,
};
