#include "services/registry/feed.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/registry/catalog.h"

/* A message holds more than this only when a single file does. */
enum { MESSAGE_BYTES = 1 << 20 };

/* A namespace in the telling: the snapshot that is told, and how far it is. */
struct telling {
	char *ns;
	struct snapshot *snapshot;
	int64_t from;                     /* what the watcher has; 0 for everything */
	const struct pool_file **changed; /* each after what it imports of them */
	const struct snapshot_file **removed;
	size_t changed_count, removed_count;
	size_t next_changed, next_removed;
};

struct feed {
	struct catalog *catalog;
	bool with_descriptors;
	struct map wanted; /* namespace -> anything; empty: all */
	struct map known;  /* namespace -> int64_t, owned */
	bool is_begun, has_told_start;
	uint64_t generation; /* of the catalog, up to which changes are in pending */
	struct arena names;  /* of pending */
	const char **pending;
	size_t pending_count, next_pending;
	struct telling telling; /* without a snapshot: none */
	struct arena arena;     /* of the event */
	struct feed_event event;
};

struct feed *feed_new(struct catalog *catalog, bool with_descriptors)
{
	struct feed *f = xcalloc(1, sizeof(*f));

	f->catalog = catalog;
	f->with_descriptors = with_descriptors;
	arena_init(&f->names, 0);
	arena_init(&f->arena, 0);
	return f;
}

static void end_telling(struct telling *t)
{
	free(t->ns);
	snapshot_unref(t->snapshot);
	free(t->changed);
	free(t->removed);
	*t = (struct telling){0};
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	end_telling(&f->telling);
	strbuf_release(&f->event.set);
	map_release(&f->wanted, NULL);
	map_release(&f->known, free);
	arena_release(&f->names);
	arena_release(&f->arena);
	free(f);
}

void feed_want(struct feed *f, const char *ns)
{
	map_put(&f->wanted, ns, f);
}

static int64_t known_version(const struct feed *f, const char *ns)
{
	const int64_t *version = map_get(&f->known, ns);

	return version ? *version : 0;
}

void feed_know(struct feed *f, const char *ns, int64_t version)
{
	int64_t *slot = map_get(&f->known, ns);

	if (!slot) {
		slot = xmalloc(sizeof(*slot));
		map_put(&f->known, ns, slot);
	}
	*slot = version;
}

/* ------------------------------------------------------- which namespaces */

static bool is_wanted(const struct feed *f, const char *ns)
{
	return !f->wanted.count || map_get(&f->wanted, ns);
}

/* At the start also those that the watcher knows and the catalog does not. */
static size_t known_count(const struct feed *f)
{
	return f->is_begun ? 0 : f->known.count;
}

static void refill_pending(struct feed *f)
{
	const size_t more = known_count(f);
	const char *const *changed;
	size_t count;

	arena_reset(&f->names);
	f->pending_count = f->next_pending = 0;
	changed = catalog_changed_since(f->catalog, f->generation, &f->names, &count,
					&f->generation);
	f->pending = arena_alloc(&f->names, (count + more + 1) * sizeof(*f->pending));
	for (size_t i = 0; i < count; i++)
		if (is_wanted(f, changed[i]))
			f->pending[f->pending_count++] = changed[i];
	if (more)
		map_for_each (&f->known, e)
			if (is_wanted(f, e->key))
				f->pending[f->pending_count++] =
					arena_strdup(&f->names, e->key);
	f->is_begun = true;
}

/* ------------------------------------------------------- what changed in one */

static bool is_newer(const struct telling *t, const struct snapshot_file *file)
{
	return !t->from || file->at > t->from;
}

