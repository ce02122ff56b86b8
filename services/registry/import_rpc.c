/* ImportFromReflection. */
#include <string.h>

#include "common/base/address.h"
#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "services/registry/catalog.h"
#include "services/registry/import.h"
#include "services/registry/reflector.h"
#include "services/registry/rpc_shared.h"

enum {
	MAX_MS = 60000,  /* of an import, whatever the caller's deadline */
	MAX_AT_ONCE = 2, /* each keeps a thread of the pool */
};

/* One import under way. */
struct import_call {
	struct registry_rpc *registry;
	const Collector__ImportFromReflectionRequest *request;
	void *call;
	struct error *err;
};

static enum status check_names(const Collector__ImportFromReflectionRequest *request,
			       struct error *err)
{
	enum status status = STATUS_OK;

	if (request->n_service_names > IMPORT_MAX_SERVICES)
		return error_field(err, "service_names", "there are more than %d",
				   IMPORT_MAX_SERVICES);
	for (size_t i = 0; i < request->n_service_names && status == STATUS_OK; i++) {
		const char *name = request->service_names[i];
		status = names_check_symbol(name, "service_names", err);
		if (status == STATUS_OK && names_symbol_is_reserved(name))
			status = error_field(err, "service_names",
					     "%s is built in and cannot be registered", name);
	}
	return status;
}

static int time_left_ms(void *call)
{
	int left = rpc_time_left_ms(call);

	return left < 1 ? 1 : left < MAX_MS ? left : MAX_MS;
}

/*
 * Ask the server at @address, an IP address that the name was resolved to. The client
 * is made for it and goes with it: no connection is kept, no list of channels grows.
 */
static enum status ask_at(const struct import_call *i, const char *address,
			  struct imported *ret)
{
	const Collector__ImportFromReflectionRequest *q = i->request;
	struct rpc_client *client = rpc_client_new(
		&(struct rpc_client_options){.name = "registry",
					     .max_message_bytes = IMPORT_MAX_BYTES,
					     .no_compression = true});
	const struct rpc_options options = {.timeout_ms = time_left_ms(i->call),
					    .parent = i->call};
	struct rpc_channel *channel =
		rpc_client_channel_at(client, q->address, address, RPC_TRUST_FOREIGN);
	struct reflector *reflector = reflector_new(channel, &options);
	enum status status =
		import_collect(reflector, catalog_builtins(i->registry->registrar.catalog),
			       (const char *const *)q->service_names, q->n_service_names,
			       rpc_arena(i->call), ret, i->err);

	reflector_free(reflector);
	rpc_client_free(client);
	return status;
}

/* A name may have several addresses: the next is for when nobody answers. */
static enum status collect(const struct import_call *i, struct imported *ret)
{
	const char *const *allowed = i->registry->import.allowed_addresses;
	struct address_list list;
	enum status status =
		address_resolve(i->registry->import.resolver, i->request->address, allowed,
				"address", rpc_deadline_ns(i->call), &list, i->err);

	if (status != STATUS_OK)
		return status;
	status =
		error_set(i->err, STATUS_UNAVAILABLE, "%s has no address", i->request->address);
	for (size_t n = 0; n < list.count && status == STATUS_UNAVAILABLE; n++)
		status = ask_at(i, list.items[n], ret);
	return status;
}

/* For the time of an import; RESOURCE_EXHAUSTED: there are too many. */
static enum status take_place(struct registry_import *import, struct error *err)
{
	if (atomic_fetch_add(&import->under_way, 1) < MAX_AT_ONCE)
		return STATUS_OK;
	atomic_fetch_sub(&import->under_way, 1);
	return error_set(err, STATUS_RESOURCE_EXHAUSTED, "%d imports are under way already",
			 MAX_AT_ONCE);
}

static enum status check_and_collect(const struct import_call *i, struct imported *ret)
{
	struct registry_import *import = &i->registry->import;
	enum status status = registry_rpc_check_writer(i->request->namespace_, i->call, i->err);

	if (status == STATUS_OK)
		status = check_names(i->request, i->err);
	if (status == STATUS_OK)
		status = take_place(import, i->err);
	if (status != STATUS_OK)
		return status;
	status = collect(i, ret);
	atomic_fetch_sub(&import->under_way, 1);
	return status;
}

static void reply_imported(const char *ns, const struct imported *imported,
			   const struct registrar_result *done,
			   const struct breakages *breakages,
			   Collector__ImportFromReflectionResponse_Closure reply_to, void *call)
{
	Collector__ImportFromReflectionResponse reply =
		COLLECTOR__IMPORT_FROM_REFLECTION_RESPONSE__INIT;

	reply.status = registry_rpc_ok(rpc_arena(call));
	reply.n_service_names = imported->service_count;
	reply.service_names = (char **)imported->services;
	reply.files = registry_rpc_files(rpc_arena(call), ns, done, &reply.n_files);
	reply.breakages = registry_rpc_breakages(breakages, &reply.n_breakages);
	reply.namespace_version = done->snapshot->version;
	reply_to(&reply, call);
}

static void import_from_reflection(Collector__CollectorRegistry_Service *service,
				   const Collector__ImportFromReflectionRequest *request,
				   Collector__ImportFromReflectionResponse_Closure reply_to,
				   void *call)
{
	struct error err;
	const struct import_call i = {(struct registry_rpc *)service, request, call, &err};
	const char *ns = names_namespace_or_default(request->namespace_);
	struct registrar_request q = {
		.ns = ns, .flags = registry_rpc_flags(request->validate_only, request->force)};
	struct registrar_result done;
	struct breakages breakages;
	struct imported imported;

	if (check_and_collect(&i, &imported) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	q.files = imported.files;
	q.count = imported.file_count;
	if (registry_rpc_register(service, &q, &breakages, &done, call) != STATUS_OK)
		return;
	reply_imported(ns, &imported, &done, &breakages, reply_to, call);
	registrar_result_release(&done);
}

void registry_rpc_set_import_methods(struct registry_rpc *r)
{
	r->service.import_from_reflection = import_from_reflection;
}
