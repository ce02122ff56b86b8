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
 * All --filter flags as List and Search have them, {"path": {"op": value}}; owned by the
 * caller. Several on one path hold together, and with what --where says, a filter
 * in JSON with "$and", "$or" and "$not". INVALID_ARGUMENT: malformed.
 */
enum status filter_parse(const struct arguments *args, struct json_t **ret_filter,
			 struct error *err) MUST_CHECK;

#endif
