#include "services/registry/change.h"

#include "common/reflect/compat.h"

enum { MAX_FINDINGS = 5000 }; /* in one file; what is beyond is not even counted */

static unsigned levels_of(enum policy policy)
{
	switch (policy) {
	case POLICY_WIRE:
		return COMPAT_WIRE;
	case POLICY_WIRE_JSON:
		return COMPAT_WIRE_JSON;
	case POLICY_SOURCE:
		return COMPAT_SOURCE;
	case POLICY_UNSPECIFIED:
	case POLICY_NONE:
		break;
	}
	return 0;
}

static enum policy policy_of(enum compat_level level)
{
	return level == COMPAT_WIRE        ? POLICY_WIRE
	       : level == COMPAT_WIRE_JSON ? POLICY_WIRE_JSON
					   : POLICY_SOURCE;
}

static void check(const struct pool_file *before, const struct pool *after, unsigned levels,
		  struct breakages *breakages)
{
	struct arena arena;
	struct compat_report report;

	arena_init(&arena, 0);
	report = compat_check_file(before, after, levels, MAX_FINDINGS, &arena);
	for (size_t i = 0; i < report.count; i++) {
		const struct compat_finding *f = &report.findings[i];
		breakages_add(breakages, &(struct breakage){.rule = f->rule,
							    .path = f->path,
							    .description = f->text,
							    .file_name = f->file_name,
							    .policy = policy_of(f->level)});
	}
	arena_release(&arena);
}

void change_check(const struct pool_file *before, const struct pool *after, enum policy policy,
		  struct breakages *breakages)
{
	check(before, after, levels_of(policy), breakages);
}

void change_check_all(const struct pool_file *before, const struct pool *after,
		      struct breakages *breakages)
{
	check(before, after, COMPAT_ANY_LEVEL, breakages);
}
