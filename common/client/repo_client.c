#include "common/client/repo_client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/collection_repo.pb-c.h"
#include "collector/collection_server.pb-c.h"
#include "common/base/strbuf.h"
#include "common/reflect/builtin.h"
#include "common/reflect/json_in.h"
#include "common/reflect/pool.h"
#include "common/rpc/status_code.h"

#define URL_PREFIX "type.googleapis.com/"

static enum status invoke(struct rpc_channel *repo, const char *method,
			  const ProtobufCMessage *request, const struct rpc_options *options,
			  struct arena *arena, ProtobufCMessage **ret_reply, struct error *err)
{
	return rpc_invoke(repo, &collector__collection_service__descriptor, method, request,
			  options, arena, ret_reply, err);
}

static void fill_any(Google__Protobuf__Any *any, const char *type_name, struct bytes item,
		     struct arena *arena)
{
	google__protobuf__any__init(any);
	any->type_url = arena_printf(arena, URL_PREFIX "%s", type_name);
	any->value.data = (uint8_t *)item.data;
	any->value.len = item.size;
}

/* What follows the last '/' of the type_url. */
static const char *type_name_of(const Google__Protobuf__Any *any)
{
	const char *slash = strrchr(any->type_url, '/');

	return slash ? slash + 1 : any->type_url;
}

enum status repo_client_ensure_collection(struct rpc_channel *repo, const char *ns,
					  const char *collection, const char *message_name,
					  const char *const *indexed_fields,
					  const struct rpc_options *options,
					  struct arena *arena, struct error *err)
{
	Collector__CreateCollectionRequest request = COLLECTOR__CREATE_COLLECTION_REQUEST__INIT;
	Collector__Collection c = COLLECTOR__COLLECTION__INIT;
	Collector__MessageTypeRef type = COLLECTOR__MESSAGE_TYPE_REF__INIT;
	ProtobufCMessage *reply;
	enum status status;

	type.message_name = (char *)message_name;
	c.namespace_ = (char *)ns;
	c.name = (char *)collection;
	c.message_type = &type;
	c.indexed_fields = (char **)indexed_fields;
	while (indexed_fields && indexed_fields[c.n_indexed_fields])
		c.n_indexed_fields++;
	request.collection = &c;
	status = rpc_invoke(repo, &collector__collection_repo__descriptor, "CreateCollection",
			    &request.base, options, arena, &reply, err);
	return status == STATUS_ALREADY_EXISTS ? STATUS_OK : status;
}

enum status repo_client_create(struct rpc_channel *repo, const char *ns, const char *collection,
			       const char *id, const char *type_name, struct bytes item,
			       const struct rpc_options *options, struct arena *arena,
			       const char **ret_id, const char **ret_etag, struct error *err)
{
	Collector__CreateRequest request = COLLECTOR__CREATE_REQUEST__INIT;
	Google__Protobuf__Any any;
	ProtobufCMessage *message;
	enum status status;

	fill_any(&any, type_name, item, arena);
	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	request.id = (char *)id;
	request.item = &any;
	status = invoke(repo, "Create", &request.base, options, arena, &message, err);
	if (status != STATUS_OK)
		return status;
	const Collector__CreateResponse *reply = (const Collector__CreateResponse *)message;
	if (ret_id)
		*ret_id = reply->id;
	if (ret_etag)
		*ret_etag = reply->etag;
	return STATUS_OK;
}

static struct repo_record record_of(const Google__Protobuf__Any *item,
				    const Collector__RecordInfo *info, const char *id)
{
	struct repo_record r = {.id = id, .etag = "", .type_name = ""};

	if (item) {
		r.type_name = type_name_of(item);
		r.item = bytes_of(item->value.data, item->value.len);
	}
	if (info) {
		r.id = info->id;
		r.etag = info->etag;
	}
	return r;
}

