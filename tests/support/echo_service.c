#include "tests/support/echo_service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/strbuf.h"
#include "common/reflect/wire.h"
#include "common/rpc/call.h"

static void count(struct echo_service *echo, unsigned *counter)
{
	pthread_mutex_lock(&echo->mutex);
	++*counter;
	pthread_cond_broadcast(&echo->changed);
	pthread_mutex_unlock(&echo->mutex);
}

void echo_service_wait(struct echo_service *echo, const unsigned *counter, unsigned value)
{
	pthread_mutex_lock(&echo->mutex);
	while (*counter < value)
		pthread_cond_wait(&echo->changed, &echo->mutex);
	pthread_mutex_unlock(&echo->mutex);
}

static void copy(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text ? text : "");
}

/* What the call brought, before it is counted. */
static void note(struct echo_service *echo, void *call)
{
	static const char *const kinds[] = {"admin", "user", "daemon"};
	const struct rpc_caller *caller = rpc_caller(call);

	pthread_mutex_lock(&echo->mutex);
	copy(echo->request_id, sizeof(echo->request_id), rpc_request_id(call));
	copy(echo->caller, sizeof(echo->caller), caller->name);
	copy(echo->caller_kind, sizeof(echo->caller_kind), kinds[caller->kind]);
	copy(echo->header, sizeof(echo->header), rpc_metadata(call, "x-test"));
	copy(echo->user_agent, sizeof(echo->user_agent), rpc_metadata(call, "user-agent"));
	copy(echo->authorization, sizeof(echo->authorization),
	     rpc_metadata(call, "authorization"));
	copy(echo->internal, sizeof(echo->internal),
	     rpc_metadata(call, "collector-internal-key"));
	pthread_mutex_unlock(&echo->mutex);
	count(echo, &echo->begun);
}

struct waiter {
	struct echo_service *echo;
	void *call;
};

static void end_cancelled(void *call)
{
	rpc_fail(call, STATUS_CANCELLED, "cancelled");
}

static void cancelled(void *arg)
{
	struct waiter *w = arg;

	count(w->echo, &w->echo->cancelled);
	end_cancelled(w->call);
}

static void watch_cancel(struct echo_service *echo, void *call)
{
	struct waiter *w = arena_alloc(rpc_arena(call), sizeof(*w));

	*w = (struct waiter){echo, call};
	if (echo->keeps) {
		rpc_hold(call);
		echo->kept = call;
	}
	rpc_on_cancel(call, cancelled, w);
	count(echo, &echo->waiting);
}

/* True: the call was dealt with. */
static bool misbehave(struct echo_service *echo, const Echo__V1__EchoRequest *request,
		      void *call)
{
	if (request->code) {
		rpc_fail(call, (enum status)request->code, "%.*s", (int)request->data.len,
			 (const char *)request->data.data);
		return true;
	}
	if (request->delay_ms < 0) {
		watch_cancel(echo, call);
		return true;
	}
	return false;
}

static void echo_unary(Echo__V1__EchoService_Service *service,
		       const Echo__V1__EchoRequest *request, Echo__V1__EchoReply_Closure reply,
		       void *call)
{
	struct echo_service *echo = (struct echo_service *)service;
	Echo__V1__EchoReply message = ECHO__V1__ECHO_REPLY__INIT;

	note(echo, call);
	if (misbehave(echo, request, call))
		return;
	message.data = request->data;
	reply(&message, call);
}

static void echo_down(Echo__V1__EchoService_Service *service,
		      const Echo__V1__EchoRequest *request, Echo__V1__EchoReply_Closure reply,
		      void *call)
{
	struct echo_service *echo = (struct echo_service *)service;
	Echo__V1__EchoReply message = ECHO__V1__ECHO_REPLY__INIT;

	note(echo, call);
	message.data = request->data;
	for (int i = 0; i < request->count && !rpc_is_cancelled(call); i++) {
		message.sequence = i;
		reply(&message, call);
		count(echo, &echo->messages);
	}
	if (!misbehave(echo, request, call))
		rpc_finish(call);
}

static void drop_sequence(void *user)
{
	free(user);
}

/* How many messages came before; the state of a client stream. */
static int *sequence_of(void *call)
{
	if (!rpc_user(call))
		rpc_set_user(call, xcalloc(1, sizeof(int)), drop_sequence);
	return rpc_user(call);
}

struct lingerer {
	struct echo_service *echo;
	bool cancelled;
};

