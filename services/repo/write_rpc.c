/* Create, Update, Delete and Batch: from a request to a queued write, and back. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/base/random.h"
#include "common/daemon/daemon.h"
#include "common/reflect/json_out.h"
#include "common/reflect/mask.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/call.h"
#include "common/rpc/pool.h"
#include "common/rpc/server.h"
#include "services/repo/fingerprint.h"
#include "services/repo/write_rpc.h"

enum { MAX_REQUEST_ID_BYTES = 128 };
enum { QUICK_ITEM_BYTES = 16 << 10 /* to be validated and converted on a loop thread */ };
enum { MAX_LABELS = 64, MAX_LABEL_BYTES = 1024, MAX_DATA_URI_BYTES = 4096 };

/* ------------------------------------------------------------ preparing */

/* The type that follows the last '/' must be there and the collection's, if it has one. */
static enum status check_type_url(const struct collection *c, const char *type_url,
				  struct error *err)
{
	const char *slash = strrchr(type_url, '/');

	if (!*type_url)
		return error_field(err, "item.type_url", "the item has no type");
	if (!slash)
		return error_field(err, "item.type_url", "\"%s\" has no '/', as in \"%s\"",
				   type_url, c->type_url);
	if (*c->message_name && strcmp(slash + 1, c->message_name) != 0)
		return error_field(err, "item.type_url", "the collection holds %s, not %s",
				   c->message_name, slash + 1);
	return STATUS_OK;
}

/* The namespace that an Any in the item is of: in `system`, the one that the record is about. */
static const char *namespace_of_any(const struct write *w)
{
	const struct collection *c = w->collection;
	const struct pool_field *f = pool_field_by_name(w->type.message, "namespace", 9);
	struct bytes ns;

	if (strcmp(c->ns, NAMES_SYSTEM_NAMESPACE) != 0)
		return c->ns;
	if (!f || f->type != POOL_TYPE_STRING ||
	    !wire_find_bytes(w->store.proto, f->number, &ns))
		return NAMES_DEFAULT_NAMESPACE;
	return names_namespace_or_default(
		arena_strndup(w->arena, (const char *)ns.data, ns.size));
}

/* The item's type, and what else is needed to turn it into a document. */
static enum status find_types(struct write *w, const char *type_url, struct error *err)
{
	const struct collection *c = w->collection;
	enum status status = STATUS_OK;

	if (*c->message_name)
		w->type = (struct type){.pool = pool_ref(c->type.pool),
					.message = c->type.message};
	else
		status = types_of_url(c->types, c->ns, type_url, w->call, &w->type, err);
	if (status == STATUS_OK &&
	    (*c->message_name ? c->may_hold_any : types_may_hold_any(w->type.message)))
		w->others = types_of_namespace(c->types, namespace_of_any(w), w->call);
	return status;
}

/* While there are others. A record that they cannot hold is not found by them. */
static void take_old_vector(struct write *w)
{
	struct error ignored;

	strbuf_reset(&w->rest);
	strbuf_reset(&w->old_vector);
	if (vector_field_take(&w->collection->old_vector, w->store.proto, &w->rest,
			      &w->old_vector, &ignored) != STATUS_OK)
		strbuf_reset(&w->old_vector);
	w->store.old_vector.numbers = bytes_of(w->old_vector.buf, w->old_vector.len);
}

/* What is found of the message: its document, and its vector apart. */
static enum status render(struct write *w, struct error *err)
{
	const struct vector_field *field = &w->collection->vector;
	struct bytes message = w->store.proto;
	enum status status = STATUS_OK;

	strbuf_reset(&w->doc);
	if (w->collection->old_vector.depth)
		take_old_vector(w);
	if (field->depth) {
		strbuf_reset(&w->rest);
		strbuf_reset(&w->vector);
		status = vector_field_take(field, message, &w->rest, &w->vector, err);
		message = bytes_of(w->rest.buf, w->rest.len);
		w->store.vector.numbers = bytes_of(w->vector.buf, w->vector.len);
	}
	if (status == STATUS_OK)
		status = wire_to_jsonb_among(w->type.pool, w->others, w->type.message, message,
					     JSON_OUT_SEARCH, &w->doc, err);
	w->store.doc = bytes_of(w->doc.buf, w->doc.len);
	return status;
}

