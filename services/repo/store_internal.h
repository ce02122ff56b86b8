/* What the *_store.c files share; for them alone. */
#ifndef SERVICES_REPO_STORE_INTERNAL_H
#define SERVICES_REPO_STORE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/strbuf.h"
#include "common/store/database.h"
#include "services/repo/store.h"

struct sqlite3_stmt;

struct store_reader {
	struct database *db;
	const struct store *store;
	struct store_reader *next; /* idle */
};

struct store {
	char *path; /* of the database */
	struct database *writer;
	bool has_text;
	char **indexed; /* the expressions that have an index, as render_path() makes them */
	size_t indexed_count;
	/* Of the writer's thread: as they will be when the group is committed. */
	int64_t record_count, next_revision;
	int64_t committed_count, committed_revision;
	struct error broken; /* what undid the whole group, if its status is not OK */

	pthread_mutex_t mu; /* idle, idle_count */
	struct store_reader *idle;
	unsigned idle_count;
};

/* "$.a.b" as jsonb_extract(doc, '$.a.b'): the one spelling of index and predicate. */
void render_path(const struct search_path *path, struct strbuf *sql);

/* collector_text(value...): every string in JSONB documents, keys excluded. */
enum status text_store_register(struct database *db, struct error *err) MUST_CHECK;

/* One element of a JSONB value. */
struct jsonb_element {
	unsigned type;
	const uint8_t *payload;
	size_t size;
};

enum {
	JSONB_TEXT_FIRST = 7, /* TEXT, TEXTJ, TEXT5, TEXTRAW */
	JSONB_TEXT_RAW = 10,
	JSONB_ARRAY = 11,
	JSONB_OBJECT = 12,
};

/* The element at @at, and what follows it; NULL: none, or malformed. */
const uint8_t *jsonb_next(const uint8_t *at, const uint8_t *end, struct jsonb_element *ret);

/* Column @i as borrowed bytes or text (never NULL); valid until the next step. */
struct bytes column_bytes(struct sqlite3_stmt *stmt, int i);
const char *column_text(struct sqlite3_stmt *stmt, int i);

void format_etag(int64_t revision, char out[STORE_ETAG_BYTES]);

/* The columns that read_record() expects, in this order. */
#define RECORD_COLUMNS                                                                         \
	"r.rid, r.id, r.revision, r.created_at_us, r.updated_at_us, r.type_url, r.data_uri, "  \
	"r.labels, r.proto"
enum { RECORD_COLUMN_COUNT = 9 };

/* The record in the current row; borrowed until the next step. */
void read_record(struct sqlite3_stmt *stmt, struct store_record *ret);

#endif
