#include "services/repo/rpc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/daemon/daemon.h"
#include "common/rpc/pool.h"
#include "common/rpc/server.h"
#include "services/repo/file_streams.h"
#include "services/repo/rpc_internal.h"
#include "services/repo/waits.h"
#include "services/repo/watch_rpc.h"

enum { MAX_DELETED_BYTES = 256 << 20 };
#include "services/repo/vector_cache.h"

enum {
	SEARCH_THREADS = 4,
	SEARCH_QUEUE = 256,
	QUERY_QUEUE = 1024,
	WAITING_QUERIES = 256, /* of one collection */
};

struct repo *repo_of_records(Collector__CollectionService_Service *service)
{
	return (struct repo *)((char *)service - offsetof(struct repo, records));
}

struct repo *repo_of_collections(Collector__CollectionRepo_Service *service)
{
	return (struct repo *)((char *)service - offsetof(struct repo, collections));
}

/* ------------------------------------------------------------ checks */

/* Namespace "system" is written by daemons for themselves; it holds all tenants' data. */
static enum status check_rights(void *call, const char *ns, enum access access,
				struct error *err)
{
	const struct rpc_caller *caller = rpc_caller(call);

	if (strcmp(ns, NAMES_SYSTEM_NAMESPACE) != 0 || caller->kind == RPC_CALLER_DAEMON)
		return STATUS_OK;
	if (access == ACCESS_READ && caller->kind == RPC_CALLER_ADMIN)
		return STATUS_OK;
	return error_set(err, STATUS_PERMISSION_DENIED,
			 "namespace system is %s by the daemons alone",
			 access == ACCESS_READ ? "read by admins and" : "written");
}

enum status repo_check(void *call, const char *ns, const char *name, enum access access,
		       const char **ret_ns, struct error *err)
{
	enum status status = names_check_namespace(ns, "namespace", err);

	if (status == STATUS_OK && name)
		status = names_check_collection(name, "collection_name", err);
	if (status != STATUS_OK)
		return status;
	*ret_ns = names_namespace_or_default(ns);
	return check_rights(call, *ret_ns, access, err);
}

enum status repo_acquire(struct repo *repo, void *call, const char *ns, const char *name,
			 enum access access, struct collection **ret, struct error *err)
{
	enum status status = repo_check(call, ns, name, access, &ns, err);

	return status == STATUS_OK ? catalog_acquire(repo->catalog, ns, name, ret, err)
				   : status;
}

enum status repo_page_size(int32_t asked, const char *field, size_t *ret, struct error *err)
{
	if (asked < 0)
		return error_field(err, field, "must not be negative");
	*ret = asked == 0 ? PAGE_DEFAULT : asked > PAGE_MAX ? PAGE_MAX : (size_t)asked;
	return STATUS_OK;
}

/* ------------------------------------------------------------ messages */

Collector__Status *status_ok(struct arena *arena)
{
	Collector__Status *status = arena_alloc(arena, sizeof(*status));

	collector__status__init(status);
	return status;
}

Google__Protobuf__Timestamp *timestamp_of(struct arena *arena, uint64_t unix_us)
{
	Google__Protobuf__Timestamp *t = arena_alloc(arena, sizeof(*t));

	google__protobuf__timestamp__init(t);
	t->seconds = (int64_t)(unix_us / 1000000);
	t->nanos = (int32_t)(unix_us % 1000000 * 1000);
	return t;
}

Google__Protobuf__Any *any_of(struct arena *arena, const struct collection *c,
			      const char *type_url, struct bytes value)
{
	Google__Protobuf__Any *any = arena_alloc(arena, sizeof(*any));

	google__protobuf__any__init(any);
	any->type_url = (char *)(type_url ? type_url : c->type_url);
	any->value.data = (uint8_t *)value.data;
	any->value.len = value.size;
	return any;
}

/* ------------------------------------------------------------ life */

/* Every open collection takes several descriptors; the default limit is low. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		/* If it is refused, fewer collections are kept open. */
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* As many collections as were asked for, or as the descriptors are enough for. */
static size_t max_open_collections(const struct repo_config *config)
{
	struct rlimit limit;
	size_t enough = SIZE_MAX;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		enough = (size_t)limit.rlim_cur / 2 / STORE_DESCRIPTORS + 1;
	return enough < (size_t)config->max_open_collections
		       ? enough
		       : (size_t)config->max_open_collections;
}

