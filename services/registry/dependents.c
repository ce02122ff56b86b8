#include "services/registry/dependents.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/pool.h"
#include "services/registry/collection_services.h"

static bool imports_one_of(const struct pool_file *f, const struct map *names)
{
	for (uint32_t i = 0; i < f->dependency_count; i++)
		if (map_get(names, f->dependencies[i]->name))
			return true;
	return false;
}

const struct pool_file *const *dependents_of(const struct pool *pool, const struct map *names,
					     enum dependents_reach reach, struct arena *arena,
					     size_t *ret_count)
{
	size_t count, n = 0;
	const struct pool_file *const *files = pool_files(pool, &count);
	const struct pool_file **found =
		arena_alloc(arena, (count + 1) * sizeof(struct pool_file *));
	struct map reached = {0};

	for (size_t i = 0; i < count; i++) {
		if (map_get(names, files[i]->name) ||
		    (!imports_one_of(files[i], names) && !imports_one_of(files[i], &reached)))
			continue;
		if (reach == DEPENDENTS_ALL)
			map_put(&reached, files[i]->name, (void *)files[i]);
		found[n++] = files[i];
	}
	map_release(&reached, NULL);
	*ret_count = n;
	return found;
}

/* The files of @pool, built-ins apart, that are keys of neither map. */
static struct pool *keep(struct pool *builtins, const struct pool *pool,
			 const struct map *names, const struct map *more_names)
{
	size_t count, n = 0;
	const struct pool_file *const *files = pool_files(pool, &count);
	struct bytes *kept = xreallocarray(NULL, count + 1, sizeof(*kept));
	struct pool *out;
	struct error err;

	for (size_t i = 0; i < count; i++)
		if (!map_get(names, files[i]->name) && !map_get(more_names, files[i]->name))
			kept[n++] = files[i]->bytes;
	/* The built-ins among them are there already. They linked before, in this order. */
	if (pool_extend(builtins, kept, n, &out, &err) != STATUS_OK)
		abort();
	free(kept);
	return out;
}

struct pool *dependents_without(struct pool *builtins, const struct pool *pool,
				const struct map *names)
{
	static const struct map none;

	return keep(builtins, pool, names, &none);
}

/* Of the files that change, the one that @f imports; "" when others are in between. */
static const char *changed_import(const struct pool_file *f, const struct map *names)
{
	for (uint32_t i = 0; i < f->dependency_count; i++)
		if (map_get(names, f->dependencies[i]->name))
			return f->dependencies[i]->name;
	return "";
}

static void add_breakage(struct breakages *breakages, const struct pool_file *f,
			 const struct map *names, const struct error *why)
{
	const size_t len = strlen(f->name);
	char *user AUTO_FREE = xasprintf("file %s", f->name);
	/* The field is "file: symbol", or the file alone. */
	bool has_symbol = !strncmp(why->field, f->name, len) && why->field[len] == ':';

	breakages_add(breakages, &(struct breakage){
					 .rule = BREAKAGE_RULE_IMPORT,
					 .path = has_symbol ? why->field + len + 2 : f->name,
					 .description = why->message,
					 .file_name = changed_import(f, names),
					 .user = user,
				 });
}

/* Take @pool's place by it with those of @files that link. */
static struct pool *add_what_links(struct pool *pool, const struct pool_file *const *files,
				   size_t count, const struct map *names,
				   struct breakages *breakages)
{
	for (size_t i = 0; i < count; i++) {
		struct pool *more;
		struct error err;
		if (pool_extend(pool, &files[i]->bytes, 1, &more, &err) != STATUS_OK) {
			if (!collection_services_are_in(files[i]->name))
				add_breakage(breakages, files[i], names, &err);
			continue;
		}
		pool_unref(pool);
		pool = more;
	}
	return pool;
}

enum status dependents_relink(struct pool *builtins, const struct pool *before,
			      const struct map *names, const struct bytes *changed,
			      size_t count, struct breakages *breakages,
			      struct pool **ret_after, struct error *err)
{
	struct map dependent_names = {0};
	struct pool *kept, *with_changed;
	enum status status;
	size_t n;
	const struct pool_file *const *dependents =
		dependents_of(before, names, DEPENDENTS_ALL, breakages->arena, &n);

	for (size_t i = 0; i < n; i++)
		map_put(&dependent_names, dependents[i]->name, (void *)dependents[i]);
	kept = keep(builtins, before, names, &dependent_names);
	map_release(&dependent_names, NULL);
	status = pool_extend(kept, changed, count, &with_changed, err);
	pool_unref(kept);
	if (status == STATUS_OK)
		*ret_after = add_what_links(with_changed, dependents, n, names, breakages);
	return status;
}
