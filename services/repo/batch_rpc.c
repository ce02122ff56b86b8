/* Batch: several writes, queued in order, answered together. */
#include <stdio.h>
#include <string.h>

#include "common/base/names.h"
#include "common/rpc/call.h"
#include "common/rpc/status_code.h"
#include "services/repo/write_rpc.h"

enum { MAX_OPERATIONS = 1000 };

struct batch {
	struct store_batch store;
	struct repo *repo;
	struct collection *collection;
	const Collector__BatchRequest *request;
	Collector__BatchResponse_Closure reply;
	void *call;
	struct write *writes;
};

/* ------------------------------------------------------------ answering */

static Collector__Status *status_of(struct arena *arena, const struct store_write *w)
{
	Collector__Status *status = status_ok(arena);

	if (w->status != STATUS_OK) {
		status->code = (Collector__Status__Code)status_to_collector_code(w->status);
		status->message = arena_strdup(arena, w->error.message);
	}
	return status;
}

static void fill_response(struct arena *arena, const Collector__RequestOp *op, struct write *w,
			  Collector__ResponseOp *r)
{
	if (op->operation_case == COLLECTOR__REQUEST_OP__OPERATION_CREATE) {
		r->response_case = COLLECTOR__RESPONSE_OP__RESPONSE_CREATE;
		r->create = arena_alloc(arena, sizeof(*r->create));
		collector__create_response__init(r->create);
		r->create->status = status_ok(arena);
		r->create->id = (char *)w->store.id;
		r->create->etag = w->store.new_etag;
	} else if (op->operation_case == COLLECTOR__REQUEST_OP__OPERATION_UPDATE) {
		r->response_case = COLLECTOR__RESPONSE_OP__RESPONSE_UPDATE;
		r->update = arena_alloc(arena, sizeof(*r->update));
		collector__update_response__init(r->update);
		r->update->status = status_ok(arena);
		r->update->etag = w->store.new_etag;
	} else {
		r->response_case = COLLECTOR__RESPONSE_OP__RESPONSE_DELETE;
		r->delete_ = arena_alloc(arena, sizeof(*r->delete_));
		collector__delete_response__init(r->delete_);
		r->delete_->status = status_ok(arena);
	}
}

static void reply(struct batch *b)
{
	Collector__BatchResponse response = COLLECTOR__BATCH_RESPONSE__INIT;
	struct arena *arena = rpc_arena(b->call);

	response.status = status_ok(arena);
	response.n_responses = b->request->n_operations;
	response.responses = arena_alloc(arena, (response.n_responses + 1) * sizeof(void *));
	for (size_t i = 0; i < response.n_responses; i++) {
		Collector__ResponseOp *r = arena_alloc(arena, sizeof(*r));

		collector__response_op__init(r);
		r->status = status_of(arena, &b->writes[i].store);
		if (b->writes[i].store.status == STATUS_OK)
			fill_response(arena, b->request->operations[i], &b->writes[i], r);
		response.responses[i] = r;
	}
	b->reply(&response, b->call);
}

/* The writer's thread, or the method's own when there was nothing to write. */
static void answer(struct store_batch *store)
{
	struct batch *b = store->arg;
	struct repo *repo = b->repo;
	struct collection *c = b->collection;

	for (size_t i = 0; i < b->request->n_operations; i++) {
		if (store->status == STATUS_OK && b->writes[i].store.status == STATUS_OK)
			file_changes_clean_later(repo, c, &b->writes[i].files);
		write_release(&b->writes[i]);
	}
	if (store->status == STATUS_OK)
		reply(b);
	else
		rpc_fail_error(b->call, &store->error);
	/* @b was in the call's memory. */
	catalog_release(repo->catalog, c);
}

/* ------------------------------------------------------------ queueing */

/* An operation's own names are empty or the batch's, its request_id empty. */
static enum status check_names(const struct collection *c, const char *ns, const char *name,
			       const char *request_id, struct error *err)
{
	enum status status = names_check_nested_namespace(ns, c->ns, "namespace", err);

	if (status == STATUS_OK && *name && strcmp(name, c->name) != 0)
		return error_field(err, "collection_name", "must be empty or %s", c->name);
	if (status == STATUS_OK && *request_id)
		return error_field(err, "request_id", "only the batch itself has one");
	return status;
}

