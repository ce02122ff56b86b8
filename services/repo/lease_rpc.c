/* Lease, Renew, Release: collections as durable queues. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/rpc/call.h"
#include "services/repo/lease_rpc.h"
#include "services/repo/waits.h"

enum {
	DURATION_DEFAULT_MS = 30000,
	DURATION_MAX_MS = 24 * 3600 * 1000,
	OWNER_MAX_BYTES = 256,
	WAIT_MAX_MS = 60000,
	WAIT_MARGIN_MS = 100, /* before the deadline, so that the answer arrives */
	SEARCH_MAX_MS = 2000, /* others write to the collection only after it */
};

/* ------------------------------------------------------------ one write */

/* What the three have in common; in the call's memory. */
struct lease_write {
	struct store_write write;
	struct store_batch batch;
	struct repo *repo;
	struct collection *collection;
	void *call;
	void (*succeed)(struct lease_write *w); /* answers, or waits */
};

static void done(struct store_batch *batch)
{
	struct lease_write *w = batch->arg;
	struct repo *repo = w->repo;
	struct collection *c = w->collection;

	if (w->write.status != STATUS_OK)
		rpc_fail_error(w->call, &w->write.error);
	else if (batch->status != STATUS_OK)
		rpc_fail_error(w->call, &batch->error);
	else
		w->succeed(w);
	/* @w was in the call's memory. */
	catalog_release(repo->catalog, c);
}

/* Queue @w, which has a collection; it is answered, whatever becomes of it. */
static void submit(struct lease_write *w, store_operation *operation, void *operands)
{
	struct repo *repo = w->repo;
	struct collection *c = w->collection;

	w->write = (struct store_write){.operation = operation, .operands = operands};
	w->write.now_us = clock_unix_us();
	w->batch = (struct store_batch){.writes = &w->write, .done = done, .arg = w};
	if (writer_submit(catalog_writer(repo->catalog), c->queue, &w->batch))
		return;
	rpc_fail(w->call, STATUS_RESOURCE_EXHAUSTED, "too many writes are waiting for %s/%s",
		 c->ns, c->name);
	catalog_release(repo->catalog, c);
}

static enum status check_duration(int64_t duration_ms, uint64_t *ret_us, struct error *err)
{
	if (duration_ms < 0 || duration_ms > DURATION_MAX_MS)
		return error_field(err, "duration_ms", "must be between 0 and %d",
				   DURATION_MAX_MS);
	*ret_us = 1000 * (uint64_t)(duration_ms ? duration_ms : DURATION_DEFAULT_MS);
	return STATUS_OK;
}

/* ------------------------------------------------------------ Lease */

struct lease {
	struct lease_write base; /* first */
	struct wait wait;
	const Collector__LeaseRequest *request;
	Collector__LeaseResponse_Closure reply;
	struct arena arena; /* of one look */
	struct store_take take;
	Collector__LeaseResponse response;
	uint64_t search_until_ns, wait_until_ns;
	size_t bytes;
	enum status status; /* of a record that could not be given */
	struct error error;
};

static bool add_record(void *arg, const struct store_record *record, int64_t token)
{
	struct lease *l = arg;
	struct arena *arena = &l->arena;
	Collector__LeasedRecord *r = arena_alloc(arena, sizeof(*r));

	if (l->response.n_records && l->bytes + record->proto.size > PAGE_MAX_BYTES)
		return false;
	collector__leased_record__init(r);
	l->status = item_of(arena, l->base.collection, record, l->request->read_mask,
			    l->request->n_read_mask, &r->item, &l->error);
	if (l->status != STATUS_OK)
		return false;
	r->info = info_of(arena, record);
	r->token = token;
	r->expires_at = timestamp_of(arena, l->take.expires_us);
	l->bytes += record->proto.size;
	l->response.records[l->response.n_records++] = r;
	return true;
}

static bool is_over(void *arg)
{
	const struct lease *l = arg;

	return rpc_is_cancelled(l->base.call) || clock_monotonic_ns() > l->search_until_ns;
}

static void answer(struct lease *l)
{
	l->response.status = status_ok(&l->arena);
	l->reply(&l->response, l->base.call);
}

static enum status prepare(struct lease *l, struct error *err)
{
	const Collector__LeaseRequest *r = l->request;
	const struct collection *c = l->base.collection;
	struct arena *arena = &l->arena;
	struct query *q = arena_alloc(arena, sizeof(*q));
	uint64_t duration_us = 0;
	size_t limit;
	enum status status = check_duration(r->duration_ms, &duration_us, err);

