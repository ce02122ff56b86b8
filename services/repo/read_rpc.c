/* Get, List, Search and Describe. */
#include "services/repo/read_rpc.h"

#include <string.h>

#include "common/base/names.h"
#include "common/base/strbuf.h"
#include "common/daemon/daemon.h"
#include "common/reflect/mask.h"
#include "common/reflect/pool.h"
#include "common/rpc/call.h"
#include "common/rpc/pool.h"
#include "common/rpc/server.h"

/* ------------------------------------------------------------ messages */

static void take_labels(struct arena *arena, struct bytes stored, Collector__Metadata *metadata)
{
	size_t capacity = 4;
	char *key, *value;

	if (!stored.size)
		return;
	metadata->labels = arena_alloc(arena, capacity * sizeof(void *));
	while (labels_next(&stored, arena, &key, &value)) {
		Collector__Metadata__LabelsEntry *entry = arena_alloc(arena, sizeof(*entry));

		if (metadata->n_labels == capacity) {
			void *old = metadata->labels;

			metadata->labels = arena_alloc(arena, 2 * capacity * sizeof(void *));
			memcpy(metadata->labels, old, capacity * sizeof(void *));
			capacity *= 2;
		}
		collector__metadata__labels_entry__init(entry);
		entry->key = key;
		entry->value = value;
		metadata->labels[metadata->n_labels++] = entry;
	}
}

static Collector__Metadata *metadata_of(struct arena *arena, const struct store_record *record)
{
	Collector__Metadata *metadata = arena_alloc(arena, sizeof(*metadata));

	collector__metadata__init(metadata);
	metadata->created_at = timestamp_of(arena, record->created_us);
	metadata->updated_at = timestamp_of(arena, record->updated_us);
	take_labels(arena, record->labels, metadata);
	return metadata;
}

Collector__RecordInfo *info_of(struct arena *arena, const struct store_record *record)
{
	Collector__RecordInfo *info = arena_alloc(arena, sizeof(*info));

	collector__record_info__init(info);
	info->id = arena_strdup(arena, record->id);
	info->etag = arena_strdup(arena, record->etag);
	info->data_uri = arena_strdup(arena, record->data_uri);
	info->metadata = metadata_of(arena, record);
	return info;
}

/* Those paths of the mask that the record's own type has. */
static enum status prune_own(struct arena *arena, const struct collection *c,
			     const struct store_record *record, char *const *mask,
			     size_t mask_count, struct strbuf *out, struct error *err)
{
	const char **paths = arena_alloc(arena, mask_count * sizeof(*paths));
	struct error ignored;
	struct type type;
	size_t count = 0;
	enum status status = types_of_url(c->types, c->ns, record->type_url, NULL, &type, err);

	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < mask_count; i++) {
		paths[count] = mask[i];
		count += mask_check(type.message, MASK_READ, &paths[count], 1, &ignored) ==
			 STATUS_OK;
	}
	/* No paths would be all of it. */
	if (count)
		status = mask_prune(type.message, record->proto, paths, count, out, err);
	pool_unref(type.pool);
	return status;
}

enum status item_of(struct arena *arena, const struct collection *c,
		    const struct store_record *record, char *const *mask, size_t mask_count,
		    Google__Protobuf__Any **ret, struct error *err)
{
	AUTO_STRBUF pruned = STRBUF_INIT;
	struct bytes value = record->proto;
	const char *url = record->type_url ? arena_strdup(arena, record->type_url) : NULL;
	enum status status = STATUS_OK;

	if (mask_count && !*c->message_name)
		status = prune_own(arena, c, record, mask, mask_count, &pruned, err);
	else if (mask_count)
		status = mask_prune(c->type.message, record->proto, (const char *const *)mask,
				    mask_count, &pruned, err);
	if (status != STATUS_OK)
		return status;
	if (mask_count)
		value = bytes_of(pruned.buf, pruned.len);
	*ret = any_of(arena, c, url,
		      bytes_of(arena_memdup(arena, value.data, value.size), value.size));
	return STATUS_OK;
}

enum status check_read_mask(const struct collection *c, char *const *mask, size_t count,
			    struct error *err)
{
	struct error why;

	/* Without a type of the collection's own, each record's says what of it there is. */
	if (!count || !*c->message_name ||
	    mask_check(c->type.message, MASK_READ, (const char *const *)mask, count, &why) ==
		    STATUS_OK)
		return STATUS_OK;
	return error_field(err, "read_mask", "%s", why.message);
}

