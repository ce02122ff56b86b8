#include "services/console/ctl/describe.h"

#include <string.h>

#include "common/client/registry_client.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/proto_text.h"
#include "services/console/ctl/session.h"

/* Everything of the namespace is known afterwards: files are asked for by name. */
static enum status fetch_namespace(struct session *s, struct error *err)
{
	struct rpc_options options = session_options(s);
	struct registry_descriptors all;
	struct pool *more;
	bool changed;
	enum status status = registry_client_descriptors_of_namespace(
		s->front_door, s->ns, -1, &options, &s->arena, &changed, &all, err);

	if (status == STATUS_OK)
		status = pool_extend_set(s->types, all.file_descriptor_set, &more, err);
	if (status != STATUS_OK)
		return status;
	pool_unref(s->types);
	s->types = more;
	return STATUS_OK;
}

static enum status put_descriptor_json(struct session *s, const char *name, struct strbuf *out,
				       struct error *err)
{
	static const char type[] = "google.protobuf.FileDescriptorProto";
	const struct pool_file *file = pool_file(s->types, name, strlen(name));
	enum status status;

	if (!file)
		file = pool_file_of_symbol(s->types, name, strlen(name));
	if (!file)
		return error_set(err, STATUS_NOT_FOUND, "nothing is registered as %s", name);
	status = wire_to_json(s->types, pool_message(s->types, type, sizeof(type) - 1),
			      file->bytes, 0, out, err);
	strbuf_addch(out, '\n');
	return status;
}

enum status describe_symbol(struct session *s, const char *name, bool as_json,
			    struct strbuf *out, struct error *err)
{
	size_t len = strlen(name);
	const struct pool_file *file;

	if (!pool_file_of_symbol(s->types, name, len) && !pool_file(s->types, name, len)) {
		enum status status = fetch_namespace(s, err);
		if (status != STATUS_OK)
			return status;
	}
	if (as_json)
		return put_descriptor_json(s, name, out, err);
	file = pool_file(s->types, name, len);
	if (file) {
		proto_text_file(s->types, file, out);
		return STATUS_OK;
	}
	if (!pool_file_of_symbol(s->types, name, len))
		return error_set(err, STATUS_NOT_FOUND,
				 "nothing is registered as %s in namespace %s", name, s->ns);
	return proto_text_symbol(s->types, name, len, out, err);
}
