/*
 * Builds in the background what changes of collections left to build, one collection
 * after the other, in parts between which writes are made. What is left at the end, or
 * at a kill, goes on when the collection is next known of.
 */
#ifndef SERVICES_REPO_BUILDER_H
#define SERVICES_REPO_BUILDER_H

struct arena;
struct builder;
struct catalog;

/* @catalog is borrowed; it may still be in the making. */
struct builder *builder_new(struct catalog *catalog);

/* From now on it builds; before, it only takes note. */
void builder_start(struct builder *b);

/* Ends after the part that is being built; what is added after that is for nobody. */
void builder_stop(struct builder *b);

/* It is stopped. NULL is fine. */
void builder_free(struct builder *b);

/* There may be something to build in this collection. Any thread. */
void builder_add(struct builder *b, const char *ns, const char *name);

/* Why the collection is not built for now, in @arena; "": it is, or there is nothing to build. */
const char *builder_problem(struct builder *b, const char *ns, const char *name,
			    struct arena *arena);

#endif
