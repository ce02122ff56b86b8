/*
 * Filters as a person types them: `section=libs`, `size>=100`, `tags~x`,
 * `state in ["A","B"]`, `homepage?` (is set), `!homepage?` (is not).
 * A value that reads as JSON is that, anything else is text.
 */
#ifndef SERVICES_CONSOLE_CTL_FILTER_H
#define SERVICES_CONSOLE_CTL_FILTER_H

#include "common/base/status.h"

struct arguments;
struct json_t;

/*
 * All --filter flags as List has them, {"path": {"op": value}}; owned by the
 * caller. Several on one path hold together. INVALID_ARGUMENT: malformed.
 */
enum status filter_for_list(const struct arguments *args, struct json_t **ret_filter,
			    struct error *err) MUST_CHECK;

/*
 * The same as Search has them, {"path": {"operator": ..., "value": ...}}: one
 * per path, else INVALID_ARGUMENT.
 */
enum status filter_for_search(const struct arguments *args, struct json_t **ret_filters,
			      struct error *err) MUST_CHECK;

#endif
