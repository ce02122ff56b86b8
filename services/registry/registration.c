/* Registering files: what is new is linked, checked, committed. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/names.h"
#include "common/reflect/pool.h"
#include "common/reflect/typed_collection.h"
#include "common/reflect/wire.h"
#include "services/registry/catalog.h"
#include "services/registry/change.h"
#include "services/registry/collection_services.h"
#include "services/registry/dependents.h"
#include "services/registry/disk.h"
#include "services/registry/reality.h"
#include "services/registry/registrar.h"
#include "services/registry/users.h"

enum { FILE_NAME = 1, PART_MAX_BYTES = 240 };

/* A file of the request that is not built in; a name occurs once. */
struct entry {
	const char *name;
	struct bytes bytes;
	const struct pool_file *before; /* NULL: it is new */
	bool is_changed;                /* or new */
};

/* One registration under way. */
struct registration {
	struct registrar *registrar;
	const struct registrar_request *request;
	struct arena *arena;
	struct breakages *breakages;
	struct error *err;
	struct snapshot *before, *after;
	struct pool *pool; /* after it */
	struct entry *entries;
	size_t count;
	struct map changed; /* name -> struct entry: those that are, to be linked */
	struct bytes *changed_bytes;
	const char **dropped; /* generated files that do not link any more */
	size_t dropped_count;
	const struct users *users; /* NULL: they were not asked for */
	bool needs_users;          /* they are to be asked for first */
};

static bool is_generated(const struct registration *r)
{
	return r->request->flags & REGISTRAR_GENERATED;
}

/* ------------------------------------------------------------ the request's files */

/* Our own names in the tree of files begin where a path's part ends. */
static bool is_taken_suffix(const char *part, size_t len)
{
	static const char *const taken[] = {".binpb", ".tmp", ".damaged"};

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		const size_t n = strlen(taken[i]);
		if (len >= n && !memcmp(part + len - n, taken[i], n))
			return true;
	}
	return false;
}

static enum status check_name(const char *name, struct error *err)
{
	static const char field[] = "file_descriptor.name";
	const size_t len = strlen(name);
	enum status status = names_check_path(name, field, err);

	if (status != STATUS_OK)
		return status;
	if (len < 7 || strcmp(name + len - 6, ".proto"))
		return error_field(err, field, "\"%s\" does not end in \".proto\"", name);
	for (const char *part = name; *part; part += strspn(part, "/")) {
		const size_t n = strcspn(part, "/");
		if (n > PART_MAX_BYTES)
			return error_field(err, field,
					   "a part of \"%s\" is longer than %d bytes", name,
					   PART_MAX_BYTES);
		if (is_taken_suffix(part, n))
			return error_field(err, field, "no part of \"%s\" may end in \"%.*s\"",
					   name, (int)n, part);
		part += n;
	}
	return STATUS_OK;
}

static bool has_source_info(struct bytes file)
{
	enum { SOURCE_INFO = 9 };
	struct bytes ignored;

	return wire_find_bytes(file, SOURCE_INFO, &ignored);
}

/* What came without comments takes none away. */
static bool is_changed(const struct entry *e)
{
	return !e->before ||
	       (!bytes_equal(e->before->bytes, e->bytes) &&
		(has_source_info(e->bytes) || !pool_same_file(e->before->bytes, e->bytes)));
}

/* Who sends back what was generated changes nothing. */
static enum status check_generated(const struct registration *r, const struct entry *e)
{
	if (!e->is_changed || is_generated(r) || !collection_services_are_in(e->name))
		return STATUS_OK;
	return error_field(r->err, "file_descriptor.name",
			   "files in " TYPED_COLLECTION_FILES
			   " are made by the registry, of collections");
}

static enum status take_entry(struct registration *r, struct map *seen, struct bytes file)
{
	const struct entry *twin;
	struct entry *e = &r->entries[r->count];
	struct bytes name;
	enum status status;

	if (!wire_find_bytes(file, FILE_NAME, &name) || !name.size ||
	    memchr(name.data, '\0', name.size))
		return error_field(r->err, "file_descriptor.name",
				   "the file has no name, or is not a FileDescriptorProto");
	if (pool_file(catalog_builtins(r->registrar->catalog), (const char *)name.data,
		      name.size))
		return STATUS_OK;
	*e = (struct entry){.name = arena_strndup(r->arena, (const char *)name.data, name.size),
			    .bytes = file};
	twin = map_get(seen, e->name);
	if (twin && bytes_equal(twin->bytes, file))
		return STATUS_OK;
	if (twin)
		return error_field(r->err, e->name,
				   "the file is there twice, with different content");
	status = check_name(e->name, r->err);
	if (status != STATUS_OK)
		return status;
	e->before = pool_file(r->before->pool, e->name, name.size);
	e->is_changed = is_changed(e);
	map_put(seen, e->name, e);
	r->count++;
	return check_generated(r, e);
}

