/*
 * A repo without its gRPC: the catalogue with its collections in a directory, and
 * what the scenarios do with it. Everything aborts the process when it fails, with
 * a line on standard error.
 */
#ifndef TESTS_CRASH_WORLD_H
#define TESTS_CRASH_WORLD_H

#include <pthread.h>

#include "services/repo/catalog.h"
#include "services/repo/page_token.h"
#include "tests/crash/expectation.h"

struct world {
	struct types *types;
	struct catalog *catalog;
	struct page_token_key key;
	pthread_mutex_t mu; /* what follows */
	pthread_cond_t written;
	unsigned commits; /* of any collection, since the start */
};

/* Time stands still. */
enum { WORLD_NOW_US = 1700000000 };

/* Else the process ends, and says what it was. */
void must(enum status status, const struct error *err, const char *what);

void world_open(struct world *w, const char *directory);
void world_close(struct world *w);

/* The definition of a new collection of @message. */
void world_describe(const char *collection, const char *message, struct strbuf *out);

/* Each says what it begins and what is done. Records hold their value as a name. */
void world_create(struct world *w, const char *collection);
void world_delete(struct world *w, const char *collection);
void world_put(struct world *w, const char *collection, const char *id, const char *value);
void world_remove(struct world *w, const char *collection, const char *id);

/* What is read is done: it must stay. */
void world_read(struct world *w, const char *collection, const char *id);

/* @padding bytes go into the record beside its value. */
void world_put_large(struct world *w, const char *collection, const char *id, const char *value,
		     size_t padding);

/* As many records at once, "<prefix>0" ...: they are one group or two of the writer. */
void world_put_many(struct world *w, const char *collection, const char *prefix,
		    const char *value, size_t count);

/* The same as one batch that is all or none. */
void world_put_batch(struct world *w, const char *collection, const char *prefix,
		     const char *value, size_t count);

/*
 * What is no record has expectations with ids of their own, "<what> <which>", and is looked for
 * by its file's function. Files of a collection, in file_world.c:
 */
void world_put_file(struct world *w, const char *collection, const char *path,
		    const char *value);
void world_remove_file(struct world *w, const char *collection, const char *path);

/*
 * As PutDir does it, in one transaction: what is below @path goes, and as many files
 * "<path>/n0" ... come. @old is what went, known to be a file in it; NULL: there was none.
 */
void world_put_dir(struct world *w, const char *collection, const char *path, const char *value,
		   size_t count, const char *old);
void world_file_value(struct collection *c, const char *path, char out[EXPECTED_TEXT_MAX]);

/*
 * Modify, in modify_world.c: another index, other full text, another version of the type.
 * What it leaves to build goes on behind it.
 */
enum world_text { WORLD_TEXT_NAME, WORLD_TEXT_NONE, WORLD_TEXT_ALL };
void world_modify(struct world *w, const char *collection, const char *indexed,
		  enum world_text text);

/* How many records there may be; the same number again is no change. */
void world_modify_quota(struct world *w, const char *collection, int64_t records);
void world_quota_value(struct collection *c, char out[EXPECTED_TEXT_MAX]);
/* It holds: one record more is refused when there are so many. */
bool world_quota_holds(struct world *w, struct collection *c, size_t records);

/*
 * What the changes share: a new definition without these fields (0 at the end), and the change
 * to it, which is expected as "<what> <collection>".
 */
void world_definition(const struct collection *c, const uint32_t *without, struct strbuf *out);
void world_modify_as(struct world *w, const char *collection, struct store_modify *m,
		     struct strbuf *definition, const char *what, const char *value);

/*
 * Vectors, in vector_world.c: a collection whose records have two, of which the one in the
 * field "near" is what they are found by, until another is ("near", "far", "none").
 */
void world_create_vectors(struct world *w, const char *collection);
void world_modify_vectors(struct world *w, const char *collection, const char *field);
void world_vectors_value(struct collection *c, char out[EXPECTED_TEXT_MAX]);
/* By whichever vectors there are at the moment; true where there are none. */
bool world_is_found_by_vector(struct collection *c, const char *value);
bool world_vectors_are_whole(struct collection *c, size_t records);

/* Of a record with the value: into its message, and out of that into the write. */
struct world_vectors {
	struct strbuf rest, vector, old_rest, old;
};
void world_add_vectors(const struct collection *c, const char *value, struct strbuf *proto);
struct bytes world_take_vectors(const struct collection *c, struct store_write *w,
				struct world_vectors *v);
void world_vectors_release(struct world_vectors *v);

/* Until what was left to build is built, by the builder of the world. */
void world_wait_built(struct world *w, const char *collection);
void world_shape_value(struct collection *c, char out[EXPECTED_TEXT_MAX]);
bool world_has_text(struct collection *c);
/* What the definition says is there. Says on standard error what is not. */
bool world_shape_is_whole(struct collection *c);

/* Leases, in lease_world.c: their values are tokens. */
/*
 * The record "<id>" of @value, which no other has. @token is the next of the collection: they
 * count up from 1.
 */
void world_lease(struct world *w, const char *collection, const char *id, const char *value,
		 int token);
void world_release(struct world *w, const char *collection, const char *id, int token);
void world_lease_value(struct world *w, struct collection *c, const char *id,
		       char out[EXPECTED_TEXT_MAX]);
/* Tokens are never given twice, whatever was lost. */
bool world_tokens_go_on(struct world *w, struct collection *c, const struct expectations *e);

/* Nothing is left over of what was being made or deleted: in sound_world.c. */
bool world_is_clean(const struct world *w, const char *directory);
/* So are all databases, at most so deep below; @depth is 0 for all. */
bool world_is_sound(const char *directory, int depth);

/* The query for the records with the value, in @arena. */
struct query *world_query(const struct collection *c, const char *value, struct arena *arena);

/* Is all as it must be in the directory? Says on standard error what is not. */
bool world_is_as_expected(const char *directory, const struct expectations *e);

#endif
