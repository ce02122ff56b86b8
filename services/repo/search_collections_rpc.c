/*
 * SearchCollections: each collection is searched for its best records, several at
 * a time; then one list is made of all, and the records of the page are read.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "common/rpc/status_code.h"
#include "services/repo/parallel.h"
#include "services/repo/read_rpc.h"

enum {
	MAX_COLLECTIONS = 256,
	HELPERS = 3,
	MAX_DEPTH = 10000,       /* of pages: the best so many of all */
	MAX_TOTAL_HITS = 300000, /* that are looked at for a page */
};

/* A record that one collection found. */
struct hit {
	const char *id, *snippet; /* in the part's arena */
	double score;
	struct query_value key; /* with order_by */
};

/* One collection's part of the search. */
struct part {
	const char *name;
	struct collection *collection; /* NULL: not found, or not yet */
	struct arena arena;
	struct query *query;
	struct hit *hits; /* best first */
	size_t count;
	int64_t total;
	enum status status;
	struct error error;
	struct store_reader *reader; /* while it is being searched; all->mu */
	/* Of the answer. */
	size_t next; /* the first hit that is not listed yet */
	Collector__SearchCollectionsResponse__CollectionResult *result;
};

struct search {
	struct turn turn; /* first */
	Collector__SearchCollectionsResponse_Closure reply;
	struct repo *repo;
	void *call;
	const char *ns;
	const Collector__SearchCollectionsRequest *request;
	Collector__SearchRequest each; /* what every collection is asked */
	struct part *parts;
	size_t part_count;
	size_t offset, limit;
	bool needs_total;
	int64_t total;
	pthread_mutex_t mu; /* is_cancelled, readers of parts */
	bool is_cancelled;
};

/* ------------------------------------------------------------ one collection */

struct collecting {
	struct part *part;
	size_t capacity;
	bool is_ranked, is_fused, is_ordered;
};

static bool add_hit(void *arg, const struct store_record *record)
{
	const struct collecting *c = arg;
	struct part *part = c->part;
	struct hit *hit = &part->hits[part->count];

	if (part->count == c->capacity)
		return false;
	*hit = (struct hit){
		.id = arena_strdup(&part->arena, record->id),
		.snippet = record->snippet ? arena_strdup(&part->arena, record->snippet) : NULL,
		.score = c->is_fused ? record->score : query_rank_score(part->count + 1),
	};
	if (c->is_ordered)
		hit->key = part->query->last.keys[0];
	part->count++;
	return true;
}

/* False: the call is over, the reader is not used. */
static bool set_reader(struct search *all, struct part *part, struct store_reader *reader)
{
	bool is_on;

	pthread_mutex_lock(&all->mu);
	is_on = !all->is_cancelled;
	part->reader = reader;
	pthread_mutex_unlock(&all->mu);
	return is_on;
}

static void cancel(void *arg)
{
	struct search *all = arg;

	pthread_mutex_lock(&all->mu);
	all->is_cancelled = true;
	for (size_t i = 0; i < all->part_count; i++)
		if (all->parts[i].reader)
			store_interrupt(all->parts[i].reader);
	pthread_mutex_unlock(&all->mu);
}

static enum status run_query(struct search *all, struct part *part, struct error *err)
{
	struct query *q = part->query;
	struct collecting c = {
		.part = part,
		.capacity = all->offset + all->limit + 1,
		.is_fused = q->match && q->vector,
		.is_ordered = q->order_count != 0,
	};
	struct store *store = part->collection->store;
	struct store_reader *reader;
	enum status status = store_take_reader(store, &reader, err);

	if (status != STATUS_OK)
		return status;
	part->hits = arena_alloc(&part->arena, c.capacity * sizeof(*part->hits));
	query_finish(q);
	q->limit = (int64_t)c.capacity;
	if (!set_reader(all, part, reader))
		status = error_set(err, STATUS_CANCELLED, "the caller has gone");
	if (status == STATUS_OK)
		status = store_query(reader, q, add_hit, &c, err);
	if (status == STATUS_OK && all->needs_total)
		status = store_count(reader, q, &part->total, err);
	(void)set_reader(all, part, NULL);
	store_give_reader(store, reader);
	return status;
}

static enum status search_part(struct search *all, struct part *part, struct error *err)
{
	size_t limit;
	enum status status = repo_acquire(all->repo, all->call, all->ns, part->name,
					  ACCESS_READ, &part->collection, err);

	if (status != STATUS_OK)
		return status;
	part->query = arena_alloc(&part->arena, sizeof(*part->query));
	query_init(part->query, part->collection->type.pool, part->collection->type.message,
		   &part->arena);
	status = search_prepare(part->collection, &all->each, part->query, &limit, err);
	return status == STATUS_OK ? run_query(all, part, err) : status;
}

