#include <inttypes.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/client/type_cache.h"
#include "common/client/workflow_records.h"
#include "common/reflect/pool.h"
#include "common/rpc/server.h"
#include "services/worker/definition.h"
#include "services/worker/rpc_shared.h"

enum { DEFINE_TRIES = 8 };

static Google__Protobuf__Timestamp *stamp(struct arena *arena, uint64_t unix_us)
{
	Google__Protobuf__Timestamp *t = arena_alloc(arena, sizeof(*t));

	google__protobuf__timestamp__init(t);
	t->seconds = (int64_t)(unix_us / 1000000);
	t->nanos = (int32_t)(unix_us % 1000000 * 1000);
	return t;
}

/* The newest version, or @version. NOT_FOUND names the workflow. */
enum status worker_rpc_find_definition(struct worker_rpc *w, void *call, const char *ns,
				       const char *name, int64_t version,
				       struct repo_record *ret, struct error *err)
{
	struct rpc_options options = worker_rpc_options(call);
	struct arena *arena = rpc_arena(call);
	AUTO_STRBUF filter = STRBUF_INIT;
	struct repo_page page;
	enum status status;

	strbuf_addch(&filter, '{');
	worker_rpc_add_equals(&filter, "namespace", ns);
	worker_rpc_add_equals(&filter, "name", name);
	if (version)
		strbuf_addf(&filter, ", \"version\": \"%" PRId64 "\"", version);
	strbuf_addch(&filter, '}');
	status =
		repo_client_list(w->repo, "system", WORKFLOW_DEFINITIONS_COLLECTION, filter.buf,
				 "version desc", 1, "", &options, arena, &page, err);
	if (status != STATUS_OK)
		return status;
	if (!page.count)
		return error_set(err, STATUS_NOT_FOUND,
				 "workflow %s is not defined in namespace %s", name, ns);
	*ret = page.records[0];
	return STATUS_OK;
}

static enum status check_definition(struct worker_rpc *w, void *call, const char *ns,
				    struct bytes packed, struct error *err)
{
	struct rpc_options options = worker_rpc_options(call);
	struct workflow_definition d;
	struct pool *pool;
	enum status status = workflow_definition_unpack(packed, rpc_arena(call), &d, err);

	if (status == STATUS_OK)
		status = definition_check_graph(&d, err);
	if (status == STATUS_OK)
		status = type_cache_current(w->types, ns, &options, &pool, err);
	if (status != STATUS_OK)
		return status;
	status = definition_check_types(&d, pool, err);
	pool_unref(pool);
	return status;
}

/* Store it as the next version; another may take that version first. */
static enum status store_definition(struct worker_rpc *w, void *call,
				    Collector__WorkflowDefinition *d, struct error *err)
{
	struct rpc_options options = worker_rpc_options(call);
	struct arena *arena = rpc_arena(call);
	enum status status = STATUS_ABORTED;

	for (int i = 0; i < DEFINE_TRIES; i++) {
		struct repo_record newest;
		struct workflow_definition before = {.version = 0};
		status = worker_rpc_find_definition(w, call, d->namespace_, d->name, 0, &newest,
						    err);
		if (status == STATUS_OK)
			status = workflow_definition_unpack(newest.item, arena, &before, err);
		if (status != STATUS_OK && status != STATUS_NOT_FOUND)
			return status;
		d->version = before.version + 1;
		d->id = arena_printf(arena, "%s/%s/%" PRId64, d->namespace_, d->name,
				     d->version);
		status = repo_client_create(w->repo, "system", WORKFLOW_DEFINITIONS_COLLECTION,
					    d->id, WORKFLOW_DEFINITION_TYPE,
					    rpc_pack(&d->base, arena), &options, arena, NULL,
					    NULL, err);
		if (status != STATUS_ALREADY_EXISTS)
			return status;
	}
	return error_set(err, STATUS_ABORTED, "%s is being redefined by many at once", d->name);
}