static void find_changed(struct telling *t)
{
	const struct snapshot *s = t->snapshot;
	struct map names = {0};
	size_t count, n = 0;
	const struct pool_file *const *files;

	for (size_t i = 0; i < s->file_count; i++)
		if (is_newer(t, s->files[i]))
			map_put(&names, s->files[i]->name, s->files[i]);
	t->changed = xreallocarray(NULL, names.count + 1, sizeof(*t->changed));
	if (names.count == 1) { /* no need to look at all for their order */
		const struct map_entry *only = map_next(&names, NULL);
		t->changed[n++] = pool_file(s->pool, only->key, only->key_len);
	} else if (names.count) {
		files = pool_files(s->pool, &count);
		for (size_t i = 0; i < count; i++)
			if (map_get(&names, files[i]->name))
				t->changed[n++] = files[i];
	}
	t->changed_count = n;
	map_release(&names, NULL);
}

static void find_removed(struct telling *t)
{
	const struct snapshot *s = t->snapshot;

	t->removed = xreallocarray(NULL, s->other_count + 1, sizeof(*t->removed));
	for (size_t i = 0; t->from && i < s->other_count; i++)
		if (s->others[i]->state == SNAPSHOT_GONE && s->others[i]->at > t->from)
			t->removed[t->removed_count++] = s->others[i];
}

/* False: the watcher has what there is. */
static bool begin_telling(struct feed *f, const char *ns)
{
	struct telling *t = &f->telling;
	struct snapshot *s = catalog_snapshot(f->catalog, ns);
	const int64_t known = known_version(f, ns);

	if (known == s->version) {
		snapshot_unref(s);
		return false;
	}
	*t = (struct telling){.ns = xstrdup(ns), .snapshot = s, .from = known};
	/* A version of another past, or of one that is not remembered. */
	if (known < 0 || known > s->version || known < s->history_from)
		t->from = 0;
	find_changed(t);
	find_removed(t);
	return true;
}

/* The next message of what is being told. */
static void put_event(struct feed *f)
{
	struct telling *t = &f->telling;
	struct feed_event *e = &f->event;
	const char **changed, **removed;
	size_t bytes = 0;

	changed = arena_alloc(&f->arena, (t->changed_count + 1) * sizeof(*changed));
	removed = arena_alloc(&f->arena, (t->removed_count + 1) * sizeof(*removed));
	while (t->next_removed < t->removed_count && bytes < MESSAGE_BYTES) {
		const char *name = t->removed[t->next_removed++]->name;
		removed[e->removed_count++] = arena_strdup(&f->arena, name);
		bytes += strlen(name);
	}
	while (t->next_changed < t->changed_count && bytes < MESSAGE_BYTES) {
		const struct pool_file *file = t->changed[t->next_changed++];
		changed[e->changed_count++] = arena_strdup(&f->arena, file->name);
		bytes += strlen(file->name);
		if (!f->with_descriptors)
			continue;
		pool_write_set(&file, 1, &e->set);
		bytes += file->bytes.size;
	}
	e->changed = changed;
	e->removed = removed;
	e->ns = arena_strdup(&f->arena, t->ns);
	e->complete = !t->from;
	e->more = t->next_changed < t->changed_count || t->next_removed < t->removed_count;
	e->version = e->more ? t->from : t->snapshot->version;
	if (e->more)
		return;
	feed_know(f, t->ns, t->snapshot->version);
	end_telling(t);
}

/* ------------------------------------------------------------------ the next */

static bool has_telling(struct feed *f)
{
	if (f->telling.snapshot)
		return true;
	for (;;) {
		while (f->next_pending < f->pending_count)
			if (begin_telling(f, f->pending[f->next_pending++]))
				return true;
		/* What changed while those were told. */
		refill_pending(f);
		if (!f->pending_count)
			return false;
	}
}

bool feed_next(struct feed *f, const struct feed_event **ret_event)
{
	struct strbuf set = f->event.set;

	arena_reset(&f->arena);
	strbuf_reset(&set);
	f->event = (struct feed_event){.ns = "", .set = set};
	*ret_event = &f->event;
	if (has_telling(f)) {
		put_event(f);
		return true;
	}
	if (f->has_told_start)
		return false;
	f->has_told_start = true;
	return true;
}