static enum status take_entries(struct registration *r)
{
	const struct registrar_request *q = r->request;
	struct map seen = {0};
	enum status status = STATUS_OK;
	size_t n = 0;

	r->entries = arena_alloc(r->arena, (q->count + 1) * sizeof(*r->entries));
	for (size_t i = 0; i < q->count && status == STATUS_OK; i++)
		status = take_entry(r, &seen, q->files[i]);
	map_release(&seen, NULL);
	r->changed_bytes = arena_alloc(r->arena, (r->count + 1) * sizeof(struct bytes));
	for (size_t i = 0; i < r->count; i++) {
		if (!r->entries[i].is_changed)
			continue;
		map_put(&r->changed, r->entries[i].name, &r->entries[i]);
		r->changed_bytes[n++] = r->entries[i].bytes;
	}
	return status;
}

/* ------------------------------------------------------------------ checks */

/* Those of before that dependents_relink() left out. */
static void find_dropped(struct registration *r)
{
	size_t first, end;

	collection_services_range(r->before, &first, &end);
	r->dropped = arena_alloc(r->arena, (end - first + 1) * sizeof(*r->dropped));
	for (size_t i = first; i < end; i++) {
		const char *name = r->before->files[i]->name;
		if (!pool_file(r->pool, name, strlen(name)))
			r->dropped[r->dropped_count++] = name;
	}
}

static enum status link_changed(struct registration *r)
{
	struct error err;
	enum status status;

	if (pool_replace(r->before->pool, r->changed_bytes, r->changed.count, &r->pool, &err) ==
	    STATUS_OK)
		return STATUS_OK;
	/* Is it the files themselves, or some that import them? */
	status = dependents_relink(catalog_builtins(r->registrar->catalog), r->before->pool,
				   &r->changed, r->changed_bytes, r->changed.count,
				   r->breakages, &r->pool, r->err);
	if (status == STATUS_OK)
		find_dropped(r);
	return status;
}

static enum status reserved(struct error *err, const char *symbol)
{
	return error_field(
		err, symbol,
		"names under collector., collections., google.protobuf., grpc.health. and "
		"grpc.reflection. are reserved");
}

static enum status check_symbols(const struct pool_file *file, struct error *err)
{
	if (*file->package && names_symbol_is_reserved(file->package))
		return reserved(err, file->package);
	for (uint32_t i = 0; i < file->message_count; i++)
		if (names_symbol_is_reserved(file->messages[i].full_name))
			return reserved(err, file->messages[i].full_name);
	for (uint32_t i = 0; i < file->enum_count; i++)
		if (names_symbol_is_reserved(file->enums[i].full_name))
			return reserved(err, file->enums[i].full_name);
	for (uint32_t i = 0; i < file->service_count; i++)
		if (names_symbol_is_reserved(file->services[i].full_name))
			return reserved(err, file->services[i].full_name);
	return STATUS_OK;
}

/* Those who use what changes; if they are not known yet, r->needs_users says so. */
static enum status check_users(struct registration *r)
{
	struct reality_change change = {.catalog = r->registrar->catalog,
					.ns = r->request->ns,
					.before = r->before,
					.after = r->pool,
					.deadline_ns = r->request->deadline_ns};
	const char **names = arena_alloc(r->arena, (r->count + 1) * sizeof(*names));

	for (size_t i = 0; i < r->count; i++)
		if (r->entries[i].is_changed && r->entries[i].before)
			names[change.file_count++] = r->entries[i].name;
	change.file_names = names;
	if (!r->registrar->ask_users || is_generated(r))
		return STATUS_OK;
	if (r->users)
		return reality_check(&change, r->users, r->breakages, r->err);
	r->needs_users = reality_may_hit(&change);
	return STATUS_OK;
}

static enum status check(struct registration *r)
{
	const char *service = r->request->service;

	for (size_t i = 0; i < r->count; i++) {
		const struct entry *e = &r->entries[i];
		enum status status;
		if (!e->is_changed || is_generated(r))
			continue;
		status = check_symbols(pool_file(r->pool, e->name, strlen(e->name)), r->err);
		if (status != STATUS_OK)
			return status;
		if (e->before)
			change_check(e->before, r->pool, r->before->policy, r->breakages);
	}
	if (service && !pool_service(r->pool, service, strlen(service)))
		return error_field(r->err, "service_descriptor.name",
				   "the file does not declare a service %s", service);
	return check_users(r);
}

/* The files would not link: that no force changes. */
static bool breaks_imports(const struct breakages *list)
{
	/* They are found before all others, so that the list holds the first. */
	return list->count && !strcmp(list->items[0].rule, BREAKAGE_RULE_IMPORT);
}

static enum status decide(const struct breakages *list, unsigned flags, struct error *err)
{
	if ((flags & REGISTRAR_VALIDATE_ONLY) || !list->total)
		return STATUS_OK;
	if ((flags & REGISTRAR_FORCE) && !breaks_imports(list))
		return STATUS_OK;
	return breakages_refuse(list, err);
}

