/*
 * May a registered file become another? Until policies are chosen by namespace,
 * what clients have built on must stay: messages, fields, enums and their
 * values, services and methods, each with its name, number and type.
 */
#ifndef SERVICES_REGISTRY_CHANGE_H
#define SERVICES_REGISTRY_CHANGE_H

#include "common/base/status.h"

struct pool;
struct pool_file;

/*
 * Is everything that @before declares still in @after's files?
 * FAILED_PRECONDITION: err->field is the symbol that is not.
 */
enum status change_check(const struct pool_file *before, const struct pool *after,
			 struct error *err) MUST_CHECK;

#endif
