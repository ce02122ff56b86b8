/*
 * The seam: everything below it is SQLite, nothing above it knows. One store is
 * one collection's database in a directory of its own.
 *
 * A store has one writing connection, used by one thread at a time (the writer
 * that the collection is bound to), and readers that are taken and given back by
 * any thread. A reader sees what was committed before it began.
 *
 * The caller supplies time; texts and bytes in requests are borrowed for the
 * call's duration.
 */
#ifndef SERVICES_REPO_STORE_H
#define SERVICES_REPO_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "services/repo/vector.h"

struct query;
struct search_path;
struct store_file_changes;
struct store;
struct store_reader;
struct store_record;
struct strbuf;
struct vector_cache;

/* ------------------------------------------------------------ life */

/* How much there may be; 0: whatever there is room for. */
struct store_quota {
	int64_t records, record_bytes, files, file_bytes;
};

/* The vectors of records. */
struct store_vectors {
	size_t dimensions; /* 0: records have none */
	enum vector_metric metric;
};

/* What a store is created with and tells when it is opened again. */
struct store_definition {
	struct bytes definition;     /* a serialized collector.Collection */
	struct bytes descriptor_set; /* the closure of its type; empty for built-in types */
	const char *message_name;
	const struct search_path *const *indexed; /* one index each */
	size_t indexed_count;
	bool has_text;
	const struct search_path *const *text; /* what full text covers; none: all strings */
	size_t text_count;
	struct store_vectors vectors;
	int64_t vector_generation; /* told by store_load(): how often the two were changed */
	/*
	 * Told by store_load() while vectors are collected anew, else without dimensions: those
	 * that searches still go by, and where in a message they are (vector_field.h).
	 */
	struct store_vectors old_vectors;
	int64_t old_generation;
	const char *old_vector_numbers;
	struct store_quota quota;
	uint64_t created_us;
	int64_t schema_version; /* told by store_load() */
};

/*
 * Make the database in @directory, which exists and is empty. When it returns OK everything
 * is on disk but for the directory's own entry in its parent.
 */
enum status store_create(const char *directory, const struct store_definition *definition,
			 struct error *err) MUST_CHECK;
enum status store_open(const char *directory, struct store **ret_store,
		       struct error *err) MUST_CHECK;

/* File descriptors that an open store takes at most while it is not used. */
enum { STORE_DESCRIPTORS = 12 };

/* Of the caches of all stores together, about. At start. */
void store_limit_memory(int64_t size_bytes);

/* No reader may be out. NULL is fine. */
void store_close(struct store *store);

/* Vectors that were read are kept in @cache, which must outlive the store. */
void store_use_vector_cache(struct store *store, struct vector_cache *cache);

/*
 * Only definition, descriptor_set, message_name, has_text, schema_version and vector_... are
 * set; in @arena.
 */
enum status store_load(struct store *store, struct arena *arena, struct store_definition *ret,
		       struct error *err) MUST_CHECK;

struct store_sizes {
	int64_t database_bytes, wal_bytes, record_count, schema_versions, lease_count;
	int64_t last_sequence, forgotten_sequence; /* of changes */
	int64_t record_bytes, file_count, file_bytes, vector_count;
};

enum status store_measure(struct store *store, struct store_sizes *ret,
			  struct error *err) MUST_CHECK;

/* How long things are remembered; whichever bound is reached first. */
struct store_retention {
	int64_t max_changes, max_requests;
	int64_t max_deleted_bytes; /* of the records that changes keep as they were deleted */
	uint64_t change_age_us, request_age_us;
};

/* Before the first write. Without it a store has bounds of its own. */
void store_retain(struct store *store, const struct store_retention *retention);

/* ------------------------------------------------------------ writing */

enum store_expectation {
	STORE_MUST_NOT_EXIST, /* ALREADY_EXISTS */
	STORE_MUST_EXIST,     /* NOT_FOUND */
	STORE_MAY_EXIST,
};