	if (status == STATUS_OK && (r->max_records < 0 || r->max_records > STORE_LEASES_MAX))
		return error_field(err, "max_records", "must be between 0 and %d",
				   STORE_LEASES_MAX);
	if (status == STATUS_OK && (r->wait_ms < 0 || r->wait_ms > WAIT_MAX_MS))
		return error_field(err, "wait_ms", "must be between 0 and %d", WAIT_MAX_MS);
	if (status == STATUS_OK && (!*r->owner || strlen(r->owner) > OWNER_MAX_BYTES))
		return error_field(err, "owner", "must have between 1 and %d bytes",
				   OWNER_MAX_BYTES);
	if (status != STATUS_OK)
		return status;
	limit = r->max_records ? (size_t)r->max_records : 1;
	query_init(q, c->type.pool, c->type.message, arena);
	status = filter_add_struct(q, r->filter, err);
	if (status == STATUS_OK)
		status = filter_add_labels(q, r->label_filters, r->n_label_filters, err);
	if (status == STATUS_OK)
		status = query_set_order(q, r->order_by, err);
	if (status == STATUS_OK)
		status = check_read_mask(c, r->read_mask, r->n_read_mask, err);
	query_finish(q);
	q->limit = (int64_t)limit;
	l->response = (Collector__LeaseResponse)COLLECTOR__LEASE_RESPONSE__INIT;
	l->response.records = arena_alloc(arena, limit * sizeof(void *));
	l->take = (struct store_take){.query = q,
				      .owner = r->owner,
				      .expires_us = clock_unix_us() + duration_us,
				      .row = add_record,
				      .is_over = is_over,
				      .arg = l};
	l->search_until_ns = clock_monotonic_ns() + UINT64_C(1000000) * SEARCH_MAX_MS;
	return status;
}

/* Look for records; comes here again when it waited. */
static void look(struct lease *l)
{
	const Collector__LeaseRequest *r = l->request;
	struct repo *repo = l->base.repo;
	struct error err = {0};
	enum status status = repo_acquire(repo, l->base.call, r->namespace_, r->collection_name,
					  ACCESS_WRITE, &l->base.collection, &err);

	if (status == STATUS_OK) {
		arena_reset(&l->arena);
		status = prepare(l, &err);
		if (status == STATUS_OK) {
			submit(&l->base, store_take_leases, &l->take);
			return;
		}
		catalog_release(repo->catalog, l->base.collection);
	}
	rpc_fail_error(l->base.call, &err);
}

static void go_on(struct wait *wait)
{
	struct lease *l = (struct lease *)((char *)wait - offsetof(struct lease, wait));

	/* Not under it any more: it may be answered on another thread meanwhile. */
	rpc_on_cancel(l->base.call, NULL, NULL);
	look(l);
}

static void cancelled(void *arg)
{
	struct lease *l = arg;

	if (waits_remove(l->base.repo->waits, &l->wait))
		rpc_fail(l->base.call, STATUS_CANCELLED, "the caller has gone");
}

/* Until somebody writes or releases, a lease ends, or the time is over. */
static void wait_for_more(struct lease *l)
{
	const uint64_t now_us = l->base.write.now_us;
	void *call = l->base.call;
	struct error err;

	l->wait = (struct wait){
		.incarnation = arena_strdup(&l->arena, l->base.collection->incarnation),
		.until_ns = l->wait_until_ns,
		.go_on = go_on,
	};
	if (l->take.next_expiry_us) {
		const uint64_t left_us = l->take.next_expiry_us > now_us
						 ? l->take.next_expiry_us - now_us + 1000
						 : 1000;
		const uint64_t ends_ns = clock_monotonic_ns() + left_us * 1000;

		if (ends_ns < l->wait.until_ns)
			l->wait.until_ns = ends_ns;
	}
	rpc_hold(call);
	if (waits_add(l->base.repo->waits, &l->wait, &err) == STATUS_OK)
		rpc_on_cancel(call, cancelled, l);
	else
		rpc_fail_error(call, &err);
	rpc_release(call);
}

static void took(struct lease_write *w)
{
	struct lease *l = (struct lease *)w;

	if (l->status != STATUS_OK)
		rpc_fail_error(w->call, &l->error);
	else if (!l->take.count && clock_monotonic_ns() < l->wait_until_ns)
		wait_for_more(l);
	else
		answer(l);
}

static uint64_t wait_until(const Collector__LeaseRequest *r, void *call)
{
	const int left_ms = rpc_time_left_ms(call) - WAIT_MARGIN_MS;
	const int wait_ms = r->wait_ms < left_ms ? r->wait_ms : left_ms;

	return wait_ms > 0 ? clock_monotonic_ns() + UINT64_C(1000000) * (unsigned)wait_ms : 0;
}

static void drop_lease(void *user)
{
	arena_release(&((struct lease *)user)->arena);
}

