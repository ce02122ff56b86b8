/*
 * A check of reality.h under way: collection_use.c, call_use.c and template_use.c
 * each look at one kind of user. Private to them and reality.c.
 */
#ifndef SERVICES_REGISTRY_CHECKING_H
#define SERVICES_REGISTRY_CHECKING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/base/status.h"
#include "services/registry/losses.h"
#include "services/registry/reality.h"
#include "services/registry/users.h"

struct pool_message;
struct search_path;

struct checking {
	const struct reality_change *change;
	struct arena arena;
	struct losses_finder records; /* in collections, of all versions since */
	struct losses_finder calls;   /* of methods, of the present version */
	struct breakages *breakages;
	struct error *err;
	const char *rule, *user; /* of whoever is looked at */
	struct map said;         /* a workflow has versions: what was told of it */
};

/* When @r was made, at the earliest. */
int64_t checking_made_us(const struct collection_record *r);
enum status checking_collection(struct checking *c,
				const struct collection_record *r) MUST_CHECK;
enum status checking_handler(struct checking *c, const struct handler_record *r) MUST_CHECK;
enum status checking_workflow(struct checking *c,
			      const struct workflow_definition *d) MUST_CHECK;

/* What the template of @d's task @t refers to and is not there any more. */
void checking_template(struct checking *c, const struct workflow_definition *d,
		       const struct workflow_task *t);

/* NULL: the pool has no such message. */
const struct pool_message *checking_type_in(const struct pool *pool, const char *name);

/* Does the path lead anywhere from @type? *ret is in @arena. */
bool checking_resolve(const struct pool *pool, const struct pool_message *type,
		      const char *path, struct arena *arena, struct search_path *ret);

/* Tell, once, that c->user is hit. */
void checking_hit(struct checking *c, const char *rule, const char *path, const char *file_name,
		  const char *fmt, ...) PRINTF_LIKE(5, 6);

/* Tell of what @finder finds lost of @type's values that were written after @since_us. */
enum status checking_values(struct checking *c, struct losses_finder *finder, const char *rule,
			    const struct pool_message *type, int64_t since_us) MUST_CHECK;

#endif
