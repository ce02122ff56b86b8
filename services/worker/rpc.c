#include "services/worker/rpc.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "collector/worker.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/base/random.h"
#include "common/base/strbuf.h"
#include "common/client/repo_client.h"
#include "common/client/type_cache.h"
#include "common/client/workflow_records.h"
#include "common/daemon/daemon.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "common/rpc/server.h"
#include "services/worker/definition.h"
#include "services/worker/engine.h"
#include "services/worker/keeper.h"
#include "services/worker/rpc_shared.h"
#include "services/worker/run.h"

enum { DEFAULT_PAGE = 100, MAX_PAGE = 1000, MAX_LABELS = 64, MAX_RUN_ID_BYTES = 128 };

struct worker_rpc *worker_rpc_of(Collector__CollectiveWorker_Service *service)
{
	return (struct worker_rpc *)service;
}

Collector__Status *worker_rpc_ok(struct arena *arena)
{
	Collector__Status *status = arena_alloc(arena, sizeof(*status));

	collector__status__init(status);
	return status;
}

/* Everything here is written for the worker itself: system/ is the daemons'. */
struct rpc_options worker_rpc_options(void *call)
{
	return (struct rpc_options){.parent = call};
}

/* {"namespace": ns, "name": name} with whatever follows, as List takes it. */
void worker_rpc_add_equals(struct strbuf *filter, const char *path, const char *value)
{
	strbuf_addf(filter, "%s\"%s\": \"", filter->len > 1 ? ", " : "", path);
	strbuf_add_json_escaped(filter, value, strlen(value));
	strbuf_addch(filter, '"');
}

static enum status page_size_of(int32_t asked, int *ret_size, struct error *err)
{
	if (asked < 0)
		return error_field(err, "page_size", "%d is negative", (int)asked);
	*ret_size = asked == 0 ? DEFAULT_PAGE : asked > MAX_PAGE ? MAX_PAGE : asked;
	return STATUS_OK;
}

enum status worker_rpc_unpack(const ProtobufCMessageDescriptor *type, struct bytes item,
			      void *call, ProtobufCMessage **ret, struct error *err)
{
	enum status status = rpc_unpack(type, item, rpc_arena(call), ret, err);

	return status == STATUS_OK
		       ? status
		       : error_set(err, STATUS_DATA_LOSS, "a stored record is damaged");
}

/* A page of @collection as messages; the array is in the call's arena. */
enum status worker_rpc_list(struct worker_rpc *w, void *call, const char *collection,
			    const char *filter, const char *order, int32_t page_size,
			    const char *token, const ProtobufCMessageDescriptor *type,
			    ProtobufCMessage ***ret_messages, struct repo_page *ret_page,
			    struct error *err)
{
	struct rpc_options options = worker_rpc_options(call);
	ProtobufCMessage **messages;
	int size = 0;
	enum status status = page_size_of(page_size, &size, err);

	if (status == STATUS_OK)
		status = repo_client_list(w->repo, "system", collection, filter, order, size,
					  token, &options, rpc_arena(call), ret_page, err);
	if (status != STATUS_OK)
		return status;
	messages = arena_alloc(rpc_arena(call), (ret_page->count + 1) * sizeof(*messages));
	for (size_t i = 0; i < ret_page->count && status == STATUS_OK; i++)
		status = worker_rpc_unpack(type, ret_page->records[i].item, call, &messages[i],
					   err);
	*ret_messages = messages;
	return status;
}

/* ------------------------------------------------------------------ starting */

static enum status check_input(struct worker_rpc *w, void *call, const char *ns,
			       const struct workflow_definition *d,
			       const Google__Protobuf__Any *input, struct typed_message *ret,
			       struct error *err)
{
	struct rpc_options options = worker_rpc_options(call);
	const char *slash = input ? strrchr(input->type_url, '/') : NULL;
	const struct pool_message *type;
	struct pool *pool;
	enum status status;

	*ret = (struct typed_message){NULL, bytes_of(NULL, 0)};
	if (!input)
		return *d->input_type ? error_field(err, "input", "the workflow takes a %s",
						    d->input_type)
				      : STATUS_OK;
	if (!slash || !slash[1])
		return error_field(err, "input.type_url",
				   "'%s' is not type.googleapis.com/package.Message",
				   input->type_url);
	if (*d->input_type && strcmp(slash + 1, d->input_type))
		return error_field(err, "input.type_url", "the workflow takes a %s, not a %s",
				   d->input_type, slash + 1);
	*ret = (struct typed_message){slash + 1, bytes_of(input->value.data, input->value.len)};
	status = type_cache_current(w->types, ns, &options, &pool, err);
	if (status != STATUS_OK)
		return status;
	type = pool_message(pool, ret->type, strlen(ret->type));
	status = type ? wire_validate(pool, type, ret->value, 0, err)
		      : error_field(err, "type_url", "%s is not registered", ret->type);
	if (status != STATUS_OK)
		error_prefix_field(err, "input");
	pool_unref(pool);
	return status;
}