void repo_lease(Collector__CollectionService_Service *service,
		const Collector__LeaseRequest *request, Collector__LeaseResponse_Closure reply,
		void *call)
{
	struct lease *l = arena_zalloc(rpc_arena(call), sizeof(*l));

	l->base.repo = repo_of_records(service);
	l->base.call = call;
	l->base.succeed = took;
	l->request = request;
	l->reply = reply;
	l->wait_until_ns = wait_until(request, call);
	arena_init(&l->arena, 0);
	rpc_set_user(call, l, drop_lease);
	look(l);
}

/* ------------------------------------------------------------ Renew and Release */

struct keep {
	struct lease_write base; /* first */
	struct store_keep keep;
	void *reply; /* the closure, of the type that succeed() knows */
};

static enum status take_refs(struct keep *k, Collector__LeaseRef *const *refs, size_t count,
			     struct error *err)
{
	enum status status = STATUS_OK;

	if (count > STORE_LEASES_MAX)
		return error_field(err, "leases", "more than %d", STORE_LEASES_MAX);
	k->keep.count = count;
	k->keep.leases =
		arena_alloc(rpc_arena(k->base.call), (count + 1) * sizeof(*k->keep.leases));
	for (size_t i = 0; i < count && status == STATUS_OK; i++) {
		k->keep.leases[i] = (struct store_lease){refs[i]->id, refs[i]->token, false};
		status = names_check_id(refs[i]->id, "leases.id", err);
	}
	return status;
}

/* The references to those leases that were held. */
static Collector__LeaseRef **held(const struct keep *k, size_t *ret_count)
{
	struct arena *arena = rpc_arena(k->base.call);
	Collector__LeaseRef **refs = arena_alloc(arena, (k->keep.count + 1) * sizeof(*refs));
	size_t count = 0;

	for (size_t i = 0; i < k->keep.count; i++) {
		Collector__LeaseRef *ref = arena_alloc(arena, sizeof(*ref));

		collector__lease_ref__init(ref);
		ref->id = (char *)k->keep.leases[i].id;
		ref->token = k->keep.leases[i].token;
		if (k->keep.leases[i].was_held)
			refs[count++] = ref;
	}
	*ret_count = count;
	return refs;
}

static void renewed(struct lease_write *w)
{
	const struct keep *k = (const struct keep *)w;
	Collector__RenewResponse response = COLLECTOR__RENEW_RESPONSE__INIT;

	response.status = status_ok(rpc_arena(w->call));
	response.renewed = held(k, &response.n_renewed);
	response.expires_at = timestamp_of(rpc_arena(w->call), k->keep.expires_us);
	((Collector__RenewResponse_Closure)k->reply)(&response, w->call);
}

static void released(struct lease_write *w)
{
	const struct keep *k = (const struct keep *)w;
	Collector__ReleaseResponse response = COLLECTOR__RELEASE_RESPONSE__INIT;

	response.status = status_ok(rpc_arena(w->call));
	response.released = held(k, &response.n_released);
	((Collector__ReleaseResponse_Closure)k->reply)(&response, w->call);
}

static void start_keep(struct keep *k, const char *ns, const char *name,
		       Collector__LeaseRef *const *refs, size_t count)
{
	struct error err = {0};
	enum status status = take_refs(k, refs, count, &err);

	if (status == STATUS_OK)
		status = repo_acquire(k->base.repo, k->base.call, ns, name, ACCESS_WRITE,
				      &k->base.collection, &err);
	if (status == STATUS_OK)
		submit(&k->base, store_keep_leases, &k->keep);
	else
		rpc_fail_error(k->base.call, &err);
}

static struct keep *keep_new(Collector__CollectionService_Service *service, void *call,
			     void *reply, void (*succeed)(struct lease_write *))
{
	struct keep *k = arena_zalloc(rpc_arena(call), sizeof(*k));

	k->base.repo = repo_of_records(service);
	k->base.call = call;
	k->base.succeed = succeed;
	k->reply = reply;
	return k;
}

void repo_renew(Collector__CollectionService_Service *service,
		const Collector__RenewRequest *request, Collector__RenewResponse_Closure reply,
		void *call)
{
	struct keep *k = keep_new(service, call, (void *)reply, renewed);
	uint64_t duration_us = 0;
	struct error err;

	if (check_duration(request->duration_ms, &duration_us, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	k->keep.expires_us = clock_unix_us() + duration_us;
	start_keep(k, request->namespace_, request->collection_name, request->leases,
		   request->n_leases);
}

void repo_release(Collector__CollectionService_Service *service,
		  const Collector__ReleaseRequest *request,
		  Collector__ReleaseResponse_Closure reply, void *call)
{
	struct keep *k = keep_new(service, call, (void *)reply, released);

	start_keep(k, request->namespace_, request->collection_name, request->leases,
		   request->n_leases);
}
