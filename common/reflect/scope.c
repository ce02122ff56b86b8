#include <string.h>

#include "common/base/hash.h"
#include "common/reflect/link.h"

static size_t visible_slot(const struct linker *l, const struct pool_file *file)
{
	size_t i = (size_t)hash_bytes(&file, sizeof(file)) & l->visible_mask;

	while (l->visible[i] && l->visible[i] != file)
		i = (i + 1) & l->visible_mask;
	return i;
}

static size_t round_up_to_power(size_t n)
{
	size_t power = 16;

	while (power < n)
		power *= 2;
	return power;
}

/*
 * Every file enters @reach once: the imports, then what files in it import
 * publicly. The set is sized for the worst case, all files of the pool, only
 * when there are that many public imports.
 */
void scope_init(struct linker *l)
{
	const struct pool_file *file = &l->unit->file;
	size_t room = file->dependency_count, count = 0, edges = room;
	const struct pool_file **reach;

	for (uint32_t i = 0; i < file->dependency_count; i++)
		if (unit_of(file->dependencies[i])->public_count)
			room = l->pool->unit_count;
	if (room < edges)
		room = edges;
	reach = arena_alloc(l->scratch, room * sizeof(struct pool_file *));
	l->visible_mask = round_up_to_power(room * 2 + 1) - 1;
	l->visible =
		arena_zalloc(l->scratch, (l->visible_mask + 1) * sizeof(struct pool_file *));
	for (uint32_t i = 0; i < file->dependency_count; i++) {
		const size_t slot = visible_slot(l, file->dependencies[i]);

		if (!l->visible[slot])
			l->visible[slot] = reach[count++] = file->dependencies[i];
	}
	for (size_t done = 0; done < count; done++) {
		const struct pool_unit *u = unit_of(reach[done]);

		for (uint32_t i = 0; i < u->public_count; i++) {
			const size_t slot = visible_slot(l, u->public_imports[i]);

			if (!l->visible[slot])
				l->visible[slot] = reach[count++] = u->public_imports[i];
		}
	}
}

static bool is_visible(const struct linker *l, const struct pool_file *file)
{
	return file == &l->unit->file || l->visible[visible_slot(l, file)];
}

static bool package_is_within(const struct pool_file *file, const char *name, size_t len)
{
	return !strncmp(file->package, name, len) &&
	       (file->package[len] == '.' || !file->package[len]);
}

/* A package belongs to many files; is one of them visible? */
static bool package_is_visible(const struct linker *l, const char *name, size_t len)
{
	if (package_is_within(&l->unit->file, name, len))
		return true;
	for (size_t i = 0; i <= l->visible_mask; i++)
		if (l->visible[i] && package_is_within(l->visible[i], name, len))
			return true;
	return false;
}

/* *@hidden becomes the file of what would have been found if it were imported. */
static struct symbol find(const struct linker *l, const char *name, size_t len,
			  const struct pool_file **hidden)
{
	const struct symbol s = pool_symbol(l->pool, name, len);

	if (s.kind == SYMBOL_NONE || s.kind == SYMBOL_EXTENSION_NUMBER)
		return (struct symbol){.kind = SYMBOL_NONE};
	if (s.kind == SYMBOL_PACKAGE ? package_is_visible(l, name, len) : is_visible(l, s.file))
		return s;
	if (s.kind != SYMBOL_PACKAGE)
		*hidden = s.file;
	return (struct symbol){.kind = SYMBOL_NONE};
}

static bool is_type(struct symbol s)
{
	return s.kind == SYMBOL_MESSAGE || s.kind == SYMBOL_ENUM;
}

static bool is_aggregate(struct symbol s)
{
	return is_type(s) || s.kind == SYMBOL_PACKAGE || s.kind == SYMBOL_SERVICE;
}

/* How much of @scope is the scope around it. */
static size_t outer_len(const char *scope, size_t len)
{
	while (len && scope[len - 1] != '.')
		len--;
	return len ? len - 1 : 0;
}

/*
 * As protoc does: the innermost scope that has the first component decides,
 * and what does not exist inside it is not looked for further out.
 */
static struct symbol find_relative(const struct linker *l, const char *scope, const char *name,
				   enum scope_wanted wanted, const struct pool_file **hidden)
{
	const size_t first_len = strcspn(name, "."), name_len = strlen(name);
	size_t scope_len = strlen(scope);
	char *path = arena_alloc(l->scratch, scope_len + name_len + 2);

	memcpy(path, scope, scope_len);
	while (scope_len) {
		const size_t start = scope_len + 1;
		struct symbol s;

		path[scope_len] = '.';
		memcpy(path + start, name, name_len);
		s = find(l, path, start + first_len, hidden);
		if (first_len == name_len &&
		    (wanted == SCOPE_ANYTHING ? s.kind != SYMBOL_NONE : is_type(s)))
			return s;
		if (first_len < name_len && is_aggregate(s))
			return find(l, path, start + name_len, hidden);
		/* Not there, but would it be if its file were imported? */
		if (first_len < name_len && s.kind == SYMBOL_NONE)
			(void)find(l, path, start + name_len, hidden);
		scope_len = outer_len(scope, scope_len);
	}
	return find(l, name, name_len, hidden);
}

enum status scope_resolve(const struct linker *l, const char *scope, const char *name,
			  enum scope_wanted wanted, const char *where,
			  struct symbol *ret_symbol)
{
	const struct pool_file *hidden = NULL;
	const struct symbol s = name[0] == '.' ? find(l, name + 1, strlen(name + 1), &hidden)
					       : find_relative(l, scope, name, wanted, &hidden);

	if (s.kind != SYMBOL_NONE) {
		*ret_symbol = s;
		return STATUS_OK;
	}
	if (hidden)
		return link_fail(l, where, "\"%s\" is defined in \"%s\", which is not imported",
				 name, hidden->name);
	return link_fail(l, where, "\"%s\" is not defined", name);
}
