#include "services/registry/losses.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/reflect/compat.h"
#include "common/reflect/pool.h"
#include "services/registry/history.h"
#include "services/registry/snapshot.h"

void losses_finder_init(struct losses_finder *f, const struct reality_change *change)
{
	*f = (struct losses_finder){.change = change};
	arena_init(&f->arena, 0);
	for (size_t i = 0; i < change->file_count; i++)
		map_put(&f->changed, change->file_names[i], f);
}

static void free_history(void *p)
{
	history_release(p);
	free(p);
}

void losses_finder_release(struct losses_finder *f)
{
	map_release(&f->changed, NULL);
	map_release(&f->histories, free_history);
	map_release(&f->known, NULL);
	arena_release(&f->arena);
}

static const struct history *history_of(struct losses_finder *f, const char *file_name)
{
	const struct reality_change *c = f->change;
	struct history *h = map_get(&f->histories, file_name);

	if (h)
		return h;
	h = xmalloc(sizeof(*h));
	history_load(c->catalog, c->ns, c->before, file_name, h);
	map_put(&f->histories, file_name, h);
	return h;
}

/* ------------------------------------------------------------- one message */

/* Of the same loss in several versions the newest counts: they come in that order. */
static void add(struct losses_finder *f, struct losses *out, const struct compat_finding *found,
		int64_t until_us)
{
	for (size_t i = 0; i < out->count; i++)
		if (!strcmp(out->items[i].path, found->path))
			return;
	if (out->count == LOSSES_MAX)
		return;
	if (!out->items)
		out->items = arena_alloc(&f->arena, LOSSES_MAX * sizeof(*out->items));
	out->items[out->count++] =
		(struct loss){found->path, found->text, found->file_name, until_us};
}

static void compare(struct losses_finder *f, const struct pool_message *was, int64_t until_us,
		    struct losses *out)
{
	const struct compat_report report = compat_check_message(
		was, f->change->after, COMPAT_RECORDS, LOSSES_MAX, &f->arena);

	for (size_t i = 0; i < report.count; i++)
		add(f, out, &report.findings[i], until_us);
}

static void compare_versions(struct losses_finder *f, const struct pool_message *m,
			     struct losses *out)
{
	const struct history *h;

	compare(f, m, INT64_MAX, out);
	if (!map_get(&f->changed, m->file->name))
		return;
	h = history_of(f, m->file->name);
	for (size_t i = 0; i < h->count; i++) {
		const struct pool_message *was =
			pool_message(h->states[i].pool, m->full_name, strlen(m->full_name));
		if (was)
			compare(f, was, h->states[i].until_us, out);
	}
}

/* ------------------------------------------- with all that it is made of */

/* Messages to look at, each once. */
struct reached {
	struct map seen;
	const struct pool_message **queue;
	size_t count, room;
};

/* A file that is the same in both pools imports only such: nothing in there changes. */
static bool is_shared(const struct losses_finder *f, const struct pool_file *file)
{
	return pool_file(f->change->after, file->name, strlen(file->name)) == file;
}

static void reach(struct losses_finder *f, struct reached *r, const struct pool_message *m)
{
	if (!m || is_shared(f, m->file) || map_put(&r->seen, m->full_name, (void *)m))
		return;
	if (r->count == r->room) {
		r->room = r->room ? 2 * r->room : 16;
		r->queue = xreallocarray(r->queue, r->room, sizeof(*r->queue));
	}
	r->queue[r->count++] = m;
}

static enum status find(struct losses_finder *f, const struct pool_message *type,
			struct losses *out, struct error *err)
{
	enum status status = STATUS_OK;
	struct reached r = {.count = 0};

	reach(f, &r, type);
	for (size_t i = 0; i < r.count && status == STATUS_OK; i++) {
		const struct pool_message *m = r.queue[i];
		compare_versions(f, m, out);
		for (uint32_t k = 0; k < m->field_count; k++)
			reach(f, &r, m->fields[k].type_message);
		if (clock_monotonic_ns() > f->change->deadline_ns)
			status = error_set(err, STATUS_DEADLINE_EXCEEDED,
					   "to find out what it breaks takes too long");
	}
	map_release(&r.seen, NULL);
	free(r.queue);
	return status;
}

enum status losses_of(struct losses_finder *f, const struct pool_message *type,
		      const struct losses **ret, struct error *err)
{
	struct losses *known = map_get(&f->known, type->full_name);
	enum status status = STATUS_OK;

	if (!known) {
		known = arena_zalloc(&f->arena, sizeof(*known));
		status = find(f, type, known, err);
		map_put(&f->known, type->full_name, known);
	}
	*ret = known;
	return status;
}
