/* Batch: several writes, queued in order, answered together. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/base/names.h"
#include "common/rpc/call.h"
#include "common/rpc/status_code.h"
#include "services/repo/write_rpc.h"

enum { MAX_OPERATIONS = 1000 };

struct batch {
	struct repo *repo;
	struct collection *collection;
	const Collector__BatchRequest *request;
	Collector__BatchResponse_Closure reply;
	void *call;
	struct write *writes;
	atomic_size_t pending; /* writes that are queued, and one for who queues them */
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

static void answer(struct batch *b)
{
	Collector__BatchResponse response = COLLECTOR__BATCH_RESPONSE__INIT;
	struct arena *arena = rpc_arena(b->call);
	struct repo *repo = b->repo;
	struct collection *c = b->collection;

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
		write_release(&b->writes[i]);
	}
	b->reply(&response, b->call);
	catalog_release(repo->catalog, c);
}

static void finish_one(struct batch *b)
{
	if (atomic_fetch_sub(&b->pending, 1) == 1)
		answer(b);
}

static void written(struct store_write *w)
{
	finish_one(w->arg);
}

/* ------------------------------------------------------------ queueing */

/* An operation's own names are empty or the batch's. */
static enum status check_names(const struct collection *c, const char *ns, const char *name,
			       struct error *err)
{
	enum status status = names_check_nested_namespace(ns, c->ns, "namespace", err);

	if (status == STATUS_OK && *name && strcmp(name, c->name) != 0)
		return error_field(err, "collection_name", "must be empty or %s", c->name);
	return status;
}

static enum status prepare(struct write *w, const Collector__RequestOp *op, struct error *err)
{
	const struct collection *c = w->collection;
	enum status status;

	switch ((int)op->operation_case) {
	case COLLECTOR__REQUEST_OP__OPERATION_CREATE:
		status = check_names(c, op->create->namespace_, op->create->collection_name,
				     err);
		return status == STATUS_OK ? write_prepare_create(w, op->create, err) : status;
	case COLLECTOR__REQUEST_OP__OPERATION_UPDATE:
		status = check_names(c, op->update->namespace_, op->update->collection_name,
				     err);
		return status == STATUS_OK ? write_prepare_update(w, op->update, err) : status;
	case COLLECTOR__REQUEST_OP__OPERATION_DELETE:
		status = check_names(c, op->delete_->namespace_, op->delete_->collection_name,
				     err);
		return status == STATUS_OK ? write_prepare_delete(w, op->delete_, err) : status;
	default:
		return error_field(err, "operations", "an operation is empty");
	}
}

static void queue(struct batch *b, struct write *w, const Collector__RequestOp *op)
{
	struct writer *writer = catalog_writer(b->repo->catalog);
	enum status status;

	write_init(w, b->repo, b->collection, b->call);
	w->store.done = written;
	w->store.arg = b;
	status = prepare(w, op, &w->store.error);
	atomic_fetch_add(&b->pending, 1);
	if (status == STATUS_OK && !writer_submit(writer, &b->collection->queue, &w->store))
		status = error_set(&w->store.error, STATUS_RESOURCE_EXHAUSTED,
				   "too many writes are waiting");
	if (status != STATUS_OK) {
		w->store.status = status;
		finish_one(b);
	}
}

void repo_batch(Collector__CollectionService_Service *service,
		const Collector__BatchRequest *request, Collector__BatchResponse_Closure reply,
		void *call)
{
	struct repo *repo = repo_of_records(service);
	struct arena *arena = rpc_arena(call);
	struct collection *c;
	struct error err = {0};
	struct batch *b;
	enum status status = repo_acquire(repo, call, request->namespace_,
					  request->collection_name, ACCESS_WRITE, &c, &err);

	if (status == STATUS_OK && request->n_operations > MAX_OPERATIONS) {
		catalog_release(repo->catalog, c);
		status = error_field(&err, "operations", "more than %d", MAX_OPERATIONS);
	}
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	b = arena_alloc(arena, sizeof(*b));
	*b = (struct batch){repo, c, request, reply, call, NULL, 1};
	b->writes = arena_alloc(arena, (request->n_operations + 1) * sizeof(*b->writes));
	for (size_t i = 0; i < request->n_operations; i++)
		queue(b, &b->writes[i], request->operations[i]);
	finish_one(b);
}