static enum status prepare(struct write *w, const Collector__RequestOp *op, struct error *err)
{
	const struct collection *c = w->collection;
	enum status status;

	switch ((int)op->operation_case) {
	case COLLECTOR__REQUEST_OP__OPERATION_CREATE:
		status = check_names(c, op->create->namespace_, op->create->collection_name,
				     op->create->request_id, err);
		return status == STATUS_OK ? write_prepare_create(w, op->create, err) : status;
	case COLLECTOR__REQUEST_OP__OPERATION_UPDATE:
		status = check_names(c, op->update->namespace_, op->update->collection_name,
				     op->update->request_id, err);
		return status == STATUS_OK ? write_prepare_update(w, op->update, err) : status;
	case COLLECTOR__REQUEST_OP__OPERATION_DELETE:
		status = check_names(c, op->delete_->namespace_, op->delete_->collection_name,
				     op->delete_->request_id, err);
		return status == STATUS_OK ? write_prepare_delete(w, op->delete_, err) : status;
	default:
		return error_field(err, "operations", "an operation is empty");
	}
}

/*
 * All of them, linked in order. One that cannot be prepared has failed; with @atomic that
 * is the whole batch.
 */
static enum status prepare_all(struct batch *b, struct error *err)
{
	const Collector__BatchRequest *r = b->request;
	struct store_write **link = &b->store.writes;
	enum status status = STATUS_OK;
	char field[32];

	for (size_t i = 0; i < r->n_operations; i++)
		write_init(&b->writes[i], b->repo, b->collection, b->call);
	for (size_t i = 0; i < r->n_operations && status == STATUS_OK; i++) {
		struct store_write *w = &b->writes[i].store;

		w->status = prepare(&b->writes[i], r->operations[i], &w->error);
		if (w->status == STATUS_OK) {
			*link = w;
			link = &w->next;
		} else if (r->atomic) {
			(void)snprintf(field, sizeof(field), "operations[%zu]", i);
			*err = w->error;
			error_prefix_field(err, field);
			status = w->status;
		}
	}
	return status;
}

static enum status start(struct batch *b, struct error *err)
{
	const Collector__BatchRequest *r = b->request;
	enum status status = STATUS_OK;

	if (r->n_operations > MAX_OPERATIONS)
		return error_field(err, "operations", "more than %d", MAX_OPERATIONS);
	status = write_name_request(b->repo, b->call, r->request_id, &b->store, err);
	if (status != STATUS_OK)
		return status;
	b->writes = arena_alloc(rpc_arena(b->call), (r->n_operations + 1) * sizeof(*b->writes));
	status = prepare_all(b, err);
	if (status == STATUS_OK && b->store.writes &&
	    !writer_submit(catalog_writer(b->repo->catalog), b->collection->queue, &b->store))
		status = error_set(err, STATUS_RESOURCE_EXHAUSTED,
				   "too many writes are waiting");
	for (size_t i = 0; status != STATUS_OK && i < r->n_operations; i++)
		write_release(&b->writes[i]);
	return status;
}

void repo_batch(Collector__CollectionService_Service *service,
		const Collector__BatchRequest *request,
		Collector__BatchResponse_Closure reply_to, void *call)
{
	struct repo *repo = repo_of_records(service);
	struct batch *b = arena_zalloc(rpc_arena(call), sizeof(*b));
	struct collection *c;
	struct error err = {0};
	enum status status = repo_acquire(repo, call, request->namespace_,
					  request->collection_name, ACCESS_WRITE, &c, &err);

	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	b->store.done = answer;
	b->store.arg = b;
	b->store.atomic = request->atomic;
	b->repo = repo;
	b->collection = c;
	b->request = request;
	b->reply = reply_to;
	b->call = call;
	status = start(b, &err);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		catalog_release(repo->catalog, c);
	} else if (!b->store.writes) {
		answer(&b->store);
	}
}
