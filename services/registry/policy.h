/* How freely the files of a namespace may change; the levels of `buf breaking`. */
#ifndef SERVICES_REGISTRY_POLICY_H
#define SERVICES_REGISTRY_POLICY_H

#include <stdbool.h>

/* The numbers of collector.CompatibilityPolicy, each stricter than the one before. */
enum policy {
	POLICY_UNSPECIFIED = 0,
	POLICY_NONE = 1,
	POLICY_WIRE = 2,
	POLICY_WIRE_JSON = 3,
	POLICY_SOURCE = 4,

	POLICY_DEFAULT = POLICY_WIRE_JSON,
};

/* "WIRE_JSON" */
const char *policy_name(enum policy policy);

/* False: there is no such policy. */
bool policy_by_name(const char *name, enum policy *ret_policy);

#endif
