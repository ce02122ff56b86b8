/* What a change would break: a list for people and for answers. */
#ifndef SERVICES_REGISTRY_BREAKAGE_H
#define SERVICES_REGISTRY_BREAKAGE_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "services/registry/policy.h"

/* The rule of files that would not link any more: no force helps. */
#define BREAKAGE_RULE_IMPORT "IMPORT"

enum { BREAKAGES_MAX_KEPT = 1000, BREAKAGE_TEXT_MAX_BYTES = 512 };

/* collector.Breakage, see there; texts are "" where they do not apply, never NULL. */
struct breakage {
	const char *rule, *path, *description, *file_name, *user;
	enum policy policy;
};

struct breakages {
	struct arena *arena; /* borrowed; holds the items */
	struct breakage *items;
	size_t count; /* kept: the first BREAKAGES_MAX_KEPT */
	size_t total;
};

void breakages_init(struct breakages *list, struct arena *arena);

/* Texts are copied, cut at BREAKAGE_TEXT_MAX_BYTES; NULL is "". */
void breakages_add(struct breakages *list, const struct breakage *b);

/* FAILED_PRECONDITION, telling the first and how many there are. The list is not empty. */
enum status breakages_refuse(const struct breakages *list, struct error *err) MUST_CHECK;

#endif
