/* LookupFile, Diff. */
#include <inttypes.h>
#include <string.h>

#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"
#include "services/registry/catalog.h"
#include "services/registry/change.h"
#include "services/registry/diff.h"
#include "services/registry/history.h"
#include "services/registry/registered.h"
#include "services/registry/rpc_shared.h"

/* A file whose versions are asked for, held while the call is answered. */
struct subject {
	struct catalog *catalog;
	const char *ns, *name;
	struct snapshot *snapshot;
	const struct snapshot_file *file; /* NULL: never registered */
};

static enum status begin(struct subject *s, struct catalog *catalog, const char *ns,
			 const char *name, struct error *err)
{
	enum status status = names_check_namespace(ns, "namespace", err);

	*s = (struct subject){.catalog = catalog, .name = name};
	if (status == STATUS_OK)
		status = names_check_path(name, "file_name", err);
	if (status != STATUS_OK)
		return status;
	s->ns = names_namespace_or_default(ns);
	s->snapshot = catalog_snapshot(catalog, s->ns);
	s->file = snapshot_find_any(s->snapshot, name);
	return STATUS_OK;
}

/* Version @number, or for 0 the current one. NOT_FOUND: there is none. */
static enum status find_version(const struct subject *s, int64_t number, const char *field,
				const struct snapshot_version **ret, struct error *err)
{
	const bool is_live = s->file && s->file->state == SNAPSHOT_LIVE;

	if (number < 0)
		return error_field(err, field, "%" PRId64 " is negative", number);
	if (!number && !is_live)
		return error_set(err, STATUS_NOT_FOUND,
				 "file %s is not registered in namespace %s", s->name, s->ns);
	*ret = !number   ? s->file->newest
	       : s->file ? snapshot_find_version(s->file, number)
			 : NULL;
	return *ret ? STATUS_OK
		    : error_set(err, STATUS_NOT_FOUND,
				"file %s has no version %" PRId64 " in namespace %s", s->name,
				number, s->ns);
}

/* The version as it was linked when it came. DATA_LOSS: it is damaged, or an import is. */
static enum status load(const struct subject *s, const struct snapshot_version *v,
			struct pool **ret_pool, struct error *err)
{
	*ret_pool = history_pool(s->catalog, s->ns, s->snapshot, s->name, v->at);
	return *ret_pool ? STATUS_OK
			 : error_set(err, STATUS_DATA_LOSS,
				     "version %" PRId64 " of file %s, or of a file that it "
				     "imports, cannot be read any more",
				     v->version, s->name);
}

/* ----------------------------------------------------------------- one file */

static enum status fill_proto(const struct subject *s, const struct snapshot_version *v,
			      const struct pool_file *file, struct arena *arena,
			      Collector__RegisteredProto **ret, struct error *err)
{
	Collector__RegisteredProto *proto = registered_proto(s->snapshot, s->ns, arena, file);
	ProtobufCMessage *descriptor;
	enum status status = rpc_unpack(&google__protobuf__file_descriptor_proto__descriptor,
					file->bytes, arena, &descriptor, err);

	if (status != STATUS_OK)
		return status;
	proto->file_descriptor = (Google__Protobuf__FileDescriptorProto *)descriptor;
	if (v) {
		proto->version = v->version;
		proto->metadata =
			registered_metadata(arena, s->file->created_us, v->registered_us);
	}
	*ret = proto;
	return STATUS_OK;
}

static enum status find_proto(const struct subject *s, int64_t version, struct arena *arena,
			      Collector__RegisteredProto **ret, struct error *err)
{
	const struct pool_file *built_in =
		pool_file(catalog_builtins(s->catalog), s->name, strlen(s->name));
	const struct snapshot_version *v;
	struct pool *pool;
	enum status status;

	if (built_in && !version)
		return fill_proto(s, NULL, built_in, arena, ret, err);
	status = find_version(s, version, "version", &v, err);
	if (status == STATUS_OK)
		status = load(s, v, &pool, err);
	if (status != STATUS_OK)
		return status;
	status = fill_proto(s, v, pool_file(pool, s->name, strlen(s->name)), arena, ret, err);
	pool_unref(pool);
	return status;
}