static void search_one(void *arg, size_t i)
{
	struct search *all = arg;
	struct part *part = &all->parts[i];

	part->status = search_part(all, part, &part->error);
	if (part->status != STATUS_OK)
		part->count = 0;
}

/* ------------------------------------------------------------ the request */

/* "path" or "path desc", as two fields of SearchRequest. */
static enum status split_order(struct search *all, struct error *err)
{
	char *order = arena_strdup(rpc_arena(all->call), all->request->order_by);
	char *space = strpbrk(order, " \t");
	const char *way = space ? space + strspn(space, " \t") : "";

	if (strchr(order, ','))
		return error_field(err, "order_by", "one field, not several");
	if (space)
		*space = '\0';
	if (*way && strcmp(way, "asc") != 0 && strcmp(way, "desc") != 0)
		return error_field(err, "order_by", "after %s comes nothing, asc or desc",
				   order);
	all->each.order_by = order;
	all->each.ascending = strcmp(way, "desc") != 0;
	return STATUS_OK;
}

static enum status prepare_each(struct search *all, struct error *err)
{
	const Collector__SearchCollectionsRequest *r = all->request;

	collector__search_request__init(&all->each);
	all->each.filter = r->query;
	all->each.full_text = r->full_text;
	all->each.fts_syntax = r->fts_syntax;
	all->each.vector = r->vector;
	all->each.n_vector = r->n_vector;
	all->each.similarity_threshold = r->similarity_threshold;
	all->each.read_mask = r->read_mask;
	all->each.n_read_mask = r->n_read_mask;
	/* Map entries of strings are alike. */
	all->each.n_label_filters = r->n_label_filters;
	all->each.label_filters =
		(Collector__SearchRequest__LabelFiltersEntry **)(void *)r->label_filters;
	return split_order(all, err);
}
_Static_assert(sizeof(Collector__SearchRequest__LabelFiltersEntry) ==
			       sizeof(Collector__SearchCollectionsRequest__LabelFiltersEntry) &&
		       offsetof(Collector__SearchRequest__LabelFiltersEntry, value) ==
			       offsetof(Collector__SearchCollectionsRequest__LabelFiltersEntry,
					value),
	       "map entries are as protobuf-c makes them");

/* The collections that are named, or all of the namespace. */
static enum status choose_parts(struct search *all, struct error *err)
{
	const Collector__SearchCollectionsRequest *r = all->request;
	struct arena *arena = rpc_arena(all->call);
	struct catalog_item *items = NULL;
	size_t count = r->n_collection_names;

	if (!count)
		count = catalog_list(all->repo->catalog, all->ns, arena, &items);
	if (count > MAX_COLLECTIONS)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "%zu collections, at most %d are searched at once", count,
				 MAX_COLLECTIONS);
	all->parts = arena_zalloc(arena, (count + 1) * sizeof(*all->parts));
	for (size_t i = 0; i < count; i++) {
		const char *name = items ? items[i].name : r->collection_names[i];

		for (size_t j = 0; j < i; j++)
			if (!strcmp(all->parts[j].name, name))
				return error_field(err, "collection_names", "%s is named twice",
						   name);
		all->parts[i].name = name;
	}
	all->part_count = count;
	return STATUS_OK;
}

/* A page belongs to the request without its page_token and limit. */
static struct bytes scope_of(const struct search *all)
{
	Collector__SearchCollectionsRequest r = *all->request;

	r.page_token = (char *)"";
	r.limit = 0;
	return rpc_pack(&r.base, rpc_arena(all->call));
}

static enum status read_page(struct search *all, struct bytes scope, struct error *err)
{
	const Collector__SearchCollectionsRequest *r = all->request;
	struct page page;
	enum status status = repo_page_size(r->limit, "limit", &all->limit, err);

	all->needs_total = !*r->page_token;
	if (status == STATUS_OK && *r->page_token) {
		status = page_token_read(&all->repo->token_key, scope, r->page_token,
					 rpc_arena(all->call), &page, err);
		if (status == STATUS_OK) {
			all->offset = (size_t)page.position.row;
			all->total = page.total_count;
		}
	}
	if (status == STATUS_OK &&
	    (all->offset + all->limit) * all->part_count > MAX_TOTAL_HITS)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "page less deep, or search fewer collections at once");
	return status;
}

/* ------------------------------------------------------------ one list */

static int compare_numbers(double a, double b)
{
	return a < b ? -1 : a > b;
}

static double number_of(const struct query_value *v)
{
	return v->type == VALUE_REAL ? v->real : (double)v->integer;
}

static int kind_of(const struct query_value *v)
{
	return v->type == VALUE_NULL   ? 0
	       : v->type == VALUE_TEXT ? 2
	       : v->type == VALUE_BLOB ? 3
				       : 1;
}