enum store_labels {
	STORE_LABELS_MERGE,   /* set those given, keep others */
	STORE_LABELS_REPLACE, /* only those given stay */
};

enum { STORE_ETAG_BYTES = 24, STORE_ID_BYTES = 37 /* of a UUID */ };

struct store_write;

/*
 * Makes the new message out of the stored one (@type_url NULL: the usual one), on
 * the writer's thread: sets @w->proto, @w->doc and the vectors to bytes that live as
 * long as @w.
 */
typedef enum status store_merge(struct store_write *w, const char *type_url,
				struct bytes current, struct error *err);

/* What is neither a put nor a delete: one of the functions of this type below. */
typedef enum status store_operation(struct store *store, struct store_write *w,
				    struct error *err);

/* What a record is found by in space, of one generation of vectors. */
struct store_vector {
	struct bytes numbers; /* prepared (vector.h); empty: it has none */
	int64_t generation;   /* of store_load() */
};

struct store_write {
	/* What to do. */
	store_operation *operation; /* NULL: put or delete */
	void *operands;             /* of the operation */
	bool is_delete;
	bool keeps_message; /* of a record that exists: proto, doc and vector stay */
	struct store_file_changes *files; /* of a delete: its files go too, and are told */
	enum store_expectation expectation;
	const char *id;
	char *made_id;        /* where @id is, if the caller made it up: STORE_ID_BYTES */
	const char *etag;     /* "" or NULL: whatever is there; else ABORTED if it changed */
	int64_t lease_token;  /* 0: whoever holds it; else ABORTED if that lease is over */
	const char *type_url; /* NULL: the usual one */
	struct bytes proto;   /* as the client sent it */
	struct bytes doc;     /* the same as JSONB, without its vector */
	store_merge *merge;   /* NULL: proto and doc replace what is there */
	struct bytes labels;  /* as labels_end() made them; empty: as they are */
	enum store_labels labels_mode;
	const char *data_uri;   /* NULL: as it is */
	int64_t schema_version; /* of the type that the doc was made with; 0: the last */
	/* Without a version the first is for whatever vectors there are. */
	struct store_vector vector;
	struct store_vector old_vector; /* while there are others; else the same generation */
	uint64_t now_us;
	void *arg; /* the caller's */

	/* What became of it. */
	enum status status;
	struct error error;
	char new_etag[STORE_ETAG_BYTES];

	struct store_write *next; /* of its batch */
};

/* What is asked for together: one transaction, and remembered as one. */
struct store_batch {
	struct store_write *writes; /* by next, in order; at least one */
	bool atomic;                /* all or none; else each may fail alone */
	const char *request_id;     /* NULL: it is not remembered */
	uint64_t fingerprint;       /* of the request, which must be the same again */

	/* What became of it; if OK, look at the writes. */
	enum status status;
	struct error error;

	/*
	 * Called once, on the writer's thread, when the outcome is on disk. Must not
	 * block for long.
	 */
	void (*done)(struct store_batch *b);
	void *arg;
	struct store_batch *next; /* the writer's */
};

/*
 * A group: begin, any number of batches, then commit or roll back. A write that
 * fails undoes itself alone, an atomic batch as a whole: its status is then that of
 * the write, its field says which. On a failed commit nothing of the group happened.
 *
 * A batch whose request_id is remembered is not carried out: it and its writes
 * get the outcome that they had. INVALID_ARGUMENT: that was another request.
 */
enum status store_begin(struct store *store, struct error *err) MUST_CHECK;
void store_apply(struct store *store, struct store_batch *b);
enum status store_commit(struct store *store, struct error *err) MUST_CHECK;
void store_rollback(struct store *store);

/* All of that for @group, batches by next: the same outcomes, with less to do for each. */
enum status store_write(struct store *store, struct store_batch *group,
			struct error *err) MUST_CHECK;

