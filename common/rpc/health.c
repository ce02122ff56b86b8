#include "common/rpc/health.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/rpc/server.h"
#include "grpc/health/v1/health.pb-c.h"

enum { MAX_SERVICES = 1024, MAX_WATCHES = 1024, MAX_WATCH_BACKLOG = 8 };

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;
#define SERVING_STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct watch {
	struct watch *next, **link;
	struct rpc_health *health;
	void *call;
	Grpc__Health__V1__HealthCheckResponse_Closure reply;
	char *service;       /* owned */
	serving_status told; /* with the health's mutex held */
};

struct rpc_health {
	Grpc__Health__V1__Health_Service service; /* first: methods get it */
	pthread_mutex_t mutex;                    /* guards what follows */
	struct map services;                      /* name -> a serving_status, plus one */
	bool draining;
	struct watch *watches;
	unsigned watch_count;
};

static void *encode(serving_status status)
{
	return (void *)((uintptr_t)status + 1);
}

/* SERVICE_UNKNOWN: not known. */
static serving_status look_up(const struct rpc_health *h, const char *service)
{
	void *value = map_get(&h->services, service);

	if (!value)
		return SERVING_STATUS(SERVICE_UNKNOWN);
	return h->draining ? SERVING_STATUS(NOT_SERVING)
			   : (serving_status)((uintptr_t)value - 1);
}

static void check(Grpc__Health__V1__Health_Service *service,
		  const Grpc__Health__V1__HealthCheckRequest *request,
		  Grpc__Health__V1__HealthCheckResponse_Closure reply, void *call)
{
	struct rpc_health *h = (struct rpc_health *)service;
	Grpc__Health__V1__HealthCheckResponse answer =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	pthread_mutex_lock(&h->mutex);
	answer.status = look_up(h, request->service);
	pthread_mutex_unlock(&h->mutex);
	if (answer.status == SERVING_STATUS(SERVICE_UNKNOWN))
		rpc_fail(call, STATUS_NOT_FOUND, "there is no service '%s' here",
			 request->service);
	else
		reply(&answer, call);
}

/* -------------------------------------------------------------------- watches */

static void unlink_watch(struct watch *w)
{
	if (!w->link)
		return;
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	w->link = NULL;
	w->health->watch_count--;
}

/* The call is freed: nobody can reach the watch any more. */
static void drop_watch(void *user)
{
	struct watch *w = user;

	pthread_mutex_lock(&w->health->mutex);
	unlink_watch(w);
	pthread_mutex_unlock(&w->health->mutex);
	free(w->service);
	free(w);
}

static void watch_cancelled(void *call)
{
	struct watch *w = rpc_user(call);

	pthread_mutex_lock(&w->health->mutex);
	unlink_watch(w);
	pthread_mutex_unlock(&w->health->mutex);
	rpc_fail(call, STATUS_CANCELLED, "the watch was cancelled");
}

/* With the lock held, so that statuses arrive in order; replies only queue. */
static void tell(struct watch *w)
{
	Grpc__Health__V1__HealthCheckResponse answer =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	w->told = look_up(w->health, w->service);
	answer.status = w->told;
	w->reply(&answer, w->call);
}

static bool add_watch(struct rpc_health *h, struct watch *w)
{
	bool room;

	pthread_mutex_lock(&h->mutex);
	room = h->watch_count < MAX_WATCHES;
	if (room) {
		w->next = h->watches;
		w->link = &h->watches;
		if (w->next)
			w->next->link = &w->next;
		h->watches = w;
		h->watch_count++;
		tell(w);
	}
	pthread_mutex_unlock(&h->mutex);
	return room;
}

static void watch(Grpc__Health__V1__Health_Service *service,
		  const Grpc__Health__V1__HealthCheckRequest *request,
		  Grpc__Health__V1__HealthCheckResponse_Closure reply, void *call)
{
	struct rpc_health *h = (struct rpc_health *)service;
	struct watch *w = xcalloc(1, sizeof(*w));

	w->health = h;
	w->call = call;
	w->reply = reply;
	w->service = xstrdup(request->service);
	rpc_set_user(call, w, drop_watch);
	/* Once listed, the call may be ended by others. */
	rpc_hold(call);
	if (add_watch(h, w))
		rpc_on_cancel(call, watch_cancelled, call);
	else
		rpc_fail(call, STATUS_RESOURCE_EXHAUSTED, "%d health watches are open already",
			 MAX_WATCHES);
	rpc_release(call);
}

