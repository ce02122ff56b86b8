/* Removing a file; setting a policy. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/reflect/pool.h"
#include "common/reflect/typed_collection.h"
#include "services/registry/catalog.h"
#include "services/registry/collection_services.h"
#include "services/registry/dependents.h"
#include "services/registry/reality.h"
#include "services/registry/registrar.h"
#include "services/registry/users.h"

/* One removal under way. */
struct removing {
	struct registrar *registrar;
	const struct registrar_removal *removal;
	struct arena *arena;
	struct breakages *hit;
	struct error *err;
	struct snapshot *before;
	struct pool *after;
	struct map names;          /* the file's, and of generated ones that import it */
	const struct users *users; /* NULL: they were not asked for */
	bool needs_users;          /* they are to be asked for first */
};

static enum status find(struct removing *r)
{
	const char *name = r->removal->file_name;
	const struct snapshot_file *f = snapshot_find_any(r->before, name);

	if (pool_file(catalog_builtins(r->registrar->catalog), name, strlen(name)))
		return error_field(r->err, "file_name", "%s is built in", name);
	if (collection_services_are_in(name) && !(r->removal->flags & REGISTRAR_GENERATED))
		return error_field(r->err, "file_name",
				   "files in " TYPED_COLLECTION_FILES
				   " are made by the registry, and go with their collections");
	if (!f || f->state == SNAPSHOT_GONE)
		return error_set(r->err, STATUS_NOT_FOUND,
				 "file %s is not registered in namespace %s", name,
				 r->removal->ns);
	map_put(&r->names, name, (void *)f);
	return STATUS_OK;
}

static const struct pool_file *const *importers_of(struct removing *r, size_t *ret_count)
{
	return dependents_of(r->before->pool, &r->names, DEPENDENTS_DIRECT, r->arena,
			     ret_count);
}

/* They go with it. */
static void add_generated(struct removing *r)
{
	size_t count;
	const struct pool_file *const *importers = importers_of(r, &count);

	for (size_t i = 0; i < count; i++)
		if (collection_services_are_in(importers[i]->name))
			map_put(&r->names, importers[i]->name, r);
}

/* True: other files import it, or what goes with it. */
static bool add_importers(struct removing *r)
{
	size_t count;
	const struct pool_file *const *importers = importers_of(r, &count);

	for (size_t i = 0; i < count; i++) {
		char *user AUTO_FREE = xasprintf("file %s", importers[i]->name);
		breakages_add(r->hit, &(struct breakage){.rule = BREAKAGE_RULE_IMPORT,
							 .path = r->removal->file_name,
							 .description = "it is imported",
							 .file_name = r->removal->file_name,
							 .user = user});
	}
	return count > 0;
}

/* If they are not known yet, r->needs_users says so. */
static enum status add_users(struct removing *r)
{
	const struct reality_change change = {.catalog = r->registrar->catalog,
					      .ns = r->removal->ns,
					      .before = r->before,
					      .after = r->after,
					      .file_names = &r->removal->file_name,
					      .file_count = 1,
					      .deadline_ns = r->removal->deadline_ns};

	if (!r->registrar->ask_users || (r->removal->flags & REGISTRAR_GENERATED))
		return STATUS_OK;
	if (r->users)
		return reality_check(&change, r->users, r->hit, r->err);
	r->needs_users = reality_may_hit(&change);
	return STATUS_OK;
}

static enum status commit(struct removing *r, int64_t *ret_version)
{
	struct tree_write *removed = arena_alloc(r->arena, r->names.count * sizeof(*removed));
	size_t count = 0;
	struct snapshot_edit edit;
	struct snapshot *after;
	enum status status;

	snapshot_edit_init(&edit, r->before);
	edit.version++;
	map_for_each (&r->names, entry) {
		snapshot_edit_remove(&edit, entry->key, edit.version, (int64_t)clock_unix_us());
		removed[count++] = (struct tree_write){entry->key, {NULL, 0}};
	}
	after = snapshot_edit_finish(&edit, r->after);
	status = catalog_commit(r->registrar->catalog, r->removal->ns, after, removed, count,
				r->err);
	if (status == STATUS_OK)
		*ret_version = after->version;
	snapshot_unref(after);
	return status;
}

static enum status run(struct removing *r, int64_t *ret_version)
{
	const unsigned flags = r->removal->flags;
	enum status status = find(r);
	int64_t version = r->before->version;
	bool is_imported;

	if (status != STATUS_OK)
		return status;
	add_generated(r);
	is_imported = add_importers(r);
	if (!is_imported) {
		r->after = dependents_without(catalog_builtins(r->registrar->catalog),
					      r->before->pool, &r->names);
		status = add_users(r);
	}
	if (status == STATUS_OK && !r->needs_users && !(flags & REGISTRAR_VALIDATE_ONLY)) {
		if (r->hit->total && (is_imported || !(flags & REGISTRAR_FORCE)))
			return breakages_refuse(r->hit, r->err);
		status = commit(r, &version);
	}
	if (status == STATUS_OK)
		*ret_version = version;
	return status;
}

/* One try, with the users that are known by now. */
static enum status try(struct removing *r, int64_t *ret_version)
{
	struct catalog *catalog = r->registrar->catalog;
	const struct registrar_removal *q = r->removal;
	const bool changes = !(q->flags & REGISTRAR_VALIDATE_ONLY);
	enum status status =
		changes ? catalog_lock(catalog, q->ns, q->deadline_ns, r->err) : STATUS_OK;

	if (status != STATUS_OK)
		return status;
	r->before = catalog_snapshot(catalog, q->ns);
	status = run(r, ret_version);
	if (changes)
		catalog_unlock(catalog, q->ns);
	map_release(&r->names, NULL);
	pool_unref(r->after);
	snapshot_unref(r->before);
	return status;
}

enum status registrar_unregister(struct registrar *registrar,
				 const struct registrar_removal *removal, struct arena *arena,
				 struct breakages *hit, int64_t *ret_version, struct error *err)
{
	const struct removing fresh = {.registrar = registrar,
				       .removal = removal,
				       .arena = arena,
				       .hit = hit,
				       .err = err};
	struct removing r = fresh;
	struct arena users_arena;
	struct users users;
	enum status status = try(&r, ret_version);

	if (status != STATUS_OK || !r.needs_users)
		return status;
	arena_init(&users_arena, 0);
	status = registrar->ask_users(registrar->arg, removal->ns, removal->deadline_ns,
				      &users_arena, &users, err);
	if (status == STATUS_OK) {
		breakages_init(hit, hit->arena);
		r = fresh;
		r.users = &users;
		status = try(&r, ret_version);
	}
	arena_release(&users_arena);
	return status;
}

enum status registrar_set_policy(struct registrar *r, const char *ns, enum policy policy,
				 uint64_t deadline_ns, struct error *err)
{
	enum status status = catalog_lock(r->catalog, ns, deadline_ns, err);
	struct snapshot *before, *after;
	struct snapshot_edit edit;

	if (status != STATUS_OK)
		return status;
	before = catalog_snapshot(r->catalog, ns);
	if (before->policy != policy) {
		snapshot_edit_init(&edit, before);
		edit.policy = policy;
		after = snapshot_edit_finish(&edit, before->pool);
		status = catalog_commit(r->catalog, ns, after, NULL, 0, err);
		snapshot_unref(after);
	}
	snapshot_unref(before);
	catalog_unlock(r->catalog, ns);
	return status;
}
