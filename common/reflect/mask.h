/*
 * Field masks on wire bytes, by the rules of AIP-161. The parts of a path have
 * dots between them and are proto names or json_names. A path may end at a field
 * of any kind, and lead
 *
 *	through single messages			inner.note
 *	into maps of strings or integers	labels.env, labels.`a.b`, named.x.note
 *	for reading: through all elements	items.*.note, named.*.note
 *
 * Backticks hold keys with anything in them, a backtick doubled. Positions in
 * lists cannot be named. "*" alone means everything.
 *
 * Unknown fields stay with the message that they are in.
 */
#ifndef COMMON_REFLECT_MASK_H
#define COMMON_REFLECT_MASK_H

#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool;
struct pool_message;

enum { MASK_MAX_PATHS = 1024 };

enum mask_use {
	MASK_READ,
	MASK_UPDATE, /* lists and maps are replaced as a whole, or maps entry by entry */
};

/*
 * Append @base with the masked fields as they are in @patch: copied (lists and
 * maps as a whole), or cleared where @patch has none. Both must be valid
 * (wire_validate). No paths: every field that @patch has. "*": @patch itself.
 * INVALID_ARGUMENT: a path is not of @m; err->field names it.
 */
enum status mask_merge(const struct pool *pool, const struct pool_message *m, struct bytes base,
		       struct bytes patch, const char *const *paths, size_t path_count,
		       struct strbuf *out, struct error *err) MUST_CHECK;

/*
 * Append those fields of @message alone that @paths name. No paths: all of it.
 * INVALID_ARGUMENT: as above.
 */
enum status mask_prune(const struct pool_message *m, struct bytes message,
		       const char *const *paths, size_t path_count, struct strbuf *out,
		       struct error *err) MUST_CHECK;

/* Are all @paths of @m? INVALID_ARGUMENT: no; err->field names the first that is not. */
enum status mask_check(const struct pool_message *m, enum mask_use use,
		       const char *const *paths, size_t path_count,
		       struct error *err) MUST_CHECK;

#endif
