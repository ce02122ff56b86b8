#include "services/registry/losses.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/reflect/compat.h"
#include "common/reflect/pool.h"
#include "services/registry/history.h"
#include "services/registry/snapshot.h"

void losses_finder_init(struct losses_finder *f, const struct reality_change *change,
			int64_t since_us)
{
	*f = (struct losses_finder){.change = change, .since_us = since_us};
	arena_init(&f->arena, 0);
	for (size_t i = 0; i < change->file_count; i++)
		map_put(&f->changed, change->file_names[i], f);
}

void losses_finder_release(struct losses_finder *f)
{
	map_release(&f->changed, NULL);
	map_release(&f->files, NULL);
	map_release(&f->messages, NULL);
	map_release(&f->known, NULL);
	arena_release(&f->arena);
}

static bool is_late(const struct losses_finder *f)
{
	return clock_monotonic_ns() > f->change->deadline_ns;
}

/* ----------------------------------------------------- messages by themselves */

/* Of the same loss in several versions the newest counts: they come in that order. */
static void add(struct losses_finder *f, struct losses *out, const struct loss *loss)
{
	for (size_t i = 0; i < out->count; i++)
		if (!strcmp(out->items[i].path, loss->path))
			return;
	if (out->count == LOSSES_MAX)
		return;
	if (!out->items)
		out->items = arena_alloc(&f->arena, LOSSES_MAX * sizeof(*out->items));
	out->items[out->count++] = *loss;
}

static struct losses *losses_in(struct losses_finder *f, const char *message)
{
	struct losses *out = map_get(&f->messages, message);

	if (!out) {
		out = arena_zalloc(&f->arena, sizeof(*out));
		map_put(&f->messages, message, out);
	}
	return out;
}

/* All messages of a version of a file. */
static void compare_file(struct losses_finder *f, const struct pool_file *file,
			 int64_t until_us)
{
	for (uint32_t i = 0; i < file->message_count; i++) {
		const struct pool_message *m = &file->messages[i];
		const struct compat_report report = compat_check_message(
			m, f->change->after, COMPAT_RECORDS, LOSSES_MAX, &f->arena);
		for (size_t k = 0; k < report.count; k++) {
			const struct compat_finding *found = &report.findings[k];
			add(f, losses_in(f, m->full_name),
			    &(struct loss){found->path, found->text, found->file_name,
					   until_us});
		}
	}
}

static bool compare_version(void *arg, const struct history_version *v)
{
	struct losses_finder *f = arg;

	if (v->until_us <= f->since_us)
		return false;
	compare_file(f, v->file, v->until_us);
	return !is_late(f);
}

/* As it is, and was. What cannot be had of its past any more is left out. */
static void look_at_file(struct losses_finder *f, const struct pool_file *file)
{
	const struct reality_change *c = f->change;

	if (map_put(&f->files, file->name, f))
		return;
	compare_file(f, file, INT64_MAX);
	if (f->since_us < INT64_MAX && map_get(&f->changed, file->name))
		(void)history_visit(c->catalog, c->ns, c->before, file->name, compare_version,
				    f);
}

static void add_message(struct losses_finder *f, const struct pool_message *m,
			struct losses *out)
{
	const struct losses *of_message;

	look_at_file(f, m->file);
	of_message = map_get(&f->messages, m->full_name);
	for (size_t i = 0; of_message && i < of_message->count; i++)
		add(f, out, &of_message->items[i]);
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
		add_message(f, m, out);
		for (uint32_t k = 0; k < m->field_count; k++)
			reach(f, &r, m->fields[k].type_message);
		if (is_late(f))
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
