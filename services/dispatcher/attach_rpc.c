#include "services/dispatcher/attach_rpc.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/dispatcher.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/base/random.h"
#include "common/client/dispatch_records.h"
#include "common/daemon/daemon.h"
#include "common/rpc/call.h"
#include "common/rpc/status_code.h"
#include "services/dispatcher/attached.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/records.h"
#include "services/dispatcher/rpc_shared.h"

enum { CHECK_EVERY_MS = 1000, MAX_NAME_BYTES = 64 };

/* One Attach stream: the user of its call. */
struct attachment {
	struct attachment *next, **link; /* link NULL: not listed */
	struct attachments *all;
	void *call;
	struct attached *at;
	struct arena arena; /* the records of its handlers */
	struct handler_record *records;
	size_t count;
};

struct attachments {
	struct dispatcher *d;
	pthread_mutex_t mu; /* all below, and the links */
	struct attachment *first;
	unsigned count;
	bool is_leaving;
};

struct attachments *attachments_new(struct dispatcher *d)
{
	struct attachments *all = xcalloc(1, sizeof(*all));

	all->d = d;
	pthread_mutex_init(&all->mu, NULL);
	return all;
}

void attachments_free(struct attachments *all)
{
	if (!all)
		return;
	pthread_mutex_destroy(&all->mu);
	free(all);
}

/* ----------------------------------------------------------------- messages */

static void send(const struct attached_stream *s, const Collector__AttachResponse *message)
{
	((Collector__AttachResponse_Closure)s->reply)(message, s->call);
}

/* An AttachCall and its parts. */
struct call_message {
	Collector__AttachResponse message;
	Collector__AttachCall call;
	Collector__ServeRequest request;
	Collector__ServiceTypeRef service;
	Google__Protobuf__Any input;
	Google__Protobuf__Duration timeout;
	Collector__ServeRequest__ExecutionContextEntry context[DISPATCH_MAX_CONTEXT],
		*entries[DISPATCH_MAX_CONTEXT];
};

static void fill_context(struct call_message *m, const struct dispatch_request *from)
{
	for (size_t i = 0; i < from->context_count; i++) {
		collector__serve_request__execution_context_entry__init(&m->context[i]);
		m->context[i].key = (char *)from->context[i].key;
		m->context[i].value = (char *)from->context[i].value;
		m->entries[i] = &m->context[i];
	}
	m->request.n_execution_context = from->context_count;
	m->request.execution_context = m->entries;
}

static void fill_request(struct call_message *m, const struct dispatch_request *from,
			 char *type_url)
{
	collector__serve_request__init(&m->request);
	collector__service_type_ref__init(&m->service);
	google__protobuf__any__init(&m->input);
	m->service.service_name = (char *)from->service;
	m->input.type_url = type_url;
	m->input.value.data = (uint8_t *)from->input.data;
	m->input.value.len = from->input.size;
	m->request.namespace_ = (char *)from->ns;
	m->request.service = &m->service;
	m->request.method_name = (char *)from->method;
	m->request.input = &m->input;
	fill_context(m, from);
}

void attached_send_call(const struct attached_stream *s, uint64_t call_id,
			const struct dispatch_request *request, int timeout_ms)
{
	char *type_url AUTO_FREE = xasprintf("type.googleapis.com/%s", request->input_type);
	struct call_message m;

	collector__attach_response__init(&m.message);
	collector__attach_call__init(&m.call);
	google__protobuf__duration__init(&m.timeout);
	fill_request(&m, request, type_url);
	m.timeout.seconds = timeout_ms / 1000;
	m.timeout.nanos = timeout_ms % 1000 * 1000000;
	m.call.call_id = call_id;
	m.call.request = &m.request;
	m.call.timeout = &m.timeout;
	m.message.kind_case = COLLECTOR__ATTACH_RESPONSE__KIND_CALL;
	m.message.call = &m.call;
	send(s, &m.message);
}

void attached_send_cancel(const struct attached_stream *s, uint64_t call_id)
{
	Collector__AttachResponse message = COLLECTOR__ATTACH_RESPONSE__INIT;
	Collector__AttachCancel cancel = COLLECTOR__ATTACH_CANCEL__INIT;

	cancel.call_id = call_id;
	message.kind_case = COLLECTOR__ATTACH_RESPONSE__KIND_CANCEL;
	message.cancel = &cancel;
	send(s, &message);
}

