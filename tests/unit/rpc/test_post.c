/* What other threads post to a call's loop: it runs there, once each, and may end the call. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/rpc/loop.h"
#include "common/rpc/server.h"
#include "tests/support/echo.pb-c.h"
#include "tests/support/echo_service.h"
#include "tests/support/stream_client.h"
#include "tests/support/suite.h"

#define UNARY "/echo.v1.EchoService/Unary"

enum { THREADS = 4, EACH = 100, POSTS = 3 };

/* A call that is posted several times before it is answered. */
struct posted {
	void *call;
	Echo__V1__EchoReply_Closure reply;
	ProtobufCBinaryData data;
	int left;
};

static atomic_int runs, runs_elsewhere;

static void work(void *arg)
{
	struct posted *p = arg;
	Echo__V1__EchoReply message = ECHO__V1__ECHO_REPLY__INIT;

	atomic_fetch_add(&runs, 1);
	if (!rpc_on_loop())
		atomic_fetch_add(&runs_elsewhere, 1);
	if (--p->left) {
		rpc_post(p->call, work, p);
		return;
	}
	message.data = p->data;
	p->reply(&message, p->call);
}

/* On a pool thread. */
static void unary(Echo__V1__EchoService_Service *service, const Echo__V1__EchoRequest *request,
		  Echo__V1__EchoReply_Closure reply, void *call)
{
	struct posted *p = arena_alloc(rpc_arena(call), sizeof(*p));

	(void)service;
	*p = (struct posted){call, reply, request->data, POSTS};
	rpc_post(call, work, p);
}

static int port;

static void *call_many(void *arg)
{
	struct bytes request = echo_request("x", 1, 0, 0, 0);
	void *problem = NULL;

	(void)arg;
	for (int i = 0; i < EACH; i++)
		if (stream_unary(port, UNARY, request, NULL, NULL, NULL) != STATUS_OK)
			problem = "failed";
	free((void *)request.data);
	return problem;
}

START_TEST(posted_work_runs_on_the_loop)
{
	Echo__V1__EchoService_Service service = {
		.base = {.descriptor = &echo__v1__echo_service__descriptor}};
	struct rpc_server *server = rpc_server_new(&(struct rpc_server_options){.loops = 2});
	pthread_t threads[THREADS];
	struct error err;

	service.base.invoke = protobuf_c_service_invoke_internal;
	service.unary = unary;
	rpc_server_add(server, &service.base, NULL);
	ck_assert_int_eq(rpc_server_listen(server, "127.0.0.1:0", &port, &err), STATUS_OK);
	rpc_server_start(server);
	for (int i = 0; i < THREADS; i++)
		ck_assert(!pthread_create(&threads[i], NULL, call_many, NULL));
	for (int i = 0; i < THREADS; i++) {
		void *problem;

		pthread_join(threads[i], &problem);
		ck_assert_ptr_null(problem);
	}
	ck_assert_int_eq(atomic_load(&runs), THREADS * EACH * POSTS);
	ck_assert_int_eq(atomic_load(&runs_elsewhere), 0);
	ck_assert(rpc_server_stop(server, 60000));
	rpc_server_free(server);
}
END_TEST

int main(void)
{
	return suite_run("post", NULL, NULL,
			 (const TTest *const[]){posted_work_runs_on_the_loop, NULL});
}
