/* GetJsonSchema. */
#include <string.h>

#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "common/reflect/schema.h"
#include "common/rpc/call.h"
#include "services/registry/catalog.h"
#include "services/registry/rpc_shared.h"

static void reply_schema(const struct pool *pool, const struct pool_message *m,
			 Collector__GetJsonSchemaResponse_Closure reply_to, void *call)
{
	Collector__GetJsonSchemaResponse reply = COLLECTOR__GET_JSON_SCHEMA_RESPONSE__INIT;
	AUTO_STRBUF schema = STRBUF_INIT, skeleton = STRBUF_INIT;
	struct error err;

	if (schema_json(pool, m, &schema, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	if (schema_skeleton(m, &skeleton, &err) != STATUS_OK)
		strbuf_reset(&skeleton); /* there is none: the answer says so */
	reply.status = registry_rpc_ok(rpc_arena(call));
	reply.json_schema = schema.buf;
	reply.skeleton = (char *)strbuf_str(&skeleton);
	reply.file_name = (char *)m->file->name;
	reply_to(&reply, call);
}

static void get_json_schema(Collector__CollectorRegistry_Service *service,
			    const Collector__GetJsonSchemaRequest *request,
			    Collector__GetJsonSchemaResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	const char *name = request->message_name;
	const struct pool_message *m;
	struct snapshot *snapshot;
	struct error err;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK ||
	    names_check_symbol(name, "message_name", &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	snapshot = catalog_snapshot(registry_rpc_catalog(service), ns);
	m = pool_message(snapshot->pool, name, strlen(name));
	if (m)
		reply_schema(snapshot->pool, m, reply_to, call);
	else
		rpc_fail(call, STATUS_NOT_FOUND, "message %s is not registered in namespace %s",
			 name, ns);
	snapshot_unref(snapshot);
}

void registry_rpc_set_schema_methods(struct registry_rpc *r)
{
	r->service.get_json_schema = get_json_schema;
}
