/* LookupMessage, LookupEnum, LookupMethod, LookupExtension. */
#include <string.h>

#include "common/base/names.h"
#include "common/reflect/declaration.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "services/registry/catalog.h"
#include "services/registry/registered.h"
#include "services/registry/rpc_shared.h"

/* What a lookup needs, held while it answers. */
struct lookup {
	void *call;
	struct arena *arena;
	const char *ns;
	struct snapshot *snapshot;
	const struct pool *pool; /* of the snapshot */
};

/* False: it was answered, with an error. @field names @symbol in the request. */
static bool begin(struct lookup *l, Collector__CollectorRegistry_Service *service,
		  const char *ns, const char *symbol, const char *field, void *call)
{
	struct error err;

	if (names_check_namespace(ns, "namespace", &err) != STATUS_OK ||
	    names_check_symbol(symbol, field, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return false;
	}
	l->call = call;
	l->arena = rpc_arena(call);
	l->ns = names_namespace_or_default(ns);
	l->snapshot = catalog_snapshot(registry_rpc_catalog(service), l->ns);
	l->pool = l->snapshot->pool;
	return true;
}

static void end(struct lookup *l)
{
	snapshot_unref(l->snapshot);
}

static void not_found(struct lookup *l, const char *what, const char *name)
{
	rpc_fail(l->call, STATUS_NOT_FOUND, "%s %s is not registered in namespace %s", what,
		 name, l->ns);
}

/* A symbol's own descriptor. What a pool holds unpacks; NULL: it is too large to. */
static ProtobufCMessage *unpacked(struct lookup *l, const ProtobufCMessageDescriptor *type,
				  struct bytes declaration)
{
	ProtobufCMessage *m;
	struct error err;

	if (rpc_unpack(type, declaration, l->arena, &m, &err) == STATUS_OK)
		return m;
	rpc_fail_error(l->call, &err);
	return NULL;
}

static char *comment_of(struct lookup *l, const char *symbol)
{
	AUTO_STRBUF text = STRBUF_INIT;

	pool_comment(l->pool, symbol, strlen(symbol), &text);
	return arena_strdup(l->arena, strbuf_str(&text));
}

static void lookup_message(Collector__CollectorRegistry_Service *service,
			   const Collector__LookupMessageRequest *request,
			   Collector__LookupMessageResponse_Closure reply_to, void *call)
{
	Collector__LookupMessageResponse reply = COLLECTOR__LOOKUP_MESSAGE_RESPONSE__INIT;
	const char *name = request->message_name;
	const struct pool_message *m;
	struct lookup l;

	if (!begin(&l, service, request->namespace_, name, "message_name", call))
		return;
	m = pool_message(l.pool, name, strlen(name));
	if (!m) {
		not_found(&l, "message", name);
	} else {
		reply.message_descriptor = (Google__Protobuf__DescriptorProto *)unpacked(
			&l, &google__protobuf__descriptor_proto__descriptor,
			declaration_of_message(m));
		reply.status = registry_rpc_ok(l.arena);
		reply.file_name = arena_strdup(l.arena, m->file->name);
		reply.comment = comment_of(&l, name);
		if (reply.message_descriptor)
			reply_to(&reply, call);
	}
	end(&l);
}

static void lookup_enum(Collector__CollectorRegistry_Service *service,
			const Collector__LookupEnumRequest *request,
			Collector__LookupEnumResponse_Closure reply_to, void *call)
{
	Collector__LookupEnumResponse reply = COLLECTOR__LOOKUP_ENUM_RESPONSE__INIT;
	const char *name = request->enum_name;
	const struct pool_enum *e;
	struct lookup l;

	if (!begin(&l, service, request->namespace_, name, "enum_name", call))
		return;
	e = pool_enum(l.pool, name, strlen(name));
	if (!e) {
		not_found(&l, "enum", name);
	} else {
		reply.enum_descriptor = (Google__Protobuf__EnumDescriptorProto *)unpacked(
			&l, &google__protobuf__enum_descriptor_proto__descriptor,
			declaration_of_enum(e));
		reply.status = registry_rpc_ok(l.arena);
		reply.file_name = arena_strdup(l.arena, e->file->name);
		reply.comment = comment_of(&l, name);
		if (reply.enum_descriptor)
			reply_to(&reply, call);
	}
	end(&l);
}

static void lookup_method(Collector__CollectorRegistry_Service *service,
			  const Collector__LookupMethodRequest *request,
			  Collector__LookupMethodResponse_Closure reply_to, void *call)
{
	Collector__LookupMethodResponse reply = COLLECTOR__LOOKUP_METHOD_RESPONSE__INIT;
	const struct pool_service *s;
	const struct pool_method *m;
	struct lookup l;

	if (!begin(&l, service, request->namespace_, request->service_name, "service_name",
		   call))
		return;
	s = pool_service(l.pool, request->service_name, strlen(request->service_name));
	m = s ? pool_method(s, request->method_name, strlen(request->method_name)) : NULL;
	if (!s) {
		not_found(&l, "service", request->service_name);
	} else if (!m) {
		rpc_fail(call, STATUS_NOT_FOUND, "service %s has no method %s",
			 request->service_name, request->method_name);
	} else {
		reply.status = registry_rpc_ok(l.arena);
		reply.method = registered_method(l.arena, l.pool, m);
		reply.file_name = arena_strdup(l.arena, s->file->name);
		reply_to(&reply, call);
	}
	end(&l);
}

static void reply_extension(struct lookup *l, const struct pool_field *f,
			    Collector__LookupExtensionResponse_Closure reply_to)
{
	Collector__LookupExtensionResponse reply = COLLECTOR__LOOKUP_EXTENSION_RESPONSE__INIT;

	reply.field_descriptor = (Google__Protobuf__FieldDescriptorProto *)unpacked(
		l, &google__protobuf__field_descriptor_proto__descriptor,
		declaration_of_field(f));
	reply.status = registry_rpc_ok(l->arena);
	reply.extension_name = arena_strdup(l->arena, f->full_name);
	reply.file_name = arena_strdup(l->arena, f->file->name);
	if (reply.field_descriptor)
		reply_to(&reply, l->call);
}

/* By the message that it extends. */
static void lookup_extension_number(struct lookup *l, const char *message, int32_t number,
				    Collector__LookupExtensionResponse_Closure reply_to)
{
	const struct pool_message *m = pool_message(l->pool, message, strlen(message));
	const struct pool_field *f =
		m && number > 0 ? pool_field_by_number(l->pool, m, (uint32_t)number) : NULL;

	if (!m)
		not_found(l, "message", message);
	else if (!f || !f->is_extension)
		rpc_fail(l->call, STATUS_NOT_FOUND,
			 "no extension of %s with number %d is "
			 "registered in namespace %s",
			 message, (int)number, l->ns);
	else
		reply_extension(l, f, reply_to);
}

static void lookup_extension(Collector__CollectorRegistry_Service *service,
			     const Collector__LookupExtensionRequest *request,
			     Collector__LookupExtensionResponse_Closure reply_to, void *call)
{
	bool by_number = request->target_case ==
			 COLLECTOR__LOOKUP_EXTENSION_REQUEST__TARGET_EXTENDED_MESSAGE;
	const char *name = by_number ? request->extended_message : request->extension_name;
	const struct pool_field *f;
	struct lookup l;

	if (request->target_case == COLLECTOR__LOOKUP_EXTENSION_REQUEST__TARGET__NOT_SET) {
		struct error err;
		(void)error_field(&err, "extension_name",
				  "neither it nor extended_message is set");
		rpc_fail_error(call, &err);
		return;
	}
	if (!begin(&l, service, request->namespace_, name,
		   by_number ? "extended_message" : "extension_name", call))
		return;
	f = by_number ? NULL : pool_extension(l.pool, name, strlen(name));
	if (by_number)
		lookup_extension_number(&l, name, request->number, reply_to);
	else if (!f)
		not_found(&l, "extension", name);
	else
		reply_extension(&l, f, reply_to);
	end(&l);
}

void registry_rpc_set_lookup_methods(struct registry_rpc *r)
{
	r->service.lookup_message = lookup_message;
	r->service.lookup_enum = lookup_enum;
	r->service.lookup_method = lookup_method;
	r->service.lookup_extension = lookup_extension;
}
