#include "services/registry/catalog.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/names.h"
#include "common/reflect/builtin.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/registry/change.h"

struct ns_entry {
	struct pool *pool;
	int64_t version;
	struct map files; /* name -> struct catalog_file, owned */
};

struct catalog {
	struct tree *tree;
	struct pool *builtins;
	pthread_mutex_t writing; /* one registration at a time; taken before mu */
	pthread_mutex_t mu;      /* spaces and all below it */
	struct map spaces;       /* namespace -> struct ns_entry, owned */
};

static void free_entry(void *p)
{
	struct ns_entry *e = p;

	pool_unref(e->pool);
	map_release(&e->files, free);
	free(e);
}

static struct ns_entry *new_entry(struct catalog *c)
{
	struct ns_entry *e = xcalloc(1, sizeof(*e));

	e->pool = pool_ref(c->builtins);
	return e;
}

/* ----------------------------------------------------------------- loading */

struct loading {
	struct catalog *catalog;
	struct ns_entry *entry;
	struct bytes *files;
	size_t count;
	struct arena arena;
};

static void take_file(void *arg, const struct tree_file *file)
{
	struct loading *l = arg;
	struct catalog_file *info = xmalloc(sizeof(*info));

	*info = (struct catalog_file){file->version, file->created_us, file->updated_us};
	free(map_put(&l->entry->files, file->name, info));
	l->files = xreallocarray(l->files, l->count + 1, sizeof(*l->files));
	l->files[l->count++] = bytes_of(
		arena_memdup(&l->arena, file->bytes.data, file->bytes.size), file->bytes.size);
}

/* When a file was lost, those that import it do not link either: keep what does. */
static void link_what_links(struct loading *l, tree_damage *damage, void *arg)
{
	bool progress = true;

	while (progress) {
		progress = false;
		for (size_t i = 0; i < l->count; i++) {
			struct pool *more;
			struct error err;
			if (!l->files[i].data || pool_extend(l->entry->pool, &l->files[i], 1,
							     &more, &err) != STATUS_OK)
				continue;
			pool_unref(l->entry->pool);
			l->entry->pool = more;
			l->files[i].data = NULL;
			progress = true;
		}
	}
	for (size_t i = 0; i < l->count; i++) {
		struct bytes name = {0};
		if (!l->files[i].data)
			continue;
		(void)wire_find_bytes(l->files[i], 1, &name);
		char *text AUTO_FREE = xstrndup((const char *)name.data, name.size);
		free(map_remove(&l->entry->files, text));
		damage(arg, text, "it imports a file that was lost");
	}
}

static enum status load_namespace(struct catalog *c, const char *ns, tree_damage *damage,
				  void *arg, struct error *err)
{
	struct loading l = {.catalog = c, .entry = new_entry(c)};
	struct pool *pool;
	enum status status;

	arena_init(&l.arena, 0);
	status = tree_load(c->tree, ns, take_file, &l, &l.entry->version, err);
	if (status == STATUS_OK) {
		if (pool_extend(c->builtins, l.files, l.count, &pool, err) == STATUS_OK) {
			pool_unref(l.entry->pool);
			l.entry->pool = pool;
		} else {
			link_what_links(&l, damage, arg);
		}
		map_put(&c->spaces, ns, l.entry);
	} else {
		free_entry(l.entry);
	}
	free(l.files);
	arena_release(&l.arena);
	return status;
}

struct namespace_list {
	char **names;
	size_t count;
};

static void take_namespace(void *arg, const char *ns)
{
	struct namespace_list *list = arg;

	for (size_t i = 0; i < list->count; i++)
		if (!strcmp(list->names[i], ns))
			return; /* it has both manifests */
	list->names = xreallocarray(list->names, list->count + 1, sizeof(*list->names));
	list->names[list->count++] = xstrdup(ns);
}

enum status catalog_open(const char *dir, tree_damage *damage, void *arg,
			 struct catalog **ret_catalog, struct error *err)
{
	struct catalog *c = xcalloc(1, sizeof(*c));
	struct pool *empty = pool_new();
	struct namespace_list list = {0};
	enum status status =
		pool_extend_set(empty, builtin_descriptor_set(), &c->builtins, err);

	pool_unref(empty);
	if (status != STATUS_OK)
		abort(); /* our own descriptors, checked by the tests */
	pthread_mutex_init(&c->writing, NULL);
	pthread_mutex_init(&c->mu, NULL);
	c->tree = tree_open(dir, damage, arg);
	status = tree_namespaces(c->tree, take_namespace, &list, err);
	for (size_t i = 0; i < list.count; i++) {
		if (status == STATUS_OK)
			status = load_namespace(c, list.names[i], damage, arg, err);
		free(list.names[i]);
	}
	free(list.names);
	if (status == STATUS_OK)
		*ret_catalog = c;
	else
		catalog_close(c);
	return status;
}

