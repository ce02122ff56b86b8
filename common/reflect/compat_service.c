#include <string.h>

#include "common/reflect/compat_rules.h"

static const struct compat_rule no_delete = {"RPC_NO_DELETE", COMPAT_SOURCE};
static const struct compat_rule same_request = {"RPC_SAME_REQUEST_TYPE", FROM_WIRE};
static const struct compat_rule same_response = {"RPC_SAME_RESPONSE_TYPE", FROM_WIRE};
static const struct compat_rule same_client_streaming = {"RPC_SAME_CLIENT_STREAMING",
							 FROM_WIRE};
static const struct compat_rule same_server_streaming = {"RPC_SAME_SERVER_STREAMING",
							 FROM_WIRE};
static const struct compat_rule same_idempotency = {"RPC_SAME_IDEMPOTENCY_LEVEL", FROM_WIRE};

static const char *idempotency_name(const struct pool_method *m)
{
	switch ((enum pool_idempotency)m->idempotency) {
	case POOL_NO_SIDE_EFFECTS:
		return "NO_SIDE_EFFECTS";
	case POOL_IDEMPOTENT:
		return "IDEMPOTENT";
	case POOL_IDEMPOTENCY_UNKNOWN:
	default:
		return "IDEMPOTENCY_UNKNOWN";
	}
}

static void check_types(struct compat *c, const struct pool_method *was,
			const struct pool_method *is)
{
	if (strcmp(was->input->full_name, is->input->full_name) != 0)
		compat_add(c, &same_request, is->service->file, is->full_name,
			   "the method's request changes from %s to %s", was->input->full_name,
			   is->input->full_name);
	if (strcmp(was->output->full_name, is->output->full_name) != 0)
		compat_add(c, &same_response, is->service->file, is->full_name,
			   "the method's response changes from %s to %s",
			   was->output->full_name, is->output->full_name);
}

static void check_method(struct compat *c, const struct pool_method *was,
			 const struct pool_method *is)
{
	static const char *const how_many[] = {"a single message", "a stream"};

	check_types(c, was, is);
	if (was->client_streaming != is->client_streaming)
		compat_add(c, &same_client_streaming, is->service->file, is->full_name,
			   "the method's request changes from %s to %s",
			   how_many[was->client_streaming], how_many[is->client_streaming]);
	if (was->server_streaming != is->server_streaming)
		compat_add(c, &same_server_streaming, is->service->file, is->full_name,
			   "the method's response changes from %s to %s",
			   how_many[was->server_streaming], how_many[is->server_streaming]);
	if (was->idempotency != is->idempotency)
		compat_add(c, &same_idempotency, is->service->file, is->full_name,
			   "the method's idempotency_level changes from %s to %s",
			   idempotency_name(was), idempotency_name(is));
}

void compat_service(struct compat *c, const struct pool_service *was,
		    const struct pool_service *is)
{
	for (uint32_t i = 0; i < was->method_count && !c->truncated; i++) {
		const struct pool_method *m = &was->methods[i];
		const struct pool_method *now = pool_method(is, m->name, strlen(m->name));

		if (now)
			check_method(c, m, now);
		else
			compat_add(c, &no_delete, is->file, m->full_name, "the method is gone");
	}
}
