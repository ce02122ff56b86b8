/*
 * Whether what was written as a message type can be read after a change: the type
 * with all that it is made of, now and in the versions before.
 */
#ifndef SERVICES_REGISTRY_LOSSES_H
#define SERVICES_REGISTRY_LOSSES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/base/status.h"
#include "services/registry/reality.h"

struct pool_message;

enum { LOSSES_MAX = 200 }; /* kept of one type */

/* Something that would not be read as what it was. Texts are in the arena of losses. */
struct loss {
	const char *path, *description, *file_name;
	int64_t until_us; /* written so at the latest; INT64_MAX: it is to this day */
};

struct losses {
	struct loss *items;
	size_t count;
};

/* Finds them, and remembers: many users share a type. Not thread-safe. */
struct losses_finder {
	const struct reality_change *change; /* borrowed */
	int64_t since_us;
	struct arena arena;
	struct map changed;  /* names of the files */
	struct map files;    /* names of those whose messages are looked at */
	struct map messages; /* message -> struct losses of itself, in the arena */
	struct map known; /* type -> struct losses with all that it is made of, in the arena */
};

/* Versions that were past at @since_us are not looked at; INT64_MAX: the present one alone is. */
void losses_finder_init(struct losses_finder *f, const struct reality_change *change,
			int64_t since_us);
void losses_finder_release(struct losses_finder *f);

/*
 * The losses of @type, of the pool before, which is in the pool after too.
 * *ret lives as long as the finder. DEADLINE_EXCEEDED: the change's deadline is past.
 */
enum status losses_of(struct losses_finder *f, const struct pool_message *type,
		      const struct losses **ret, struct error *err) MUST_CHECK;

#endif