enum status repo_client_get(struct rpc_channel *repo, const char *ns, const char *collection,
			    const char *id, const struct rpc_options *options,
			    struct arena *arena, struct repo_record *ret_record,
			    struct error *err)
{
	Collector__GetRequest request = COLLECTOR__GET_REQUEST__INIT;
	ProtobufCMessage *message;
	enum status status;

	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	request.id = (char *)id;
	status = invoke(repo, "Get", &request.base, options, arena, &message, err);
	if (status != STATUS_OK)
		return status;
	const Collector__GetResponse *reply = (const Collector__GetResponse *)message;
	*ret_record = record_of(reply->item, reply->info, arena_strdup(arena, id));
	return STATUS_OK;
}

enum status repo_client_put(struct rpc_channel *repo, const char *ns, const char *collection,
			    const char *id, const char *etag, bool allow_missing,
			    const char *type_name, struct bytes item,
			    const struct rpc_options *options, struct arena *arena,
			    const char **ret_etag, struct error *err)
{
	Collector__UpdateRequest request = COLLECTOR__UPDATE_REQUEST__INIT;
	Google__Protobuf__Any any;
	ProtobufCMessage *message;
	enum status status;

	fill_any(&any, type_name, item, arena);
	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	request.id = (char *)id;
	request.item = &any;
	request.etag = (char *)etag;
	request.allow_missing = allow_missing;
	status = invoke(repo, "Update", &request.base, options, arena, &message, err);
	if (status == STATUS_OK && ret_etag)
		*ret_etag = ((const Collector__UpdateResponse *)message)->etag;
	return status;
}

enum status repo_client_delete(struct rpc_channel *repo, const char *ns, const char *collection,
			       const char *id, const struct rpc_options *options,
			       struct arena *arena, struct error *err)
{
	Collector__DeleteRequest request = COLLECTOR__DELETE_REQUEST__INIT;
	ProtobufCMessage *message;

	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	request.id = (char *)id;
	return invoke(repo, "Delete", &request.base, options, arena, &message, err);
}

static void fill_put(Collector__RequestOp *op, const struct repo_write *w, struct arena *arena)
{
	Google__Protobuf__Any *item = arena_alloc(arena, sizeof(*item));

	fill_any(item, w->type_name, w->item, arena);
	if (w->replaces) {
		op->operation_case = COLLECTOR__REQUEST_OP__OPERATION_UPDATE;
		op->update = arena_alloc(arena, sizeof(*op->update));
		collector__update_request__init(op->update);
		op->update->id = (char *)w->id;
		op->update->item = item;
		op->update->allow_missing = true;
	} else {
		op->operation_case = COLLECTOR__REQUEST_OP__OPERATION_CREATE;
		op->create = arena_alloc(arena, sizeof(*op->create));
		collector__create_request__init(op->create);
		op->create->id = (char *)w->id;
		op->create->item = item;
	}
}

static Collector__RequestOp *operation_of(const struct repo_write *w, struct arena *arena)
{
	Collector__RequestOp *op = arena_alloc(arena, sizeof(*op));

	collector__request_op__init(op);
	if (w->type_name) {
		fill_put(op, w, arena);
	} else {
		op->operation_case = COLLECTOR__REQUEST_OP__OPERATION_DELETE;
		op->delete_ = arena_alloc(arena, sizeof(*op->delete_));
		collector__delete_request__init(op->delete_);
		op->delete_->id = (char *)w->id;
	}
	return op;
}

/* What is there already, or not there any more, is as it should be. */
static enum status outcome_of(const Collector__ResponseOp *op, struct error *err)
{
	const Collector__Status *s = op->status;
	enum status status = s ? status_from_collector_code((int)s->code) : STATUS_OK;

	return status == STATUS_OK || status == STATUS_ALREADY_EXISTS ||
			       status == STATUS_NOT_FOUND
		       ? STATUS_OK
		       : error_set(err, status, "%s", s->message);
}

static enum status outcomes_of(const Collector__BatchResponse *reply, size_t count,
			       enum status *ret_outcomes, struct error *err)
{
	struct error ignored; /* it is the status that is asked for */