/* ------------------------------------------------------------ Get */

static void answer_get(struct repo *repo, struct collection *c, struct store_reader *reader,
		       const Collector__GetRequest *request,
		       Collector__GetResponse_Closure reply, void *call)
{
	Collector__GetResponse response = COLLECTOR__GET_RESPONSE__INIT;
	struct arena *arena = rpc_arena(call);
	struct store_record record;
	struct error err = {0};
	enum status status = check_read_mask(c, request->read_mask, request->n_read_mask, &err);

	if (status == STATUS_OK)
		status = store_get(reader, request->id, arena, &record, &err);
	store_give_reader(c->store, reader);
	if (status == STATUS_OK)
		status = item_of(arena, c, &record, request->read_mask, request->n_read_mask,
				 &response.item, &err);
	if (status == STATUS_OK) {
		response.status = status_ok(arena);
		response.info = info_of(arena, &record);
		reply(&response, call);
	} else {
		rpc_fail_error(call, &err);
	}
	catalog_release(repo->catalog, c);
}

struct get {
	struct repo *repo;
	const Collector__GetRequest *request;
	Collector__GetResponse_Closure reply;
	void *call;
};

/* On the pool: the collection is opened, or another reader made. */
static void get_slowly(void *arg)
{
	const struct get *g = arg;
	struct store_reader *reader;
	struct collection *c;
	struct error err;
	enum status status = repo_acquire(g->repo, g->call, g->request->namespace_,
					  g->request->collection_name, ACCESS_READ, &c, &err);

	if (status == STATUS_OK) {
		status = store_take_reader(c->store, &reader, &err);
		if (status == STATUS_OK) {
			answer_get(g->repo, c, reader, g->request, g->reply, g->call);
			return;
		}
		catalog_release(g->repo->catalog, c);
	}
	rpc_fail_error(g->call, &err);
}

