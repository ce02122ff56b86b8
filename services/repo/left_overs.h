/* What a crash left of collections that were being made or deleted. */
#ifndef SERVICES_REPO_LEFT_OVERS_H
#define SERVICES_REPO_LEFT_OVERS_H

#include <stdbool.h>

/*
 * Remove every incarnation below <directory>/ns that @is_current does not know. At start,
 * before anybody uses it.
 */
void left_overs_remove(const char *directory,
		       bool (*is_current)(void *arg, const char *ns, const char *name,
					  const char *incarnation),
		       void *arg);

#endif