/*
 * Should what was committed be moved into place, which takes longer than most groups? Between
 * groups, when nobody waits; the writer's thread.
 */
bool store_wants_checkpoint(const struct store *store);
void store_checkpoint(struct store *store);

/* How long the last commit waited for the disk, which a commit of more would have too. */
uint64_t store_sync_ns(const struct store *store);

/* Did the last group that was committed change anything? The writer's thread. */
bool store_has_changed(const struct store *store);

/* For tests: let the database have no more than @pages, or the size it has; 0: no limit. */
void store_limit_pages(struct store *store, unsigned pages);

/* ------------------------------------------------------------ leases */

enum { STORE_LEASES_MAX = 1000 };

/* Takes records that match @query (its limit counts), in its order, for @owner. */
struct store_take {
	struct query *query;
	const char *owner;
	uint64_t expires_us;
	/* Called on the writer's thread with each; false: it is not taken, and no more. */
	bool (*row)(void *arg, const struct store_record *record, int64_t token);
	/* Asked now and then while records are looked for: true ends it with CANCELLED. */
	bool (*is_over)(void *arg);
	void *arg;

	size_t count; /* that were taken */
	uint64_t
		next_expiry_us; /* if none: when the first lease of all ends; 0: there is none */
};

/* Its operands are a struct store_take. */
store_operation store_take_leases;

struct store_lease {
	const char *id;
	int64_t token;
	bool was_held;
};

/* Makes those that are held last until then, or ends them. */
struct store_keep {
	struct store_lease *leases;
	size_t count;
	uint64_t expires_us; /* 0: end them */
};

/* Its operands are a struct store_keep. */
store_operation store_keep_leases;
/* ------------------------------------------------------------ files */

/*
 * What is known of a file; its bytes are in files.h's directory. One that is a
 * reference has a uri instead. A directory that would be empty without it is a
 * path that ends in '/', with neither.
 */
struct store_file {
	const char *record_id; /* "": of the collection itself */
	const char *path;
	const char *blob, *uri; /* NULL: none; blob is its name in files.h */
	int64_t size_bytes;
	uint8_t sha256[32];
	uint64_t created_us, updated_us;
};

enum store_file_action {
	STORE_FILE_PUT,
	STORE_FILE_CREATE,       /* ALREADY_EXISTS */
	STORE_FILE_REMOVE,       /* one that is not there is fine */
	STORE_FILE_REMOVE_BELOW, /* all in the directory, "" being the root */
};

struct store_file_change {
	enum store_file_action action;
	struct store_file file; /* of a put: its times are set */
};

/* The operands of store_change_files(). */
struct store_file_changes {
	struct store_file_change *changes; /* in order */
	size_t count;

	/* What became of them, once the write is OK. */
	int64_t stored, removed;
	struct strbuf
		dropped; /* blobs that are nobody's now, each with its NUL; the caller's */
};

/*
 * An operation: all changes or none. With an id the record must exist, NOT_FOUND.
 * FAILED_PRECONDITION: a path would be both file and directory.
 * RESOURCE_EXHAUSTED: the quota.
 */
enum status store_change_files(struct store *store, struct store_write *w,
			       struct error *err) MUST_CHECK;

/* In @arena. NOT_FOUND: there is none. */
enum status store_get_file(struct store_reader *reader, const char *record_id, const char *path,
			   struct arena *arena, struct store_file *ret,
			   struct error *err) MUST_CHECK;
struct store_file store_file_copy(const struct store_file *file, struct arena *arena);

struct store_file_query {
	const char *record_id;
	bool all_records;                      /* whatever record_id is */
	const char *prefix;                    /* of paths; never NULL */
	const char *after_record, *after_path; /* begin after it; never NULL */
};

/* Call @row for each, by record and path; it ends the list by returning false. */
typedef bool store_file_row(void *arg, const struct store_file *file);
enum status store_list_files(struct store_reader *reader, const struct store_file_query *q,
			     store_file_row *row, void *arg, struct error *err) MUST_CHECK;

