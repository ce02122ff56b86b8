#include "services/registry/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/pool.h"

/* -------------------------------------------------------------- references */

static bool drop(atomic_uint *refs)
{
	return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

static void hold(atomic_uint *refs)
{
	atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

static void unref_versions(struct snapshot_version *v)
{
	while (v && drop(&v->refs)) {
		struct snapshot_version *previous = v->previous;
		free(v);
		v = previous;
	}
}

static void free_services(struct snapshot_file *f)
{
	for (size_t i = 0; i < f->service_count; i++)
		free(f->services[i]);
	free(f->services);
}

static void unref_file(void *file)
{
	struct snapshot_file *f = file;

	if (!drop(&f->refs))
		return;
	unref_versions(f->newest);
	free_services(f);
	free((char *)f->name);
	free(f);
}

static struct snapshot_file *ref_file(struct snapshot_file *f)
{
	hold(&f->refs);
	return f;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	hold(&s->refs);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	if (!s || !drop(&s->refs))
		return;
	for (size_t i = 0; i < s->file_count; i++)
		unref_file(s->files[i]);
	for (size_t i = 0; i < s->other_count; i++)
		unref_file(s->others[i]);
	free(s->files);
	free(s->others);
	free(s->services);
	pool_unref(s->pool);
	free(s);
}

/* ----------------------------------------------------------------- lookups */

static const struct snapshot_file *find_in(struct snapshot_file *const *files, size_t count,
					   const char *name)
{
	size_t low = 0, high = count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const int order = strcmp(files[middle]->name, name);
		if (!order)
			return files[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct snapshot_file *snapshot_find(const struct snapshot *s, const char *name)
{
	return find_in(s->files, s->file_count, name);
}

const struct snapshot_file *snapshot_find_any(const struct snapshot *s, const char *name)
{
	const struct snapshot_file *f = snapshot_find(s, name);

	return f ? f : find_in(s->others, s->other_count, name);
}

const struct snapshot_version *snapshot_find_version(const struct snapshot_file *f,
						     int64_t version)
{
	const struct snapshot_version *v = f->newest;

	while (v && v->version > version)
		v = v->previous;
	return v && v->version == version ? v : NULL;
}

const char *snapshot_name(const struct snapshot *s, enum snapshot_list list, size_t i)
{
	return list == SNAPSHOT_FILES ? s->files[i]->name : s->services[i].name;
}

size_t snapshot_seek(const struct snapshot *s, enum snapshot_list list, enum snapshot_seek what,
		     const char *text)
{
	const size_t len = strlen(text);
	const int least = what == SNAPSHOT_LESS ? 0 : 1;
	size_t low = 0, high = list == SNAPSHOT_FILES ? s->file_count : s->service_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const char *name = snapshot_name(s, list, middle);
		const int order = what == SNAPSHOT_WITH_PREFIXED ? strncmp(name, text, len)
								 : strcmp(name, text);
		if (order < least)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ------------------------------------------------------------------- edits */

void snapshot_edit_init(struct snapshot_edit *e, const struct snapshot *base)
{
	*e = (struct snapshot_edit){.base = base, .policy = POLICY_DEFAULT};
	if (!base)
		return;
	e->policy = base->policy;
	e->version = base->version;
	e->history_from = base->history_from;
}

void snapshot_edit_release(struct snapshot_edit *e)
{
	map_release(&e->files, unref_file);
}

/* The file as it is being made; NULL: nothing is known of it, and @make is false. */
static struct snapshot_file *edited(struct snapshot_edit *e, const char *name, bool make)
{
	struct snapshot_file *f = map_get(&e->files, name);
	const struct snapshot_file *old;

	if (f)
		return f;
	old = e->base ? snapshot_find_any(e->base, name) : NULL;
	if (!old && !make)
		return NULL;
	f = xcalloc(1, sizeof(*f));
	atomic_init(&f->refs, 1);
	f->name = xstrdup(name);
	if (old) {
		f->created_us = old->created_us;
		f->version_count = old->version_count;
		f->newest = old->newest;
		hold(&f->newest->refs);
	}
	map_put(&e->files, name, f);
	return f;
}

void snapshot_edit_put(struct snapshot_edit *e, const char *name,
		       const struct snapshot_version *v)
{
	struct snapshot_file *f = edited(e, name, true);
	struct snapshot_version *newest = xmalloc(sizeof(*newest));

	*newest = (struct snapshot_version){.previous = f->newest,
					    .version = v->version,
					    .at = v->at,
					    .registered_us = v->registered_us,
					    .size = v->size,
					    .checksum = v->checksum};
	atomic_init(&newest->refs, 1);
	if (!f->newest)
		f->created_us = v->registered_us;
	f->newest = newest;
	f->version_count++;
	f->state = SNAPSHOT_LIVE;
	f->at = v->at;
	f->changed_us = v->registered_us;
}

void snapshot_edit_remove(struct snapshot_edit *e, const char *name, int64_t at,
			  int64_t unix_us)
{
	struct snapshot_file *f = edited(e, name, false);

	if (!f)
		return;
	f->state = SNAPSHOT_GONE;
	f->at = at;
	f->changed_us = unix_us;
}

/* --------------------------------------------------------------- finishing */

static int by_file_name(const void *a, const void *b)
{
	const struct snapshot_file *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int by_service_name(const void *a, const void *b)
{
	const struct snapshot_service *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int by_text(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

/* What the edit changed, with the references of its map, by name. */
static struct snapshot_file **take_edited(struct snapshot_edit *e, size_t *ret_count)
{
	struct snapshot_file **all =
		xreallocarray(NULL, e->files.count + 1, sizeof(struct snapshot_file *));
	size_t n = 0;

	map_for_each (&e->files, entry)
		all[n++] = entry->value;
	map_release(&e->files, NULL);
	e->files = (struct map){0};
	if (n)
		qsort(all, n, sizeof(*all), by_file_name);
	*ret_count = n;
	return all;
}

/* A live file's services are what the pool says; one that is not in it is lost. */
static void look_up(struct snapshot_file *f, const struct pool *pool)
{
	const struct pool_file *in_pool = pool_file(pool, f->name, strlen(f->name));

	if (!in_pool) {
		f->state = SNAPSHOT_LOST;
		return;
	}
	f->service_count = in_pool->service_count;
	f->services = xreallocarray(NULL, f->service_count + 1, sizeof(char *));
	for (size_t i = 0; i < f->service_count; i++)
		f->services[i] = xstrdup(in_pool->services[i].full_name);
	if (f->service_count)
		qsort(f->services, f->service_count, sizeof(char *), by_text);
}

/* Those of @base that were not edited, and those of @edited that are @live, by name. */
static struct snapshot_file **merge_files(struct snapshot_file *const *base, size_t base_count,
					  struct snapshot_file *const *files, size_t count,
					  bool live, size_t *ret_count)
{
	struct snapshot_file **out =
		xreallocarray(NULL, base_count + count + 1, sizeof(struct snapshot_file *));
	size_t i = 0, k = 0, n = 0;

	while (i < base_count || k < count) {
		const int order = i == base_count ? 1
				  : k == count    ? -1
						  : by_file_name(&base[i], &files[k]);
		if (order < 0) {
			out[n++] = ref_file(base[i++]);
			continue;
		}
		i += !order;
		if ((files[k]->state == SNAPSHOT_LIVE) == live)
			out[n++] = ref_file(files[k]);
		k++;
	}
	*ret_count = n;
	return out;
}

static struct snapshot_service *new_services(struct snapshot_file *const *files, size_t count,
					     size_t *ret_count)
{
	struct snapshot_service *all;
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += files[i]->service_count;
	all = xreallocarray(NULL, n + 1, sizeof(*all));
	n = 0;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < files[i]->service_count; k++)
			all[n++] = (struct snapshot_service){files[i]->services[k], files[i]};
	if (n)
		qsort(all, n, sizeof(*all), by_service_name);
	*ret_count = n;
	return all;
}

static void merge_services(struct snapshot *s, const struct snapshot *base,
			   struct snapshot_file *const *files, size_t count)
{
	const size_t base_count = base ? base->service_count : 0;
	size_t fresh_count, i = 0, k = 0;
	struct snapshot_service *fresh = new_services(files, count, &fresh_count);

	s->services = xreallocarray(NULL, base_count + fresh_count + 1, sizeof(*s->services));
	while (i < base_count || k < fresh_count) {
		if (i < base_count && find_in(files, count, base->services[i].file->name))
			i++; /* its file was edited */
		else if (k == fresh_count ||
			 (i < base_count && by_service_name(&base->services[i], &fresh[k]) < 0))
			s->services[s->service_count++] = base->services[i++];
		else
			s->services[s->service_count++] = fresh[k++];
	}
	free(fresh);
}

static int latest_first(const void *a, const void *b)
{
	const struct snapshot_file *const *x = a, *const *y = b;

	return ((*x)->at < (*y)->at) - ((*x)->at > (*y)->at);
}

/* Past the bound a quarter goes, so that it is not sorted for each removal. */
static void forget_oldest(struct snapshot *s)
{
	const size_t keep = SNAPSHOT_MAX_GONE / 4 * 3;

	if (s->other_count <= SNAPSHOT_MAX_GONE)
		return;
	qsort(s->others, s->other_count, sizeof(*s->others), latest_first);
	if (s->others[keep]->at > s->history_from)
		s->history_from = s->others[keep]->at;
	while (s->other_count > keep) {
		s->version_total -= s->others[--s->other_count]->version_count;
		unref_file(s->others[s->other_count]);
	}
	qsort(s->others, s->other_count, sizeof(*s->others), by_file_name);
}

struct snapshot *snapshot_edit_finish(struct snapshot_edit *e, struct pool *pool)
{
	static const struct snapshot none;
	const struct snapshot *base = e->base ? e->base : &none;
	struct snapshot *s = xcalloc(1, sizeof(*s));
	size_t count;
	struct snapshot_file **files = take_edited(e, &count);

	atomic_init(&s->refs, 1);
	s->pool = pool_ref(pool);
	s->policy = e->policy;
	s->version = e->version;
	s->history_from = e->history_from;
	s->version_total = base->version_total;
	for (size_t i = 0; i < count; i++) {
		const struct snapshot_file *old = snapshot_find_any(base, files[i]->name);
		s->version_total += files[i]->version_count - (old ? old->version_count : 0);
		if (files[i]->state == SNAPSHOT_LIVE)
			look_up(files[i], pool);
	}
	s->files =
		merge_files(base->files, base->file_count, files, count, true, &s->file_count);
	s->others = merge_files(base->others, base->other_count, files, count, false,
				&s->other_count);
	merge_services(s, e->base, files, count);
	forget_oldest(s);
	for (size_t i = 0; i < count; i++)
		unref_file(files[i]);
	free(files);
	return s;
}