/* Unlink @w; its call is held for the caller, who ends it without the lock. */
static void take_out(struct watch *w, struct watch **list)
{
	rpc_hold(w->call);
	unlink_watch(w);
	w->next = *list;
	*list = w;
}

static void end_all(struct watch *list, enum status status, const char *why)
{
	while (list) {
		struct watch *next = list->next;
		void *call = list->call;
		rpc_fail(call, status, "%s", why);
		rpc_release(call);
		list = next;
	}
}

/* Tell whom a change concerns. Returns those that do not read what they are told. */
static struct watch *tell_watches(struct rpc_health *h)
{
	struct watch *next, *stalled = NULL;

	for (struct watch *w = h->watches; w; w = next) {
		next = w->next;
		if (look_up(h, w->service) == w->told)
			continue;
		if (rpc_backlog(w->call) < MAX_WATCH_BACKLOG)
			tell(w);
		else
			take_out(w, &stalled);
	}
	return stalled;
}

static const char stalled_text[] = "the watcher does not read";

void rpc_health_set(struct rpc_health *h, const char *service, bool serving)
{
	serving_status status = serving ? SERVING_STATUS(SERVING) : SERVING_STATUS(NOT_SERVING);
	struct watch *stalled = NULL;

	pthread_mutex_lock(&h->mutex);
	if (map_get(&h->services, service) || h->services.count < MAX_SERVICES) {
		(void)map_put(&h->services, service, encode(status));
		stalled = tell_watches(h);
	}
	pthread_mutex_unlock(&h->mutex);
	end_all(stalled, STATUS_RESOURCE_EXHAUSTED, stalled_text);
}

void rpc_health_set_once(struct rpc_health *h, const char *service)
{
	bool known;

	pthread_mutex_lock(&h->mutex);
	known = map_get(&h->services, service) != NULL;
	pthread_mutex_unlock(&h->mutex);
	if (!known)
		rpc_health_set(h, service, true);
}

void rpc_health_drain(struct rpc_health *h)
{
	struct watch *stalled;

	pthread_mutex_lock(&h->mutex);
	h->draining = true;
	stalled = tell_watches(h);
	pthread_mutex_unlock(&h->mutex);
	end_all(stalled, STATUS_RESOURCE_EXHAUSTED, stalled_text);
}

void rpc_health_end_watches(struct rpc_health *h)
{
	struct watch *all = NULL;

	pthread_mutex_lock(&h->mutex);
	while (h->watches)
		take_out(h->watches, &all);
	pthread_mutex_unlock(&h->mutex);
	end_all(all, STATUS_UNAVAILABLE, "the server is going away");
}

void rpc_health_services(struct rpc_health *h, void (*each)(void *arg, const char *service),
			 void *arg)
{
	pthread_mutex_lock(&h->mutex);
	map_for_each (&h->services, entry)
		if (entry->key_len)
			each(arg, entry->key);
	pthread_mutex_unlock(&h->mutex);
}

struct rpc_health *rpc_health_new(void)
{
	struct rpc_health *h = xcalloc(1, sizeof(*h));

	h->service.base.descriptor = &grpc__health__v1__health__descriptor;
	h->service.base.invoke = protobuf_c_service_invoke_internal;
	h->service.check = check;
	h->service.watch = watch;
	pthread_mutex_init(&h->mutex, NULL);
	return h;
}

void rpc_health_serve(struct rpc_health *h, struct rpc_server *server)
{
	static const struct rpc_method_policy inline_all[] = {
		{"Check", RPC_RUN_INLINE}, {"Watch", RPC_RUN_INLINE}, {NULL, RPC_RUN_POOL}};

	rpc_server_add(server, &h->service.base, inline_all);
}

void rpc_health_free(struct rpc_health *h)
{
	if (!h)
		return;
	map_release(&h->services, NULL);
	pthread_mutex_destroy(&h->mutex);
	free(h);
}