static enum status make_run(struct worker_rpc *w, void *call,
			    const Collector__StartWorkflowRequest *request,
			    const struct repo_record *definition, struct workflow_run *run,
			    struct error *err)
{
	struct arena *arena = rpc_arena(call);
	struct workflow_definition d;
	struct workflow_label *labels;
	enum status status = workflow_definition_unpack(definition->item, arena, &d, err);
	char id[UUID_TEXT_BYTES];

	if (status != STATUS_OK)
		return status;
	if (request->n_metadata > MAX_LABELS)
		return error_field(err, "metadata", "more than %d labels", MAX_LABELS);
	labels = arena_alloc(arena, (request->n_metadata + 1) * sizeof(*labels));
	for (size_t i = 0; i < request->n_metadata; i++)
		labels[i] = (struct workflow_label){request->metadata[i]->key,
						    request->metadata[i]->value};
	random_uuid7(clock_unix_ms(), id);
	*run = (struct workflow_run){
		.id = *request->workflow_id ? request->workflow_id : arena_strdup(arena, id),
		.ns = names_namespace_or_default(request->namespace_),
		.definition_id = d.id,
		.version = d.version,
		.state = WORKFLOW_PENDING,
		.error_message = "",
		.labels = labels,
		.label_count = request->n_metadata,
		.created_us = clock_unix_us(),
	};
	status = check_input(w, call, run->ns, &d, request->input, &run->input, err);
	if (status == STATUS_OK)
		run_prepare(run, &d, arena);
	return status;
}

static enum status check_start(struct worker_rpc *w,
			       const Collector__StartWorkflowRequest *request,
			       struct error *err)
{
	struct keeper *k = atomic_load(&w->keeper);
	enum status status = names_check_namespace(request->namespace_, "namespace", err);

	if (status == STATUS_OK)
		status = names_check_collection(request->workflow_name, "workflow_name", err);
	if (status == STATUS_OK && *request->workflow_id) {
		status = names_check_id(request->workflow_id, "workflow_id", err);
		if (status == STATUS_OK && strlen(request->workflow_id) > MAX_RUN_ID_BYTES)
			status = error_field(err, "workflow_id", "longer than %d bytes",
					     MAX_RUN_ID_BYTES);
		if (status == STATUS_OK && strchr(request->workflow_id, '/'))
			status = error_field(err, "workflow_id", "it holds a '/'");
	}
	if (status == STATUS_OK && (!k || !keeper_has_recovered(k)))
		status = error_set(err, STATUS_UNAVAILABLE,
				   "the worker is still waiting for the repo");
	return status == STATUS_OK ? engine_has_room(w->engine, err) : status;
}

static void start_workflow(Collector__CollectiveWorker_Service *service,
			   const Collector__StartWorkflowRequest *request,
			   Collector__StartWorkflowResponse_Closure reply_to, void *call)
{
	struct worker_rpc *w = worker_rpc_of(service);
	struct arena *arena = rpc_arena(call);
	struct rpc_options options = worker_rpc_options(call);
	Collector__StartWorkflowResponse reply = COLLECTOR__START_WORKFLOW_RESPONSE__INIT;
	struct repo_record definition;
	struct workflow_run run;
	struct bytes packed;
	const char *etag;
	struct error err;
	enum status status = check_start(w, request, &err);

	if (status == STATUS_OK)
		status = worker_rpc_find_definition(
			w, call, names_namespace_or_default(request->namespace_),
			request->workflow_name, 0, &definition, &err);
	if (status == STATUS_OK)
		status = make_run(w, call, request, &definition, &run, &err);
	if (status == STATUS_OK) {
		packed = workflow_run_pack(&run, arena);
		status = repo_client_create(w->repo, "system", ACTIVE_WORKFLOWS_COLLECTION,
					    arena_printf(arena, "%s/%s", run.ns, run.id),
					    ACTIVE_WORKFLOW_TYPE, packed, &options, arena, NULL,
					    &etag, &err);
		if (status == STATUS_OK)
			status = engine_add(w->engine, packed, etag, definition.item, false,
					    &err);
		else if (status == STATUS_ALREADY_EXISTS) {
			reply.already_started = true;
			status = STATUS_OK;
		}
	}
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = worker_rpc_ok(arena);
	reply.workflow_id = (char *)run.id;
	reply_to(&reply, call);
}

/* -------------------------------------------------------------------- asking */

