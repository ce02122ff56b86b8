/*
 * What the files of collector.CollectorRegistry share. Private to rpc.c and the
 * other *_rpc.c.
 */
#ifndef SERVICES_REGISTRY_RPC_SHARED_H
#define SERVICES_REGISTRY_RPC_SHARED_H

#include <stdatomic.h>

#include "collector/registry.pb-c.h"
#include "common/base/arena.h"
#include "common/rpc/reflection.h"
#include "services/registry/breakage.h"
#include "services/registry/registrar.h"

struct catalog;
struct registry_watches;
struct resolver;

enum { REGISTER_FILES_SET = 2 }; /* RegisterFilesRequest.files */

/* What ImportFromReflection needs. */
struct registry_import {
	struct resolver *resolver;
	const char *const *allowed_addresses; /* ends with NULL; borrowed */
	atomic_uint under_way;
};

struct registry_rpc {
	Collector__CollectorRegistry_Service service; /* first: what a method is given */
	struct registrar registrar;
	struct registry_watches *watches;
	struct registry_import import;
	struct rpc_reflection_source reflection;
};

struct catalog *registry_rpc_catalog(Collector__CollectorRegistry_Service *service);
struct registrar *registry_rpc_registrar(Collector__CollectorRegistry_Service *service);

/* The body's status {code: OK}, in @arena. */
Collector__Status *registry_rpc_ok(struct arena *arena);

/* May the caller change @ns? INVALID_ARGUMENT: it is no name. PERMISSION_DENIED: it may not. */
enum status registry_rpc_check_writer(const char *ns, void *call, struct error *err) MUST_CHECK;

/* End the call with @err, and the breakages that it was refused for in its details. */
void registry_rpc_refuse(void *call, const struct error *err, const struct breakages *list);

/* The breakages as messages, in their arena. */
Collector__Breakage **registry_rpc_breakages(const struct breakages *list, size_t *ret_count);

/* Log what breaks by force: @what was done, "registered" or so, in @ns. */
void registry_rpc_log_forced(const char *what, const char *ns, const struct breakages *list);

/* Of enum registrar_flags. */
unsigned registry_rpc_flags(protobuf_c_boolean validate_only, protobuf_c_boolean force);

/*
 * Register what @q says, or end the call. What breaks by force is in the log.
 * @breakages are what the answer is to tell.
 */
enum status registry_rpc_register(Collector__CollectorRegistry_Service *service,
				  struct registrar_request *q, struct breakages *breakages,
				  struct registrar_result *ret, void *call) MUST_CHECK;

/* How it went for each file, in @arena. */
Collector__RegisteredFile **registry_rpc_files(struct arena *arena, const char *ns,
					       const struct registrar_result *done,
					       size_t *ret_count);

/* ListServices, ListProtos, ListNamespaces, ListVersions. */
void registry_rpc_set_list_methods(struct registry_rpc *r);

/* RegisterProto, RegisterService, RegisterFiles. */
void registry_rpc_set_register_methods(struct registry_rpc *r);

/* LookupFile, Diff. */
void registry_rpc_set_diff_methods(struct registry_rpc *r);

/* ImportFromReflection. */
void registry_rpc_set_import_methods(struct registry_rpc *r);

/* Unregister, GetPolicy, SetPolicy. */
void registry_rpc_set_change_methods(struct registry_rpc *r);

/* Watch. */
void registry_rpc_set_watch_methods(struct registry_rpc *r);

/* Those who watch @catalog, which is borrowed and tells of its changes from now on. */
struct registry_watches *registry_watches_new(struct catalog *catalog);

/* UNAVAILABLE for all, and for those to come. */
void registry_watches_end(struct registry_watches *all);

/* After the server is stopped: no call is left. */
void registry_watches_free(struct registry_watches *all);

/* LookupMessage, LookupEnum, LookupMethod, LookupExtension. */
void registry_rpc_set_lookup_methods(struct registry_rpc *r);

/* GetJsonSchema. */
void registry_rpc_set_schema_methods(struct registry_rpc *r);

#endif