#define HOUR_US (UINT64_C(3600) * 1000000)

static struct store_retention retention_of(const struct repo_config *config)
{
	return (struct store_retention){
		.max_changes = config->change_retention_count,
		.max_requests = config->request_retention_count,
		.max_deleted_bytes = MAX_DELETED_BYTES,
		.change_age_us = (uint64_t)config->change_retention_hours * HOUR_US,
		.request_age_us = (uint64_t)config->request_retention_hours * HOUR_US,
	};
}

/* A collection was written to, or is gone. */
static void changed(void *arg, const char *incarnation)
{
	struct repo *repo = arg;

	watches_wake(repo->watches, incarnation);
	waits_wake(repo->waits, incarnation);
}

static enum status open_catalog(struct repo *repo, struct error *err)
{
	const char *directory = daemon_data_dir(repo->daemon);
	AUTO_FREE char *key_path = xasprintf("%s/page_token.key", directory);
	const struct catalog_options options = {
		.directory = directory,
		.writer_threads = (unsigned)repo->config.writer_threads,
		.max_open = max_open_collections(&repo->config),
		.types = repo->types,
		.retention = retention_of(&repo->config),
		.notify = changed,
		.notify_arg = repo,
		.vectors = repo->vectors,
	};
	enum status status = page_token_load_key(key_path, &repo->token_key, err);

	return status == STATUS_OK ? catalog_open(&options, &repo->catalog, err) : status;
}

static void serve(struct repo *repo)
{
	/*
	 * Get is a look-up in the page cache, a write is prepared and queued; when they are
	 * more, they go to the pool themselves.
	 */
	static const struct rpc_method_policy policies[] = {
		{"Get", RPC_RUN_INLINE},    {"Meta", RPC_RUN_INLINE},
		{"Create", RPC_RUN_INLINE}, {"Update", RPC_RUN_INLINE},
		{"Delete", RPC_RUN_INLINE}, {0}};
	static const char *const queries[] = {"/collector.CollectionService/List",
					      "/collector.CollectionService/Search",
					      "/collector.CollectionService/ExplainQuery",
					      "/collector.CollectionRepo/SearchCollections"};
	struct rpc_server *server = daemon_server(repo->daemon);

	rpc_server_add(server, &repo->records.base, policies);
	rpc_server_add(server, &repo->collections.base, NULL);
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
		rpc_server_run_on(server, queries[i], repo->query_pool);
}

enum status repo_new(struct daemon *d, const struct repo_config *config, struct repo **ret,
		     struct error *err)
{
	struct repo *repo = xcalloc(1, sizeof(*repo));
	const unsigned query_threads = (unsigned)config->query_threads;
	const unsigned third = (query_threads + 2) / 3;
	enum status status;

	raise_descriptor_limit();
	store_limit_memory(config->cache_bytes);
	repo->daemon = d;
	repo->config = *config;
	repo->records = record_methods;
	repo->collections = collection_methods;
	repo->types = types_new(daemon_channel(d, DAEMON_REGISTRY));
	repo->watches = watches_new(repo);
	repo->waits = waits_new();
	repo->vectors = vector_cache_new((size_t)config->vector_cache_bytes);
	repo->file_streams = file_streams_new((unsigned)config->max_file_streams,
					      (unsigned)config->file_stall_seconds);
	repo->query_pool = rpc_pool_new("query", query_threads, QUERY_QUEUE);
	repo->turns =
		turns_new(repo->query_pool, third, query_threads - third, WAITING_QUERIES);
	repo->search_pool = rpc_pool_new("search", SEARCH_THREADS, SEARCH_QUEUE);
	status = open_catalog(repo, err);
	if (status != STATUS_OK) {
		repo_free(repo);
		return status;
	}
	serve(repo);
	*ret = repo;
	return STATUS_OK;
}

void repo_drain(struct repo *repo)
{
	watches_end(repo->watches);
	waits_end(repo->waits);
}

void repo_free(struct repo *repo)
{
	if (!repo)
		return;
	rpc_pool_free(repo->query_pool);
	rpc_pool_free(repo->search_pool);
	turns_free(repo->turns);
	catalog_close(repo->catalog);
	waits_free(repo->waits);
	watches_free(repo->watches);
	vector_cache_free(repo->vectors);
	file_streams_free(repo->file_streams);
	types_free(repo->types);
	free(repo);
}