static enum status check_size(const struct write *w, size_t size, struct error *err)
{
	const size_t limit = (size_t)w->repo->config.max_record_bytes;

	if (size <= limit)
		return STATUS_OK;
	error_field(err, "item", "%zu bytes, at most %zu are allowed", size, limit);
	err->status = STATUS_RESOURCE_EXHAUSTED;
	return STATUS_RESOURCE_EXHAUSTED;
}

static enum status take_item(struct write *w, const Google__Protobuf__Any *item,
			     struct error *err)
{
	const struct collection *c = w->collection;
	enum status status;

	if (!item)
		return error_field(err, "item", "an item is required");
	status = check_type_url(c, item->type_url, err);
	if (status != STATUS_OK)
		return status;
	status = check_size(w, item->value.len, err);
	if (status != STATUS_OK)
		return status;
	w->store.proto = bytes_of(item->value.data, item->value.len);
	if (strcmp(item->type_url, c->type_url) != 0)
		w->store.type_url = item->type_url;
	status = find_types(w, item->type_url, err);
	if (status != STATUS_OK)
		return status;
	status = wire_validate(w->type.pool, w->type.message, w->store.proto, 0, err);
	if (status == STATUS_OK)
		status = render(w, err);
	if (status != STATUS_OK) {
		if (*err->field)
			error_prefix_field(err, "item");
		else
			(void)memcpy(err->field, "item", sizeof("item"));
		return status;
	}
	return STATUS_OK;
}

static enum status check_label(const char *key, const char *value, struct error *err)
{
	if (!*key)
		return error_field(err, "labels", "a label has no key");
	if (strlen(key) > MAX_LABEL_BYTES || strlen(value) > MAX_LABEL_BYTES)
		return error_field(err, "labels", "a label is longer than %d bytes",
				   MAX_LABEL_BYTES);
	return STATUS_OK;
}

_Static_assert(sizeof(struct label_entry) == sizeof(Collector__CreateRequest__LabelsEntry) &&
		       offsetof(struct label_entry, value) ==
			       offsetof(Collector__CreateRequest__LabelsEntry, value),
	       "map entries are as protobuf-c makes them");
_Static_assert(sizeof(struct label_entry) == sizeof(Collector__UpdateRequest__LabelsEntry) &&
		       offsetof(struct label_entry, value) ==
			       offsetof(Collector__UpdateRequest__LabelsEntry, value),
	       "map entries are as protobuf-c makes them");

static enum status take_labels(struct write *w, const void *entries, size_t count,
			       struct error *err)
{
	const struct label_entry *const *labels = entries;
	enum status status = STATUS_OK;

	if (!count)
		return STATUS_OK;
	if (count > MAX_LABELS)
		return error_field(err, "labels", "more than %d", MAX_LABELS);
	for (size_t i = 0; status == STATUS_OK && i < count; i++) {
		status = check_label(labels[i]->key, labels[i]->value, err);
		labels_add(&w->labels, labels[i]->key, labels[i]->value);
	}
	w->store.labels = labels_end(&w->labels);
	return status;
}

static enum status take_data_uri(struct write *w, const char *uri, struct error *err)
{
	if (strlen(uri) > MAX_DATA_URI_BYTES)
		return error_field(err, "data_uri", "longer than %d bytes", MAX_DATA_URI_BYTES);
	if (*uri)
		w->store.data_uri = uri;
	return STATUS_OK;
}

enum status write_prepare_create(struct write *w, const Collector__CreateRequest *r,
				 struct error *err)
{
	enum status status = take_labels(w, r->labels, r->n_labels, err);

