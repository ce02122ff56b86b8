/*
 * An open collection: its database, its files, its type. The catalogue (catalog.h)
 * opens and closes them.
 */
#ifndef SERVICES_REPO_COLLECTION_H
#define SERVICES_REPO_COLLECTION_H

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "services/repo/files.h"
#include "services/repo/store.h"
#include "services/repo/turns.h"
#include "services/repo/types.h"
#include "services/repo/vector_field.h"
#include "services/repo/writer.h"

struct vector_cache;

/* All members are for reading; they stay as they are. */
struct collection {
	const char *ns, *name, *incarnation;
	struct bytes definition; /* the serialized collector.Collection */
	/* While it is open: */
	const char *message_name; /* "": none, each record has its own type */
	const char *type_url;     /* the usual one, "type.googleapis.com/..." */
	struct type type;    /* of records; without one, what their documents are searched as */
	bool may_hold_any;   /* records may hold an Any */
	struct types *types; /* borrowed */
	bool has_text;
	int64_t schema_version;     /* of the type, from 1 */
	struct vector_field vector; /* depth 0: its records have none */
	int64_t vector_generation;  /* changes when that does */
	/* That searches go by while vectors are collected anew; depth 0: there is none. */
	struct vector_field old_vector;
	int64_t old_generation;
	struct store *store;
	struct files *files;
	struct writer_queue *queue; /* of the store's writes */
	struct turn_queue queries;
	bool files_are_clean; /* what an earlier process left over is removed */
};

/*
 * Open what is in @directory; @vectors must outlive it. *ret_definition is what the store says
 * it is, owned by the caller.
 */
enum status collection_open(struct collection *c, const char *directory, struct types *types,
			    struct vector_cache *vectors, struct bytes *ret_definition,
			    struct error *err) MUST_CHECK;
void collection_close(struct collection *c);

/*
 * Only what the store says of type and definition, which is owned; the store is open. What
 * was there before is not freed.
 */
enum status collection_load(struct collection *c, struct types *types,
			    struct bytes *ret_definition, struct error *err) MUST_CHECK;
void collection_forget_type(struct collection *c);

#endif