void repo_get(Collector__CollectionService_Service *service,
	      const Collector__GetRequest *request, Collector__GetResponse_Closure reply,
	      void *call)
{
	struct repo *repo = repo_of_records(service);
	struct store_reader *reader = NULL;
	struct error err;
	const char *ns;
	struct get *g;

	if (repo_check(call, request->namespace_, request->collection_name, ACCESS_READ, &ns,
		       &err) != STATUS_OK ||
	    names_check_id(request->id, "id", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	struct collection *c = catalog_try_acquire(repo->catalog, ns, request->collection_name);
	if (c)
		reader = store_try_reader(c->store);
	if (reader) {
		answer_get(repo, c, reader, request, reply, call);
		return;
	}
	if (c)
		catalog_release(repo->catalog, c);
	g = arena_alloc(rpc_arena(call), sizeof(*g));
	*g = (struct get){repo, request, reply, call};
	if (!rpc_pool_submit(rpc_server_pool(daemon_server(repo->daemon)), get_slowly, g))
		rpc_fail(call, STATUS_RESOURCE_EXHAUSTED, "too many calls are waiting");
}

/* ------------------------------------------------------------ turns */

static void read_now(struct turn *turn)
{
	struct reading *r = (struct reading *)turn;
	struct repo *repo = r->repo;
	struct collection *c = r->collection;
	struct error err = {0};

	/* An answer may be the end of the call, and of @r. */
	if (r->answer(r, &err) != STATUS_OK)
		rpc_fail_error(turn->call, &err);
	turns_leave(repo->turns, &c->queries);
	catalog_release(repo->catalog, c);
}

static void refuse(struct turn *turn, const struct error *why)
{
	struct reading *r = (struct reading *)turn;
	struct repo *repo = r->repo;
	struct collection *c = r->collection;
	struct error err;

	(void)!error_set(&err, why->status, "%s/%s: %s", c->ns, c->name, why->message);
	rpc_fail_error(turn->call, &err);
	catalog_release(repo->catalog, c);
}

void reading_start(struct repo *repo, void *call, const char *ns, const char *name,
		   const struct reading *what)
{
	struct reading *r = arena_memdup(rpc_arena(call), what, sizeof(*what));
	struct error err = {0};

	r->repo = repo;
	r->turn = (struct turn){.call = call, .run = read_now, .refuse = refuse};
	if (repo_acquire(repo, call, ns, name, ACCESS_READ, &r->collection, &err) == STATUS_OK)
		turns_take(repo->turns, &r->collection->queries, &r->turn);
	else
		rpc_fail_error(call, &err);
}

/* ------------------------------------------------------------ queries */

/* A page that is being filled: the common part of List and Search. */
struct page_builder {
	struct collection *collection;
	struct arena *arena;
	char *const *mask;
	size_t mask_count;
	size_t limit; /* records */
	size_t bytes;
	size_t count;
	bool has_more;
	enum status status; /* of a row that could not be given */
	struct error *err;
	Google__Protobuf__Any **items;
	Collector__RecordInfo **infos;
	Collector__SearchResult **results; /* of Search, else NULL */
};

static void init_builder(struct page_builder *b, struct collection *c, void *call, size_t limit,
			 struct error *err)
{
	*b = (struct page_builder){
		.collection = c, .arena = rpc_arena(call), .limit = limit, .err = err};
	b->items = arena_alloc(b->arena, limit * sizeof(*b->items));
	b->infos = arena_alloc(b->arena, limit * sizeof(*b->infos));
}

static bool add_row(void *arg, const struct store_record *record)
{
	struct page_builder *b = arg;
	const size_t info_bytes = PAGE_BYTES_OF_INFO + strlen(record->id) +
				  record->labels.size + strlen(record->data_uri);

	if (b->count == b->limit ||
	    (b->count && b->bytes + record->proto.size + info_bytes > PAGE_MAX_BYTES)) {
		b->has_more = true;
		return false;
	}
	b->status = item_of(b->arena, b->collection, record, b->mask, b->mask_count,
			    &b->items[b->count], b->err);
	if (b->status != STATUS_OK)
		return false;
	b->bytes += b->items[b->count]->value.len + info_bytes;
	b->infos[b->count] = info_of(b->arena, record);
	if (b->results) {
		Collector__SearchResult *r = arena_alloc(b->arena, sizeof(*r));

		collector__search_result__init(r);
		r->item = b->items[b->count];
		r->info = b->infos[b->count];
		r->score = record->score;
		r->distance = record->distance;
		if (record->snippet)
			r->snippet = arena_strdup(b->arena, record->snippet);
		b->results[b->count] = r;
	}
	b->count++;
	return true;
}

static void interrupt(void *reader)
{
	store_interrupt(reader);
}

/*
 * Run @q into @b, and count if @ret_total is given. The query ends when the
 * caller goes or its deadline passes.
 */
static enum status run(void *call, struct query *q, struct page_builder *b, int64_t *ret_total,
		       struct error *err)
{
	struct store *store = b->collection->store;
	struct store_reader *reader;
	enum status status = store_take_reader(store, &reader, err);

	if (status != STATUS_OK)
		return status;
	query_finish(q);
	q->limit = (int64_t)b->limit + 1;
	rpc_on_cancel(call, interrupt, reader);
	if (rpc_is_cancelled(call))
		status = error_set(err, STATUS_CANCELLED, "the caller has gone");
	if (status == STATUS_OK)
		status = store_query(reader, q, add_row, b, err);
	if (status == STATUS_OK)
		status = b->status;
	if (status == STATUS_OK && ret_total)
		status = store_count(reader, q, ret_total, err);
	rpc_on_cancel(call, NULL, NULL);
	store_give_reader(store, reader);
	return status;
}

static void scope_of(const struct collection *c, const struct query *q, struct strbuf *out)
{
	strbuf_addf(out, "list %s/%s/%s ", c->ns, c->name, c->incarnation);
	query_fingerprint(q, out);
}

/* ------------------------------------------------------------ List */

static enum status read_list(struct query *q, const Collector__ListRequest *r,
			     struct error *err)
{
	enum status status = filter_add_struct(q, r->filter, err);

	if (status == STATUS_OK)
		status = filter_add_labels(q, r->label_filters, r->n_label_filters, err);
	if (status == STATUS_OK)
		status = query_set_order(q, r->order_by, err);
	query_finish(q);
	return status;
}

enum status list_prepare(const struct repo *repo, const struct collection *c,
			 const Collector__ListRequest *r, struct query *q, struct strbuf *scope,
			 struct page *page, size_t *ret_limit, struct error *err)
{
	enum status status = repo_page_size(r->page_size, "page_size", ret_limit, err);

	*page = (struct page){.total_count = 0};
	if (status == STATUS_OK)
		status = read_list(q, r, err);
	if (status == STATUS_OK)
		status = check_read_mask(c, r->read_mask, r->n_read_mask, err);
	if (status != STATUS_OK)
		return status;
	scope_of(c, q, scope);
	if (!*r->page_token)
		return STATUS_OK;
	status = page_token_read(&repo->token_key, bytes_of(scope->buf, scope->len),
				 r->page_token, q->arena, page, err);
	q->has_after = true;
	q->after = page->position;
	return status;
}

static enum status list(struct repo *repo, struct collection *c,
			const Collector__ListRequest *r, Collector__ListResponse *response,
			void *call, struct error *err)
{
	struct arena *arena = rpc_arena(call);
	struct query *q = arena_alloc(arena, sizeof(*q));
	AUTO_STRBUF scope = STRBUF_INIT;
	AUTO_STRBUF token = STRBUF_INIT;
	struct page page;
	struct page_builder b;
	size_t limit;
	bool is_first = !*r->page_token;
	enum status status;

	query_init(q, c->type.pool, c->type.message, arena);
	status = list_prepare(repo, c, r, q, &scope, &page, &limit, err);
	if (status != STATUS_OK)
		return status;
	init_builder(&b, c, call, limit, err);
	b.mask = r->read_mask;
	b.mask_count = r->n_read_mask;
	status = run(call, q, &b, is_first && !r->skip_total_count ? &page.total_count : NULL,
		     err);
	if (status != STATUS_OK)
		return status;
	response->n_items = response->n_infos = b.count;
	response->items = b.items;
	response->infos = b.infos;
	response->total_count = page.total_count;
	if (b.has_more) {
		page.position = q->last;
		page.key_count = q->order_count;
		page_token_write(&repo->token_key, bytes_of(scope.buf, scope.len), &page,
				 &token);
		response->next_page_token = arena_strdup(arena, strbuf_str(&token));
	}
	response->status = status_ok(arena);
	return STATUS_OK;
}

static enum status answer_list(struct reading *r, struct error *err)
{
	Collector__ListResponse response = COLLECTOR__LIST_RESPONSE__INIT;
	enum status status =
		list(r->repo, r->collection, r->request, &response, r->turn.call, err);

	if (status == STATUS_OK)
		((Collector__ListResponse_Closure)r->reply)(&response, r->turn.call);
	return status;
}

void repo_list(Collector__CollectionService_Service *service,
	       const Collector__ListRequest *request, Collector__ListResponse_Closure reply,
	       void *call)
{
	const struct reading what = {
		.request = request, .reply = (void *)reply, .answer = answer_list};

	reading_start(repo_of_records(service), call, request->namespace_,
		      request->collection_name, &what);
}

/* ------------------------------------------------------------ Search */

static enum status search(struct collection *c, const Collector__SearchRequest *r,
			  Collector__SearchResponse *response, void *call, struct error *err)
{
	struct arena *arena = rpc_arena(call);
	struct query *q = arena_alloc(arena, sizeof(*q));
	struct page_builder b;
	size_t limit;
	enum status status;

	query_init(q, c->type.pool, c->type.message, arena);
	status = search_prepare(c, r, q, &limit, err);
	if (status != STATUS_OK)
		return status;
	init_builder(&b, c, call, limit, err);
	b.mask = r->read_mask;
	b.mask_count = r->n_read_mask;
	b.results = arena_alloc(arena, limit * sizeof(*b.results));
	status = run(call, q, &b, &response->total_count, err);
	response->n_results = b.count;
	response->results = b.results;
	response->status = status_ok(arena);
	return status;
}

static enum status answer_search(struct reading *r, struct error *err)
{
	Collector__SearchResponse response = COLLECTOR__SEARCH_RESPONSE__INIT;
	enum status status = search(r->collection, r->request, &response, r->turn.call, err);

	if (status == STATUS_OK)
		((Collector__SearchResponse_Closure)r->reply)(&response, r->turn.call);
	return status;
}

void repo_search(Collector__CollectionService_Service *service,
		 const Collector__SearchRequest *request,
		 Collector__SearchResponse_Closure reply, void *call)
{
	const struct reading what = {
		.request = request, .reply = (void *)reply, .answer = answer_search};

	reading_start(repo_of_records(service), call, request->namespace_,
		      request->collection_name, &what);
}