	w->store.expectation = STORE_MUST_NOT_EXIST;
	w->store.id = r->id;
	if (*r->id && status == STATUS_OK) {
		status = names_check_id(r->id, "id", err);
	} else {
		w->store.made_id = arena_alloc(w->arena, STORE_ID_BYTES);
		random_uuid7(w->store.now_us / 1000, w->store.made_id);
		w->store.id = w->store.made_id;
	}
	if (status == STATUS_OK)
		status = take_data_uri(w, r->data_uri, err);
	return status == STATUS_OK ? take_item(w, r->item, err) : status;
}

/* Are two records of the same type? */
static bool is_same_type(const char *a, const char *b)
{
	return !strcmp(strrchr(a, '/'), strrchr(b, '/'));
}

static enum status merge(struct store_write *store, const char *type_url, struct bytes current,
			 struct error *err)
{
	struct write *w = (struct write *)store;
	enum status status;

	if (!*w->collection->message_name && type_url && store->type_url &&
	    !is_same_type(type_url, store->type_url))
		return error_field(err, "item.type_url",
				   "the record is a %s: only a whole record can take its place",
				   strrchr(type_url, '/') + 1);
	strbuf_reset(&w->merged);
	status = mask_merge(w->type.pool, w->type.message, current, store->proto, w->mask,
			    w->mask_count, &w->merged, err);
	if (status != STATUS_OK)
		return status;
	store->proto = bytes_of(w->merged.buf, w->merged.len);
	status = check_size(w, store->proto.size, err);
	return status == STATUS_OK ? render(w, err) : status;
}

enum status write_prepare_update(struct write *w, const Collector__UpdateRequest *r,
				 struct error *err)
{
	enum status status = names_check_id(r->id, "id", err);

	w->store.expectation = r->allow_missing ? STORE_MAY_EXIST : STORE_MUST_EXIST;
	w->store.id = r->id;
	w->store.etag = r->etag;
	w->store.lease_token = r->lease_token;
	if (status == STATUS_OK && r->allow_missing && *r->etag)
		status = error_field(err, "etag", "not together with allow_missing");
	if (status == STATUS_OK)
		status = take_labels(w, r->labels, r->n_labels, err);
	if (r->replace_labels) {
		w->store.labels_mode = STORE_LABELS_REPLACE;
		w->store.labels = labels_end(&w->labels);
	}
	if (status == STATUS_OK)
		status = take_data_uri(w, r->data_uri, err);
	if (status == STATUS_OK)
		status = take_item(w, r->item, err);
	if (status != STATUS_OK || !r->n_update_mask)
		return status;
	w->mask = (const char *const *)r->update_mask;
	w->mask_count = r->n_update_mask;
	w->store.merge = merge;
	status = mask_check(w->type.message, MASK_UPDATE, w->mask, w->mask_count, err);
	if (status != STATUS_OK) {
		const struct error why = *err;
		return error_field(err, "update_mask", "%s", why.message);
	}
	return STATUS_OK;
}

enum status write_prepare_delete(struct write *w, const Collector__DeleteRequest *r,
				 struct error *err)
{
	w->store.is_delete = true;
	w->store.expectation = r->must_exist ? STORE_MUST_EXIST : STORE_MAY_EXIST;
	w->store.id = r->id;
	w->store.etag = r->etag;
	w->store.lease_token = r->lease_token;
	w->store.files = r->delete_files ? &w->files : NULL;
	return names_check_id(r->id, "id", err);
}

/* ------------------------------------------------------------ retries */

/* "collector.CreateRequest" of "/collector.CollectionService/Create". */
static const struct pool_message *request_type(struct repo *repo, void *call)
{
	const char *method = strrchr(rpc_method_path(call), '/') + 1;
	const char *name = arena_printf(rpc_arena(call), "collector.%sRequest", method);

	return pool_message(types_builtin(repo->types), name, strlen(name));
}

enum status write_name_request(struct repo *repo, void *call, const char *request_id,
			       struct store_batch *batch, struct error *err)
{
	enum status status;

