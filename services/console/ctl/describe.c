#include "services/console/ctl/describe.h"

#include <stdlib.h>
#include <string.h>

#include "common/client/registry_client.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "services/console/ctl/session.h"

static const char *const scalar_names[] = {
	[POOL_TYPE_DOUBLE] = "double",     [POOL_TYPE_FLOAT] = "float",
	[POOL_TYPE_INT64] = "int64",       [POOL_TYPE_UINT64] = "uint64",
	[POOL_TYPE_INT32] = "int32",       [POOL_TYPE_FIXED64] = "fixed64",
	[POOL_TYPE_FIXED32] = "fixed32",   [POOL_TYPE_BOOL] = "bool",
	[POOL_TYPE_STRING] = "string",     [POOL_TYPE_GROUP] = "group",
	[POOL_TYPE_BYTES] = "bytes",       [POOL_TYPE_UINT32] = "uint32",
	[POOL_TYPE_SFIXED32] = "sfixed32", [POOL_TYPE_SFIXED64] = "sfixed64",
	[POOL_TYPE_SINT32] = "sint32",     [POOL_TYPE_SINT64] = "sint64",
};

static void indent(struct strbuf *out, int depth)
{
	while (depth--)
		strbuf_addstr(out, "  ");
}

/* The comment of a symbol as lines of `//`. */
static void put_comment(const struct pool *pool, const char *symbol, int depth,
			struct strbuf *out)
{
	AUTO_STRBUF text = STRBUF_INIT;
	const char *line;

	pool_comment(pool, symbol, strlen(symbol), &text);
	line = strbuf_str(&text);
	while (*line) {
		size_t n = strcspn(line, "\n");
		indent(out, depth);
		strbuf_addf(out, "//%s%.*s\n", n && *line != ' ' ? " " : "", (int)n, line);
		line += n + (line[n] == '\n');
	}
}

static const char *type_name(const struct pool_field *f)
{
	if (f->type_message)
		return f->type_message->full_name;
	return f->type_enum ? f->type_enum->full_name : scalar_names[f->type];
}

static void put_field(const struct pool *pool, const struct pool_field *f, bool in_oneof,
		      int depth, struct strbuf *out)
{
	bool optional = f->has_presence && !f->type_message && !in_oneof && !f->required;

	put_comment(pool, f->full_name, depth, out);
	indent(out, depth);
	if (f->is_map)
		strbuf_addf(out, "map<%s, %s>",
			    type_name(pool_declared_field(f->type_message, 1)),
			    type_name(pool_declared_field(f->type_message, 2)));
	else
		strbuf_addf(out, "%s%s",
			    f->repeated   ? "repeated "
			    : f->required ? "required "
			    : optional    ? "optional "
					  : "",
			    type_name(f));
	strbuf_addf(out, " %s = %u;\n", f->name, f->number);
}

static void put_enum(const struct pool *pool, const struct pool_enum *e, int depth,
		     struct strbuf *out)
{
	put_comment(pool, e->full_name, depth, out);
	indent(out, depth);
	strbuf_addf(out, "enum %s {\n", e->name);
	for (uint32_t i = 0; i < e->value_count; i++) {
		AUTO_STRBUF symbol = STRBUF_INIT;
		size_t scope = strlen(e->full_name) - strlen(e->name);
		strbuf_add(&symbol, e->full_name, scope);
		strbuf_addstr(&symbol, e->values[i].name);
		put_comment(pool, symbol.buf, depth + 1, out);
		indent(out, depth + 1);
		strbuf_addf(out, "%s = %d;\n", e->values[i].name, e->values[i].number);
	}
	indent(out, depth);
	strbuf_addstr(out, "}\n");
}

static int by_declaration(const void *a, const void *b)
{
	const struct pool_field *x = *(const struct pool_field *const *)a;
	const struct pool_field *y = *(const struct pool_field *const *)b;

	return x->declaration_index < y->declaration_index ? -1 : 1;
}

static void put_fields(const struct pool *pool, const struct pool_message *m, int depth,
		       struct arena *arena, struct strbuf *out)
{
	const struct pool_field **order =
		arena_alloc(arena, (m->field_count + 1) * sizeof(*order));
	int32_t open = -1;

	for (uint32_t i = 0; i < m->field_count; i++)
		order[i] = &m->fields[i];
	qsort(order, m->field_count, sizeof(*order), by_declaration);
	for (uint32_t i = 0; i < m->field_count; i++) {
		const struct pool_field *f = order[i];
		if (open >= 0 && f->oneof != open) {
			indent(out, depth);
			strbuf_addstr(out, "}\n");
		}
		if (f->oneof >= 0 && f->oneof != open) {
			indent(out, depth);
			strbuf_addf(out, "oneof %s {\n", m->oneofs[f->oneof].name);
		}
		open = f->oneof;
		put_field(pool, f, open >= 0, depth + (open >= 0), out);
	}
	if (open >= 0) {
		indent(out, depth);
		strbuf_addstr(out, "}\n");
	}
}

