#include "services/console/ctl/paging.h"

#include <jansson.h>
#include <string.h>

#include "services/console/ctl/output.h"
#include "services/console/ctl/session.h"

enum { PAGE_SIZE = 500 };

static void trim(json_t *list, size_t limit)
{
	while (limit && json_array_size(list) > limit)
		json_array_remove(list, json_array_size(list) - 1);
}

/* The parallel list of a List reply; NULL for the others. */
static void extend_infos(json_t *whole, json_t *page)
{
	json_t *infos = json_object_get(whole, "infos");

	if (infos)
		json_array_extend(infos, json_object_get(page, "infos"));
}

enum status paging_collect(struct session *s, const char *path, json_t *request,
			   const char *field, size_t limit, json_t **ret_reply,
			   struct error *err)
{
	json_t *whole = NULL;
	enum status status;

	for (;;) {
		json_t *list = json_object_get(whole, field), *page;
		size_t have = json_array_size(list);
		size_t want = limit && limit - have < PAGE_SIZE ? limit - have : PAGE_SIZE;
		json_object_set_new(request, "pageSize", json_integer((json_int_t)want));
		status = session_call(s, path, json_copy(request), &page, err);
		if (status != STATUS_OK)
			break;
		json_object_set(request, "pageToken", json_object_get(page, "nextPageToken"));
		bool last = !*json_text(page, "nextPageToken");
		json_object_del(page, "nextPageToken");
		if (!whole) {
			whole = page;
		} else {
			json_array_extend(list, json_object_get(page, field));
			extend_infos(whole, page);
			json_decref(page);
		}
		list = json_object_get(whole, field);
		if (last || (limit && json_array_size(list) >= limit)) {
			trim(list, limit);
			break;
		}
	}
	json_decref(request);
	if (status == STATUS_OK)
		*ret_reply = whole;
	else
		json_decref(whole);
	return status;
}
