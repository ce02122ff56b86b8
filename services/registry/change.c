#include "services/registry/change.h"

#include <string.h>

#include "common/reflect/pool.h"

struct checking {
	const struct pool_file *before;
	const struct pool *after;
	enum policy policy;
	struct breakages *breakages;
};

static void breaks(const struct checking *c, enum policy level, const char *rule,
		   const char *symbol, const char *what)
{
	if (level > c->policy)
		return;
	breakages_add(c->breakages, &(struct breakage){.rule = rule,
						       .path = symbol,
						       .description = what,
						       .file_name = c->before->name,
						       .policy = level});
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

static void check_field(const struct checking *c, const struct pool_message *m,
			const struct pool_field *old)
{
	const struct pool_field *f = pool_declared_field(m, old->number);

	if (!f) {
		breaks(c, POLICY_WIRE_JSON, "FIELD_NO_DELETE", old->full_name, "it is gone");
		return;
	}
	if (!same_name(old->name, f->name) || !same_name(old->json_name, f->json_name))
		breaks(c, POLICY_WIRE_JSON, "FIELD_SAME_NAME", old->full_name,
		       "it has another name");
	if (!same_type(old, f))
		breaks(c, POLICY_WIRE, "FIELD_SAME_TYPE", old->full_name,
		       "it has another type");
}

static void check_message(const struct checking *c, const struct pool_message *before)
{
	const struct pool_message *m =
		pool_message(c->after, before->full_name, strlen(before->full_name));

	if (!m)
		breaks(c, POLICY_WIRE, "MESSAGE_NO_DELETE", before->full_name, "it is gone");
	for (uint32_t i = 0; m && i < before->field_count; i++)
		check_field(c, m, &before->fields[i]);
}

static void check_enum(const struct checking *c, const struct pool_enum *before)
{
	const struct pool_enum *e =
		pool_enum(c->after, before->full_name, strlen(before->full_name));

	if (!e)
		breaks(c, POLICY_WIRE, "ENUM_NO_DELETE", before->full_name, "it is gone");
	for (uint32_t i = 0; e && i < before->value_count; i++) {
		const struct pool_enum_value *old = &before->values[i];
		const struct pool_enum_value *value =
			pool_enum_value_by_name(e, old->name, old->name_len);
		if (!value || value->number != old->number)
			breaks(c, POLICY_WIRE_JSON, "ENUM_VALUE_NO_DELETE", before->full_name,
			       "it has lost or renumbered a value");
	}
}

static void check_method(const struct checking *c, const struct pool_service *s,
			 const struct pool_method *old)
{
	const struct pool_method *m = pool_method(s, old->name, strlen(old->name));

	if (!m)
		breaks(c, POLICY_WIRE, "RPC_NO_DELETE", old->full_name, "it is gone");
	else if (!same_name(old->input->full_name, m->input->full_name) ||
		 !same_name(old->output->full_name, m->output->full_name) ||
		 old->client_streaming != m->client_streaming ||
		 old->server_streaming != m->server_streaming)
		breaks(c, POLICY_WIRE, "RPC_SAME_REQUEST_TYPE", old->full_name,
		       "it takes or returns something else");
}

static void check_service(const struct checking *c, const struct pool_service *before)
{
	const struct pool_service *s =
		pool_service(c->after, before->full_name, strlen(before->full_name));

	if (!s)
		breaks(c, POLICY_WIRE, "SERVICE_NO_DELETE", before->full_name, "it is gone");
	for (uint32_t i = 0; s && i < before->method_count; i++)
		check_method(c, s, &before->methods[i]);
}

void change_check(const struct pool_file *before, const struct pool *after, enum policy policy,
		  struct breakages *breakages)
{
	const struct checking c = {before, after, policy, breakages};

	for (uint32_t i = 0; i < before->message_count; i++)
		check_message(&c, &before->messages[i]);
	for (uint32_t i = 0; i < before->enum_count; i++)
		check_enum(&c, &before->enums[i]);
	for (uint32_t i = 0; i < before->service_count; i++)
		check_service(&c, &before->services[i]);
}
