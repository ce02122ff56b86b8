/* KEY=VALUE flags. */
#ifndef SERVICES_CONSOLE_CTL_LABELS_H
#define SERVICES_CONSOLE_CTL_LABELS_H

#include "common/base/status.h"

struct arguments;
struct json_t;

/*
 * All values of @flag as an object of texts, owned by the caller.
 * INVALID_ARGUMENT: one is not KEY=VALUE.
 */
enum status labels_parse(const struct arguments *args, const char *flag,
			 struct json_t **ret_labels, struct error *err) MUST_CHECK;

#endif
