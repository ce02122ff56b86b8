#include "services/worker/definition.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "services/worker/template.h"

static enum status blame(struct error *err, size_t task, const char *member, const char *why)
{
	char field[80];

	snprintf(field, sizeof(field), "tasks[%zu].%s", task, member);
	return error_field(err, field, "%s", why);
}

size_t definition_find(const struct workflow_definition *d, const char *id)
{
	size_t i = 0;

	while (i < d->task_count && strcmp(d->tasks[i].id, id))
		i++;
	return i;
}

/* -------------------------------------------------------------------- graph */

static enum status check_retry(const struct workflow_task *t, size_t i, struct error *err)
{
	const struct workflow_retry *r = &t->retry;

	if (r->max_attempts > DEFINITION_MAX_ATTEMPTS)
		return blame(err, i, "retry_policy.max_attempts", "more than 100 attempts");
	if (r->max_attempts < 1)
		return blame(err, i, "retry_policy.max_attempts", "it is negative");
	if (r->initial_delay_ms < 0 || r->max_delay_ms < 0)
		return blame(err, i, "retry_policy", "a delay is negative or too long");
	if (!isfinite(r->multiplier) || r->multiplier < 1)
		return blame(err, i, "retry_policy.backoff_multiplier", "it is less than 1");
	return STATUS_OK;
}

static enum status check_task(const struct workflow_definition *d, size_t i, struct error *err)
{
	const struct workflow_task *t = &d->tasks[i];
	char field[40];
	enum status status;

	snprintf(field, sizeof(field), "tasks[%zu].id", i);
	status = names_check_symbol(t->id, field, err);
	if (status == STATUS_OK && strchr(t->id, '.'))
		status = blame(err, i, "id", "a task's id has no dots");
	if (status == STATUS_OK && definition_find(d, t->id) != i)
		status = blame(err, i, "id", "another task has this id");
	if (status == STATUS_OK && (!*t->service || !*t->method))
		status =
			blame(err, i, *t->service ? "method_name" : "service", "it is missing");
	if (status == STATUS_OK && *t->service_ns &&
	    strcmp(t->service_ns, names_namespace_or_default(d->ns)))
		status = blame(err, i, "service.namespace",
			       "it is neither empty nor the workflow's namespace");
	if (status == STATUS_OK && *t->continuation_id)
		status = blame(err, i, "continuation_id", "continuations are not served yet");
	return status == STATUS_OK ? check_retry(t, i, err) : status;
}

static enum status check_dependencies(const struct workflow_definition *d, size_t i,
				      struct error *err)
{
	const struct workflow_task *t = &d->tasks[i];

	for (size_t k = 0; k < t->dependency_count; k++) {
		if (definition_find(d, t->dependencies[k]) == d->task_count)
			return blame(err, i, "dependencies",
				     "it names a task that is not there");
		for (size_t j = 0; j < k; j++)
			if (!strcmp(t->dependencies[j], t->dependencies[k]))
				return blame(err, i, "dependencies", "it names a task twice");
	}
	return STATUS_OK;
}

/* Tasks whose dependencies are all ordered are ordered next; what is left is a cycle. */
static enum status check_acyclic(const struct workflow_definition *d, struct error *err)
{
	bool ordered[DEFINITION_MAX_TASKS] = {false}, progress = true;
	size_t done = 0;

	while (progress) {
		progress = false;
		for (size_t i = 0; i < d->task_count; i++) {
			const struct workflow_task *t = &d->tasks[i];
			bool ready = !ordered[i];
			for (size_t k = 0; ready && k < t->dependency_count; k++)
				ready = ordered[definition_find(d, t->dependencies[k])];
			if (ready) {
				ordered[i] = progress = true;
				done++;
			}
		}
	}
	for (size_t i = 0; done < d->task_count && i < d->task_count; i++)
		if (!ordered[i])
			return blame(err, i, "dependencies",
				     "tasks depend on each other in a "
				     "circle");
	return STATUS_OK;
}

enum status definition_check_graph(const struct workflow_definition *d, struct error *err)
{
	enum status status = names_check_namespace(d->ns, "namespace", err);

	if (status == STATUS_OK)
		status = names_check_collection(d->name, "name", err);
	if (status == STATUS_OK && !d->task_count)
		status = error_field(err, "tasks", "a workflow has at least one task");
	if (status == STATUS_OK && d->task_count > DEFINITION_MAX_TASKS)
		status = error_field(err, "tasks", "a workflow has at most %d tasks",
				     DEFINITION_MAX_TASKS);
	for (size_t i = 0; i < d->task_count && status == STATUS_OK; i++)
		status = check_task(d, i, err);
	for (size_t i = 0; i < d->task_count && status == STATUS_OK; i++)
		status = check_dependencies(d, i, err);
	return status == STATUS_OK ? check_acyclic(d, err) : status;
}

