#include "services/console/rpc.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/console.pb-c.h"
#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/daemon/daemon.h"
#include "common/reflect/builtin.h"
#include "common/reflect/json_in.h"
#include "common/reflect/pool.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "grpc/health/v1/health.pb-c.h"
#include "services/console/display.h"

enum {
	SOURCE_TIMEOUT_MS = 2000, /* what a daemon gets to answer for a view */
	PROBE_EVERY_MS = 200,
	PROBE_TIMEOUT_MS = 1000,
};

struct console_rpc {
	Collector__CollectorConsole_Service service; /* first: what a method is given */
	struct daemon *daemon;
	struct pool *types;
	struct display_daemon daemons[DAEMON_COUNT];
	pthread_mutex_t mu; /* probing, closing */
	pthread_cond_t probed;
	bool probing, closing;
};

/* ----------------------------------------------------------------- Display */

static enum status read_filters(const Collector__DisplayRequest *request,
				struct display_request *d, struct error *err)
{
	for (size_t i = 0; i < request->n_filters; i++) {
		const char *key = request->filters[i]->key;
		bool runs = d->view == DISPLAY_WORKFLOWS || d->view == DISPLAY_EXECUTIONS;
		if (runs && !strcmp(key, "state"))
			d->state = request->filters[i]->value;
		else if (d->view == DISPLAY_REGISTRIES && !strcmp(key, "prefix"))
			d->prefix = request->filters[i]->value;
		else
			return error_field(err, "filters", "this view has no filter \"%s\"",
					   key);
	}
	return STATUS_OK;
}

static enum status read_request(const Collector__DisplayRequest *request,
				struct display_request *ret, struct error *err)
{
	if ((unsigned)request->display_type >= DISPLAY_VIEW_COUNT)
		return error_field(err, "display_type", "there is no view %d",
				   (int)request->display_type);
	/* The contract's numbers and ours are the same; the assert holds them together. */
	_Static_assert((int)COLLECTOR__DISPLAY_REQUEST__DISPLAY_TYPE__CONNECTIONS ==
			       (int)DISPLAY_CONNECTIONS,
		       "views are numbered as in the contract");
	*ret = (struct display_request){.view = (enum display_view)request->display_type,
					.ns = request->namespace_,
					.state = "",
					.prefix = ""};
	return read_filters(request, ret, err);
}

/* The view as a google.protobuf.Struct in @arena. */
static enum status struct_of(const struct console_rpc *c, const json_t *data,
			     struct arena *arena, Google__Protobuf__Struct **ret,
			     struct error *err)
{
	static const char type[] = "google.protobuf.Struct";
	AUTO_STRBUF wire = STRBUF_INIT;
	ProtobufCMessage *message;
	char *text = json_dumps(data, JSON_COMPACT);
	enum status status =
		json_to_wire(c->types, pool_message(c->types, type, sizeof(type) - 1),
			     text ? text : "", text ? strlen(text) : 0, 0, &wire, err);

	free(text);
	if (status == STATUS_OK)
		status = rpc_unpack(&google__protobuf__struct__descriptor,
				    bytes_of(wire.buf, wire.len), arena, &message, err);
	if (status == STATUS_OK)
		*ret = (Google__Protobuf__Struct *)message;
	return status;
}

static void display(Collector__CollectorConsole_Service *service,
		    const Collector__DisplayRequest *request,
		    Collector__DisplayResponse_Closure reply_to, void *call)
{
	struct console_rpc *c = (struct console_rpc *)service;
	Collector__DisplayResponse reply = COLLECTOR__DISPLAY_RESPONSE__INIT;
	Collector__Status ok = COLLECTOR__STATUS__INIT;
	struct display_sources sources = {c->daemons, DAEMON_COUNT, c->types};
	struct rpc_options options = {.parent = call, .forward_caller = true};
	AUTO_STRBUF summary = STRBUF_INIT;
	struct display_request view;
	struct error err;
	json_t *data;

	if (names_check_namespace(request->namespace_, "namespace", &err) != STATUS_OK ||
	    read_request(request, &view, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	options.timeout_ms = rpc_time_left_ms(call);
	if (options.timeout_ms > SOURCE_TIMEOUT_MS)
		options.timeout_ms = SOURCE_TIMEOUT_MS;
	view.options = &options;
	display_view(&sources, &view, &data, &summary);
	reply.status = &ok;
	reply.summary = (char *)strbuf_str(&summary);
	if (struct_of(c, data, rpc_arena(call), &reply.display_data, &err) == STATUS_OK)
		reply_to(&reply, call);
	else
		rpc_fail(call, STATUS_INTERNAL, "the view cannot be sent: %s", err.message);
	json_decref(data);
}

/* --------------------------------------------------------------- readiness */

static void probe_done(void *arg, enum status status, const struct error *err,
		       struct bytes reply, const struct rpc_outcome *outcome)
{
	struct console_rpc *c = arg;

	(void)err;
	(void)reply;
	(void)outcome;
	pthread_mutex_lock(&c->mu);
	c->probing = false;
	if (!c->closing)
		daemon_set_ready(c->daemon, status == STATUS_OK);
	pthread_cond_signal(&c->probed);
	pthread_mutex_unlock(&c->mu);
}

/* Asks the dispatcher for its health; one question at a time. */
static void probe(void *arg)
{
	struct console_rpc *c = arg;
	struct rpc_options options = {.timeout_ms = PROBE_TIMEOUT_MS};
	bool start;

	pthread_mutex_lock(&c->mu);
	start = !c->probing && !c->closing;
	if (start)
		c->probing = true;
	pthread_mutex_unlock(&c->mu);
	if (start)
		rpc_start_raw(daemon_channel(c->daemon, DAEMON_DISPATCHER),
			      "/grpc.health.v1.Health/Check", bytes_of(NULL, 0), &options,
			      probe_done, c, NULL);
}

void console_rpc_start(struct console_rpc *c)
{
	daemon_set_ready(c->daemon, false);
	daemon_every(c->daemon, 0, PROBE_EVERY_MS, probe, c);
}

/* -------------------------------------------------------------- life and end */

struct console_rpc *console_rpc_new(struct daemon *d)
{
	struct console_rpc *c = xcalloc(1, sizeof(*c));
	struct pool *empty = pool_new();
	struct error err;

	if (pool_extend_set(empty, builtin_descriptor_set(), &c->types, &err) != STATUS_OK)
		abort(); /* our own descriptors, checked by the tests */
	pool_unref(empty);
	c->daemon = d;
	c->service.base.descriptor = &collector__collector_console__descriptor;
	c->service.base.invoke = protobuf_c_service_invoke_internal;
	c->service.display = display;
	pthread_mutex_init(&c->mu, NULL);
	pthread_cond_init(&c->probed, NULL);
	for (int i = 0; i < DAEMON_COUNT; i++)
		c->daemons[i] = (struct display_daemon){daemon_name_text((enum daemon_name)i),
							daemon_address(d, (enum daemon_name)i),
							daemon_channel(d, (enum daemon_name)i)};
	rpc_server_add(daemon_server(d), &c->service.base, NULL);
	return c;
}

void console_rpc_free(struct console_rpc *c)
{
	pthread_mutex_lock(&c->mu);
	c->closing = true;
	while (c->probing)
		pthread_cond_wait(&c->probed, &c->mu);
	pthread_mutex_unlock(&c->mu);
	pool_unref(c->types);
	pthread_mutex_destroy(&c->mu);
	pthread_cond_destroy(&c->probed);
	free(c);
}
