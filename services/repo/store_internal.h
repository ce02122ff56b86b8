/* What the *_store.c files share; for them alone. */
#ifndef SERVICES_REPO_STORE_INTERNAL_H
#define SERVICES_REPO_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
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
	atomic_bool is_interrupted; /* since it was taken */
	struct store_reader *next;  /* idle */
};

/* Each is a row of `meta`. */
struct store_counters {
	int64_t records, next_revision, next_token;
	int64_t forgotten;     /* the last change that is not kept */
	int64_t deleted_bytes; /* of deleted records that changes keep */
	int64_t record_bytes, files, file_bytes;
	int64_t vectors, next_vectors; /* that are found by; that are being collected */
	int64_t vector_version;        /* of the chunk that was written last */
};

/* The indexes of fields at one time. Older ones are kept: somebody may be looking. */
struct store_indexes {
	size_t count;
	char **names, **expressions; /* as render_path() makes them */
	struct store_indexes *older;
};

/*
 * The view that a full-text index takes its content from: the first one's name is the
 * index's own now, another of it would be refused.
 */
#define TEXT_FIRST_VIEW "text_content"
const char *text_view_after(const char *view);

/* A full-text index. */
struct store_text {
	const char *table;      /* NULL: none */
	char view[24];          /* that its content comes from */
	char *forget, *index;   /* statements on one row; owned */
	int64_t position, last; /* rows in (position, last] are not in it yet */
};

/* The vectors of records as they are kept in one pair of tables: vector_store.c. */
struct vector_set {
	int number;        /* which tables, 0 or 1 */
	size_t dimensions; /* 0: records have none */
	enum vector_metric metric;
	int64_t generation; /* of the next set 0: none is being collected */
};

struct store {
	char *path; /* of the database */
	struct database *writer;
	_Atomic(const struct store_indexes *)
		indexes;                   /* for any thread; changed by the writer's */
	struct store_text text, next_text; /* the writer's: next_text is being built */
	/* The group did something to what it is, not only to records; to its indexes. */
	bool shape_changed, indexes_changed;
	bool shape_is_unknown; /* it could not be read again after a change was undone */
	struct store_retention retention;
	struct store_quota quota;
	struct vector_set vectors, next_vectors; /* the writer's, as text is */
	struct vector_cache *vector_cache;       /* NULL: none */
	uint64_t vector_owner;                   /* in it */
	/* Of the writer's thread: as they will be when the group is committed. */
	struct store_counters counters;
	struct store_counters committed;
	int64_t schema_version;                    /* that docs are made with now */
	uint64_t now_us;                           /* of the group's latest write */
	int64_t total_changes;                     /* of SQLite, when the group began */
	bool has_changed;                          /* the last committed group did something */
	int64_t requests_added, changes_pruned_at; /* since when pruning has not looked */
	struct error broken; /* what undid the whole group, if its status is not OK */
	bool is_unguarded;   /* the group's writes have no savepoints */
	bool must_repeat;    /* so that one which failed must be undone with all others */

	pthread_mutex_t mu; /* idle, idle_count */
	struct store_reader *idle;
	unsigned idle_count;
};

/* The database's form is the one that this program works with; older ones are brought to it. */
enum status schema_store_check(struct database *db, struct error *err) MUST_CHECK;
void render_text_schema(const char *table, const char *view,
			const struct search_path *const *paths, size_t count,
			struct strbuf *sql);

/* What the writer must know of the database's shape, as it is in this transaction. */
enum status read_shape(struct store *s, struct error *err) MUST_CHECK;

/* Quotas, and how vectors are. */
enum status read_settings(struct store *s, struct error *err) MUST_CHECK;

/* A number of `meta`, by its key. */
enum status set_number(struct store *s, const char *key, int64_t value,
		       struct error *err) MUST_CHECK;

/* Let readers know of the indexes that are there, after they are committed. */
enum status read_indexes(struct store *s, struct error *err) MUST_CHECK;
void forget_shape(struct store *s);

/* The only value that @sql answers. DATA_LOSS: nothing does. */
enum status read_number(struct database *db, const char *sql, int64_t *ret,
			struct error *err) MUST_CHECK;

/* ------------------------------------------------------------ counters */

enum status counters_read(struct store *s, struct error *err) MUST_CHECK;
enum status counters_save(struct store *s, struct error *err) MUST_CHECK;

/* A number of `meta`. */
enum status read_counter(struct database *db, const char *key, int64_t *ret,
			 struct error *err) MUST_CHECK;

/* RESOURCE_EXHAUSTED: what grew since @before is over the quota. */
enum status quota_check(const struct store *s, const struct store_counters *before,
			struct error *err) MUST_CHECK;

/* ------------------------------------------------------------ parts of a write */

/* Remove all files of a record; part of deleting it. */
enum status files_remove_all(struct store *s, const char *record_id,
			     struct store_file_changes *all, struct error *err) MUST_CHECK;

enum change_kind {
	CHANGE_CREATED = 0,
	CHANGE_UPDATED = 1,
	CHANGE_DELETED = 2,
};

/* Note that the write with revision @seq changed row @rid; a deleted one is still there. */
enum status changes_add(struct store *s, int64_t seq, int64_t rid, enum change_kind kind,
			uint64_t at_us, struct error *err) MUST_CHECK;

/* Forget what is too much or too old; some of it, it is called with every group. */
enum status changes_prune(struct store *s, struct error *err) MUST_CHECK;

/* True: @b was carried out before, and has its outcome again. */
enum status requests_recall(struct store *s, struct store_batch *b, bool *ret_found,
			    struct error *err) MUST_CHECK;
enum status requests_remember(struct store *s, const struct store_batch *b,
			      struct error *err) MUST_CHECK;
enum status requests_prune(struct store *s, struct error *err) MUST_CHECK;

/* Before row @rid changes, and after it. */
enum status forget_text(struct store *s, int64_t rid, struct error *err) MUST_CHECK;
enum status index_text(struct store *s, int64_t rid, struct error *err) MUST_CHECK;

/* ABORTED: the lease of @rid is another than @token, or over at @now_us. */
enum status leases_check(struct store *s, int64_t rid, int64_t token, uint64_t now_us,
			 struct error *err) MUST_CHECK;

/* The statement @sql with @number as its only parameter. */
enum status run_on_row(struct store *s, const char *sql, int64_t number,
		       struct error *err) MUST_CHECK;

/* ------------------------------------------------------------ rendering */

/* "$.a.b" as jsonb_extract(doc, '$.a.b'): the one spelling of index and predicate. */
void render_path(const struct search_path *path, struct strbuf *sql);

/*
 * collector_text(value...): every string in JSONB documents, keys excluded.
 * collector_contains(text, part): 1, or 0, or NULL if one of them is.
 */
enum status text_store_register(struct database *db, struct error *err) MUST_CHECK;

/* The same for any connection; an SQLite result code. */
int text_store_add_functions(struct sqlite3 *sqlite) MUST_CHECK;

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