void attached_send_ping(const struct attached_stream *s)
{
	Collector__AttachResponse message = COLLECTOR__ATTACH_RESPONSE__INIT;
	Collector__AttachPing ping = COLLECTOR__ATTACH_PING__INIT;

	message.kind_case = COLLECTOR__ATTACH_RESPONSE__KIND_PING;
	message.ping = &ping;
	send(s, &message);
}

/* ------------------------------------------------------------------- streams */

static enum status list(struct attachment *x, struct error *err)
{
	struct attachments *all = x->all;
	enum status status = STATUS_OK;

	pthread_mutex_lock(&all->mu);
	if (all->is_leaving) {
		status = error_set(err, STATUS_UNAVAILABLE, "the collector is going away");
	} else if (all->count == ATTACHMENTS_MAX) {
		status = error_set(err, STATUS_RESOURCE_EXHAUSTED,
				   "%d processes are attached already", ATTACHMENTS_MAX);
	} else {
		x->next = all->first;
		x->link = &all->first;
		if (x->next)
			x->next->link = &x->next;
		all->first = x;
		all->count++;
	}
	pthread_mutex_unlock(&all->mu);
	return status;
}

static void unlist(struct attachment *x)
{
	pthread_mutex_lock(&x->all->mu);
	if (x->link) {
		*x->link = x->next;
		if (x->next)
			x->next->link = x->link;
		x->all->count--;
	}
	pthread_mutex_unlock(&x->all->mu);
}

static void count_handlers(struct dispatcher *d)
{
	daemon_set_number(d->daemon, "handlers", (int64_t)handlers_count(d->handlers));
}

/* The stream's call is being freed. */
static void drop_attachment(void *user)
{
	struct attachment *x = user;
	struct dispatcher *d = x->all->d;

	unlist(x);
	for (size_t i = 0; i < x->count; i++)
		if (handlers_remove(d->handlers, x->records[i].ns, x->records[i].id))
			records_remove(d->records, DISPATCH_SERVERS_COLLECTION,
				       x->records[i].id);
	count_handlers(d);
	if (x->at)
		attached_end(x->at, "the stream of the handler has ended");
	attached_unref(x->at);
	arena_release(&x->arena);
	free(x);
}

static struct attachment *attachment_new(struct attachments *all, void *call)
{
	struct attachment *x = xcalloc(1, sizeof(*x));

	x->all = all;
	x->call = call;
	arena_init(&x->arena, 0);
	rpc_set_user(call, x, drop_attachment);
	return x;
}

/* --------------------------------------------------------------------- hello */

static enum status check_method(const Collector__AttachedMethod *m, struct error *err)
{
	enum status status = names_check_namespace(m->namespace_, "namespace", err);

	if (status == STATUS_OK)
		status = names_check_symbol(m->service_name, "service_name", err);
	if (status == STATUS_OK)
		status = names_check_symbol(m->method_name, "method_name", err);
	if (status == STATUS_OK && (names_symbol_is_reserved(m->service_name) ||
				    !strcmp(m->namespace_, NAMES_SYSTEM_NAMESPACE))) {
		(void)error_field(err, "service_name", "%s in namespace %s is reserved",
				  m->service_name, m->namespace_);
		status = err->status = STATUS_PERMISSION_DENIED;
	}
	return status;
}

static enum status check_hello(const Collector__AttachHello *hello, struct error *err)
{
	enum status status = STATUS_OK;

	if (!hello->n_methods || hello->n_methods > ATTACHMENT_MAX_METHODS)
		return error_field(err, "hello.methods", "1 to %d of them, not %zu",
				   ATTACHMENT_MAX_METHODS, hello->n_methods);
	if (hello->max_in_flight < 0 || hello->max_in_flight > ATTACHED_MAX_IN_FLIGHT)
		return error_field(err, "hello.max_in_flight", "0 to %d, not %d",
				   ATTACHED_MAX_IN_FLIGHT, (int)hello->max_in_flight);
	if (strlen(hello->name) > MAX_NAME_BYTES)
		return error_field(err, "hello.name", "longer than %d bytes", MAX_NAME_BYTES);
	for (size_t i = 0; i < hello->n_methods && status == STATUS_OK; i++) {
		char path[64];
		status = check_method(hello->methods[i], err);
		snprintf(path, sizeof(path), "hello.methods[%zu]", i);
		if (status != STATUS_OK)
			error_prefix_field(err, path);
	}
	return status;
}