	if (!*request_id)
		return STATUS_OK;
	if (strlen(request_id) > MAX_REQUEST_ID_BYTES)
		return error_field(err, "request_id", "longer than %d bytes",
				   MAX_REQUEST_ID_BYTES);
	status = names_check_id(request_id, "request_id", err);
	if (status != STATUS_OK)
		return status;
	/* Others' ids are nobody's business. */
	batch->request_id =
		arena_printf(rpc_arena(call), "%s\n%s", rpc_caller(call)->name, request_id);
	batch->fingerprint = fingerprint_of(request_type(repo, call), rpc_request_bytes(call));
	return STATUS_OK;
}

/* ------------------------------------------------------------ one write, one call */

void write_init(struct write *w, struct repo *repo, struct collection *c, void *call)
{
	*w = (struct write){
		.repo = repo, .collection = c, .call = call, .arena = rpc_arena(call)};
	w->store.now_us = clock_unix_us();
	w->store.schema_version = *c->message_name ? c->schema_version : 0;
	w->store.vector.generation = c->vector_generation;
	w->store.old_vector.generation = c->old_generation;
}

void write_release(struct write *w)
{
	strbuf_release(&w->doc);
	strbuf_release(&w->labels);
	strbuf_release(&w->merged);
	pool_unref(w->type.pool);
	pool_unref(w->others);
	strbuf_release(&w->rest);
	strbuf_release(&w->vector);
	strbuf_release(&w->old_vector);
	strbuf_release(&w->files.dropped);
}

/* On the call's loop: say what became of it. */
static void answer(void *arg)
{
	struct write *w = arg;
	struct catalog *catalog = w->repo->catalog;
	struct collection *c = w->collection;

	write_release(w);
	if (w->store.status != STATUS_OK)
		rpc_fail_error(w->call, &w->store.error);
	else if (w->batch.status != STATUS_OK)
		rpc_fail_error(w->call, &w->batch.error);
	else
		w->succeed(w);
	catalog_release(catalog, c);
}

/* The writer's thread, which others wait for. */
static void written(struct store_batch *batch)
{
	struct write *w = batch->arg;

	if (w->store.status == STATUS_OK && batch->status == STATUS_OK)
		file_changes_clean_later(w->repo, w->collection, &w->files);
	rpc_post(w->call, answer, w);
}

/* What is a method's own. */
struct write_kind {
	/* One of the functions above. */
	enum status (*prepare)(struct write *w, const void *request, struct error *err);
	void (*succeed)(struct write *w);
};

/* A call of one of the three methods, until its write is queued; in the call's memory. */
struct start {
	struct repo *repo;
	void *call;
	const struct write_kind *kind;
	const char *ns, *name, *request_id;
	const void *request;
	const Google__Protobuf__Any *item; /* NULL: none */
	void *reply;
};

/* Prepare the write and queue it. @c is consumed. */
static void queue(const struct start *s, struct collection *c)
{
	struct write *w = arena_alloc(rpc_arena(s->call), sizeof(*w));
	struct repo *repo = s->repo;
	void *call = s->call; /* once it is queued, @s may be gone */
	struct error err = {0};
	enum status status;

	write_init(w, repo, c, call);
	w->succeed = s->kind->succeed;
	w->reply = s->reply;
	w->batch = (struct store_batch){.writes = &w->store, .done = written, .arg = w};
	status = write_name_request(repo, call, s->request_id, &w->batch, &err);
	if (status == STATUS_OK)
		status = s->kind->prepare(w, s->request, &err);
	if (status == STATUS_OK &&
	    !writer_submit(catalog_writer(repo->catalog), c->queue, &w->batch))
		status = error_set(&err, STATUS_RESOURCE_EXHAUSTED,
				   "too many writes are waiting for %s/%s", c->ns, c->name);
	if (status != STATUS_OK) {
		write_release(w);
		rpc_fail_error(call, &err);
		catalog_release(repo->catalog, c);
	}
}

/* On the pool: a collection is opened, a type asked for, much is converted. */
static void start_slowly(void *arg)
{
	const struct start *s = arg;
	struct collection *c;
	struct error err = {0};

	if (repo_acquire(s->repo, s->call, s->ns, s->name, ACCESS_WRITE, &c, &err) == STATUS_OK)
		queue(s, c);
	else
		rpc_fail_error(s->call, &err);
}

