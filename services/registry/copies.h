/*
 * The files of one namespace as files:
 *
 *	<dir>/versions/<namespace>/<path>/<version>.binpb  every version's bytes
 *	<dir>/ns/<namespace>/<path>.binpb                  the current bytes, for people and tools
 */
#ifndef SERVICES_REGISTRY_COPIES_H
#define SERVICES_REGISTRY_COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "services/registry/disk.h"
#include "services/registry/snapshot.h"

/* Where they are; borrowed. */
struct copies {
	const char *dir, *ns;
};

/* Are these the bytes that @v was registered with? */
bool copies_are(struct bytes bytes, const struct snapshot_version *v);

/* For messages; the caller frees it. */
char *copies_current_path(const struct copies *c, const char *name);

/* Append what was registered as @v to @out. False: it is not there, or damaged. */
bool copies_read_version(const struct copies *c, const char *name,
			 const struct snapshot_version *v, struct strbuf *out);
bool copies_read_current(const struct copies *c, const char *name,
			 const struct snapshot_version *v, struct strbuf *out);

/* Statuses as disk_write(). */
enum status copies_write_version(const struct copies *c, const char *name, int64_t version,
				 struct bytes bytes, enum disk_sync sync,
				 struct error *err) MUST_CHECK;
enum status copies_write_current(const struct copies *c, const char *name, struct bytes bytes,
				 struct error *err) MUST_CHECK;

/* If there is one. */
void copies_drop_version(const struct copies *c, const char *name, int64_t version);
void copies_drop_current(const struct copies *c, const char *name);

/* The highest number of a version that is there, whether it was committed or not; 0: none. */
int64_t copies_last_version(const struct copies *c, const char *name);

/* A version that is there, whatever it is, as of when it was written. False: it is not there. */
bool copies_describe(const struct copies *c, const char *name, int64_t version,
		     struct snapshot_version *ret);

#endif
