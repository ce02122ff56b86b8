/*
 * Checking a workflow's definition whole, before it is stored: names, the graph
 * of tasks, methods and types against the registry, templates and retries.
 */
#ifndef SERVICES_WORKER_DEFINITION_H
#define SERVICES_WORKER_DEFINITION_H

#include <stdbool.h>

#include "common/base/status.h"
#include "common/client/workflow_records.h"

struct pool;

enum { DEFINITION_MAX_TASKS = 256, DEFINITION_MAX_ATTEMPTS = 100 };

/*
 * Names, dependencies, no cycle, bounds: what needs no registry.
 * INVALID_ARGUMENT: err->field is such as "tasks[2].dependencies".
 */
enum status definition_check_graph(const struct workflow_definition *d,
				   struct error *err) MUST_CHECK;

/*
 * Methods, types and templates, against @pool (what is registered in the
 * definition's namespace). INVALID_ARGUMENT as above.
 */
enum status definition_check_types(const struct workflow_definition *d, const struct pool *pool,
				   struct error *err) MUST_CHECK;

/* Does @task come after @other, directly or through others? Only for acyclic ones. */
bool definition_depends(const struct workflow_definition *d, size_t task, const char *other);

/* The position of the task with this id; d->task_count: none. */
size_t definition_find(const struct workflow_definition *d, const char *id);

#endif
