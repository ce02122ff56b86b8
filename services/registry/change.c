#include "services/registry/change.h"

#include <stdio.h>
#include <string.h>

#include "common/reflect/pool.h"

static enum status breaks(struct error *err, const char *symbol, const char *what)
{
	error_set(err, STATUS_FAILED_PRECONDITION, "%s %s: what is registered must stay",
		  symbol, what);
	if (err)
		snprintf(err->field, sizeof(err->field), "%s", symbol);
	return STATUS_FAILED_PRECONDITION;
}

static bool same_name(const char *a, const char *b)
{
	return !strcmp(a, b);
}

static bool same_type(const struct pool_field *a, const struct pool_field *b)
{
	if (a->type != b->type || a->repeated != b->repeated ||
	    !a->type_message != !b->type_message || !a->type_enum != !b->type_enum)
		return false;
	if (a->type_message)
		return same_name(a->type_message->full_name, b->type_message->full_name);
	return !a->type_enum || same_name(a->type_enum->full_name, b->type_enum->full_name);
}

static enum status check_message(const struct pool_message *before, const struct pool *after,
				 struct error *err)
{
	const struct pool_message *m =
		pool_message(after, before->full_name, strlen(before->full_name));

	if (!m)
		return breaks(err, before->full_name, "is gone");
	for (uint32_t i = 0; i < before->field_count; i++) {
		const struct pool_field *old = &before->fields[i];
		const struct pool_field *f = pool_declared_field(m, old->number);
		if (!f)
			return breaks(err, old->full_name, "is gone");
		if (!same_name(old->name, f->name) || !same_name(old->json_name, f->json_name))
			return breaks(err, old->full_name, "has another name");
		if (!same_type(old, f))
			return breaks(err, old->full_name, "has another type");
	}
	return STATUS_OK;
}

static enum status check_enum(const struct pool_enum *before, const struct pool *after,
			      struct error *err)
{
	const struct pool_enum *e =
		pool_enum(after, before->full_name, strlen(before->full_name));

	if (!e)
		return breaks(err, before->full_name, "is gone");
	for (uint32_t i = 0; i < before->value_count; i++) {
		const struct pool_enum_value *old = &before->values[i];
		const struct pool_enum_value *value =
			pool_enum_value_by_name(e, old->name, old->name_len);
		if (!value || value->number != old->number)
			return breaks(err, before->full_name, "has lost or renumbered a value");
	}
	return STATUS_OK;
}

static enum status check_service(const struct pool_service *before, const struct pool *after,
				 struct error *err)
{
	const struct pool_service *s =
		pool_service(after, before->full_name, strlen(before->full_name));

	if (!s)
		return breaks(err, before->full_name, "is gone");
	for (uint32_t i = 0; i < before->method_count; i++) {
		const struct pool_method *old = &before->methods[i];
		const struct pool_method *m = pool_method(s, old->name, strlen(old->name));
		if (!m)
			return breaks(err, old->full_name, "is gone");
		if (!same_name(old->input->full_name, m->input->full_name) ||
		    !same_name(old->output->full_name, m->output->full_name) ||
		    old->client_streaming != m->client_streaming ||
		    old->server_streaming != m->server_streaming)
			return breaks(err, old->full_name, "takes or returns something else");
	}
	return STATUS_OK;
}

enum status change_check(const struct pool_file *before, const struct pool *after,
			 struct error *err)
{
	enum status status = STATUS_OK;

	for (uint32_t i = 0; i < before->message_count && status == STATUS_OK; i++)
		status = check_message(&before->messages[i], after, err);
	for (uint32_t i = 0; i < before->enum_count && status == STATUS_OK; i++)
		status = check_enum(&before->enums[i], after, err);
	for (uint32_t i = 0; i < before->service_count && status == STATUS_OK; i++)
		status = check_service(&before->services[i], after, err);
	return status;
}
