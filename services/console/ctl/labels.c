#include "services/console/ctl/labels.h"

#include <jansson.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/console/ctl/arguments.h"

enum status labels_parse(const struct arguments *args, const char *flag, json_t **ret_labels,
			 struct error *err)
{
	json_t *labels = json_object();
	const char *pair;

	for (size_t i = 0; (pair = arguments_nth(args, flag, i)); i++) {
		const char *equals = strchr(pair, '=');
		if (!equals || equals == pair) {
			json_decref(labels);
			return error_set(err, STATUS_INVALID_ARGUMENT,
					 "--%s: '%s' is not KEY=VALUE", flag, pair);
		}
		char *key AUTO_FREE = xstrndup(pair, (size_t)(equals - pair));
		json_object_set_new(labels, key, json_string(equals + 1));
	}
	*ret_labels = labels;
	return STATUS_OK;
}
