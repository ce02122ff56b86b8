/* collector-registry: protobuf types and services, registered while it runs. */
#include <stddef.h>
#include <stdlib.h>

#include "common/base/address.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/daemon/daemon.h"
#include "services/registry/catalog.h"
#include "services/registry/collection_services.h"
#include "services/registry/publish.h"
#include "services/registry/rpc.h"

struct registry {
	struct tree_damage damage;
	struct catalog *catalog;
	struct registry_rpc *rpc;
	struct publisher_observer observer;
	struct publisher *publisher;
	struct collection_services_observer services_observer;
	struct collection_services *services;
};

struct registry_config {
	const char **allowed_addresses;
};

static const struct daemon_option options[] = {
	{"allow-address", DAEMON_OPTION_LIST, NULL, 0, 0,
	 offsetof(struct registry_config, allowed_addresses),
	 "hosts or networks, with or without :port, beside loopback, that types may be "
	 "imported from; * is all"},
	{NULL, DAEMON_OPTION_STRING, NULL, 0, 0, 0, NULL},
};

/* Also while it serves: a current copy that cannot be written. */
static void tell_damage(void *arg, const char *path, const char *why)
{
	char *text AUTO_FREE = xasprintf("%s: %s", path, why);

	log_warn("%s; the rest is served", text);
	daemon_add_problem(arg, text);
}

static void tell_progress(void *arg, const struct publisher_progress *progress)
{
	daemon_set_number(arg, "namespaces_unpublished", (int64_t)progress->pending);
	daemon_set_number(arg, "records_published", (int64_t)progress->written);
	daemon_set_number(arg, "records_refused", (int64_t)progress->refused);
}

static void tell_services(void *arg, uint64_t collections, uint64_t pending)
{
	daemon_set_number(arg, "typed_collections", (int64_t)collections);
	daemon_set_number(arg, "typed_collections_pending", (int64_t)pending);
}

static enum status open_registry(struct daemon *d, const void *config, void **ret_state,
				 struct error *err)
{
	const struct registry_config *c = config;
	const char *const *allowed = (const char *const *)c->allowed_addresses;
	struct registry *r;
	enum status status = address_check_list(allowed, "allow-address", err);

	if (status != STATUS_OK)
		return status;
	r = xcalloc(1, sizeof(*r));
	r->damage = (struct tree_damage){tell_damage, d};
	status = catalog_open(daemon_data_dir(d), &r->damage, &r->catalog, err);
	if (status != STATUS_OK) {
		free(r);
		return status;
	}
	r->rpc = registry_rpc_new(d, r->catalog, allowed);
	r->observer = (struct publisher_observer){tell_progress, d};
	r->publisher = publisher_new(r->catalog, daemon_channel(d, DAEMON_REPO), &r->observer);
	r->services_observer = (struct collection_services_observer){tell_services, d};
	r->services = collection_services_new(r->catalog, daemon_channel(d, DAEMON_REPO),
					      &r->services_observer);
	*ret_state = r;
	return STATUS_OK;
}

static void start_registry(void *state)
{
	struct registry *r = state;

	publisher_start(r->publisher);
	collection_services_start(r->services);
}

static void drain_registry(void *state)
{
	registry_rpc_drain(((struct registry *)state)->rpc);
}

static void close_registry(void *state)
{
	struct registry *r = state;

	collection_services_free(r->services);
	publisher_free(r->publisher);
	registry_rpc_free(r->rpc);
	catalog_close(r->catalog);
	free(r);
}

static const struct daemon_spec spec = {
	.name = DAEMON_REGISTRY,
	.summary = "Registers protobuf types and services, keeps them as a tree of files.",
	.options = options,
	.config_size = sizeof(struct registry_config),
	.open = open_registry,
	.start = start_registry,
	.drain = drain_registry,
	.close = close_registry,
};

int main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
