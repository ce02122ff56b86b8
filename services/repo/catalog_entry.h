/* Inside the catalogue: one collection, and what the files of the catalogue share. */
#ifndef SERVICES_REPO_CATALOG_ENTRY_H
#define SERVICES_REPO_CATALOG_ENTRY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/map.h"
#include "services/repo/catalog.h"

struct builder;

/* Field numbers of collector.Collection. */
enum {
	FIELD_NAMESPACE = 1,
	FIELD_NAME = 2,
	FIELD_MESSAGE_TYPE = 3,
	FIELD_MESSAGE_NAME = 2,
	FIELD_INCARNATION = 102,
	FIELD_SCHEMA_VERSION = 103,
	FIELD_BUILDING = 110,
};

enum entry_state { ENTRY_CREATING, ENTRY_READY, ENTRY_DELETED };

enum entry_change { ENTRY_COMES, ENTRY_CHANGES, ENTRY_GOES };

struct entry {
	struct collection collection; /* first; open only while is_open */
	char *id;                     /* "<namespace>/<name>" */
	enum entry_state state;
	bool is_open;
	unsigned refs; /* users, and one of the catalogue itself */
	/* Among the idle ones, by when they became so. */
	struct entry *idle_before, *idle_after;
	bool is_idle;
	pthread_mutex_t opening; /* held by who opens it */
	struct entry *next_dead;
	struct entry
		*successor; /* has its store now; one reference is held. NULL: it is current */
};

struct catalog {
	char *directory;
	struct catalog_options options; /* its directory is the one above */
	struct writer *writer;
	struct entry *self; /* system/collections */

	struct builder *builder;
	pthread_mutex_t changes; /* of what collections are: one at a time */

	pthread_mutex_t mu;     /* what follows; of entries: state, is_open, refs, idle_... */
	pthread_cond_t settled; /* an entry is not ENTRY_CREATING any more */
	struct map entries;     /* id -> entry */
	size_t open_count;
	struct entry *first_idle,
		*last_idle; /* open, and nobody uses them; the first longest */
	struct entry *dead; /* deleted and unused: to be swept */
};

/* @definition is copied. */
struct entry *entry_new(struct bytes definition);
void entry_free(struct entry *e);
char *entry_directory(const struct catalog *catalog, const struct collection *c);

/* A change of it is still being built. */
bool entry_is_building(const struct entry *e);

/*
 * Open its store, the caller holding e->opening. What the store says it is counts: a crash
 * may have come before the catalogue was told.
 */
enum status entry_open(struct catalog *catalog, struct entry *e, struct error *err) MUST_CHECK;

/* The type and definition that the open store has. */
enum status entry_load(struct catalog *catalog, struct entry *e, struct error *err) MUST_CHECK;

/* Write or delete its record in the catalogue. */
enum status entry_record(struct catalog *catalog, const struct entry *e,
			 enum entry_change change, uint64_t now_us,
			 struct error *err) MUST_CHECK;

/* With the mutex held: the entry, if it is ready. */
struct entry *catalog_find(struct catalog *catalog, const char *ns, const char *name);

/* With the mutex held: one more user. */
void entry_use(struct catalog *catalog, struct entry *e);
void entry_release(struct catalog *catalog, struct entry *e);

#endif