/* Can it be prepared within microseconds, with what is in memory? */
static bool is_quick(const struct start *s, const struct collection *c)
{
	return !s->item ||
	       (*c->message_name && !c->may_hold_any && s->item->value.len <= QUICK_ITEM_BYTES);
}

static void start(Collector__CollectionService_Service *service, void *call, struct start *s)
{
	struct repo *repo = repo_of_records(service);
	struct collection *c;
	struct error err = {0};
	const char *ns;

	s->repo = repo;
	s->call = call;
	if (repo_check(s->call, s->ns, s->name, ACCESS_WRITE, &ns, &err) != STATUS_OK) {
		rpc_fail_error(s->call, &err);
		return;
	}
	c = catalog_try_acquire(repo->catalog, ns, s->name);
	if (c && is_quick(s, c)) {
		queue(s, c);
		return;
	}
	if (c)
		catalog_release(repo->catalog, c);
	if (!rpc_pool_submit(rpc_server_pool(daemon_server(repo->daemon)), start_slowly,
			     arena_memdup(rpc_arena(s->call), s, sizeof(*s))))
		rpc_fail(s->call, STATUS_RESOURCE_EXHAUSTED, "too many calls are waiting");
}

static void created(struct write *w)
{
	Collector__CreateResponse response = COLLECTOR__CREATE_RESPONSE__INIT;

	response.status = status_ok(w->arena);
	response.id = (char *)w->store.id;
	response.etag = w->store.new_etag;
	((Collector__CreateResponse_Closure)w->reply)(&response, w->call);
}

static enum status prepare_create(struct write *w, const void *request, struct error *err)
{
	return write_prepare_create(w, request, err);
}

void repo_create(Collector__CollectionService_Service *service,
		 const Collector__CreateRequest *request,
		 Collector__CreateResponse_Closure reply, void *call)
{
	static const struct write_kind kind = {prepare_create, created};

	start(service, call,
	      &(struct start){
		      .kind = &kind,
		      .ns = request->namespace_,
		      .name = request->collection_name,
		      .request_id = request->request_id,
		      .request = request,
		      .item = request->item,
		      .reply = (void *)reply,
	      });
}

static void updated(struct write *w)
{
	Collector__UpdateResponse response = COLLECTOR__UPDATE_RESPONSE__INIT;

	response.status = status_ok(w->arena);
	response.etag = w->store.new_etag;
	((Collector__UpdateResponse_Closure)w->reply)(&response, w->call);
}

static enum status prepare_update(struct write *w, const void *request, struct error *err)
{
	return write_prepare_update(w, request, err);
}

void repo_update(Collector__CollectionService_Service *service,
		 const Collector__UpdateRequest *request,
		 Collector__UpdateResponse_Closure reply, void *call)
{
	static const struct write_kind kind = {prepare_update, updated};

	start(service, call,
	      &(struct start){
		      .kind = &kind,
		      .ns = request->namespace_,
		      .name = request->collection_name,
		      .request_id = request->request_id,
		      .request = request,
		      .item = request->item,
		      .reply = (void *)reply,
	      });
}

static void deleted(struct write *w)
{
	Collector__DeleteResponse response = COLLECTOR__DELETE_RESPONSE__INIT;

	response.status = status_ok(w->arena);
	((Collector__DeleteResponse_Closure)w->reply)(&response, w->call);
}

static enum status prepare_delete(struct write *w, const void *request, struct error *err)
{
	return write_prepare_delete(w, request, err);
}

void repo_delete(Collector__CollectionService_Service *service,
		 const Collector__DeleteRequest *request,
		 Collector__DeleteResponse_Closure reply, void *call)
{
	static const struct write_kind kind = {prepare_delete, deleted};

	start(service, call,
	      &(struct start){
		      .kind = &kind,
		      .ns = request->namespace_,
		      .name = request->collection_name,
		      .request_id = request->request_id,
		      .request = request,
		      .reply = (void *)reply,
	      });
}