/* The run's record. NOT_FOUND names it. */
static enum status find_run(struct worker_rpc *w, void *call, const char *ns, const char *id,
			    Collector__ActiveWorkflow **ret, struct error *err)
{
	struct rpc_options options = worker_rpc_options(call);
	ProtobufCMessage *message;
	struct repo_record record;
	enum status status = names_check_namespace(ns, "namespace", err);

	if (status == STATUS_OK)
		status = names_check_id(id, "workflow_id", err);
	if (status != STATUS_OK)
		return status;
	ns = names_namespace_or_default(ns);
	status = repo_client_get(w->repo, "system", ACTIVE_WORKFLOWS_COLLECTION,
				 arena_printf(rpc_arena(call), "%s/%s", ns, id), &options,
				 rpc_arena(call), &record, err);
	if (status == STATUS_NOT_FOUND || status == STATUS_INVALID_ARGUMENT)
		return error_set(err, STATUS_NOT_FOUND, "there is no run %s in namespace %s",
				 id, ns);
	if (status == STATUS_OK)
		status = worker_rpc_unpack(&collector__active_workflow__descriptor, record.item,
					   call, &message, err);
	if (status == STATUS_OK)
		*ret = (Collector__ActiveWorkflow *)message;
	return status;
}

static void get_status(Collector__CollectiveWorker_Service *service,
		       const Collector__GetWorkflowStatusRequest *request,
		       Collector__GetWorkflowStatusResponse_Closure reply_to, void *call)
{
	Collector__GetWorkflowStatusResponse reply =
		COLLECTOR__GET_WORKFLOW_STATUS_RESPONSE__INIT;
	struct error err;

	if (find_run(worker_rpc_of(service), call, request->namespace_, request->workflow_id,
		     &reply.workflow, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = worker_rpc_ok(rpc_arena(call));
	reply_to(&reply, call);
}

static void get_history(Collector__CollectiveWorker_Service *service,
			const Collector__GetWorkflowHistoryRequest *request,
			Collector__GetWorkflowHistoryResponse_Closure reply_to, void *call)
{
	Collector__GetWorkflowHistoryResponse reply =
		COLLECTOR__GET_WORKFLOW_HISTORY_RESPONSE__INIT;
	Collector__ActiveWorkflow *run;
	AUTO_STRBUF filter = STRBUF_INIT;
	ProtobufCMessage **messages = NULL;
	struct repo_page page;
	struct error err;
	enum status status = find_run(worker_rpc_of(service), call, request->namespace_,
				      request->workflow_id, &run, &err);

	strbuf_addch(&filter, '{');
	worker_rpc_add_equals(&filter, "workflow_id", request->workflow_id);
	worker_rpc_add_equals(&filter, "namespace",
			      names_namespace_or_default(request->namespace_));
	strbuf_addch(&filter, '}');
	if (status == STATUS_OK)
		status = worker_rpc_list(worker_rpc_of(service), call, EXECUTIONS_COLLECTION,
					 filter.buf, "", request->page_size,
					 request->page_token, &collector__execution__descriptor,
					 &messages, &page, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = worker_rpc_ok(rpc_arena(call));
	reply.executions = (Collector__Execution **)messages;
	reply.n_executions = page.count;
	reply.next_page_token = (char *)page.next_page_token;
	reply_to(&reply, call);
}

static void add_states(const Collector__ListWorkflowsRequest *request, struct strbuf *filter)
{
	if (!request->n_states)
		return;
	strbuf_addstr(filter, ", \"state\": {\"in\": [");
	for (size_t i = 0; i < request->n_states; i++) {
		const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
			&collector__workflow_state__descriptor, (int)request->states[i]);
		strbuf_addf(filter, "%s\"%s\"", i ? ", " : "", v ? v->name : "");
	}
	strbuf_addstr(filter, "]}");
}

static void list_workflows(Collector__CollectiveWorker_Service *service,
			   const Collector__ListWorkflowsRequest *request,
			   Collector__ListWorkflowsResponse_Closure reply_to, void *call)
{
	Collector__ListWorkflowsResponse reply = COLLECTOR__LIST_WORKFLOWS_RESPONSE__INIT;
	const char *ns = names_namespace_or_default(request->namespace_);
	AUTO_STRBUF filter = STRBUF_INIT;
	ProtobufCMessage **messages = NULL;
	struct repo_page page;
	struct error err;
	enum status status = names_check_namespace(request->namespace_, "namespace", &err);

	if (status == STATUS_OK && *request->workflow_name)
		status = names_check_collection(request->workflow_name, "workflow_name", &err);
	strbuf_addch(&filter, '{');
	worker_rpc_add_equals(&filter, "namespace", ns);
	add_states(request, &filter);
	/* Definition ids are <namespace>/<name>/<version>, and '0' follows '/'. */
	if (*request->workflow_name)
		strbuf_addf(&filter,
			    ", \"workflow_definition_id\": {\"ge\": \"%s/%s/\", \"lt\": "
			    "\"%s/%s0\"}",
			    ns, request->workflow_name, ns, request->workflow_name);
	strbuf_addch(&filter, '}');
	if (status == STATUS_OK)
		status = worker_rpc_list(
			worker_rpc_of(service), call, ACTIVE_WORKFLOWS_COLLECTION, filter.buf,
			"", request->page_size, request->page_token,
			&collector__active_workflow__descriptor, &messages, &page, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = worker_rpc_ok(rpc_arena(call));
	reply.workflows = (Collector__ActiveWorkflow **)messages;
	reply.n_workflows = page.count;
	reply.next_page_token = (char *)page.next_page_token;
	reply.total_count = page.total_count;
	reply_to(&reply, call);
}

/* ------------------------------------------------------------------- waiting */

struct wait {
	struct engine_waiter waiter; /* first: what ended() is given */
	struct worker_rpc *w;
	void *call;
	Collector__WaitWorkflowResponse_Closure reply_to;
};

static void reply_run(struct wait *x, Collector__ActiveWorkflow *run)
{
	Collector__WaitWorkflowResponse reply = COLLECTOR__WAIT_WORKFLOW_RESPONSE__INIT;

	reply.status = worker_rpc_ok(rpc_arena(x->call));
	reply.workflow = run;
	x->reply_to(&reply, x->call);
}

static void wait_ended(struct engine_waiter *waiter, struct bytes record)
{
	struct wait *x = (struct wait *)waiter;
	ProtobufCMessage *message;
	struct error err;

	rpc_on_cancel(x->call, NULL, NULL);
	if (worker_rpc_unpack(&collector__active_workflow__descriptor, record, x->call,
			      &message, &err) == STATUS_OK)
		reply_run(x, (Collector__ActiveWorkflow *)message);
	else
		rpc_fail_error(x->call, &err);
}

static void wait_cancelled(void *arg)
{
	struct wait *x = arg;

	if (engine_forget(x->w->engine, &x->waiter))
		rpc_fail(x->call, STATUS_DEADLINE_EXCEEDED, "the run has not ended yet");
}

static bool has_ended(const Collector__ActiveWorkflow *run)
{
	return run->state == COLLECTOR__WORKFLOW_STATE__WORKFLOW_SUCCEEDED ||
	       run->state == COLLECTOR__WORKFLOW_STATE__WORKFLOW_FAILED ||
	       run->state == COLLECTOR__WORKFLOW_STATE__WORKFLOW_CANCELLED;
}

static void wait_workflow(Collector__CollectiveWorker_Service *service,
			  const Collector__WaitWorkflowRequest *request,
			  Collector__WaitWorkflowResponse_Closure reply_to, void *call)
{
	struct worker_rpc *w = worker_rpc_of(service);
	struct wait *x = arena_zalloc(rpc_arena(call), sizeof(*x));
	Collector__ActiveWorkflow *run;
	struct error err;

	*x = (struct wait){.w = w, .call = call, .reply_to = reply_to};
	x->waiter.ended = wait_ended;
	x->waiter.key = arena_printf(rpc_arena(call), "%s/%s",
				     names_namespace_or_default(request->namespace_),
				     request->workflow_id);
	rpc_hold(call); /* until it is certain that nobody ends it in between */
	if (engine_wait(w->engine, &x->waiter))
		rpc_on_cancel(call, wait_cancelled, x);
	else if (find_run(w, call, request->namespace_, request->workflow_id, &run, &err) !=
		 STATUS_OK)
		rpc_fail_error(call, &err);
	else if (has_ended(run))
		reply_run(x, run);
	else
		rpc_fail(call, STATUS_UNAVAILABLE,
			 "the run stands still; another worker may have "
			 "it, or this one has just started");
	rpc_release(call);
}

/* -------------------------------------------------------------- life and end */

struct worker_rpc *worker_rpc_new(struct daemon *d, struct engine *e, struct type_cache *types)
{
	struct worker_rpc *w = xcalloc(1, sizeof(*w));

	w->service.base.descriptor = &collector__collective_worker__descriptor;
	w->service.base.invoke = protobuf_c_service_invoke_internal;
	worker_rpc_set_definition_methods(w);
	w->service.start_workflow = start_workflow;
	w->service.get_workflow_status = get_status;
	w->service.query_workflow_status = get_status;
	w->service.get_workflow_history = get_history;
	w->service.list_workflows = list_workflows;
	w->service.wait_workflow = wait_workflow;
	w->repo = daemon_channel(d, DAEMON_REPO);
	w->engine = e;
	w->types = types;
	rpc_server_add(daemon_server(d), &w->service.base, NULL);
	return w;
}

void worker_rpc_set_keeper(struct worker_rpc *w, struct keeper *k)
{
	atomic_store(&w->keeper, k);
}

void worker_rpc_free(struct worker_rpc *w)
{
	free(w);
}
