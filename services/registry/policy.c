#include "services/registry/policy.h"

#include <string.h>

static const char *const names[] = {
	[POLICY_UNSPECIFIED] = "UNSPECIFIED",
	[POLICY_NONE] = "NONE",
	[POLICY_WIRE] = "WIRE",
	[POLICY_WIRE_JSON] = "WIRE_JSON",
	[POLICY_SOURCE] = "SOURCE",
};

const char *policy_name(enum policy policy)
{
	return names[policy];
}

bool policy_by_name(const char *name, enum policy *ret_policy)
{
	for (int i = POLICY_NONE; i <= POLICY_SOURCE; i++) {
		if (strcmp(names[i], name))
			continue;
		*ret_policy = (enum policy)i;
		return true;
	}
	return false;
}