static void define_workflow(Collector__CollectiveWorker_Service *service,
			    const Collector__DefineWorkflowRequest *request,
			    Collector__DefineWorkflowResponse_Closure reply_to, void *call)
{
	struct worker_rpc *w = worker_rpc_of(service);
	struct arena *arena = rpc_arena(call);
	Collector__DefineWorkflowResponse reply = COLLECTOR__DEFINE_WORKFLOW_RESPONSE__INIT;
	Collector__WorkflowDefinition *d = request->definition;
	Collector__Metadata metadata = COLLECTOR__METADATA__INIT;
	struct error err;
	enum status status;

	if (!d) {
		error_field(&err, "definition", "there is no definition");
		rpc_fail_error(call, &err);
		return;
	}
	status = names_check_namespace(d->namespace_, "namespace", &err);
	if (status == STATUS_OK) {
		d->namespace_ = (char *)names_namespace_or_default(d->namespace_);
		if (!d->metadata)
			d->metadata = &metadata;
		d->metadata->created_at = stamp(arena, clock_unix_us());
		status = check_definition(w, call, d->namespace_, rpc_pack(&d->base, arena),
					  &err);
	}
	if (status != STATUS_OK) {
		error_prefix_field(&err, err.field[0] ? "definition" : "");
		rpc_fail_error(call, &err);
		return;
	}
	if (!request->validate_only && store_definition(w, call, d, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = worker_rpc_ok(arena);
	reply.definition = d;
	reply_to(&reply, call);
}

static void get_definition(Collector__CollectiveWorker_Service *service,
			   const Collector__GetWorkflowDefinitionRequest *request,
			   Collector__GetWorkflowDefinitionResponse_Closure reply_to,
			   void *call)
{
	Collector__GetWorkflowDefinitionResponse reply =
		COLLECTOR__GET_WORKFLOW_DEFINITION_RESPONSE__INIT;
	ProtobufCMessage *message;
	struct repo_record record;
	struct error err;
	enum status status = names_check_namespace(request->namespace_, "namespace", &err);

	if (status == STATUS_OK)
		status = names_check_collection(request->name, "name", &err);
	if (status == STATUS_OK)
		status = worker_rpc_find_definition(
			worker_rpc_of(service), call,
			names_namespace_or_default(request->namespace_), request->name,
			request->version, &record, &err);
	if (status == STATUS_OK)
		status = worker_rpc_unpack(&collector__workflow_definition__descriptor,
					   record.item, call, &message, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = worker_rpc_ok(rpc_arena(call));
	reply.definition = (Collector__WorkflowDefinition *)message;
	reply_to(&reply, call);
}

static void list_definitions(Collector__CollectiveWorker_Service *service,
			     const Collector__ListWorkflowDefinitionsRequest *request,
			     Collector__ListWorkflowDefinitionsResponse_Closure reply_to,
			     void *call)
{
	Collector__ListWorkflowDefinitionsResponse reply =
		COLLECTOR__LIST_WORKFLOW_DEFINITIONS_RESPONSE__INIT;
	AUTO_STRBUF filter = STRBUF_INIT;
	ProtobufCMessage **messages = NULL;
	struct repo_page page;
	struct error err;
	enum status status = names_check_namespace(request->namespace_, "namespace", &err);

	strbuf_addch(&filter, '{');
	worker_rpc_add_equals(&filter, "namespace",
			      names_namespace_or_default(request->namespace_));
	strbuf_addch(&filter, '}');
	if (status == STATUS_OK)
		status = worker_rpc_list(
			worker_rpc_of(service), call, WORKFLOW_DEFINITIONS_COLLECTION,
			filter.buf, "name, version", request->page_size, request->page_token,
			&collector__workflow_definition__descriptor, &messages, &page, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = worker_rpc_ok(rpc_arena(call));
	reply.definitions = (Collector__WorkflowDefinition **)messages;
	reply.n_definitions = page.count;
	reply.next_page_token = (char *)page.next_page_token;
	reply_to(&reply, call);
}

void worker_rpc_set_definition_methods(struct worker_rpc *w)
{
	w->service.define_workflow = define_workflow;
	w->service.get_workflow_definition = get_definition;
	w->service.list_workflow_definitions = list_definitions;
}