bool definition_depends(const struct workflow_definition *d, size_t task, const char *other)
{
	size_t stack[DEFINITION_MAX_TASKS], depth = 0;
	bool seen[DEFINITION_MAX_TASKS] = {false};

	stack[depth++] = task;
	while (depth) {
		const struct workflow_task *t = &d->tasks[stack[--depth]];
		for (size_t k = 0; k < t->dependency_count; k++) {
			size_t next = definition_find(d, t->dependencies[k]);
			if (!strcmp(t->dependencies[k], other))
				return true;
			if (next < d->task_count && !seen[next]) {
				seen[next] = true;
				stack[depth++] = next;
			}
		}
	}
	return false;
}

/* -------------------------------------------------------------------- types */

static const struct pool_method *method_of(const struct workflow_task *t,
					   const struct pool *pool)
{
	const struct pool_service *s = pool_service(pool, t->service, strlen(t->service));

	return s ? pool_method(s, t->method, strlen(t->method)) : NULL;
}

struct before {
	const struct workflow_definition *definition;
	const struct pool *pool;
	size_t task;
};

static bool output_of_task(void *arg, const char *id, const struct pool_message **ret_type)
{
	const struct before *b = arg;
	const struct workflow_definition *d = b->definition;
	size_t i = definition_find(d, id);
	const struct pool_method *m;

	if (i == d->task_count || !definition_depends(d, b->task, id))
		return false;
	m = method_of(&d->tasks[i], b->pool);
	*ret_type = m ? m->output : NULL;
	return true;
}

static bool is_type(const struct pool_message *m, const char *name)
{
	return !*name || !strcmp(m->full_name, name);
}

/* Without a template, something of the input's type must be there to be passed on. */
static enum status check_passing(const struct workflow_definition *d, size_t i,
				 const struct pool *pool, const struct pool_method *m,
				 struct error *err)
{
	const struct workflow_task *t = &d->tasks[i];
	const struct pool_method *before =
		t->dependency_count == 1
			? method_of(&d->tasks[definition_find(d, t->dependencies[0])], pool)
			: NULL;

	if (!*d->input_type || !strcmp(d->input_type, m->input->full_name) ||
	    !m->input->field_count || (before && before->output == m->input))
		return STATUS_OK;
	return blame(
		err, i, "input_config",
		"it is needed: neither the workflow's input nor the only dependency's output "
		"has the method's input type");
}

static enum status check_task_types(const struct workflow_definition *d, size_t i,
				    const struct pool *pool, const struct pool_message *input,
				    struct error *err)
{
	const struct workflow_task *t = &d->tasks[i];
	const struct pool_method *m = method_of(t, pool);
	struct before before = {d, pool, i};
	struct template_types types = {pool, input, output_of_task, &before};
	enum status status;

	if (!m)
		return blame(err, i, "method_name", "the method is not registered");
	if (m->client_streaming || m->server_streaming)
		return blame(err, i, "method_name", "a task's method is unary");
	if (!is_type(m->input, t->input_type))
		return blame(err, i, "input_type", "the method takes another type");
	if (!is_type(m->output, t->output_type))
		return blame(err, i, "output_type", "the method returns another type");
	if (!t->has_template)
		return check_passing(d, i, pool, m, err);
	status = template_check(&types, t->template_struct, m->input, err);
	if (status != STATUS_OK) {
		char why[sizeof(err->message)];
		snprintf(why, sizeof(why), "%s", err->message);
		return blame(err, i, "input_config", why);
	}
	return STATUS_OK;
}

enum status definition_check_types(const struct workflow_definition *d, const struct pool *pool,
				   struct error *err)
{
	const struct pool_message *input = NULL;
	enum status status = STATUS_OK;

	if (*d->input_type) {
		input = pool_message(pool, d->input_type, strlen(d->input_type));
		if (!input)
			return error_field(err, "input_type.message_name",
					   "%s is not registered", d->input_type);
	}
	if (*d->output_type && !pool_message(pool, d->output_type, strlen(d->output_type)))
		return error_field(err, "output_type.message_name", "%s is not registered",
				   d->output_type);
	for (size_t i = 0; i < d->task_count && status == STATUS_OK; i++)
		status = check_task_types(d, i, pool, input, err);
	return status;
}
