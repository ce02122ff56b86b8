/* ExplainQuery: why a List or Search is as fast as it is. */
#include <inttypes.h>

#include "common/rpc/call.h"
#include "services/repo/read_rpc.h"

enum { RECORDS_DEFAULT = 100000, RECORDS_MAX = 10000000 };

static enum status records_to_look_at(const Collector__ExplainQueryRequest *r, int64_t *ret,
				      struct error *err)
{
	if (r->max_records < 0)
		return error_field(err, "max_records", "must not be negative");
	*ret = !r->max_records                ? RECORDS_DEFAULT
	       : r->max_records > RECORDS_MAX ? RECORDS_MAX
					      : r->max_records;
	if (r->plan_only)
		*ret = 0;
	return STATUS_OK;
}

static Collector__QueryStep *step_of(const struct store_cost *cost, const char *name,
				     struct arena *arena)
{
	Collector__QueryStep *step = arena_alloc(arena, sizeof(*step));

	collector__query_step__init(step);
	step->name = (char *)name;
	step->n_plan = cost->plan_count;
	step->plan = arena_memdup(arena, cost->plan, sizeof(cost->plan));
	step->n_indexed_fields = cost->index_count;
	step->indexed_fields = arena_memdup(arena, cost->indexes, sizeof(cost->indexes));
	step->uses_full_text = cost->uses_text;
	step->sorts = cost->sorts;
	step->estimated_records = cost->estimated;
	step->scanned_records = cost->scanned;
	step->matched_records = cost->matched;
	step->is_cut_off = cost->is_cut_off;
	return step;
}

static void summarize_step(const Collector__QueryStep *step, bool was_run, struct strbuf *out)
{
	strbuf_addf(out, "%s: ", step->name);
	if (step->uses_full_text)
		strbuf_addstr(out, "the full-text index");
	for (size_t i = 0; i < step->n_indexed_fields; i++)
		strbuf_addf(out, "%s%s", i || step->uses_full_text ? ", " : "the index on ",
			    step->indexed_fields[i]);
	if (!step->n_indexed_fields && !step->uses_full_text)
		strbuf_addstr(out, "no index");
	strbuf_addf(out, "; about %" PRId64 " records to look at", step->estimated_records);
	if (was_run)
		strbuf_addf(out, "; looked at %" PRId64 "%s, %" PRId64 " matched",
			    step->scanned_records, step->is_cut_off ? " and stopped" : "",
			    step->matched_records);
	strbuf_addstr(out, step->sorts ? "; sorted\n" : "\n");
}

static const char *summary_of(const Collector__ExplainQueryResponse *response, bool was_run,
			      struct arena *arena)
{
	AUTO_STRBUF text = STRBUF_INIT;

	strbuf_addf(&text, "%" PRId64 " records\n", response->record_count);
	for (size_t i = 0; i < response->n_steps; i++)
		summarize_step(response->steps[i], was_run, &text);
	return arena_strdup(arena, strbuf_str(&text));
}

static enum status add_step(struct store_reader *reader, const struct query *q,
			    enum store_step step, int64_t max_records, struct arena *arena,
			    Collector__ExplainQueryResponse *response, struct error *err)
{
	struct store_cost cost;
	enum status status = store_explain(reader, q, step, max_records, arena, &cost, err);

	if (status != STATUS_OK)
		return status;
	response->record_count = cost.record_count;
	response->steps[response->n_steps++] =
		step_of(&cost, step == STORE_STEP_PAGE ? "page" : "count", arena);
	return STATUS_OK;
}

/* The same query as List's or Search's, and whether its matches would be counted. */
static enum status prepare(const struct repo *repo, const struct collection *c,
			   const Collector__ExplainQueryRequest *r, struct query *q,
			   bool *ret_counts, struct error *err)
{
	AUTO_STRBUF scope = STRBUF_INIT;
	struct page page;
	size_t limit = 0;
	enum status status;

	if (r->query_case == COLLECTOR__EXPLAIN_QUERY_REQUEST__QUERY_LIST) {
		status = list_prepare(repo, c, r->list, q, &scope, &page, &limit, err);
		*ret_counts = !*r->list->page_token && !r->list->skip_total_count;
	} else {
		status = search_prepare(c, r->search, q, &limit, err);
		*ret_counts = true;
	}
	query_finish(q);
	q->limit = (int64_t)limit;
	*ret_counts = *ret_counts && !query_is_everything(q);
	if (status == STATUS_OK && q->vector && !*ret_counts)
		return error_field(err, "search.vector",
				   "without a filter it is compared with all vectors");
	return status;
}

static void interrupt(void *reader)
{
	store_interrupt(reader);
}

static enum status explain(const struct repo *repo, struct collection *c,
			   const Collector__ExplainQueryRequest *r,
			   Collector__ExplainQueryResponse *response, void *call,
			   struct error *err)
{
	struct arena *arena = rpc_arena(call);
	struct query *q = arena_alloc(arena, sizeof(*q));
	struct store_reader *reader;
	int64_t max_records = 0;
	bool counts = false;
	enum status status = records_to_look_at(r, &max_records, err);

	query_init(q, c->type.pool, c->type.message, arena);
	if (status == STATUS_OK)
		status = prepare(repo, c, r, q, &counts, err);
	if (status == STATUS_OK)
		status = store_take_reader(c->store, &reader, err);
	if (status != STATUS_OK)
		return status;
	response->steps = arena_alloc(arena, 2 * sizeof(void *));
	rpc_on_cancel(call, interrupt, reader);
	/* With a vector those that match are found as for counting, then compared. */
	if (!q->vector)
		status =
			add_step(reader, q, STORE_STEP_PAGE, max_records, arena, response, err);
	if (status == STATUS_OK && counts)
		status = add_step(reader, q, STORE_STEP_COUNT, max_records, arena, response,
				  err);
	rpc_on_cancel(call, NULL, NULL);
	store_give_reader(c->store, reader);
	response->status = status_ok(arena);
	response->summary = (char *)summary_of(response, max_records > 0, arena);
	return status;
}

static enum status answer_explain(struct reading *r, struct error *err)
{
	Collector__ExplainQueryResponse response = COLLECTOR__EXPLAIN_QUERY_RESPONSE__INIT;
	enum status status =
		explain(r->repo, r->collection, r->request, &response, r->turn.call, err);

	if (status == STATUS_OK)
		((Collector__ExplainQueryResponse_Closure)r->reply)(&response, r->turn.call);
	return status;
}

void repo_explain_query(Collector__CollectionService_Service *service,
			const Collector__ExplainQueryRequest *request,
			Collector__ExplainQueryResponse_Closure reply, void *call)
{
	const struct reading what = {
		.request = request, .reply = (void *)reply, .answer = answer_explain};
	struct repo *repo = repo_of_records(service);
	struct error err;

	if (request->query_case == COLLECTOR__EXPLAIN_QUERY_REQUEST__QUERY_LIST) {
		reading_start(repo, call, request->list->namespace_,
			      request->list->collection_name, &what);
	} else if (request->query_case == COLLECTOR__EXPLAIN_QUERY_REQUEST__QUERY_SEARCH) {
		reading_start(repo, call, request->search->namespace_,
			      request->search->collection_name, &what);
	} else {
		(void)!error_field(&err, "query", "a list or a search is required");
		rpc_fail_error(call, &err);
	}
}
