/* What a change of registered types breaks, as the registry's answers list it. */
#ifndef SERVICES_CONSOLE_CTL_BREAKAGES_H
#define SERVICES_CONSOLE_CTL_BREAKAGES_H

#include <stdio.h>

struct json_t;

/* A line each of @list, a JSON array of collector.Breakage; NULL is an empty one. */
void breakages_print(FILE *to, const struct json_t *list);

#endif
