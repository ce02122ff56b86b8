/* What a file that becomes another breaks, by the policy of its namespace. */
#ifndef SERVICES_REGISTRY_CHANGE_H
#define SERVICES_REGISTRY_CHANGE_H

#include "services/registry/breakage.h"

struct pool;
struct pool_file;

/* Append what @after breaks of @before for who relies on @policy or a weaker one. */
void change_check(const struct pool_file *before, const struct pool *after, enum policy policy,
		  struct breakages *breakages);

/* The same for any policy. */
void change_check_all(const struct pool_file *before, const struct pool *after,
		      struct breakages *breakages);

#endif
