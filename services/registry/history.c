#include "services/registry/history.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/base/strbuf.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/registry/catalog.h"

enum { FILE_DEPENDENCY = 3 }; /* FileDescriptorProto.dependency */

/* The files of one earlier state, while they are gathered. */
struct gathering {
	struct catalog *catalog;
	const char *ns;
	const struct snapshot *now;
	int64_t at; /* the namespace's version that is gone back to */
	struct arena arena;
	struct map seen; /* names */
	struct bytes *files;
	size_t count, room;
};

static const struct snapshot_version *version_at(const struct snapshot_file *f, int64_t at)
{
	const struct snapshot_version *v = f->newest;

	while (v && v->at > at)
		v = v->previous;
	return v;
}

static bool add_file(struct gathering *g, const char *name)
{
	const struct snapshot_file *f = snapshot_find_any(g->now, name);
	const struct snapshot_version *v = f ? version_at(f, g->at) : NULL;
	AUTO_STRBUF bytes = STRBUF_INIT;
	struct error ignored; /* that it is damaged was told when it was found */

	if (map_get(&g->seen, name) ||
	    pool_file(catalog_builtins(g->catalog), name, strlen(name)))
		return true;
	if (!v || catalog_read(g->catalog, g->ns, name, v, &bytes, &ignored) != STATUS_OK)
		return false;
	map_put(&g->seen, name, g);
	if (g->count == g->room) {
		g->room = g->room ? 2 * g->room : 16;
		g->files = xreallocarray(g->files, g->room, sizeof(*g->files));
	}
	g->files[g->count++] =
		bytes_of(arena_memdup(&g->arena, bytes.buf, bytes.len), bytes.len);
	return true;
}

static bool add_imports(struct gathering *g, struct bytes file)
{
	struct wire_cursor c = wire_cursor_of(file);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		if (f.number != FILE_DEPENDENCY || f.type != WIRE_BYTES)
			continue;
		if (!add_file(g,
			      arena_strndup(&g->arena, (const char *)f.data.data, f.data.size)))
			return false;
	}
	return true;
}

struct pool *history_pool(struct catalog *c, const char *ns, const struct snapshot *now,
			  const char *name, int64_t at)
{
	struct gathering g = {.catalog = c, .ns = ns, .now = now, .at = at};
	struct pool *pool = NULL;
	struct error ignored; /* it linked once: an import was of a lost version */
	bool is_there;

	arena_init(&g.arena, 0);
	is_there = add_file(&g, name);
	for (size_t i = 0; is_there && i < g.count; i++)
		is_there = add_imports(&g, g.files[i]);
	if (is_there &&
	    pool_extend(catalog_builtins(c), g.files, g.count, &pool, &ignored) != STATUS_OK)
		pool = NULL;
	map_release(&g.seen, NULL);
	free(g.files);
	arena_release(&g.arena);
	return pool;
}

bool history_visit(struct catalog *c, const char *ns, const struct snapshot *now,
		   const char *name, bool (*visit)(void *arg, const struct history_version *v),
		   void *arg)
{
	const struct snapshot_file *f = snapshot_find_any(now, name);
	const struct snapshot_version *newest = f ? f->newest : NULL, *next = newest;
	int64_t visited = 0;
	bool goes_on = true;

	for (int i = 0; goes_on && next && next->previous && i < HISTORY_MAX; i++) {
		struct pool *pool = history_pool(c, ns, now, name, next->previous->at);
		if (pool) {
			const struct history_version v = {
				pool, pool_file(pool, name, strlen(name)), next->registered_us};
			goes_on = visit(arg, &v);
			visited++;
		}
		pool_unref(pool);
		next = next->previous;
	}
	/* Versions count from 1. */
	return !newest || newest->version == visited + 1;
}
