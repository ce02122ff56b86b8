/* What Search asks for, as a query: filters, labels, text, vector, order. */
#include <string.h>

#include "services/repo/read_rpc.h"

enum { MAX_HIGHLIGHT_BYTES = 64 };

static enum status read_text(struct query *q, const struct collection *c,
			     const Collector__SearchRequest *r, struct error *err)
{
	const bool has_marks = *r->highlight_start || *r->highlight_end;

	if (!c->has_text)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "full text is disabled for %s/%s", c->ns, c->name);
	if (r->fts_syntax && strlen(r->full_text) > QUERY_TEXT_MAX_BYTES)
		return error_field(err, "full_text", "longer than %d bytes",
				   QUERY_TEXT_MAX_BYTES);
	if (strlen(r->highlight_start) > MAX_HIGHLIGHT_BYTES ||
	    strlen(r->highlight_end) > MAX_HIGHLIGHT_BYTES)
		return error_field(err, "highlight_start", "longer than %d bytes",
				   MAX_HIGHLIGHT_BYTES);
	query_set_text(q, r->full_text, r->fts_syntax);
	if (has_marks) {
		q->highlight_start = r->highlight_start;
		q->highlight_end = r->highlight_end;
	}
	return STATUS_OK;
}

static enum status read_vector(struct query *q, const struct collection *c,
			       const Collector__SearchRequest *r, struct error *err)
{
	if (!c->vector.depth && !c->old_vector.depth)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "the records of %s/%s have no vector", c->ns, c->name);
	/* While others are collected it is the store that knows which there are. */
	if (r->n_vector != c->vector.dimensions && r->n_vector != c->old_vector.dimensions)
		return error_field(err, "vector", "%zu numbers, but vectors of %s/%s have %zu",
				   r->n_vector, c->ns, c->name, c->vector.dimensions);
	if (!vector_is_finite(r->vector, r->n_vector) ||
	    !vector_is_finite(&r->similarity_threshold, 1))
		return error_field(err, "vector", "a number is infinite or none");
	if (*r->order_by)
		return error_field(err, "order_by", "not together with a vector");
	if (r->offset > QUERY_MAX_VECTOR_OFFSET)
		return error_field(err, "offset", "at most %d with a vector",
				   QUERY_MAX_VECTOR_OFFSET);
	q->vector = r->vector;
	q->vector_len = r->n_vector;
	q->has_min_score = r->similarity_threshold != 0;
	q->min_score = (double)r->similarity_threshold;
	return STATUS_OK;
}

static enum status read_search(struct query *q, const struct collection *c,
			       const Collector__SearchRequest *r, struct error *err)
{
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < r->n_filters; i++)
		status = filter_add(q, r->filters[i]->key, r->filters[i]->value, err);
	if (status == STATUS_OK)
		status = filter_add_struct(q, r->filter, err);
	if (status == STATUS_OK)
		status = filter_add_labels(q, r->label_filters, r->n_label_filters, err);
	if (status == STATUS_OK && *r->order_by)
		status = query_add_order(q, r->order_by, !r->ascending, err);
	if (status == STATUS_OK && *r->full_text)
		status = read_text(q, c, r, err);
	if (status == STATUS_OK && r->n_vector)
		status = read_vector(q, c, r, err);
	return status;
}

enum status search_prepare(const struct collection *c, const Collector__SearchRequest *r,
			   struct query *q, size_t *ret_limit, struct error *err)
{
	enum status status = repo_page_size(r->limit, "limit", ret_limit, err);

	if (status == STATUS_OK && r->offset < 0)
		status = error_field(err, "offset", "must not be negative");
	if (status == STATUS_OK)
		status = read_search(q, c, r, err);
	if (status == STATUS_OK)
		status = check_read_mask(c, r->read_mask, r->n_read_mask, err);
	q->offset = r->offset;
	return status;
}
