/*
 * A repo without its gRPC: the catalogue with its collections in a directory, and
 * what the scenarios do with it. Everything aborts the process when it fails, with
 * a line on standard error.
 */
#ifndef TESTS_CRASH_WORLD_H
#define TESTS_CRASH_WORLD_H

#include "services/repo/catalog.h"
#include "services/repo/page_token.h"
#include "tests/crash/expectation.h"

struct world {
	struct types *types;
	struct catalog *catalog;
	struct page_token_key key;
};

void world_open(struct world *w, const char *directory);
void world_close(struct world *w);

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

/* Files of a collection: their expectations have ids of their own. */
void world_put_file(struct world *w, const char *collection, const char *path,
		    const char *value);
void world_remove_file(struct world *w, const char *collection, const char *path);
bool world_is_file(const struct expected *e);
bool world_files_are_as_expected(struct collection *c, const struct expectations *e);

/* Is all as it must be in the directory? Says on standard error what is not. */
bool world_is_as_expected(const char *directory, const struct expectations *e);

#endif
