/*
 * Queries with a vector: the records that match the rest of the query, if there is
 * any, then the nearest among all vectors, in one snapshot. With full text too
 * both ranks count (reciprocal rank fusion).
 */
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/repo/condition_store.h"
#include "services/repo/query.h"
#include "services/repo/query_store.h"
#include "services/repo/store_internal.h"
#include "services/repo/vector_store.h"

enum {
	/* Fewer than one record in so many: their vectors are looked up one by one. */
	FEW = 16,
	ROLLBACK_ATTEMPTS = 3,
};

/* A record that matches the rest of the query, in the order of its text. */
struct candidate {
	int64_t row, slot; /* slot -1: it has no vector */
	float nearness;
	bool is_hit;
	uint32_t place; /* among the candidates */
};

struct ranking {
	struct store_reader *reader;
	struct query *q;
	struct vector_set set; /* as the snapshot has it */
	const float *vector;   /* q's, prepared for it */
	int64_t vector_count;
	float min_nearness;
	bool has_candidates; /* else every record is one */
	struct candidate *candidates;
	size_t candidate_count;
	struct candidate **by_row; /* to be found while all vectors are scanned */
	uint64_t *row_bits;        /* the same, quick to tell that it is none */
	int64_t max_row;
	struct vector_best best;
	struct ranked_hit *hits; /* what is found, best first */
	size_t hit_count;
	int64_t matched;
};

struct ranked_hit {
	int64_t row;
	double score, distance;
};

/* ------------------------------------------------------------ candidates */

static void add_candidate(struct ranking *k, int64_t row)
{
	const size_t n = k->candidate_count;

	if (!(n & (n - 1)))
		k->candidates =
			xreallocarray(k->candidates, n ? 2 * n : 1, sizeof(*k->candidates));
	k->candidates[k->candidate_count++] =
		(struct candidate){.row = row, .slot = -1, .place = (uint32_t)n};
	if (row > k->max_row)
		k->max_row = row;
}

static enum status read_candidates(struct ranking *k, struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT};
	sqlite3_stmt *stmt;
	enum status status;
	int code;

	strbuf_addstr(&r.sql, "SELECT r.rid");
	render_where(&r, k->q);
	if (k->q->match)
		strbuf_addstr(&r.sql, " ORDER BY text.rank, r.rid");
	status = query_prepare(k->reader, k->q, strbuf_str(&r.sql), &stmt, err);
	if (status == STATUS_OK) {
		render_bind(&r, stmt);
		while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
			add_candidate(k, sqlite3_column_int64(stmt, 0));
		if (code != SQLITE_DONE)
			status = query_error(k->reader, k->q, code, err);
		database_reset(stmt);
	}
	strbuf_release(&r.sql);
	return status;
}

/* ------------------------------------------------------------ chunks */

static float nearness_of_score(enum vector_metric metric, double score)
{
	const double distance = 1 / score - 1;

	if (metric != VECTOR_L2)
		return (float)score;
	if (score <= 0)
		return -INFINITY;
	return score > 1 ? INFINITY : (float)-(distance * distance);
}

/* @c is not NULL in a search with full text. */
static void consider(struct ranking *k, struct candidate *c, int64_t row, float nearness)
{
	if (!(nearness >= k->min_nearness))
		return;
	k->matched++;
	if (k->q->match && c) {
		c->nearness = nearness;
		c->is_hit = true;
	} else {
		vector_best_offer(&k->best, (struct vector_hit){row, nearness});
	}
}

/* ------------------------------------------------------------ few candidates */

static int compare_slots(const void *a, const void *b)
{
	const struct candidate *const *x = a, *const *y = b;

	return (*x)->slot < (*y)->slot ? -1 : (*x)->slot > (*y)->slot;
}

/* The vectors of the candidates alone, chunk by chunk. */
static enum status compare_few(struct ranking *k, struct error *err)
{
	const size_t dimensions = k->set.dimensions;
	struct vector_chunk *chunk = NULL;
	int64_t loaded = -1;
	enum status status = STATUS_OK;
	float nearness;