	if (reply->n_responses != count)
		return error_set(err, STATUS_INTERNAL, "%zu writes have %zu outcomes", count,
				 reply->n_responses);
	for (size_t i = 0; i < count; i++) {
		enum status status =
			outcome_of(reply->responses[i], ret_outcomes ? &ignored : err);
		if (ret_outcomes)
			ret_outcomes[i] = status;
		else if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

enum status repo_client_write(struct rpc_channel *repo, const char *ns, const char *collection,
			      const struct repo_write *writes, size_t count,
			      const struct rpc_options *options, struct arena *arena,
			      enum status *ret_outcomes, struct error *err)
{
	Collector__BatchRequest request = COLLECTOR__BATCH_REQUEST__INIT;
	ProtobufCMessage *message;
	enum status status;

	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	request.operations = arena_alloc(arena, (count + 1) * sizeof(*request.operations));
	for (; request.n_operations < count; request.n_operations++)
		request.operations[request.n_operations] =
			operation_of(&writes[request.n_operations], arena);
	status = invoke(repo, "Batch", &request.base, options, arena, &message, err);
	return status == STATUS_OK ? outcomes_of((const Collector__BatchResponse *)message,
						 count, ret_outcomes, err)
				   : status;
}

/* Made once, for ever: the types that filters are of. */
static struct pool *builtin_pool;

static void make_builtin_pool(void)
{
	struct pool *empty = pool_new();
	struct error err;

	/* Built with this program: they link, or the build is broken. */
	if (pool_extend_set(empty, builtin_descriptor_set(), &builtin_pool, &err) != STATUS_OK)
		abort();
	pool_unref(empty);
}

/* A JSON object as a google.protobuf.Struct in @arena. */
static enum status struct_of(const char *json, struct arena *arena,
			     Google__Protobuf__Struct **ret, struct error *err)
{
	static const char type[] = "google.protobuf.Struct";
	AUTO_STRBUF wire = STRBUF_INIT;
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	ProtobufCMessage *message;
	enum status status;

	pthread_once(&once, make_builtin_pool);
	status = json_to_wire(builtin_pool, pool_message(builtin_pool, type, sizeof(type) - 1),
			      json, strlen(json), 0, &wire, err);
	if (status == STATUS_OK)
		status = rpc_unpack(&google__protobuf__struct__descriptor,
				    bytes_of(arena_memdup(arena, wire.buf, wire.len), wire.len),
				    arena, &message, err);
	if (status == STATUS_OK)
		*ret = (Google__Protobuf__Struct *)message;
	return status;
}

static enum status list(struct rpc_channel *repo, const Collector__ListRequest *request,
			const struct rpc_options *options, struct arena *arena,
			struct repo_page *ret_page, struct error *err)
{
	const Collector__ListResponse *reply;
	struct repo_record *records;
	ProtobufCMessage *message;
	enum status status =
		invoke(repo, "List", &request->base, options, arena, &message, err);

	if (status != STATUS_OK)
		return status;
	reply = (const Collector__ListResponse *)message;
	records = arena_alloc(arena, (reply->n_items + 1) * sizeof(*records));
	for (size_t i = 0; i < reply->n_items; i++)
		records[i] = record_of(reply->items[i],
				       i < reply->n_infos ? reply->infos[i] : NULL, "");
	*ret_page = (struct repo_page){records, reply->n_items, reply->next_page_token,
				       reply->total_count};
	return STATUS_OK;
}

enum status repo_client_list(struct rpc_channel *repo, const char *ns, const char *collection,
			     const char *filter_json, const char *order_by, int page_size,
			     const char *page_token, const struct rpc_options *options,
			     struct arena *arena, struct repo_page *ret_page, struct error *err)
{
	Collector__ListRequest request = COLLECTOR__LIST_REQUEST__INIT;
	enum status status = STATUS_OK;

	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	request.order_by = (char *)order_by;
	request.page_size = page_size;
	request.page_token = (char *)page_token;
	if (*filter_json)
		status = struct_of(filter_json, arena, &request.filter, err);
	return status == STATUS_OK ? list(repo, &request, options, arena, ret_page, err)
				   : status;
}

enum status repo_client_list_fields(struct rpc_channel *repo, const char *ns,
				    const char *collection, const char *const *paths,
				    int page_size, const char *page_token,
				    const struct rpc_options *options, struct arena *arena,
				    struct repo_page *ret_page, struct error *err)
{
	Collector__ListRequest request = COLLECTOR__LIST_REQUEST__INIT;

	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	request.page_size = page_size;
	request.page_token = (char *)page_token;
	request.skip_total_count = true;
	request.read_mask = (char **)paths;
	while (paths[request.n_read_mask])
		request.n_read_mask++;
	return list(repo, &request, options, arena, ret_page, err);
}

static enum status describe(struct rpc_channel *repo, const char *ns, const char *collection,
			    const struct rpc_options *options, struct arena *arena,
			    const Collector__DescribeResponse **ret, struct error *err)
{
	Collector__DescribeRequest request = COLLECTOR__DESCRIBE_REQUEST__INIT;
	ProtobufCMessage *message;
	enum status status;

	request.namespace_ = (char *)ns;
	request.collection_name = (char *)collection;
	status = invoke(repo, "Describe", &request.base, options, arena, &message, err);
	if (status == STATUS_OK)
		*ret = (const Collector__DescribeResponse *)message;
	return status;
}

static const char *message_of(const Collector__Collection *c)
{
	return c && c->message_type ? c->message_type->message_name : "";
}

enum status repo_client_collection_type(struct rpc_channel *repo, const char *ns,
					const char *collection,
					const struct rpc_options *options, struct arena *arena,
					const char **ret_message, struct error *err)
{
	const Collector__DescribeResponse *reply;
	enum status status = describe(repo, ns, collection, options, arena, &reply, err);

	if (status == STATUS_OK)
		*ret_message = message_of(reply->collection_definition);
	return status;
}

static enum status discover(struct rpc_channel *repo, const char *ns, const char *page_token,
			    const struct rpc_options *options, struct arena *arena,
			    const Collector__DiscoverResponse **ret, struct error *err)
{
	Collector__DiscoverRequest request = COLLECTOR__DISCOVER_REQUEST__INIT;
	ProtobufCMessage *message;
	enum status status;

	request.namespace_ = (char *)ns;
	request.page_size = 1000;
	request.page_token = (char *)page_token;
	status = rpc_invoke(repo, &collector__collection_repo__descriptor, "Discover",
			    &request.base, options, arena, &message, err);
	if (status == STATUS_OK)
		*ret = (const Collector__DiscoverResponse *)message;
	return status;
}

enum status repo_client_collections(struct rpc_channel *repo, const char *ns,
				    const struct rpc_options *options, struct arena *arena,
				    const struct repo_collection **ret, size_t *ret_count,
				    struct error *err)
{
	const Collector__DiscoverResponse *page;
	struct repo_collection *all = NULL, *more;
	const char *token = "";
	size_t count = 0;

	do {
		enum status status = discover(repo, ns, token, options, arena, &page, err);
		if (status != STATUS_OK)
			return status;
		more = arena_alloc(arena, (count + page->n_collections + 1) * sizeof(*more));
		if (count)
			memcpy(more, all, count * sizeof(*more));
		all = more;
		for (size_t i = 0; i < page->n_collections; i++)
			all[count++] = (struct repo_collection){
				page->collections[i]->name, message_of(page->collections[i])};
		token = page->next_page_token;
	} while (*token);
	*ret = all;
	*ret_count = count;
	return STATUS_OK;
}

enum status repo_client_describe(struct rpc_channel *repo, const char *ns,
				 const char *collection, const struct rpc_options *options,
				 struct arena *arena, int64_t *ret_records, int64_t *ret_bytes,
				 struct error *err)
{
	const Collector__DescribeResponse *reply;
	enum status status = describe(repo, ns, collection, options, arena, &reply, err);

	if (status != STATUS_OK)
		return status;
	*ret_records = reply->record_count;
	*ret_bytes = reply->storage_size_bytes;
	return STATUS_OK;
}
