#include "services/registry/registered.h"

#include <string.h>

#include "common/base/strbuf.h"
#include "common/reflect/declaration.h"
#include "common/reflect/pool.h"
#include "common/rpc/client.h"
#include "services/registry/snapshot.h"

Google__Protobuf__Timestamp *registered_time(struct arena *arena, int64_t unix_us)
{
	Google__Protobuf__Timestamp *stamp = arena_alloc(arena, sizeof(*stamp));

	google__protobuf__timestamp__init(stamp);
	stamp->seconds = unix_us / 1000000;
	stamp->nanos = (int32_t)(unix_us % 1000000 * 1000);
	return stamp;
}

Collector__Metadata *registered_metadata(struct arena *arena, int64_t created_us,
					 int64_t updated_us)
{
	Collector__Metadata *m = arena_alloc(arena, sizeof(*m));

	collector__metadata__init(m);
	m->created_at = registered_time(arena, created_us);
	m->updated_at = registered_time(arena, updated_us);
	return m;
}

char **registered_message_names(struct arena *arena, const struct pool_file *f,
				size_t *ret_count)
{
	char **names = arena_alloc(arena, (f->message_count + 1) * sizeof(*names));

	*ret_count = 0;
	for (uint32_t i = 0; i < f->message_count; i++)
		if (!f->messages[i].is_map_entry)
			names[(*ret_count)++] = arena_strdup(arena, f->messages[i].full_name);
	return names;
}

char **registered_service_names(struct arena *arena, const struct pool_file *f,
				size_t *ret_count)
{
	char **names = arena_alloc(arena, (f->service_count + 1) * sizeof(*names));

	for (uint32_t i = 0; i < f->service_count; i++)
		names[i] = arena_strdup(arena, f->services[i].full_name);
	*ret_count = f->service_count;
	return names;
}

static char **registered_enum_names(struct arena *arena, const struct pool_file *f,
				    size_t *ret_count)
{
	char **names = arena_alloc(arena, (f->enum_count + 1) * sizeof(*names));

	for (uint32_t i = 0; i < f->enum_count; i++)
		names[i] = arena_strdup(arena, f->enums[i].full_name);
	*ret_count = f->enum_count;
	return names;
}

Collector__MethodInfo *registered_method(struct arena *arena, const struct pool *pool,
					 const struct pool_method *m)
{
	Collector__MethodInfo *info = arena_alloc(arena, sizeof(*info));
	AUTO_STRBUF comment = STRBUF_INIT;

	collector__method_info__init(info);
	info->name = arena_strdup(arena, m->name);
	info->input_type = arena_strdup(arena, m->input->full_name);
	info->output_type = arena_strdup(arena, m->output->full_name);
	info->client_streaming = m->client_streaming;
	info->server_streaming = m->server_streaming;
	info->idempotency_level = (Collector__MethodInfo__IdempotencyLevel)m->idempotency;
	pool_comment(pool, m->full_name, strlen(m->full_name), &comment);
	info->comment = arena_strdup(arena, strbuf_str(&comment));
	return info;
}

Collector__RegisteredService *registered_service(const struct snapshot *snapshot,
						 const char *ns, struct arena *arena,
						 const struct pool_service *s)
{
	Collector__RegisteredService *r = arena_alloc(arena, sizeof(*r));
	const struct snapshot_file *file = snapshot_find(snapshot, s->file->name);
	ProtobufCMessage *descriptor;
	struct error err;

	collector__registered_service__init(r);
	r->id = arena_printf(arena, "%s/%s", ns, s->full_name);
	r->namespace_ = arena_strdup(arena, ns);
	r->service_name = arena_strdup(arena, s->full_name);
	r->file_name = arena_strdup(arena, s->file->name);
	r->n_method_names = r->n_methods = s->method_count;
	r->method_names = arena_alloc(arena, (s->method_count + 1) * sizeof(*r->method_names));
	r->methods = arena_alloc(arena, (s->method_count + 1) * sizeof(*r->methods));
	for (uint32_t i = 0; i < s->method_count; i++) {
		r->method_names[i] = arena_strdup(arena, s->methods[i].name);
		r->methods[i] = registered_method(arena, snapshot->pool, &s->methods[i]);
	}
	if (rpc_unpack(&google__protobuf__service_descriptor_proto__descriptor,
		       declaration_of_service(s), arena, &descriptor, &err) == STATUS_OK)
		r->service_descriptor = (Google__Protobuf__ServiceDescriptorProto *)descriptor;
	if (file)
		r->metadata = registered_metadata(arena, file->created_us, file->changed_us);
	return r;
}

Collector__RegisteredProto *registered_proto(const struct snapshot *snapshot, const char *ns,
					     struct arena *arena, const struct pool_file *f)
{
	Collector__RegisteredProto *r = arena_alloc(arena, sizeof(*r));
	const struct snapshot_file *file = snapshot_find(snapshot, f->name);

	collector__registered_proto__init(r);
	r->id = arena_printf(arena, "%s/%s", ns, f->name);
	r->namespace_ = arena_strdup(arena, ns);
	r->file_name = arena_strdup(arena, f->name);
	r->message_names = registered_message_names(arena, f, &r->n_message_names);
	r->enum_names = registered_enum_names(arena, f, &r->n_enum_names);
	r->service_names = registered_service_names(arena, f, &r->n_service_names);
	r->dependencies =
		arena_alloc(arena, (f->dependency_count + 1) * sizeof(*r->dependencies));
	for (uint32_t i = 0; i < f->dependency_count; i++)
		r->dependencies[r->n_dependencies++] =
			arena_strdup(arena, f->dependencies[i]->name);
	if (file) {
		r->version = file->newest->version;
		r->metadata = registered_metadata(arena, file->created_us, file->changed_us);
	}
	return r;
}