	for (size_t i = 0; status == STATUS_OK && i < k->candidate_count; i++) {
		k->by_row[i] = &k->candidates[i];
		status = vectors_find(k->reader, &k->set, k->candidates[i].row,
				      &k->candidates[i].slot, err);
	}
	qsort(k->by_row, k->candidate_count, sizeof(*k->by_row), compare_slots);
	for (size_t i = 0; status == STATUS_OK && i < k->candidate_count; i++) {
		struct candidate *c = k->by_row[i];
		const int64_t number = c->slot / VECTORS_A_CHUNK;

		if (c->slot < 0)
			continue;
		if (loaded != number) {
			if (chunk)
				vector_chunk_release(chunk);
			chunk = NULL;
			status = vectors_chunk(k->reader, &k->set, number, &chunk, err);
			if (status != STATUS_OK)
				break;
			loaded = number;
		}
		vector_compare(k->set.metric, k->vector,
			       vector_chunk_floats(chunk) +
				       (size_t)(c->slot % VECTORS_A_CHUNK) * dimensions,
			       1, dimensions, &nearness);
		consider(k, c, c->row, nearness);
	}
	if (chunk)
		vector_chunk_release(chunk);
	return status;
}

/* ------------------------------------------------------------ all vectors */

static int compare_rows(const void *a, const void *b)
{
	const struct candidate *const *x = a, *const *y = b;

	return (*x)->row < (*y)->row ? -1 : (*x)->row > (*y)->row;
}

static void index_candidates(struct ranking *k)
{
	k->row_bits = xcalloc((size_t)k->max_row / 64 + 1, sizeof(*k->row_bits));
	for (size_t i = 0; i < k->candidate_count; i++) {
		const int64_t row = k->candidates[i].row;

		k->by_row[i] = &k->candidates[i];
		k->row_bits[row / 64] |= UINT64_C(1) << row % 64;
	}
	qsort(k->by_row, k->candidate_count, sizeof(*k->by_row), compare_rows);
}

static bool is_candidate(const struct ranking *k, int64_t row)
{
	return !k->has_candidates ||
	       (row <= k->max_row && row >= 0 && k->row_bits[row / 64] >> row % 64 & 1);
}

static struct candidate *find_candidate(const struct ranking *k, int64_t row)
{
	const struct candidate wanted = {.row = row}, *key = &wanted;
	struct candidate **found =
		bsearch(&key, k->by_row, k->candidate_count, sizeof(*k->by_row), compare_rows);

	return *found;
}

static void compare_chunk(struct ranking *k, const struct vector_chunk *chunk, size_t count)
{
	const int64_t *rows = vector_chunk_rows(chunk);
	float nearness[VECTORS_A_CHUNK];

	vector_compare(k->set.metric, k->vector, vector_chunk_floats(chunk), count,
		       k->set.dimensions, nearness);
	for (size_t i = 0; i < count; i++)
		if (is_candidate(k, rows[i]))
			consider(k, k->q->match ? find_candidate(k, rows[i]) : NULL, rows[i],
				 nearness[i]);
}

static enum status compare_all(struct ranking *k, struct error *err)
{
	enum status status = STATUS_OK;

	if (k->has_candidates)
		index_candidates(k);
	for (int64_t at = 0; status == STATUS_OK && at < k->vector_count;
	     at += VECTORS_A_CHUNK) {
		const int64_t left = k->vector_count - at;
		struct vector_chunk *chunk;

		status = vectors_chunk(k->reader, &k->set, at / VECTORS_A_CHUNK, &chunk, err);
		if (status != STATUS_OK)
			break;
		compare_chunk(k, chunk,
			      (size_t)(left < VECTORS_A_CHUNK ? left : VECTORS_A_CHUNK));
		vector_chunk_release(chunk);
	}
	return status;
}

