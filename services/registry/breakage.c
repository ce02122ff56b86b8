#include "services/registry/breakage.h"

#include <string.h>

#include "common/base/utf8.h"

void breakages_init(struct breakages *list, struct arena *arena)
{
	*list = (struct breakages){.arena = arena};
}

static const char *keep(struct breakages *list, const char *text)
{
	const size_t len = text ? strlen(text) : 0;

	return arena_strndup(
		list->arena, text ? text : "",
		len > BREAKAGE_TEXT_MAX_BYTES ? utf8_cut(text, BREAKAGE_TEXT_MAX_BYTES) : len);
}

void breakages_add(struct breakages *list, const struct breakage *b)
{
	list->total++;
	if (list->count == BREAKAGES_MAX_KEPT)
		return;
	if (!list->items)
		list->items =
			arena_alloc(list->arena, BREAKAGES_MAX_KEPT * sizeof(*list->items));
	list->items[list->count++] = (struct breakage){
		.rule = keep(list, b->rule),
		.path = keep(list, b->path),
		.description = keep(list, b->description),
		.file_name = keep(list, b->file_name),
		.user = keep(list, b->user),
		.policy = b->policy,
	};
}

enum status breakages_refuse(const struct breakages *list, struct error *err)
{
	const struct breakage *first = &list->items[0];

	return error_set(err, STATUS_FAILED_PRECONDITION, "%zu breakage%s: %s%s%s: %s (%s)",
			 list->total, list->total == 1 ? "" : "s, the first", first->path,
			 *first->user ? ", used by " : "", first->user, first->description,
			 first->rule);
}