static void lookup_file(Collector__CollectorRegistry_Service *service,
			const Collector__LookupFileRequest *request,
			Collector__LookupFileResponse_Closure reply_to, void *call)
{
	Collector__LookupFileResponse reply = COLLECTOR__LOOKUP_FILE_RESPONSE__INIT;
	struct subject s;
	struct error err;
	enum status status = begin(&s, registry_rpc_catalog(service), request->namespace_,
				   request->file_name, &err);

	if (status == STATUS_OK)
		status = find_proto(&s, request->version, rpc_arena(call), &reply.proto, &err);
	snapshot_unref(s.snapshot);
	if (status != STATUS_OK) {
		rpc_fail_error(call, &err);
		return;
	}
	reply.status = registry_rpc_ok(rpc_arena(call));
	reply_to(&reply, call);
}

/* --------------------------------------------------------------- comparison */

/* Two versions; @before's is NULL when @after is the first. */
struct versions {
	const struct snapshot_version *before, *after;
	struct pool *before_pool, *after_pool;
};

static enum status choose_versions(const struct subject *s, const Collector__DiffRequest *q,
				   struct versions *v, struct error *err)
{
	enum status status = find_version(s, q->to_version, "to_version", &v->after, err);

	if (status != STATUS_OK)
		return status;
	if (q->from_version)
		return find_version(s, q->from_version, "from_version", &v->before, err);
	v->before = v->after->previous;
	return STATUS_OK;
}

static enum status load_versions(const struct subject *s, struct versions *v, struct error *err)
{
	enum status status = load(s, v->after, &v->after_pool, err);

	return status == STATUS_OK && v->before ? load(s, v->before, &v->before_pool, err)
						: status;
}

static struct diff_side side_of(const struct subject *s, const struct pool *pool)
{
	return (struct diff_side){pool,
				  pool ? pool_file(pool, s->name, strlen(s->name)) : NULL};
}

static Collector__SymbolChange **symbol_changes(const struct diff *diff, struct arena *arena)
{
	Collector__SymbolChange **out = arena_alloc(arena, (diff->count + 1) * sizeof(*out));

	for (size_t i = 0; i < diff->count; i++) {
		const struct diff_change *c = &diff->changes[i];
		out[i] = arena_alloc(arena, sizeof(**out));
		collector__symbol_change__init(out[i]);
		out[i]->kind = (Collector__SymbolChange__Kind)c->kind;
		out[i]->path = (char *)c->path;
		out[i]->before = (char *)c->before;
		out[i]->after = (char *)c->after;
	}
	return out;
}

static void reply_diff(const struct subject *s, const struct versions *v,
		       Collector__DiffResponse_Closure reply_to, void *call)
{
	const struct diff_side before = side_of(s, v->before_pool);
	const struct diff_side after = side_of(s, v->after_pool);
	Collector__DiffResponse reply = COLLECTOR__DIFF_RESPONSE__INIT;
	struct arena *arena = rpc_arena(call);
	struct diff diff = diff_files(&before, &after, arena);
	struct breakages breakages;

	breakages_init(&breakages, arena);
	if (before.file)
		change_check_all(before.file, after.pool, &breakages);
	reply.status = registry_rpc_ok(arena);
	reply.from_version = v->before ? v->before->version : 0;
	reply.to_version = v->after->version;
	reply.changes = symbol_changes(&diff, arena);
	reply.n_changes = diff.count;
	reply.is_cut = diff.is_cut;
	reply.breakages = registry_rpc_breakages(&breakages, &reply.n_breakages);
	reply_to(&reply, call);
}

static void diff(Collector__CollectorRegistry_Service *service,
		 const Collector__DiffRequest *request,
		 Collector__DiffResponse_Closure reply_to, void *call)
{
	struct versions v = {0};
	struct subject s;
	struct error err;
	enum status status = begin(&s, registry_rpc_catalog(service), request->namespace_,
				   request->file_name, &err);

	if (status == STATUS_OK)
		status = choose_versions(&s, request, &v, &err);
	if (status == STATUS_OK)
		status = load_versions(&s, &v, &err);
	if (status == STATUS_OK)
		reply_diff(&s, &v, reply_to, call);
	else
		rpc_fail_error(call, &err);
	pool_unref(v.before_pool);
	pool_unref(v.after_pool);
	snapshot_unref(s.snapshot);
}

void registry_rpc_set_diff_methods(struct registry_rpc *r)
{
	r->service.lookup_file = lookup_file;
	r->service.diff = diff;
}