static void put_message(const struct pool *pool, const struct pool_message *m, int depth,
			struct arena *arena, struct strbuf *out)
{
	put_comment(pool, m->full_name, depth, out);
	indent(out, depth);
	strbuf_addf(out, "message %s {\n", m->name);
	put_fields(pool, m, depth + 1, arena, out);
	for (uint32_t i = 0; i < m->file->enum_count; i++)
		if (m->file->enums[i].parent == m)
			put_enum(pool, &m->file->enums[i], depth + 1, out);
	for (uint32_t i = 0; i < m->file->message_count; i++)
		if (m->file->messages[i].parent == m && !m->file->messages[i].is_map_entry)
			put_message(pool, &m->file->messages[i], depth + 1, arena, out);
	indent(out, depth);
	strbuf_addstr(out, "}\n");
}

static void put_method(const struct pool *pool, const struct pool_method *m, int depth,
		       struct strbuf *out)
{
	put_comment(pool, m->full_name, depth, out);
	indent(out, depth);
	strbuf_addf(out, "rpc %s(%s%s) returns (%s%s);\n", m->name,
		    m->client_streaming ? "stream " : "", m->input->full_name,
		    m->server_streaming ? "stream " : "", m->output->full_name);
}

static void put_service(const struct pool *pool, const struct pool_service *s,
			struct strbuf *out)
{
	put_comment(pool, s->full_name, 0, out);
	strbuf_addf(out, "service %s {\n", s->name);
	for (uint32_t i = 0; i < s->method_count; i++)
		put_method(pool, &s->methods[i], 1, out);
	strbuf_addstr(out, "}\n");
}

static void put_file(const struct pool *pool, const struct pool_file *f, struct arena *arena,
		     struct strbuf *out)
{
	strbuf_addf(out, "syntax = \"%s\";\n", f->is_proto3 ? "proto3" : "proto2");
	if (*f->package)
		strbuf_addf(out, "\npackage %s;\n", f->package);
	for (uint32_t i = 0; i < f->dependency_count; i++)
		strbuf_addf(out, "%simport \"%s\";\n", i ? "" : "\n", f->dependencies[i]->name);
	for (uint32_t i = 0; i < f->enum_count; i++)
		if (!f->enums[i].parent) {
			strbuf_addch(out, '\n');
			put_enum(pool, &f->enums[i], 0, out);
		}
	for (uint32_t i = 0; i < f->message_count; i++)
		if (!f->messages[i].parent) {
			strbuf_addch(out, '\n');
			put_message(pool, &f->messages[i], 0, arena, out);
		}
	for (uint32_t i = 0; i < f->service_count; i++) {
		strbuf_addch(out, '\n');
		put_service(pool, &f->services[i], out);
	}
}

static const struct pool_method *method_of_symbol(const struct pool *pool, const char *name)
{
	const char *dot = strrchr(name, '.');
	const struct pool_service *service =
		dot ? pool_service(pool, name, (size_t)(dot - name)) : NULL;

	return service ? pool_method(service, dot + 1, strlen(dot + 1)) : NULL;
}

static bool put_symbol(const struct pool *pool, const char *name, struct arena *arena,
		       struct strbuf *out)
{
	size_t len = strlen(name);
	const struct pool_message *message = pool_message(pool, name, len);
	const struct pool_enum *e = pool_enum(pool, name, len);
	const struct pool_service *service = pool_service(pool, name, len);
	const struct pool_file *file = pool_file(pool, name, len);
	const struct pool_method *method = method_of_symbol(pool, name);

	if (message)
		put_message(pool, message, 0, arena, out);
	else if (e)
		put_enum(pool, e, 0, out);
	else if (service)
		put_service(pool, service, out);
	else if (method)
		put_method(pool, method, 0, out);
	else if (file)
		put_file(pool, file, arena, out);
	return message || e || service || method || file;
}

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

	if (!pool_file_of_symbol(s->types, name, len) && !pool_file(s->types, name, len)) {
		enum status status = fetch_namespace(s, err);
		if (status != STATUS_OK)
			return status;
	}
	if (as_json)
		return put_descriptor_json(s, name, out, err);
	if (!put_symbol(s->types, name, &s->arena, out))
		return error_set(err, STATUS_NOT_FOUND,
				 "nothing is registered as %s in namespace %s", name, s->ns);
	return STATUS_OK;
}
