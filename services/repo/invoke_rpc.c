/*
 * Invoke and Call: a method is called for records, each being the input of one call. The
 * dispatcher runs it (Serve), with the caller's rights; a few calls are under way at once,
 * and no thread waits for them.
 */
#include <pthread.h>
#include <string.h>

#include "common/base/names.h"
#include "common/client/dispatcher_client.h"
#include "common/daemon/daemon.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "services/repo/invoke_rpc.h"

enum {
	MAX_ITEMS = 1000,
	MAX_UNDER_WAY = 8,
	MAX_INPUT_BYTES = 64 << 20,
	MAX_OUTPUT_BYTES = 15 << 20, /* they all go into one message */
};

static const char serve_path[] = "/collector.CollectiveDispatcher/Serve";

struct invoke;

struct invoked {
	struct invoke *invoke;
	const char *id; /* "": the request's own input */
	const char *type_name;
	struct bytes input;
};

struct invoke {
	struct repo *repo;
	Collector__InvokeResponse_Closure reply;
	void *call;
	const char *ns, *service, *method;
	struct invoked *items;
	size_t count;
	pthread_mutex_t mu; /* what follows, and the call's arena once the first call began */
	size_t next, under_way, output_bytes;
	bool is_answered;
	Google__Protobuf__Any **outputs;
	size_t first_failed; /* count: none */
	struct error error;  /* of that one */
};

/* ------------------------------------------------------------ the end */

static void drop(void *user)
{
	pthread_mutex_destroy(&((struct invoke *)user)->mu);
}

static void answer(struct invoke *v)
{
	Collector__InvokeResponse response = COLLECTOR__INVOKE_RESPONSE__INIT;

	if (v->first_failed < v->count) {
		rpc_fail_error(v->call, &v->error);
		return;
	}
	response.status = status_ok(rpc_arena(v->call));
	response.outputs = v->outputs;
	response.n_outputs = v->count;
	v->reply(&response, v->call);
}

/* With the mutex held. The first in the order of the items is the one that is told. */
static void fail(struct invoke *v, size_t at, enum status status, const char *message)
{
	if (at >= v->first_failed)
		return;
	v->first_failed = at;
	error_set(&v->error, status, "%s%s%s%s", *v->items[at].id ? "record \"" : "",
		  v->items[at].id, *v->items[at].id ? "\": " : "", message);
}

static void take_output(struct invoke *v, size_t at, const struct dispatch_answer *a)
{
	struct arena *arena = rpc_arena(v->call);
	Google__Protobuf__Any *any = arena_alloc(arena, sizeof(*any));

	v->output_bytes += a->output.size;
	if (v->output_bytes > MAX_OUTPUT_BYTES) {
		fail(v, at, STATUS_RESOURCE_EXHAUSTED,
		     "the outputs are too large for one answer: name fewer records");
		return;
	}
	google__protobuf__any__init(any);
	any->type_url = arena_printf(arena, "type.googleapis.com/%s", a->output_type);
	any->value.data = arena_memdup(arena, a->output.data, a->output.size);
	any->value.len = a->output.size;
	v->outputs[at] = any;
}

/* ------------------------------------------------------------ the calls */

static void start_more(struct invoke *v);

static void done(void *arg, enum status status, const struct error *err, struct bytes reply,
		 const struct rpc_outcome *outcome)
{
	const struct invoked *item = arg;
	struct invoke *v = item->invoke;
	const size_t at = (size_t)(item - v->items);
	struct dispatch_answer a = {.message = ""};
	void *call = v->call;
	struct error why;

	(void)outcome;
	/* Once none is under way, another thread may answer. */
	rpc_hold(call);
	pthread_mutex_lock(&v->mu);
	if (status != STATUS_OK)
		fail(v, at, status, err->message);
	else if (serve_response_unpack(reply, rpc_arena(v->call), &a, &why) != STATUS_OK)
		fail(v, at, why.status, why.message);
	else if (a.status != STATUS_OK)
		fail(v, at, a.status, a.message);
	else
		take_output(v, at, &a);
	v->under_way--;
	pthread_mutex_unlock(&v->mu);
	start_more(v);
	rpc_release(call);
}

/* With the mutex held; done() comes on another thread. */
static void start_one(struct invoke *v, struct invoked *item)
{
	const struct rpc_options options = {.parent = v->call, .forward_caller = true};
	const struct dispatch_request request = {.ns = v->ns,
						 .service = v->service,
						 .method = v->method,
						 .target = "",
						 .input_type = item->type_name,
						 .input = item->input};
	struct bytes bytes = serve_request_pack(&request, rpc_arena(v->call));
	struct rpc_pending *pending;

	v->under_way++;
	/* It looks into the parent's arena, too. */
	rpc_start_raw(daemon_channel(v->repo->daemon, DAEMON_DISPATCHER), serve_path, bytes,
		      &options, done, item, &pending);
}