/* ------------------------------------------------------------------ commit */

static int64_t next_version(struct registration *r, const char *name)
{
	const struct snapshot_file *known = snapshot_find_any(r->before, name);

	return known ? known->newest->version + 1
		     : catalog_first_version(r->registrar->catalog, r->request->ns, name);
}

static enum status commit(struct registration *r)
{
	struct tree_write *writes = arena_alloc(
		r->arena, (r->changed.count + r->dropped_count + 1) * sizeof(*writes));
	struct snapshot_edit edit;
	size_t n = 0;

	snapshot_edit_init(&edit, r->before);
	edit.version++;
	for (size_t i = 0; i < r->count; i++) {
		const struct entry *e = &r->entries[i];
		if (!e->is_changed)
			continue;
		snapshot_edit_put(
			&edit, e->name,
			&(struct snapshot_version){.version = next_version(r, e->name),
						   .at = edit.version,
						   .registered_us = (int64_t)clock_unix_us(),
						   .size = e->bytes.size,
						   .checksum = disk_checksum(e->bytes)});
		writes[n++] = (struct tree_write){e->name, e->bytes};
	}
	for (size_t i = 0; i < r->dropped_count; i++) {
		snapshot_edit_remove(&edit, r->dropped[i], edit.version,
				     (int64_t)clock_unix_us());
		writes[n++] = (struct tree_write){r->dropped[i], {NULL, 0}};
	}
	r->after = snapshot_edit_finish(&edit, r->pool);
	return catalog_commit(r->registrar->catalog, r->request->ns, r->after, writes, n,
			      r->err);
}

static void fill_result(struct registration *r, struct registrar_result *ret)
{
	const bool committed = r->after != NULL;
	struct snapshot *now = committed ? r->after : r->before;

	*ret = (struct registrar_result){.snapshot = snapshot_ref(now),
					 .pool = pool_ref(r->pool),
					 .file_count = r->count,
					 .unchanged = !r->changed.count};
	ret->files = arena_alloc(r->arena, (r->count + 1) * sizeof(*ret->files));
	for (size_t i = 0; i < r->count; i++) {
		const struct entry *e = &r->entries[i];
		const struct snapshot_file *f = snapshot_find(now, e->name);
		bool is_there = committed || !e->is_changed;
		ret->files[i] = (struct registrar_file){
			e->name, is_there ? f->newest->version : next_version(r, e->name),
			!e->is_changed};
	}
}

static enum status run(struct registration *r)
{
	const unsigned flags = r->request->flags;
	enum status status;

	r->before = catalog_snapshot(r->registrar->catalog, r->request->ns);
	status = take_entries(r);
	if (status == STATUS_OK)
		status = link_changed(r);
	if (status == STATUS_OK)
		status = check(r);
	if (status == STATUS_OK && r->needs_users)
		return STATUS_OK;
	if (status == STATUS_OK)
		status = decide(r->breakages, flags, r->err);
	if (status != STATUS_OK || (flags & REGISTRAR_VALIDATE_ONLY) || !r->changed.count)
		return status;
	return commit(r);
}

/* One try, with the users that are known by now. */
static enum status try(struct registration *r, struct registrar_result *ret)
{
	struct catalog *catalog = r->registrar->catalog;
	const struct registrar_request *q = r->request;
	const bool changes = !(q->flags & REGISTRAR_VALIDATE_ONLY);
	enum status status =
		changes ? catalog_lock(catalog, q->ns, q->deadline_ns, r->err) : STATUS_OK;

	if (status != STATUS_OK)
		return status;
	status = run(r);
	if (status == STATUS_OK && !r->needs_users)
		fill_result(r, ret);
	if (changes)
		catalog_unlock(catalog, q->ns);
	map_release(&r->changed, NULL);
	pool_unref(r->pool);
	snapshot_unref(r->before);
	snapshot_unref(r->after);
	return status;
}

enum status registrar_register(struct registrar *registrar,
			       const struct registrar_request *request, struct arena *arena,
			       struct breakages *breakages, struct registrar_result *ret,
			       struct error *err)
{
	const struct registration fresh = {.registrar = registrar,
					   .request = request,
					   .arena = arena,
					   .breakages = breakages,
					   .err = err};
	struct registration r = fresh;
	struct arena users_arena;
	struct users users;
	enum status status = try(&r, ret);

	if (status != STATUS_OK || !r.needs_users)
		return status;
	arena_init(&users_arena, 0);
	status = registrar->ask_users(registrar->arg, request->ns, request->deadline_ns,
				      &users_arena, &users, err);
	if (status == STATUS_OK) {
		breakages_init(breakages, breakages->arena);
		r = fresh;
		r.users = &users;
		status = try(&r, ret);
	}
	arena_release(&users_arena);
	return status;
}

void registrar_result_release(struct registrar_result *result)
{
	snapshot_unref(result->snapshot);
	pool_unref(result->pool);
}
