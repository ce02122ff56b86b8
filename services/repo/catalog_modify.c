/* Changing what a collection is, while it is used. */
#include <stdlib.h>

#include "common/base/alloc.h"
#include "services/repo/builder.h"
#include "services/repo/catalog_entry.h"

/*
 * A new entry takes the place of @e, with the same store and queue: who has @e keeps it
 * as it was.
 */
static enum status replace(struct catalog *catalog, struct entry *e, struct error *err)
{
	struct entry *next = entry_new(e->collection.definition);
	struct collection *c = &next->collection;
	enum status status;

	c->store = e->collection.store;
	c->files = e->collection.files;
	c->queue = e->collection.queue;
	c->files_are_clean = true;
	status = entry_load(catalog, next, err);
	if (status != STATUS_OK) {
		entry_free(next);
		return status;
	}
	pthread_mutex_lock(&catalog->mu);
	next->state = ENTRY_READY;
	next->is_open = true;
	next->refs = 2; /* the catalogue's own, and of who came before */
	e->successor = next;
	map_put(&catalog->entries, next->id, next);
	pthread_mutex_unlock(&catalog->mu);
	if (entry_is_building(next))
		builder_add(catalog->builder, c->ns, c->name);
	entry_release(catalog, e); /* the catalogue's own */
	return STATUS_OK;
}

enum status catalog_modify(struct catalog *catalog, const struct collection *as_it_is,
			   struct store_modify *modify, uint64_t now_us, struct error *err)
{
	struct store_write w = {
		.operation = store_modify, .operands = modify, .now_us = now_us};
	struct collection *c;
	enum status status;

	pthread_mutex_lock(&catalog->changes);
	status = catalog_acquire(catalog, as_it_is->ns, as_it_is->name, &c, err);
	if (status == STATUS_OK) {
		if (c != as_it_is)
			status =
				error_set(err, STATUS_ABORTED,
					  "%s/%s was changed at the same time", c->ns, c->name);
		if (status == STATUS_OK)
			status = writer_run(catalog->writer, c->queue, &w, err);
		if (status == STATUS_OK)
			status = replace(catalog, (struct entry *)c, err);
		catalog_release(catalog, c);
	}
	pthread_mutex_unlock(&catalog->changes);
	return status;
}

const char *catalog_build_problem(struct catalog *catalog, const struct collection *c,
				  struct arena *arena)
{
	return builder_problem(catalog->builder, c->ns, c->name, arena);
}

enum status catalog_refresh(struct catalog *catalog, const char *ns, const char *name,
			    struct error *err)
{
	struct collection *c;
	enum status status;

	pthread_mutex_lock(&catalog->changes);
	status = catalog_acquire(catalog, ns, name, &c, err);
	if (status == STATUS_OK) {
		status = replace(catalog, (struct entry *)c, err);
		catalog_release(catalog, c);
	}
	pthread_mutex_unlock(&catalog->changes);
	return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