static void end_lingering(void *arg)
{
	struct lingerer *l = arg;

	pthread_mutex_lock(&l->echo->mutex);
	l->cancelled = true;
	l->echo->cancelled++;
	pthread_cond_broadcast(&l->echo->changed);
	pthread_mutex_unlock(&l->echo->mutex);
}

static void linger(struct echo_service *echo, void *call)
{
	struct lingerer l = {.echo = echo};

	rpc_on_cancel(call, end_lingering, &l);
	pthread_mutex_lock(&echo->mutex);
	while (!l.cancelled)
		pthread_cond_wait(&echo->changed, &echo->mutex);
	pthread_mutex_unlock(&echo->mutex);
	rpc_on_cancel(call, NULL, NULL); /* l is no more when it returns */
}

static void echo_up(Echo__V1__EchoService_Service *service,
		    const Echo__V1__EchoRequest *request, Echo__V1__EchoReply_Closure reply,
		    void *call)
{
	struct echo_service *echo = (struct echo_service *)service;
	Echo__V1__EchoReply message = ECHO__V1__ECHO_REPLY__INIT;
	int *sequence = sequence_of(call);

	if (request) {
		if (!(*sequence)++)
			note(echo, call);
		count(echo, &echo->messages);
		if (!misbehave(echo, request, call) && echo->lingers)
			linger(echo, call);
		return;
	}
	count(echo, &echo->half_closes);
	message.sequence = *sequence;
	reply(&message, call);
}

static void echo_bidi(Echo__V1__EchoService_Service *service,
		      const Echo__V1__EchoRequest *request, Echo__V1__EchoReply_Closure reply,
		      void *call)
{
	struct echo_service *echo = (struct echo_service *)service;
	Echo__V1__EchoReply message = ECHO__V1__ECHO_REPLY__INIT;
	int *sequence = sequence_of(call);

	if (!request) {
		count(echo, &echo->half_closes);
		rpc_finish(call);
		return;
	}
	count(echo, &echo->messages);
	if (misbehave(echo, request, call))
		return;
	message.data = request->data;
	message.sequence = (*sequence)++;
	reply(&message, call);
}

static void describe_method(struct strbuf *out, const char *name, bool up, bool down)
{
	size_t mark = wire_open(out, 2);

	wire_add_string(out, 1, name);
	if (up)
		wire_add_uint(out, 5, 1);
	if (down)
		wire_add_uint(out, 6, 1);
	wire_close(out, mark);
}

/* As much of echo.proto's descriptor as tells which methods stream. */
static struct bytes describe(void)
{
	struct strbuf out = STRBUF_INIT;
	size_t file = wire_open(&out, 1), service;
	char *data;
	size_t size;

	wire_add_string(&out, 1, "tests/support/echo.proto");
	wire_add_string(&out, 2, "echo.v1");
	service = wire_open(&out, 6);
	wire_add_string(&out, 1, "EchoService");
	describe_method(&out, "Unary", false, false);
	describe_method(&out, "Bidi", true, true);
	describe_method(&out, "Down", false, true);
	describe_method(&out, "Up", true, false);
	wire_close(&out, service);
	wire_close(&out, file);
	data = strbuf_detach(&out, &size);
	return bytes_of(data, size);
}

void echo_service_init(struct echo_service *echo, struct rpc_server *server,
		       const struct rpc_method_policy *policies)
{
	struct bytes set = describe();

	*echo = (struct echo_service){
		.service = {
			.base = {.descriptor = &echo__v1__echo_service__descriptor,
				 .invoke = protobuf_c_service_invoke_internal},
			.unary = echo_unary,
			.bidi = echo_bidi,
			.down = echo_down,
			.up = echo_up,
		}};
	pthread_mutex_init(&echo->mutex, NULL);
	pthread_cond_init(&echo->changed, NULL);
	rpc_server_describe(server, set);
	rpc_server_add(server, &echo->service.base, policies);
	rpc_server_describe(server, bytes_of(NULL, 0));
	free((void *)set.data);
}

void echo_service_release(struct echo_service *echo)
{
	pthread_cond_destroy(&echo->changed);
	pthread_mutex_destroy(&echo->mutex);
}

struct bytes echo_request(const void *data, size_t size, int code, int delay_ms, int replies)
{
	Echo__V1__EchoRequest request = ECHO__V1__ECHO_REQUEST__INIT;
	uint8_t *out;

	request.data = (ProtobufCBinaryData){size, (uint8_t *)data};
	request.code = code;
	request.delay_ms = delay_ms;
	request.count = replies;
	out = xmalloc(echo__v1__echo_request__get_packed_size(&request) + 1);
	return bytes_of(out, echo__v1__echo_request__pack(&request, out));
}