/* Keep some under way; after a failure no more begin. Who finds none left answers. */
static void start_more(struct invoke *v)
{
	void *call = v->call;
	bool is_last;

	rpc_hold(call);
	pthread_mutex_lock(&v->mu);
	while (v->under_way < MAX_UNDER_WAY && v->next < v->count &&
	       v->first_failed == v->count && !rpc_is_cancelled(call))
		start_one(v, &v->items[v->next++]);
	if (v->next < v->count && v->first_failed == v->count && rpc_is_cancelled(call))
		fail(v, v->next, STATUS_CANCELLED, "the caller has gone");
	is_last = !v->is_answered && !v->under_way &&
		  (v->next == v->count || v->first_failed < v->count);
	v->is_answered = v->is_answered || is_last;
	pthread_mutex_unlock(&v->mu);
	if (is_last)
		answer(v);
	rpc_release(call);
}

/* ------------------------------------------------------------ requests */

static const char *name_of(struct arena *arena, const char *type_url)
{
	const char *slash = strrchr(type_url, '/');

	return arena_strdup(arena, slash ? slash + 1 : type_url);
}

/* "package.Service/Method" in two. */
static enum status split_method(struct invoke *v, const char *name, struct error *err)
{
	struct arena *arena = rpc_arena(v->call);
	const char *slash = strchr(name, '/');

	if (!slash || slash == name || !slash[1] || strchr(slash + 1, '/'))
		return error_field(err, "method_name", "must be as \"shop.v1.Orders/Ship\"");
	v->service = arena_strndup(arena, name, (size_t)(slash - name));
	v->method = arena_strdup(arena, slash + 1);
	return names_check_symbol(v->service, "method_name", err);
}

static enum status read_item(struct invoke *v, const struct collection *c,
			     struct store_reader *reader, const char *id, struct invoked *item,
			     struct error *err)
{
	struct store_record record;
	enum status status = names_check_id(id, "item_ids", err);

	if (status == STATUS_OK)
		status = store_get(reader, id, rpc_arena(v->call), &record, err);
	if (status != STATUS_OK)
		return status;
	item->id = id;
	item->input = record.proto;
	item->type_name =
		name_of(rpc_arena(v->call), record.type_url ? record.type_url : c->type_url);
	return STATUS_OK;
}

static enum status read_items(struct invoke *v, const struct collection *c,
			      const Collector__InvokeRequest *r, struct error *err)
{
	struct store_reader *reader;
	size_t bytes = 0;
	enum status status = store_take_reader(c->store, &reader, err);

	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; status == STATUS_OK && i < v->count; i++) {
		v->items[i].invoke = v;
		status = read_item(v, c, reader, r->item_ids[i], &v->items[i], err);
		bytes += v->items[i].input.size;
		if (status == STATUS_OK && bytes > MAX_INPUT_BYTES)
			status = error_set(err, STATUS_RESOURCE_EXHAUSTED,
					   "the records have more than %d bytes together: name"
					   " fewer",
					   MAX_INPUT_BYTES);
	}
	store_give_reader(c->store, reader);
	return status;
}

static enum status prepare(struct invoke *v, const struct collection *c,
			   const Collector__InvokeRequest *r, struct error *err)
{
	struct arena *arena = rpc_arena(v->call);
	enum status status = split_method(v, r->method_name, err);

	if (status == STATUS_OK && r->n_item_ids > MAX_ITEMS)
		status = error_field(err, "item_ids", "more than %d", MAX_ITEMS);
	if (status == STATUS_OK && !r->n_item_ids && !r->input)
		status = error_field(err, "input", "an input is required where no records are");
	if (status != STATUS_OK)
		return status;
	v->ns = arena_strdup(arena, c->ns);
	v->count = v->first_failed = r->n_item_ids ? r->n_item_ids : 1;
	v->items = arena_zalloc(arena, v->count * sizeof(*v->items));
	v->outputs = arena_zalloc(arena, v->count * sizeof(*v->outputs));
	if (r->n_item_ids)
		return read_items(v, c, r, err);
	v->items[0] = (struct invoked){v, "", name_of(arena, r->input->type_url),
				       bytes_of(r->input->value.data, r->input->value.len)};
	return STATUS_OK;
}

void repo_invoke(Collector__CollectionService_Service *service,
		 const Collector__InvokeRequest *request,
		 Collector__InvokeResponse_Closure reply, void *call)
{
	struct repo *repo = repo_of_records(service);
	struct invoke *v = arena_zalloc(rpc_arena(call), sizeof(*v));
	struct collection *c;
	struct error err = {0};
	enum status status = repo_acquire(repo, call, request->namespace_,
					  request->collection_name, ACCESS_READ, &c, &err);

	v->repo = repo;
	v->reply = reply;
	v->call = call;
	pthread_mutex_init(&v->mu, NULL);
	rpc_set_user(call, v, drop);
	if (status == STATUS_OK) {
		status = prepare(v, c, request, &err);
		catalog_release(repo->catalog, c);
	}
	if (status == STATUS_OK)
		start_more(v);
	else
		rpc_fail_error(call, &err);
}