/* Every blob that has a row. Only while nobody writes. */
enum status store_list_blobs(struct store *store, void (*each)(void *arg, const char *blob),
			     void *arg, struct error *err) MUST_CHECK;

/* ------------------------------------------------------------ changing what it is */

/* What is not set stays. FAILED_PRECONDITION: the last change is still being built. */
struct store_modify {
	struct bytes definition;          /* once all is done */
	struct bytes building_definition; /* until then */
	bool sets_indexed, sets_text, sets_vector, sets_quota;
	bool has_text;
	bool is_building; /* out: there is something to build: store_build() */
	const struct search_path *const *indexed;
	size_t indexed_count;
	const struct search_path *const *text;
	size_t text_count;
	struct store_vectors vectors; /* all are made anew */
	const char *old_vector_field; /* the path of those that there are; "": none */
	const char *old_vector_numbers;
	struct store_quota quota;
	/* A new version of the type: its number; NULL: none. */
	const char *message_name;
	struct bytes descriptor_set;
	int64_t schema_version;
};

/* Its operands are a struct store_modify. */
store_operation store_modify;

/* One part of what is to be built; to be called until it is done. */
struct store_build {
	/*
	 * Appends the record as a document, and its vectors, of the generations below. False:
	 * it cannot be made one.
	 */
	bool (*render)(void *arg, const char *type_url, struct bytes proto, struct strbuf *doc,
		       struct strbuf *vector, struct strbuf *old_vector);
	void *arg;
	/* What documents are made with. ABORTED: the store is beyond that. */
	int64_t schema_version, vector_generation, old_generation;
	/* To be stored when all is done, if it is still what was; empty: none. */
	struct bytes definition, definition_before;

	bool is_done;
};

/* Its operands are a struct store_build. */
store_operation store_build;

struct store_build_state {
	bool is_building;
	const char *step;    /* for a person */
	int64_t done, total; /* row numbers, which is about as many records */
};

enum status store_build_state(struct store_reader *reader, struct store_build_state *ret,
			      struct error *err) MUST_CHECK;

/* The vectors that searches go by, and those that are being collected. */
struct store_vector_state {
	struct store_vectors now, next; /* without dimensions: none */
	int64_t now_count, next_count;
	bool has_next;         /* even if that is none */
	const char *now_field; /* the path; "": that of the definition. In the arena */
};

enum status store_vector_state(struct store_reader *reader, struct arena *arena,
			       struct store_vector_state *ret, struct error *err) MUST_CHECK;

struct store_version {
	int64_t version;
	const char *message_name;
	uint64_t created_us;
};

/* The versions of the type, oldest first; in @arena. */
enum status store_versions(struct store_reader *reader, struct arena *arena,
			   struct store_version **ret, size_t *ret_count,
			   struct error *err) MUST_CHECK;

/* Is there an index of this path now? Any thread. */
bool store_has_index(const struct store *store, const struct search_path *path);

/* ------------------------------------------------------------ labels */

/* Labels as they are stored: begin with an empty buffer, add, end. */
void labels_add(struct strbuf *labels, const char *key, const char *value);
struct bytes labels_end(struct strbuf *labels);

/* The next of @labels, which moves on; texts are in @arena. False: no more. */
bool labels_next(struct bytes *labels, struct arena *arena, char **ret_key, char **ret_value);

/* ------------------------------------------------------------ reading */

struct store_record {
	const char *id;
	const char *type_url; /* NULL: the usual one */
	struct bytes proto;
	struct bytes labels; /* for labels_next() */
	const char *data_uri;
	char etag[STORE_ETAG_BYTES];
	uint64_t created_us, updated_us;
	double score;        /* of a ranked query */
	double distance;     /* of a query with a vector */
	const char *snippet; /* of a ranked query, else NULL */
};

/*
 * A snapshot reader. NULL from store_try_reader(): none is idle, making one takes
 * time.
 */