void catalog_close(struct catalog *c)
{
	if (!c)
		return;
	map_release(&c->spaces, free_entry);
	tree_close(c->tree);
	pool_unref(c->builtins);
	pthread_mutex_destroy(&c->writing);
	pthread_mutex_destroy(&c->mu);
	free(c);
}

/* ----------------------------------------------------------------- reading */

struct pool *catalog_snapshot(struct catalog *c, const char *ns, int64_t *ret_version)
{
	struct ns_entry *e;
	struct pool *pool;

	pthread_mutex_lock(&c->mu);
	e = map_get(&c->spaces, ns);
	pool = pool_ref(e ? e->pool : c->builtins);
	if (ret_version)
		*ret_version = e ? e->version : 0;
	pthread_mutex_unlock(&c->mu);
	return pool;
}

bool catalog_file(struct catalog *c, const char *ns, const char *name, struct catalog_file *ret)
{
	struct ns_entry *e;
	struct catalog_file *info = NULL;

	pthread_mutex_lock(&c->mu);
	e = map_get(&c->spaces, ns);
	if (e)
		info = map_get(&e->files, name);
	if (info)
		*ret = *info;
	pthread_mutex_unlock(&c->mu);
	return info != NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *const *catalog_namespaces(struct catalog *c, struct arena *arena, size_t *ret_count)
{
	const char **names;
	size_t count = 0;

	pthread_mutex_lock(&c->mu);
	names = arena_alloc(arena, (c->spaces.count + 1) * sizeof(*names));
	map_for_each (&c->spaces, e) {
		if (((struct ns_entry *)e->value)->files.count)
			names[count++] = arena_strdup(arena, e->key);
	}
	pthread_mutex_unlock(&c->mu);
	qsort(names, count, sizeof(*names), by_name);
	*ret_count = count;
	return names;
}

/* ------------------------------------------------------------- registration */

/* One registration under way. */
struct registration {
	struct catalog *catalog;
	const char *ns;
	struct pool *before, *after;
	int64_t version;
	struct bytes *files; /* those that are not built in */
	const char **names;
	size_t count;
	struct arena arena;
};

static enum status check_name(const char *name, struct error *err)
{
	size_t len = strlen(name);
	enum status status = names_check_path(name, "file_descriptor.name", err);

	if (status == STATUS_OK && (len < 7 || strcmp(name + len - 6, ".proto")))
		status = error_field(err, "file_descriptor.name",
				     "\"%s\" does not end in \".proto\"", name);
	return status;
}

/* Sort out the built-ins, and check the names of the rest. */
static enum status take_files(struct registration *r, const struct bytes *files, size_t count,
			      struct error *err)
{
	r->files = arena_alloc(&r->arena, (count + 1) * sizeof(*r->files));
	r->names = arena_alloc(&r->arena, (count + 1) * sizeof(*r->names));
	for (size_t i = 0; i < count; i++) {
		struct bytes name;
		enum status status;
		if (!wire_find_bytes(files[i], 1, &name) || memchr(name.data, '\0', name.size))
			return error_field(
				err, "file_descriptor.name",
				"the file has no name, or is not a FileDescriptorProto");
		if (pool_file(r->catalog->builtins, (const char *)name.data, name.size))
			continue;
		char *text = arena_strndup(&r->arena, (const char *)name.data, name.size);
		status = check_name(text, err);
		if (status != STATUS_OK)
			return status;
		r->names[r->count] = text;
		r->files[r->count++] = files[i];
	}
	if (!r->count)
		return error_field(err, "file_descriptor.name",
				   "the file is built in and cannot be redefined");
	return STATUS_OK;
}

static enum status reserved(struct error *err, const char *symbol)
{
	return error_field(
		err, symbol,
		"names under collector., collections., grpc. and google.protobuf. are "
		"reserved");
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

static enum status check_change(const struct registration *r, struct error *err)
{
	for (size_t i = 0; i < r->count; i++) {
		size_t len = strlen(r->names[i]);
		const struct pool_file *old = pool_file(r->before, r->names[i], len);
		enum status status = check_symbols(pool_file(r->after, r->names[i], len), err);
		if (status == STATUS_OK && old)
			status = change_check(old, r->after, err);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static bool is_changed(const struct registration *r, size_t i)
{
	const struct pool_file *old = pool_file(r->before, r->names[i], strlen(r->names[i]));

	return !old || !bytes_equal(old->bytes, r->files[i]);
}

static bool is_among(const struct registration *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (!strcmp(r->names[i], name) && is_changed(r, i))
			return true;
	return false;
}

/* Every registered file after the change, with its version. */
static struct tree_file *all_files(struct registration *r, size_t *ret_count)
{
	struct catalog *c = r->catalog;
	size_t count, n = 0;
	const struct pool_file *const *files = pool_files(r->after, &count);
	struct tree_file *all = arena_alloc(&r->arena, (count + 1) * sizeof(*all));
	int64_t now = (int64_t)clock_unix_us();

	for (size_t i = 0; i < count; i++) {
		struct catalog_file info = {0, now, now};
		if (pool_file(c->builtins, files[i]->name, strlen(files[i]->name)))
			continue;
		(void)catalog_file(c, r->ns, files[i]->name, &info);
		if (is_among(r, files[i]->name)) {
			info.version++;
			info.updated_us = now;
		}
		all[n++] = (struct tree_file){files[i]->name, info.version, info.created_us,
					      info.updated_us, files[i]->bytes};
	}
	*ret_count = n;
	return all;
}

static void install(struct registration *r, const struct tree_file *all, size_t count)
{
	struct catalog *c = r->catalog;
	struct ns_entry *e;

	pthread_mutex_lock(&c->mu);
	e = map_get(&c->spaces, r->ns);
	if (!e) {
		e = new_entry(c);
		map_put(&c->spaces, r->ns, e);
	}
	for (size_t i = 0; i < count; i++) {
		struct catalog_file *info = xmalloc(sizeof(*info));
		*info = (struct catalog_file){all[i].version, all[i].created_us,
					      all[i].updated_us};
		free(map_put(&e->files, all[i].name, info));
	}
	pool_unref(e->pool);
	e->pool = pool_ref(r->after);
	e->version = r->version;
	pthread_mutex_unlock(&c->mu);
}

static enum status check_limits(struct registration *r, size_t files, struct error *err)
{
	struct catalog *c = r->catalog;
	bool too_many;

	if (files > CATALOG_MAX_FILES)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "namespace %s would have more than %d files", r->ns,
				 CATALOG_MAX_FILES);
	pthread_mutex_lock(&c->mu);
	too_many = c->spaces.count >= CATALOG_MAX_NAMESPACES && !map_get(&c->spaces, r->ns);
	pthread_mutex_unlock(&c->mu);
	return too_many ? error_set(err, STATUS_RESOURCE_EXHAUSTED,
				    "there are %d namespaces already", CATALOG_MAX_NAMESPACES)
			: STATUS_OK;
}

/* Write what changed, then let readers see it. */
static enum status commit(struct registration *r, bool *ret_unchanged, struct error *err)
{
	size_t all_count, changed_count = 0;
	struct tree_file *all = all_files(r, &all_count);
	const struct tree_file **changed =
		arena_alloc(&r->arena, (all_count + 1) * sizeof(*changed));
	enum status status = check_limits(r, all_count, err);

	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < all_count; i++)
		if (is_among(r, all[i].name))
			changed[changed_count++] = &all[i];
	*ret_unchanged = !changed_count;
	if (!changed_count)
		return STATUS_OK;
	r->version++;
	status = tree_commit(r->catalog->tree, r->ns, r->version, all, all_count, changed,
			     changed_count, err);
	if (status == STATUS_OK)
		install(r, all, all_count);
	return status;
}

static enum status run(struct registration *r, const struct bytes *files, size_t count,
		       bool *ret_unchanged, struct error *err)
{
	enum status status = take_files(r, files, count, err);

	if (status != STATUS_OK)
		return status;
	r->before = catalog_snapshot(r->catalog, r->ns, &r->version);
	status = pool_replace(r->before, r->files, r->count, &r->after, err);
	if (status == STATUS_OK)
		status = check_change(r, err);
	return status == STATUS_OK ? commit(r, ret_unchanged, err) : status;
}

enum status catalog_register(struct catalog *c, const char *ns, const struct bytes *files,
			     size_t count, struct catalog_registered *ret, struct error *err)
{
	struct registration r = {.catalog = c, .ns = ns};
	enum status status;
	bool unchanged;

	arena_init(&r.arena, 0);
	pthread_mutex_lock(&c->writing);
	status = run(&r, files, count, &unchanged, err);
	pthread_mutex_unlock(&c->writing);
	if (status == STATUS_OK)
		*ret = (struct catalog_registered){pool_ref(r.after), unchanged, r.version};
	pool_unref(r.before);
	pool_unref(r.after);
	arena_release(&r.arena);
	return status;
}