static void make_records(struct attachment *x, const Collector__AttachHello *hello)
{
	const char *name = *hello->name ? hello->name : "attached";
	uint64_t now_us = clock_unix_us();
	char uuid[UUID_TEXT_BYTES];

	random_uuid7(now_us / 1000, uuid);
	x->count = hello->n_methods;
	x->records = arena_alloc(&x->arena, x->count * sizeof(*x->records));
	for (size_t i = 0; i < x->count; i++) {
		const Collector__AttachedMethod *m = hello->methods[i];
		x->records[i] = (struct handler_record){
			.id = arena_printf(&x->arena, "%s/%zu", uuid, i),
			.ns = arena_strdup(&x->arena,
					   names_namespace_or_default(m->namespace_)),
			.service = arena_strdup(&x->arena, m->service_name),
			.method = arena_strdup(&x->arena, m->method_name),
			.kind = HANDLER_ATTACHED,
			.address = arena_strdup(&x->arena, name),
			.collection = "",
			.collector_id = x->all->d->self.id,
			.max_in_flight = (unsigned)hello->max_in_flight,
			.created_us = now_us,
		};
	}
}

static void welcome(struct attachment *x, Collector__AttachResponse_Closure reply)
{
	Collector__AttachResponse message = COLLECTOR__ATTACH_RESPONSE__INIT;
	Collector__AttachWelcome m = COLLECTOR__ATTACH_WELCOME__INIT;
	struct arena arena;

	arena_init(&arena, 0);
	m.collector_id = (char *)x->all->d->self.id;
	m.max_in_flight = (int32_t)x->records[0].max_in_flight;
	m.servers = arena_alloc(&arena, x->count * sizeof(*m.servers));
	for (; m.n_servers < x->count; m.n_servers++)
		m.servers[m.n_servers] =
			dispatcher_rpc_server_of(&x->records[m.n_servers], &arena);
	message.kind_case = COLLECTOR__ATTACH_RESPONSE__KIND_WELCOME;
	message.welcome = &m;
	reply(&message, x->call);
	arena_release(&arena);
}

/* Make it known: from now on calls come. */
static bool put_handlers(struct attachment *x)
{
	struct dispatcher *d = x->all->d;

	for (size_t i = 0; i < x->count; i++) {
		struct arena arena;
		if (!handlers_put(d->handlers, &x->records[i], x->at))
			return false;
		arena_init(&arena, 0);
		records_put(d->records, DISPATCH_SERVERS_COLLECTION, x->records[i].id,
			    DISPATCH_SERVER_TYPE, handler_record_pack(&x->records[i], &arena));
		arena_release(&arena);
	}
	count_handlers(d);
	return true;
}

static void pump(void *arg)
{
	attached_pump(arg);
}

static void greet(struct attachment *x, const Collector__AttachHello *hello,
		  Collector__AttachResponse_Closure reply)
{
	struct attached_stream stream = {x->call, (void (*)(void))reply};
	struct error err;

	if (check_hello(hello, &err) != STATUS_OK || list(x, &err) != STATUS_OK) {
		rpc_fail_error(x->call, &err);
		return;
	}
	make_records(x, hello);
	if (!hello->max_in_flight)
		for (size_t i = 0; i < x->count; i++)
			x->records[i].max_in_flight = ATTACHED_DEFAULT_IN_FLIGHT;
	x->at = attached_new(&stream, x->records[0].max_in_flight);
	rpc_on_sent(x->call, pump, x->at);
	welcome(x, reply);
	if (!put_handlers(x))
		rpc_fail(x->call, STATUS_RESOURCE_EXHAUSTED, "there are %d handlers already",
			 HANDLERS_MAX);
}

/* ------------------------------------------------------------ what comes next */

static struct attached_outcome outcome_of(const Collector__ServeResponse *r)
{
	struct attached_outcome outcome = {
		.status = STATUS_OK, .message = "", .output_type = ""};

	if (r->status) {
		outcome.status = status_from_collector_code((int)r->status->code);
		outcome.message = r->status->message;
	}
	if (r->output) {
		const char *slash = strrchr(r->output->type_url, '/');
		outcome.output_type = slash ? slash + 1 : "";
		outcome.output = bytes_of(r->output->value.data, r->output->value.len);
	}
	return outcome;
}

