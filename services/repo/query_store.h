/* Queries as SQL text; for *_store.c files alone. */
#ifndef SERVICES_REPO_QUERY_STORE_H
#define SERVICES_REPO_QUERY_STORE_H

#include <stdint.h>

#include "common/base/status.h"
#include "services/repo/store.h"

struct query;
struct rendering;
struct sqlite3_stmt;
struct store;
struct store_reader;

/* " FROM ... WHERE ...", with all that records must be but for the page's position. */
void render_where(struct rendering *r, const struct query *q);

/* The statement that finds a page. */
void render_query(struct rendering *r, const struct store *store, const struct query *q);

/* The part of the text around the matched words. */
void render_snippet(struct rendering *r, const struct query *q);

/* store_query() of a query with a vector; sets q->matched. */
enum status ranked_query(struct store_reader *reader, struct query *q, store_row *row,
			 void *arg, struct error *err) MUST_CHECK;

/* database_prepare() of a query. FAILED_PRECONDITION: its full text is not there any more. */
enum status query_prepare(struct store_reader *reader, const struct query *q, const char *sql,
			  struct sqlite3_stmt **ret, struct error *err) MUST_CHECK;

/*
 * What a failed step of a query means: database_error(), INVALID_ARGUMENT for an FTS
 * expression that a user wrote wrong, or what query_prepare() says.
 */
enum status query_error(struct store_reader *reader, const struct query *q, int code,
			struct error *err);

/* The counter that every group updates. */
enum status read_record_count(struct store_reader *reader, int64_t *ret,
			      struct error *err) MUST_CHECK;

#endif
