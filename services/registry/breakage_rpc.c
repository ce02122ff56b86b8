/* Breakages in answers, errors and the log. */
#include "common/base/log.h"
#include "common/rpc/call.h"
#include "services/registry/rpc_shared.h"

Collector__Breakage **registry_rpc_breakages(const struct breakages *list, size_t *ret_count)
{
	Collector__Breakage **out = arena_alloc(list->arena, (list->count + 1) * sizeof(*out));

	for (size_t i = 0; i < list->count; i++) {
		const struct breakage *b = &list->items[i];
		out[i] = arena_alloc(list->arena, sizeof(**out));
		collector__breakage__init(out[i]);
		out[i]->rule = (char *)b->rule;
		out[i]->path = (char *)b->path;
		out[i]->description = (char *)b->description;
		out[i]->file_name = (char *)b->file_name;
		out[i]->user = (char *)b->user;
		out[i]->policy = (Collector__CompatibilityPolicy)b->policy;
	}
	*ret_count = list->count;
	return out;
}

void registry_rpc_refuse(void *call, const struct error *err, const struct breakages *list)
{
	struct rpc_violation *violations;

	if (err->status != STATUS_FAILED_PRECONDITION) {
		rpc_fail_error(call, err);
		return;
	}
	violations = arena_alloc(list->arena, (list->count + 1) * sizeof(*violations));
	for (size_t i = 0; i < list->count; i++) {
		const struct breakage *b = &list->items[i];
		violations[i] = (struct rpc_violation){
			b->rule, b->path,
			*b->user ? arena_printf(list->arena, "%s: %s", b->user, b->description)
				 : b->description};
	}
	rpc_fail_violations(call, err, violations, list->count);
}

void registry_rpc_log_forced(const char *what, const char *ns, const struct breakages *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct breakage *b = &list->items[i];
		log_warn("%s by force in namespace %s: %s %s%s%s: %s", what, ns, b->rule,
			 b->path, *b->user ? ", used by " : "", b->user, b->description);
	}
	if (list->total > list->count)
		log_warn("%s by force in namespace %s: %zu more breakages", what, ns,
			 list->total - list->count);
}
