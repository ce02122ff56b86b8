/* ListServices, ListProtos, ListNamespaces, ListVersions. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "common/rpc/call.h"
#include "services/registry/catalog.h"
#include "services/registry/registered.h"
#include "services/registry/rpc_shared.h"

enum { DEFAULT_PAGE = 100, MAX_PAGE = 1000 };

static enum status page_size_of(int32_t asked, size_t *ret_size, struct error *err)
{
	if (asked < 0)
		return error_field(err, "page_size", "%d is negative", (int)asked);
	*ret_size = asked == 0 ? DEFAULT_PAGE : asked > MAX_PAGE ? MAX_PAGE : (size_t)asked;
	return STATUS_OK;
}

/* A page of names; its token is the last name on it. */
struct page {
	void *call;
	struct arena *arena;
	const char *ns;
	struct snapshot *snapshot;
	size_t first, end; /* in the snapshot's list */
	int64_t total;     /* on all pages */
	char *next_token;
};

/* What a request for names says. */
struct page_request {
	enum snapshot_list list;
	const char *ns, *prefix, *token;
	int32_t size;
};

/* False: it was answered, with an error. */
static bool page_begin(struct page *p, Collector__CollectorRegistry_Service *service,
		       const struct page_request *q, void *call)
{
	size_t size = 0, start, past, after;
	struct error err;

	if (names_check_namespace(q->ns, "namespace", &err) != STATUS_OK ||
	    page_size_of(q->size, &size, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return false;
	}
	*p = (struct page){.call = call,
			   .arena = rpc_arena(call),
			   .ns = names_namespace_or_default(q->ns)};
	p->snapshot = catalog_snapshot(registry_rpc_catalog(service), p->ns);
	start = snapshot_seek(p->snapshot, q->list, SNAPSHOT_LESS, q->prefix);
	past = snapshot_seek(p->snapshot, q->list, SNAPSHOT_WITH_PREFIXED, q->prefix);
	/* The name on the token may be gone by now: the page starts at what follows it. */
	after = snapshot_seek(p->snapshot, q->list, SNAPSHOT_UP_TO, q->token);
	p->total = (int64_t)(past - start);
	p->first = after < start ? start : after > past ? past : after;
	p->end = past - p->first > size ? p->first + size : past;
	p->next_token = arena_strdup(
		p->arena, p->end < past ? snapshot_name(p->snapshot, q->list, p->end - 1) : "");
	return true;
}

static void page_end(struct page *p)
{
	snapshot_unref(p->snapshot);
}

static void list_services(Collector__CollectorRegistry_Service *service,
			  const Collector__ListServicesRequest *request,
			  Collector__ListServicesResponse_Closure reply_to, void *call)
{
	Collector__ListServicesResponse reply = COLLECTOR__LIST_SERVICES_RESPONSE__INIT;
	const struct page_request q = {SNAPSHOT_SERVICES, request->namespace_, request->prefix,
				       request->page_token, request->page_size};
	struct page p;

	if (!page_begin(&p, service, &q, call))
		return;
	reply.status = registry_rpc_ok(p.arena);
	reply.services = arena_alloc(p.arena, (p.end - p.first + 1) * sizeof(*reply.services));
	for (size_t i = p.first; i < p.end; i++) {
		const char *name = p.snapshot->services[i].name;
		reply.services[reply.n_services++] =
			registered_service(p.snapshot, p.ns, p.arena,
					   pool_service(p.snapshot->pool, name, strlen(name)));
	}
	reply.next_page_token = p.next_token;
	reply.total_count = p.total;
	reply_to(&reply, call);
	page_end(&p);
}

static void list_protos(Collector__CollectorRegistry_Service *service,
			const Collector__ListProtosRequest *request,
			Collector__ListProtosResponse_Closure reply_to, void *call)
{
	Collector__ListProtosResponse reply = COLLECTOR__LIST_PROTOS_RESPONSE__INIT;
	const struct page_request q = {SNAPSHOT_FILES, request->namespace_, request->prefix,
				       request->page_token, request->page_size};
	struct page p;

	if (!page_begin(&p, service, &q, call))
		return;
	reply.status = registry_rpc_ok(p.arena);
	reply.protos = arena_alloc(p.arena, (p.end - p.first + 1) * sizeof(*reply.protos));
	for (size_t i = p.first; i < p.end; i++) {
		const char *name = p.snapshot->files[i]->name;
		reply.protos[reply.n_protos++] =
			registered_proto(p.snapshot, p.ns, p.arena,
					 pool_file(p.snapshot->pool, name, strlen(name)));
	}
	reply.next_page_token = p.next_token;
	reply.total_count = p.total;
	reply_to(&reply, call);
	page_end(&p);
}

static void list_namespaces(Collector__CollectorRegistry_Service *service,
			    const Collector__ListNamespacesRequest *request,
			    Collector__ListNamespacesResponse_Closure reply_to, void *call)
{
	Collector__ListNamespacesResponse reply = COLLECTOR__LIST_NAMESPACES_RESPONSE__INIT;

	(void)request;
	reply.status = registry_rpc_ok(rpc_arena(call));
	reply.namespaces = (char **)catalog_namespaces(registry_rpc_catalog(service),
						       rpc_arena(call), &reply.n_namespaces);
	reply_to(&reply, call);
}

/* ---------------------------------------------------------------- versions */

static enum status check_versions_request(const Collector__ListVersionsRequest *request,
					  size_t *ret_size, int64_t *ret_below,
					  struct error *err)
{
	const char *token = request->page_token;
	char *end = (char *)token;
	enum status status = names_check_namespace(request->namespace_, "namespace", err);

	if (status == STATUS_OK)
		status = names_check_path(request->file_name, "file_name", err);
	if (status == STATUS_OK)
		status = page_size_of(request->page_size, ret_size, err);
	if (status != STATUS_OK)
		return status;
	*ret_below = *token ? strtoll(token, &end, 10) : INT64_MAX;
	return *end || *ret_below < 1
		       ? error_field(err, "page_token", "it is not from a page of versions")
		       : STATUS_OK;
}

static Collector__FileVersion *file_version(struct arena *arena, const struct snapshot_file *f,
					    const struct snapshot_version *v)
{
	Collector__FileVersion *out = arena_alloc(arena, sizeof(*out));

	collector__file_version__init(out);
	out->version = v->version;
	out->registered_at = registered_time(arena, v->registered_us);
	out->size_bytes = (int64_t)v->size;
	out->current = f->state == SNAPSHOT_LIVE && v == f->newest;
	return out;
}

/* Those below @below, the newest first; the token is the last version on the page. */
static void reply_versions(const struct snapshot_file *f, size_t size, int64_t below,
			   Collector__ListVersionsResponse_Closure reply_to, void *call)
{
	Collector__ListVersionsResponse reply = COLLECTOR__LIST_VERSIONS_RESPONSE__INIT;
	struct arena *arena = rpc_arena(call);
	const struct snapshot_version *v = f->newest;

	reply.status = registry_rpc_ok(arena);
	reply.versions = arena_alloc(arena, size * sizeof(*reply.versions));
	reply.total_count = (int64_t)f->version_count;
	while (v && v->version >= below)
		v = v->previous;
	for (; v && reply.n_versions < size; v = v->previous)
		reply.versions[reply.n_versions++] = file_version(arena, f, v);
	if (v)
		reply.next_page_token = arena_printf(
			arena, "%" PRId64, reply.versions[reply.n_versions - 1]->version);
	reply_to(&reply, call);
}

static void list_versions(Collector__CollectorRegistry_Service *service,
			  const Collector__ListVersionsRequest *request,
			  Collector__ListVersionsResponse_Closure reply_to, void *call)
{
	const char *ns = names_namespace_or_default(request->namespace_);
	const struct snapshot_file *f;
	struct snapshot *snapshot;
	struct error err;
	int64_t below = 0;
	size_t size = 0;

	if (check_versions_request(request, &size, &below, &err) != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	snapshot = catalog_snapshot(registry_rpc_catalog(service), ns);
	f = snapshot_find_any(snapshot, request->file_name);
	if (f)
		reply_versions(f, size, below, reply_to, call);
	else
		rpc_fail(call, STATUS_NOT_FOUND, "file %s was never registered in namespace %s",
			 request->file_name, ns);
	snapshot_unref(snapshot);
}

void registry_rpc_set_list_methods(struct registry_rpc *r)
{
	r->service.list_services = list_services;
	r->service.list_protos = list_protos;
	r->service.list_namespaces = list_namespaces;
	r->service.list_versions = list_versions;
}