/* ------------------------------------------------------------ order */

static void take_best(struct ranking *k)
{
	vector_best_sort(&k->best);
	k->hit_count = k->best.count;
	k->hits = xreallocarray(NULL, k->hit_count + 1, sizeof(*k->hits));
	for (size_t i = 0; i < k->hit_count; i++)
		k->hits[i] = (struct ranked_hit){
			k->best.hits[i].row,
			vector_score(k->set.metric, k->best.hits[i].nearness),
			vector_distance(k->set.metric, k->best.hits[i].nearness),
		};
}

static int compare_nearness(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->is_hit != y->is_hit)
		return x->is_hit ? -1 : 1;
	if (x->nearness != y->nearness)
		return x->nearness > y->nearness ? -1 : 1;
	return x->place < y->place ? -1 : 1;
}

static int compare_hits(const void *a, const void *b)
{
	const struct ranked_hit *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Ranks are among the records that match everything. */
static void fuse(struct ranking *k)
{
	uint32_t text_rank = 0;

	for (size_t i = 0; i < k->candidate_count; i++)
		if (k->candidates[i].is_hit)
			k->candidates[i].place = ++text_rank;
	if (k->candidates)
		qsort(k->candidates, k->candidate_count, sizeof(*k->candidates),
		      compare_nearness);
	k->hit_count = text_rank;
	k->hits = xreallocarray(NULL, k->hit_count + 1, sizeof(*k->hits));
	for (size_t i = 0; i < k->hit_count; i++) {
		const struct candidate *c = &k->candidates[i];

		k->hits[i] = (struct ranked_hit){
			c->row, query_rank_score(c->place) + query_rank_score(i + 1),
			vector_distance(k->set.metric, c->nearness)};
	}
	qsort(k->hits, k->hit_count, sizeof(*k->hits), compare_hits);
}

/* ------------------------------------------------------------ records */

static enum status prepare_record(struct ranking *k, sqlite3_stmt **ret, struct error *err)
{
	struct rendering r = {.sql = STRBUF_INIT};
	enum status status;

	if (k->q->match) {
		strbuf_addstr(&r.sql, "SELECT " RECORD_COLUMNS ", ");
		render_snippet(&r, k->q);
		strbuf_addstr(&r.sql, " FROM text JOIN records r ON r.rid = text.rowid"
				      " WHERE text MATCH ");
		render_text(&r, k->q->match);
		strbuf_addstr(&r.sql, " AND text.rowid = ?");
	} else {
		strbuf_addstr(&r.sql,
			      "SELECT " RECORD_COLUMNS " FROM records r WHERE r.rid = ?");
	}
	status = database_prepare(k->reader->db, strbuf_str(&r.sql), ret, err);
	if (status == STATUS_OK)
		render_bind(&r, *ret);
	strbuf_release(&r.sql);
	return status;
}

static enum status give_records(struct ranking *k, store_row *row, void *arg, struct error *err)
{
	const size_t first = (size_t)k->q->offset;
	struct store_record record;
	sqlite3_stmt *stmt;
	bool more = true;
	enum status status = prepare_record(k, &stmt, err);

	if (status != STATUS_OK)
		return status;
	for (size_t i = first;
	     more && status == STATUS_OK && i < k->hit_count && i < first + (size_t)k->q->limit;
	     i++) {
		sqlite3_bind_int64(stmt, sqlite3_bind_parameter_count(stmt), k->hits[i].row);
		int code = sqlite3_step(stmt);
		if (code == SQLITE_ROW) {
			read_record(stmt, &record);
			record.score = k->hits[i].score;
			record.distance = k->hits[i].distance;
			if (k->q->match)
				record.snippet = column_text(stmt, RECORD_COLUMN_COUNT);
			more = row(arg, &record);
		} else {
			/* Rows and vectors are of one snapshot. */
			status = database_error(k->reader->db,
						code == SQLITE_DONE ? SQLITE_CORRUPT : code,
						err);
		}
		(void)sqlite3_reset(stmt); /* its error was told by the step */
	}
	database_reset(stmt);
	return status;
}

/* ------------------------------------------------------------ all of it */

/* Why the vectors that there are are not those that the query needs. */
static enum status refuse(struct ranking *k, struct error *err)
{
	struct store_vector_state state = {.has_next = false};
	struct store_build_state build = {.is_building = false};
	enum status status = store_vector_state(k->reader, k->q->arena, &state, err);

	if (status == STATUS_OK)
		status = store_build_state(k->reader, &build, err);
	if (status != STATUS_OK)
		return status;
	if (state.next.dimensions && state.next.dimensions == k->q->vector_len)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "vectors of %zu numbers are being collected: %lld of %lld",
				 k->q->vector_len, (long long)build.done,
				 (long long)build.total);
	if (!state.now.dimensions)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "the collection's records have no vector");
	return error_field(err, "vector", "%zu numbers, but the collection's vectors have %zu",
			   k->q->vector_len, state.now.dimensions);
}

