/*
 * The registry's two system collections in the repo, registered_protos and
 * registered_services: what is in them, as records.
 */
#ifndef SERVICES_REGISTRY_PUBLISHED_H
#define SERVICES_REGISTRY_PUBLISHED_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "services/registry/snapshot.h"

enum {
	PUBLISHED_ID_MAX_BYTES = 512,       /* what the repo takes */
	PUBLISHED_FILE_MAX_BYTES = 1 << 20, /* larger files are published without descriptor */
};

/* One of the collections: a record for every name of a list of a snapshot. */
struct published_kind {
	const char *collection, *type;
	const char *const *indexed_fields; /* ends with NULL */
	enum snapshot_list list;
};

extern const struct published_kind published_kinds[2];

/* How many records a namespace has. */
size_t published_count(const struct published_kind *kind, const struct snapshot *s);

/*
 * The id of the @i-th, in @arena: "<namespace>/<name>"; of a name that is too long
 * for the repo its beginning and a checksum.
 */
const char *published_id(const struct published_kind *kind, const struct snapshot *s,
			 const char *ns, size_t i, struct arena *arena);

/* Changes whenever the record does. */
int64_t published_stamp(const struct published_kind *kind, const struct snapshot *s, size_t i);

/* The record itself, in @arena. */
struct bytes published_record(const struct published_kind *kind, const struct snapshot *s,
			      const char *ns, size_t i, struct arena *arena);

/* The stamp of a record that is in the repo, of which `metadata` is enough; 0: it has none. */
int64_t published_stamp_of(struct bytes record);

#endif