/* As SQLite orders values: nothing, numbers, texts, bytes. */
static int compare_keys(const struct query_value *a, const struct query_value *b)
{
	const int kind = kind_of(a);
	int order;

	if (kind != kind_of(b))
		return kind < kind_of(b) ? -1 : 1;
	if (kind == 0)
		return 0;
	if (kind == 1)
		return a->type == VALUE_REAL || b->type == VALUE_REAL
			       ? compare_numbers(number_of(a), number_of(b))
			       : (a->integer > b->integer) - (a->integer < b->integer);
	order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* Does the next hit of @a come before that of @b? Of equals the collection's name decides. */
static bool is_before(const struct search *all, const struct part *a, const struct part *b)
{
	const struct hit *x = &a->hits[a->next], *y = &b->hits[b->next];
	int order;

	if (*all->each.order_by) {
		order = compare_keys(&x->key, &y->key);
		order = all->each.ascending ? order : -order;
	} else {
		order = -compare_numbers(x->score, y->score);
	}
	return order ? order < 0 : strcmp(a->name, b->name) < 0;
}

/* The part whose next hit is the next of all; NULL: there is none. */
static struct part *next_part(struct search *all)
{
	struct part *best = NULL;

	for (size_t i = 0; i < all->part_count; i++) {
		struct part *part = &all->parts[i];

		if (part->next < part->count && (!best || is_before(all, part, best)))
			best = part;
	}
	return best;
}

/* ------------------------------------------------------------ the answer */

typedef Collector__SearchCollectionsResponse__CollectionResult result_t;

static Collector__Status *body_status(struct arena *arena, enum status status,
				      const struct error *err)
{
	Collector__Status *body = status_ok(arena);

	if (status != STATUS_OK) {
		body->code = (Collector__Status__Code)status_to_collector_code(status);
		body->message = arena_strdup(arena, err->message);
	}
	return body;
}

static result_t *result_of(struct search *all, struct part *part,
			   Collector__SearchCollectionsResponse *response)
{
	struct arena *arena = rpc_arena(all->call);
	result_t *result = part->result;

	if (result)
		return result;
	part->result = result = arena_alloc(arena, sizeof(*result));
	collector__search_collections_response__collection_result__init(result);
	result->collection_name = (char *)part->name;
	result->status = body_status(arena, part->status, &part->error);
	result->total_matches = part->total;
	result->items = arena_alloc(arena, all->limit * sizeof(void *));
	result->infos = arena_alloc(arena, all->limit * sizeof(void *));
	result->scores = arena_alloc(arena, all->limit * sizeof(void *));
	result->ranks = arena_alloc(arena, all->limit * sizeof(*result->ranks));
	result->snippets = arena_alloc(arena, all->limit * sizeof(void *));
	response->results[response->n_results++] = result;
	return result;
}

static void add_score(struct arena *arena, result_t *result, const char *id, double score)
{
	Collector__SearchCollectionsResponse__CollectionResult__ScoresEntry *entry =
		arena_alloc(arena, sizeof(*entry));

	collector__search_collections_response__collection_result__scores_entry__init(entry);
	entry->key = (char *)id;
	entry->value = score;
	result->scores[result->n_scores++] = entry;
}

/* The record as it is now; one that was deleted meanwhile is left out. */
static enum status add_record(struct search *all, struct part *part, const struct hit *hit,
			      size_t rank, Collector__SearchCollectionsResponse *response,
			      size_t *bytes, struct error *err)
{
	struct arena *arena = rpc_arena(all->call);
	struct store *store = part->collection->store;
	struct store_record record;
	struct store_reader *reader;
	result_t *result;
	enum status status = store_take_reader(store, &reader, err);

	if (status != STATUS_OK)
		return status;
	status = store_get(reader, hit->id, arena, &record, err);
	store_give_reader(store, reader);
	if (status != STATUS_OK)
		return status == STATUS_NOT_FOUND ? STATUS_OK : status;
	result = result_of(all, part, response);
	status = item_of(arena, part->collection, &record, all->request->read_mask,
			 all->request->n_read_mask, &result->items[result->n_items], err);
	if (status != STATUS_OK)
		return status;
	*bytes += result->items[result->n_items++]->value.len;
	result->infos[result->n_infos++] = info_of(arena, &record);
	result->ranks[result->n_ranks++] = (int32_t)rank;
	add_score(arena, result, arena_strdup(arena, hit->id), hit->score);
	if (hit->snippet)
		result->snippets[result->n_snippets++] = arena_strdup(arena, hit->snippet);
	return STATUS_OK;
}

static void add_token(struct search *all, struct bytes scope, size_t position,
		      Collector__SearchCollectionsResponse *response)
{
	AUTO_STRBUF token = STRBUF_INIT;
	struct page page = {.position = {.row = (int64_t)position}, .total_count = all->total};

	page_token_write(&all->repo->token_key, scope, &page, &token);
	response->next_page_token = arena_strdup(rpc_arena(all->call), strbuf_str(&token));
}

static enum status fill(struct search *all, struct bytes scope,
			Collector__SearchCollectionsResponse *response, struct error *err)
{
	size_t position = 0, bytes = 0;
	enum status status = STATUS_OK;
	struct part *part;

	response->results =
		arena_alloc(rpc_arena(all->call), (all->part_count + 1) * sizeof(void *));
	while (status == STATUS_OK && (part = next_part(all))) {
		const struct hit *hit = &part->hits[part->next];

		if (position == MAX_DEPTH)
			break;
		if (position == all->offset + all->limit ||
		    (position > all->offset && bytes >= PAGE_MAX_BYTES)) {
			add_token(all, scope, position, response);
			break;
		}
		part->next++;
		if (position++ >= all->offset)
			status = add_record(all, part, hit, position, response, &bytes, err);
	}
	return status;
}

/* Those that could not be searched say why; when none could, the call does. */
static enum status add_failures(struct search *all,
				Collector__SearchCollectionsResponse *response,
				struct error *err)
{
	const struct part *first = NULL;
	size_t failed = 0;

	for (size_t i = 0; i < all->part_count; i++) {
		struct part *part = &all->parts[i];

		if (part->status == STATUS_OK)
			continue;
		failed++;
		first = first ? first : part;
		(void)result_of(all, part, response);
	}
	if (!first || failed < all->part_count)
		return STATUS_OK;
	*err = first->error;
	return first->status;
}

/* ------------------------------------------------------------ all of it */

static void release_parts(struct search *all)
{
	for (size_t i = 0; i < all->part_count; i++) {
		if (all->parts[i].collection)
			catalog_release(all->repo->catalog, all->parts[i].collection);
		arena_release(&all->parts[i].arena);
	}
}

static void search_all(struct search *all)
{
	pthread_mutex_init(&all->mu, NULL);
	for (size_t i = 0; i < all->part_count; i++)
		arena_init(&all->parts[i].arena, 0);
	rpc_on_cancel(all->call, cancel, all);
	parallel_run(all->repo->search_pool, HELPERS, all->part_count, search_one, all);
	rpc_on_cancel(all->call, NULL, NULL);
	pthread_mutex_destroy(&all->mu);
	for (size_t i = 0; all->needs_total && i < all->part_count; i++)
		all->total += all->parts[i].total;
}

static enum status search(struct search *all, Collector__SearchCollectionsResponse *response,
			  struct error *err)
{
	const struct bytes scope = scope_of(all);
	enum status status = choose_parts(all, err);

	if (status == STATUS_OK)
		status = read_page(all, scope, err);
	if (status == STATUS_OK)
		status = prepare_each(all, err);
	if (status != STATUS_OK)
		return status;
	search_all(all);
	if (all->is_cancelled)
		status = error_set(err, STATUS_CANCELLED, "the caller has gone");
	if (status == STATUS_OK)
		status = fill(all, scope, response, err);
	if (status == STATUS_OK)
		status = add_failures(all, response, err);
	response->status = status_ok(rpc_arena(all->call));
	response->total_matches = all->total;
	release_parts(all);
	return status;
}

static void search_now(struct turn *turn)
{
	struct search *all = (struct search *)turn;
	struct repo *repo = all->repo;
	Collector__SearchCollectionsResponse response =
		COLLECTOR__SEARCH_COLLECTIONS_RESPONSE__INIT;
	struct error err = {0};

	if (search(all, &response, &err) == STATUS_OK)
		all->reply(&response, all->call);
	else
		rpc_fail_error(all->call, &err);
	turns_leave(repo->turns, &repo->searches);
}

static void refuse(struct turn *turn, const struct error *err)
{
	rpc_fail_error(turn->call, err);
}

void repo_search_collections(Collector__CollectionRepo_Service *service,
			     const Collector__SearchCollectionsRequest *request,
			     Collector__SearchCollectionsResponse_Closure reply, void *call)
{
	struct search *all = arena_zalloc(rpc_arena(call), sizeof(*all));
	struct error err;

	all->turn = (struct turn){.call = call, .run = search_now, .refuse = refuse};
	all->repo = repo_of_collections(service);
	all->call = call;
	all->request = request;
	all->reply = reply;
	if (repo_check(call, request->namespace_, NULL, ACCESS_READ, &all->ns, &err) ==
	    STATUS_OK)
		turns_take(all->repo->turns, &all->repo->searches, &all->turn);
	else
		rpc_fail_error(call, &err);
}
