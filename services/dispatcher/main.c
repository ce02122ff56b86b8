/* collector-dispatcher: the front door, and the mesh that finds who can serve a call. */
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/client/type_cache.h"
#include "common/daemon/daemon.h"
#include "services/dispatcher/addresses.h"
#include "services/dispatcher/attach_rpc.h"
#include "services/dispatcher/bindings.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/front.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/history.h"
#include "services/dispatcher/mesh.h"
#include "services/dispatcher/native.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/records.h"
#include "services/dispatcher/rpc.h"
#include "services/dispatcher/typed.h"
#include "services/dispatcher/wrappers.h"

struct dispatcher_config {
	const char *collector_id, *advertise_address;
	const char **namespaces, **seeds, **allowed_addresses;
	int64_t history_max_records, history_max_age_hours;
};

#define OPTION(member) offsetof(struct dispatcher_config, member)

static const struct daemon_option options[] = {
	{"collector-id", DAEMON_OPTION_STRING, NULL, 0, 0, OPTION(collector_id),
	 "this collector's id in the mesh; drawn at the first start without it"},
	{"advertise-address", DAEMON_OPTION_STRING, NULL, 0, 0, OPTION(advertise_address),
	 "host:port where peers dial this collector; --listen without it"},
	{"namespaces", DAEMON_OPTION_LIST, NULL, 0, 0, OPTION(namespaces),
	 "that it serves; without it default and those with handlers"},
	{"seeds", DAEMON_OPTION_LIST, NULL, 0, 0, OPTION(seeds),
	 "host:port of collectors to be connected to, always"},
	{"allow-address", DAEMON_OPTION_LIST, NULL, 0, 0, OPTION(allowed_addresses),
	 "hosts or networks, with or without :port, beside loopback and the seeds, that "
	 "handlers and peers may have; * is all"},
	{"history-max-records", DAEMON_OPTION_INT, "1000000", 0, INT64_MAX,
	 OPTION(history_max_records), "calls kept in system/dispatches; 0 keeps none"},
	{"history-max-age-hours", DAEMON_OPTION_INT, "168", 1, 24 * 365 * 100,
	 OPTION(history_max_age_hours), "for how long calls are kept there"},
	{NULL, DAEMON_OPTION_STRING, NULL, 0, 0, 0, NULL},
};

static enum status choose_identity(struct dispatcher *d, const struct dispatcher_config *config,
				   struct error *err)
{
	char *id = NULL;
	enum status status;

	if (*config->collector_id) {
		status = names_check_namespace(config->collector_id, "collector-id", err);
		id = xstrdup(config->collector_id);
	} else {
		status = identity_read_id(daemon_data_dir(d->daemon), &id, err);
	}
	for (const char **ns = config->namespaces; status == STATUS_OK && *ns; ns++)
		status = names_check_namespace(*ns, "namespaces", err);
	d->self = (struct identity){id, config->advertise_address,
				    (const char *const *)config->namespaces};
	return status;
}

static enum status open_dispatcher(struct daemon *daemon, const void *config, void **ret_state,
				   struct error *err)
{
	const struct dispatcher_config *c = config;
	struct dispatcher *d = xcalloc(1, sizeof(*d));
	struct history_options history;
	enum status status;

	d->daemon = daemon;
	d->seeds = (const char *const *)c->seeds;
	status = choose_identity(d, c, err);
	if (status == STATUS_OK)
		status = addresses_open(daemon_client(daemon),
					(const char *const *)c->allowed_addresses, d->seeds,
					&d->addresses, err);
	if (status != STATUS_OK) {
		free((char *)d->self.id);
		free(d);
		return status;
	}
	d->handlers = handlers_new(daemon_client(daemon));
	d->wrappers = wrappers_new();
	d->peers = peers_new(daemon_client(daemon));
	d->types = type_cache_new(daemon_channel(daemon, DAEMON_REGISTRY));
	d->records = records_new(daemon_channel(daemon, DAEMON_REPO));
	history = (struct history_options){.max_records = (uint64_t)c->history_max_records,
					   .max_age_ms = (uint64_t)c->history_max_age_hours *
							 3600 * 1000};
	d->history = history_new(daemon_channel(daemon, DAEMON_REPO), &history);
	d->attachments = attachments_new(d);
	d->bindings = bindings_new(d);
	d->mesh = mesh_new(d);
	d->front = front_new(d);
	d->typed = typed_new(d);
	d->native = native_new(d);
	d->rpc = dispatcher_rpc_new(d);
	*ret_state = d;
	return STATUS_OK;
}

static const struct rpc_fallback *fallback(void *state)
{
	struct dispatcher *d = state;

	return native_fallback(d->native);
}

static void start_dispatcher(void *state)
{
	struct dispatcher *d = state;

	if (!*d->self.address)
		d->self.address = daemon_listen_address(d->daemon);
	front_start(d->front);
	bindings_start(d->bindings);
	attachments_start(d->attachments);
	mesh_start(d->mesh);
}

static void drain_dispatcher(void *state)
{
	struct dispatcher *d = state;

	mesh_leave(d->mesh);
	attachments_leave(d->attachments);
}

static void close_dispatcher(void *state)
{
	struct dispatcher *d = state;

	front_free(d->front);
	mesh_free(d->mesh);
	attachments_free(d->attachments);
	records_free(d->records);
	history_free(d->history);
	bindings_free(d->bindings);
	native_free(d->native);
	typed_free(d->typed);
	dispatcher_rpc_free(d->rpc);
	type_cache_free(d->types);
	peers_free(d->peers);
	wrappers_free(d->wrappers);
	handlers_free(d->handlers);
	addresses_close(d->addresses);
	free((char *)d->self.id);
	free(d);
}

/*
 * What a handler or a client near by takes to go on. One call after the other then finds
 * the dispatcher awake: it takes half as long, for a processor that looks instead of sleeping.
 */
enum { PATIENCE_US = 200 };

static const struct daemon_spec spec = {
	.name = DAEMON_DISPATCHER,
	.summary = "The front door: answers or passes on every call, here or over the mesh.",
	.options = options,
	.config_size = sizeof(struct dispatcher_config),
	.patience_us = PATIENCE_US,
	.fallback = fallback,
	.open = open_dispatcher,
	.start = start_dispatcher,
	.drain = drain_dispatcher,
	.close = close_dispatcher,
};

int main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
