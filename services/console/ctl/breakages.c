#include "services/console/ctl/breakages.h"

#include <jansson.h>
#include <string.h>

#include "services/console/ctl/output.h"

/* "WIRE_JSON" of COMPATIBILITY_POLICY_WIRE_JSON; "" where it is not a policy's rule. */
static const char *policy_of(const json_t *breakage)
{
	static const char prefix[] = "COMPATIBILITY_POLICY_";
	const char *name = json_text(breakage, "policy");

	return strncmp(name, prefix, sizeof(prefix) - 1) ? "" : name + sizeof(prefix) - 1;
}

void breakages_print(FILE *to, const json_t *list)
{
	json_t *b;
	size_t i;

	json_array_foreach(list, i, b)
	{
		const char *file = json_text(b, "fileName"), *policy = policy_of(b);
		const char *user = json_text(b, "user");
		fprintf(to, "%s%s%s: %s%s%s%s: %s%s%s%s\n", file, *file ? ": " : "",
			json_text(b, "path"), json_text(b, "rule"), *policy ? " (" : "", policy,
			*policy ? ")" : "", json_text(b, "description"), *user ? " (" : "",
			user, *user ? ")" : "");
	}
}