/*
 * Which vectors there are only the snapshot knows: Modify may have changed them since the
 * query was made.
 */
static enum status take_vector(struct ranking *k, struct error *err)
{
	const struct query *q = k->q;
	enum status status = vectors_now(k->reader, &k->set, &k->vector_count, err);
	float *vector;

	if (status != STATUS_OK)
		return status;
	if (!k->set.dimensions || k->set.dimensions != q->vector_len)
		return refuse(k, err);
	vector = arena_memdup(q->arena, q->vector, q->vector_len * sizeof(*vector));
	vector_prepare(k->set.metric, vector, q->vector_len);
	k->vector = vector;
	return STATUS_OK;
}

static enum status rank(struct ranking *k, struct error *err)
{
	const struct query *q = k->q;
	enum status status = take_vector(k, err);
	size_t wanted;

	k->has_candidates = !query_is_everything(q);
	if (status == STATUS_OK && k->has_candidates)
		status = read_candidates(k, err);
	if (status != STATUS_OK)
		return status;
	wanted = (size_t)(q->offset + q->limit);
	k->best.capacity = wanted < (size_t)k->vector_count ? wanted : (size_t)k->vector_count;
	k->best.hits = xreallocarray(NULL, k->best.capacity + 1, sizeof(*k->best.hits));
	k->by_row = xreallocarray(NULL, k->candidate_count + 1, sizeof(struct candidate *));
	k->min_nearness =
		q->has_min_score ? nearness_of_score(k->set.metric, q->min_score) : -INFINITY;
	status = k->has_candidates && k->candidate_count < (size_t)k->vector_count / FEW
			 ? compare_few(k, err)
			 : compare_all(k, err);
	if (status != STATUS_OK)
		return status;
	if (q->match)
		fuse(k);
	else
		take_best(k);
	return STATUS_OK;
}

/* Whatever happened, the reader must not keep its snapshot. */
static void end_snapshot(struct store_reader *reader)
{
	struct error ignored;

	for (int i = 0; i < ROLLBACK_ATTEMPTS; i++)
		if (!sqlite3_get_autocommit(database_sqlite(reader->db)))
			(void)!database_exec(reader->db, "ROLLBACK", &ignored);
}

enum status ranked_query(struct store_reader *reader, struct query *q, store_row *row,
			 void *arg, struct error *err)
{
	struct ranking k = {.reader = reader, .q = q};
	enum status status = database_exec(reader->db, "BEGIN", err);

	if (status == STATUS_OK)
		status = rank(&k, err);
	if (status == STATUS_OK)
		status = give_records(&k, row, arg, err);
	end_snapshot(reader);
	q->matched = k.matched;
	free(k.candidates);
	free(k.by_row);
	free(k.row_bits);
	free(k.best.hits);
	free(k.hits);
	return status;
}
