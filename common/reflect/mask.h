/*
 * Field masks on wire bytes. Paths are dotted proto names or json_names; a path
 * may end at a field of any kind and may lead through singular messages and
 * into maps by key (labels.env); "*" alone means everything.
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

/*
 * Append @base with the masked fields as they are in @patch: copied (lists and
 * maps as a whole), or cleared where @patch has none. Both must be valid
 * (wire_validate). No paths: every field that @patch has.
 * INVALID_ARGUMENT: a path is not of @m; err->field names it.
 */
enum status mask_merge(const struct pool *pool, const struct pool_message *m, struct bytes base,
		       struct bytes patch, const char *const *paths, size_t path_count,
		       struct strbuf *out, struct error *err) MUST_CHECK;

/*
 * Append those fields of @message alone that @paths name. No paths: all of it.
 * INVALID_ARGUMENT: as above.
 */
enum status mask_prune(const struct pool *pool, const struct pool_message *m,
		       struct bytes message, const char *const *paths, size_t path_count,
		       struct strbuf *out, struct error *err) MUST_CHECK;

/* Are all @paths of @m? INVALID_ARGUMENT: no; err->field names the first that is not. */
enum status mask_check(const struct pool *pool, const struct pool_message *m,
		       const char *const *paths, size_t path_count,
		       struct error *err) MUST_CHECK;

#endif