static void take_answer(struct attachment *x, const Collector__AttachAnswer *answer)
{
	struct attached_outcome outcome;

	if (!answer->response) {
		rpc_fail(x->call, STATUS_INVALID_ARGUMENT, "an answer without a response");
		return;
	}
	outcome = outcome_of(answer->response);
	if (!attached_answered(x->at, answer->call_id, &outcome))
		rpc_fail(x->call, STATUS_INVALID_ARGUMENT,
			 "an answer to call %llu, which is not under way",
			 (unsigned long long)answer->call_id);
	else if (attached_is_idle(x->at))
		rpc_finish(x->call);
}

static void take(struct attachment *x, const Collector__AttachRequest *request)
{
	attached_heard(x->at);
	switch (request->kind_case) {
	case COLLECTOR__ATTACH_REQUEST__KIND_ANSWER:
		take_answer(x, request->answer);
		break;
	case COLLECTOR__ATTACH_REQUEST__KIND_PONG:
		break;
	case COLLECTOR__ATTACH_REQUEST__KIND_LEAVE:
		if (attached_leave(x->at))
			rpc_finish(x->call);
		break;
	case COLLECTOR__ATTACH_REQUEST__KIND_HELLO:
	case COLLECTOR__ATTACH_REQUEST__KIND__NOT_SET:
	case _COLLECTOR__ATTACH_REQUEST__KIND__CASE_IS_INT_SIZE:
	default:
		rpc_fail(x->call, STATUS_INVALID_ARGUMENT,
			 "neither an answer, a pong nor a leave");
	}
}

/* Once for every message, one at a time, then with NULL. */
static void attach(Collector__CollectiveDispatcher_Service *service,
		   const Collector__AttachRequest *request,
		   Collector__AttachResponse_Closure reply, void *call)
{
	struct attachment *x = rpc_user(call);

	if (!request)
		rpc_finish(call);
	else if (x)
		take(x, request);
	else if (request->kind_case == COLLECTOR__ATTACH_REQUEST__KIND_HELLO)
		greet(attachment_new(dispatcher_rpc_of(service)->attachments, call),
		      request->hello, reply);
	else
		rpc_fail(call, STATUS_INVALID_ARGUMENT, "the first message is no hello");
}

void dispatcher_rpc_set_attach_method(struct dispatcher_rpc *r)
{
	r->service.attach = attach;
}

/* ------------------------------------------------------------- all of them */

/* All that are there, their calls held; in @arena. */
static struct attachment **hold_all(struct attachments *all, struct arena *arena,
				    size_t *ret_count)
{
	struct attachment **list;

	*ret_count = 0;
	pthread_mutex_lock(&all->mu);
	list = arena_alloc(arena, (all->count + 1) * sizeof(struct attachment *));
	for (struct attachment *x = all->first; x; x = x->next)
		if (x->at && rpc_try_hold(x->call))
			list[(*ret_count)++] = x;
	pthread_mutex_unlock(&all->mu);
	return list;
}

static void check_all(void *arg)
{
	struct attachments *all = arg;
	uint64_t now_ns = clock_monotonic_ns();
	struct attachment **held;
	struct arena arena;
	size_t count;

	arena_init(&arena, 0);
	held = hold_all(all, &arena, &count);
	for (size_t i = 0; i < count; i++) {
		void *call = held[i]->call;
		if (!attached_check(held[i]->at, now_ns))
			rpc_fail(call, STATUS_UNAVAILABLE, "nothing was heard for %d ms",
				 ATTACHED_DEAD_AFTER_MS);
		rpc_release(call); /* which may free the attachment */
	}
	daemon_set_number(all->d->daemon, "attached", (int64_t)count);
	arena_release(&arena);
}

void attachments_start(struct attachments *all)
{
	daemon_every(all->d->daemon, CHECK_EVERY_MS, CHECK_EVERY_MS, check_all, all);
}

void attachments_leave(struct attachments *all)
{
	struct attachment **held;
	struct arena arena;
	size_t count;

	pthread_mutex_lock(&all->mu);
	all->is_leaving = true;
	pthread_mutex_unlock(&all->mu);
	arena_init(&arena, 0);
	held = hold_all(all, &arena, &count);
	for (size_t i = 0; i < count; i++) {
		void *call = held[i]->call;
		if (attached_leave(held[i]->at))
			rpc_finish(call);
		rpc_release(call);
	}
	arena_release(&arena);
}
