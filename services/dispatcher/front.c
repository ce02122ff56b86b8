#include "services/dispatcher/front.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/daemon/daemon.h"
#include "common/reflect/wire.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "services/dispatcher/dispatcher.h"

enum { PROBE_EVERY_MS = 100, PROBE_TIMEOUT_MS = 2000, HEALTH_STATUS = 1, HEALTH_SERVING = 1 };

static const struct {
	const char *service;
	enum daemon_name owner;
} services[] = {
	{"collector.CollectionService", DAEMON_REPO},
	{"collector.CollectionRepo", DAEMON_REPO},
	{"collector.CollectorRegistry", DAEMON_REGISTRY},
	{"collector.CollectiveWorker", DAEMON_WORKER},
	{"collector.CollectorConsole", DAEMON_CONSOLE},
};
enum { SERVICES = sizeof(services) / sizeof(services[0]) };

struct probe {
	struct front *front;
	enum daemon_name daemon;
	bool under_way;
};

struct front {
	struct dispatcher *d;
	struct rpc_channel *channels[DAEMON_COUNT];
	struct probe probes[DAEMON_COUNT];
	pthread_mutex_t mu; /* all below, and the probes */
	pthread_cond_t idle;
	unsigned under_way;
	bool closing;
};

static void set_serving(struct front *f, enum daemon_name daemon, bool serving)
{
	for (int i = 0; i < SERVICES; i++)
		if (services[i].owner == daemon)
			rpc_server_set_serving(daemon_server(f->d->daemon), services[i].service,
					       serving);
}

struct front *front_new(struct dispatcher *d)
{
	struct front *f = xcalloc(1, sizeof(*f));

	f->d = d;
	pthread_mutex_init(&f->mu, NULL);
	pthread_cond_init(&f->idle, NULL);
	for (int i = 0; i < DAEMON_COUNT; i++) {
		f->channels[i] = daemon_channel(d->daemon, (enum daemon_name)i);
		f->probes[i] = (struct probe){f, (enum daemon_name)i, false};
	}
	return f;
}

struct rpc_channel *front_channel(struct front *f, const char *service, size_t len)
{
	for (int i = 0; i < SERVICES; i++)
		if (strlen(services[i].service) == len &&
		    !memcmp(services[i].service, service, len))
			return f->channels[services[i].owner];
	return NULL;
}

/* HealthCheckResponse { status = 1 }, SERVING = 1. */
static bool says_serving(struct bytes reply)
{
	struct wire_cursor c = wire_cursor_of(reply);
	struct wire_field field;
	bool serving = false;

	while (wire_next(&c, &field))
		if (field.number == HEALTH_STATUS && field.type == WIRE_VARINT)
			serving = field.value == HEALTH_SERVING;
	return serving;
}

static void probe_done(void *arg, enum status status, const struct error *err,
		       struct bytes reply, const struct rpc_outcome *outcome)
{
	struct probe *p = arg;
	struct front *f = p->front;

	(void)err;
	(void)outcome;
	pthread_mutex_lock(&f->mu);
	if (!f->closing)
		set_serving(f, p->daemon, status == STATUS_OK && says_serving(reply));
	p->under_way = false;
	if (!--f->under_way)
		pthread_cond_broadcast(&f->idle);
	pthread_mutex_unlock(&f->mu);
}

static void probe_all(void *arg)
{
	struct front *f = arg;
	struct rpc_options options = {.timeout_ms = PROBE_TIMEOUT_MS};

	for (int i = 0; i < DAEMON_COUNT; i++) {
		struct probe *p = &f->probes[i];
		bool start;
		if (i == DAEMON_DISPATCHER)
			continue;
		pthread_mutex_lock(&f->mu);
		start = !p->under_way && !f->closing;
		p->under_way |= start;
		f->under_way += start;
		pthread_mutex_unlock(&f->mu);
		if (start)
			rpc_start_raw(f->channels[i], "/grpc.health.v1.Health/Check",
				      bytes_of(NULL, 0), &options, probe_done, p, NULL);
	}
}

void front_start(struct front *f)
{
	for (int i = 0; i < SERVICES; i++)
		rpc_server_set_serving(daemon_server(f->d->daemon), services[i].service, false);
	daemon_every(f->d->daemon, 0, PROBE_EVERY_MS, probe_all, f);
}

void front_free(struct front *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->mu);
	f->closing = true;
	while (f->under_way)
		pthread_cond_wait(&f->idle, &f->mu);
	pthread_mutex_unlock(&f->mu);
	pthread_mutex_destroy(&f->mu);
	pthread_cond_destroy(&f->idle);
	free(f);
}
