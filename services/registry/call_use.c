/* What a change breaks for those who serve methods, and for those who call them. */
#include <string.h>

#include "common/reflect/pool.h"
#include "services/registry/checking.h"
#include "services/registry/snapshot.h"

static const struct pool_service *service_in(const struct pool *pool, const char *name)
{
	return pool_service(pool, name, strlen(name));
}

static bool is_same_call(const struct pool_method *a, const struct pool_method *b)
{
	return !strcmp(a->input->full_name, b->input->full_name) &&
	       !strcmp(a->output->full_name, b->output->full_name) &&
	       a->client_streaming == b->client_streaming &&
	       a->server_streaming == b->server_streaming;
}

static enum status check_method(struct checking *c, const struct pool_method *was)
{
	const struct pool_service *service =
		service_in(c->change->after, was->service->full_name);
	const struct pool_method *is =
		service ? pool_method(service, was->name, strlen(was->name)) : NULL;
	enum status status;

	if (!is || !is_same_call(was, is)) {
		checking_hit(c, c->rule, was->full_name, was->service->file->name,
			     is ? "the method's types or its streaming change"
				: "the method goes");
		return STATUS_OK;
	}
	status = checking_values(c, &c->calls, c->rule, was->input, INT64_MAX - 1);
	if (status == STATUS_OK)
		status = checking_values(c, &c->calls, c->rule, was->output, INT64_MAX - 1);
	return status;
}

/* @method "": all of the service. */
static enum status check_call(struct checking *c, const char *service_name, const char *method)
{
	const struct pool_service *s = service_in(c->change->before->pool, service_name);
	enum status status = STATUS_OK;

	for (uint32_t i = 0; s && i < s->method_count && status == STATUS_OK; i++)
		if (!*method || !strcmp(method, s->methods[i].name))
			status = check_method(c, &s->methods[i]);
	return status;
}

enum status checking_handler(struct checking *c, const struct handler_record *r)
{
	if (strcmp(r->ns, c->change->ns) != 0)
		return STATUS_OK;
	c->rule = "HANDLER";
	c->user = arena_printf(&c->arena, "handler %s", r->id);
	return check_call(c, r->service, r->method);
}

static enum status check_type(struct checking *c, const char *type)
{
	const struct pool_message *before = checking_type_in(c->change->before->pool, type);

	if (!before)
		return STATUS_OK;
	if (checking_type_in(c->change->after, type))
		return checking_values(c, &c->calls, c->rule, before, INT64_MAX - 1);
	checking_hit(c, c->rule, type, before->file->name, "the type goes");
	return STATUS_OK;
}

enum status checking_workflow(struct checking *c, const struct workflow_definition *d)
{
	enum status status;

	c->rule = "WORKFLOW_DEFINITION";
	c->user = arena_printf(&c->arena, "workflow %s/%s", d->ns, d->name);
	status = check_type(c, d->input_type);
	if (status == STATUS_OK)
		status = check_type(c, d->output_type);
	for (size_t i = 0; i < d->task_count && status == STATUS_OK; i++) {
		const struct workflow_task *t = &d->tasks[i];
		checking_template(c, d, t);
		status = check_call(c, t->service, t->method);
		if (status == STATUS_OK)
			status = check_type(c, t->input_type);
		if (status == STATUS_OK)
			status = check_type(c, t->output_type);
	}
	return status;
}