struct store_reader *store_try_reader(struct store *store);
enum status store_take_reader(struct store *store, struct store_reader **ret,
			      struct error *err) MUST_CHECK;
void store_give_reader(struct store *store, struct store_reader *reader);

/* End what runs on it with CANCELLED, and what is begun until it is given back. Any thread. */
void store_interrupt(struct store_reader *reader);

/* The record is in @arena. NOT_FOUND: there is none. */
enum status store_get(struct store_reader *reader, const char *id, struct arena *arena,
		      struct store_record *ret, struct error *err) MUST_CHECK;

/*
 * Call @row(@arg) for each record of the answer, in order; what it gets is
 * borrowed until it returns. It ends the query by returning false, which does not
 * take the record. q->last (query.h) is the position of the record that is being
 * given, then of the last that was taken.
 */
typedef bool store_row(void *arg, const struct store_record *record);
enum status store_query(struct store_reader *reader, struct query *q, store_row *row, void *arg,
			struct error *err) MUST_CHECK;

/* ------------------------------------------------------------ changes */

enum store_change_kind {
	STORE_UPSERTED,
	STORE_DELETED,   /* the record is as it was before */
	STORE_UNMATCHED, /* it changed, and does not match: only its id is to be told */
};

struct store_change {
	enum store_change_kind kind;
	int64_t sequence; /* 0 in a snapshot */
	uint64_t at_us;
	const struct store_record *record;
};

/* Borrowed until it returns. False: this one was not taken, and no more is wanted. */
typedef bool store_change_row(void *arg, const struct store_change *change);

/*
 * Tell of changes after *sequence, which becomes the last that needs no telling any
 * more; it looks at a bounded number of them, so there is more until it is *ret_last.
 * Records must match @q; what changed again since is left out. OUT_OF_RANGE: changes after *sequence
 * are not kept any more, or there was no such change yet.
 */
enum status store_changes(struct store_reader *reader, const struct query *q,
			  bool with_unmatched, int64_t *sequence, int64_t *ret_last,
			  store_change_row *row, void *arg, struct error *err) MUST_CHECK;

/*
 * Tell of the records as they are that have not changed after @sequence: with the
 * changes after it, that is all. *snapshot_row is 0 at first; *ret_done: there are no more.
 */
enum status store_snapshot(struct store_reader *reader, const struct query *q, int64_t sequence,
			   int64_t *snapshot_row, bool *ret_done, store_change_row *row,
			   void *arg, struct error *err) MUST_CHECK;

/* ------------------------------------------------------------ counting */

/*
 * How many records match, whatever limit, offset and position are; with a vector after
 * store_query(), which counts them.
 */
enum status store_count(struct store_reader *reader, const struct query *q, int64_t *ret_count,
			struct error *err) MUST_CHECK;

enum { STORE_MAX_PLAN_LINES = 64, STORE_MAX_USED_INDEXES = 32 };

/* What one of the statements of a query costs. Texts are in the caller's arena. */
struct store_cost {
	const char *plan[STORE_MAX_PLAN_LINES]; /* as SQLite tells it */
	size_t plan_count;
	const char *indexes[STORE_MAX_USED_INDEXES]; /* paths, by their JSON names */
	size_t index_count;
	bool uses_text, sorts, scans_all;
	int64_t record_count;     /* of the collection */
	int64_t estimated;        /* records that will be looked at */
	int64_t scanned, matched; /* records that were */
	bool is_cut_off;
};

enum store_step { STORE_STEP_PAGE, STORE_STEP_COUNT };

/*
 * How store_query() or store_count() would go, and how it goes: at most
 * @max_records are looked at; 0: none, only the plan is made.
 */
enum status store_explain(struct store_reader *reader, const struct query *q,
			  enum store_step step, int64_t max_records, struct arena *arena,
			  struct store_cost *ret, struct error *err) MUST_CHECK;

#endif
