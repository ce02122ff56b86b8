#include "services/dispatcher/wrappers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"

struct wrappers {
	atomic_bool is_known, is_empty; /* read without the lock */
	pthread_mutex_t mu;
	struct map by_ns; /* -> struct wrapper_record, texts owned */
};

struct wrappers *wrappers_new(void)
{
	struct wrappers *w = xcalloc(1, sizeof(*w));

	atomic_init(&w->is_known, false);
	atomic_init(&w->is_empty, true);
	pthread_mutex_init(&w->mu, NULL);
	return w;
}

static void free_record(void *p)
{
	struct wrapper_record *r = p;

	if (!r)
		return;
	free((char *)r->ns);
	free((char *)r->wrapper_ns);
	free((char *)r->service);
	free((char *)r->method);
	free(r);
}

void wrappers_free(struct wrappers *w)
{
	if (!w)
		return;
	map_release(&w->by_ns, free_record);
	pthread_mutex_destroy(&w->mu);
	free(w);
}

/* Holds w->mu. */
static void put(struct wrappers *w, const struct wrapper_record *from)
{
	struct wrapper_record *r = xmalloc(sizeof(*r));

	*r = (struct wrapper_record){xstrdup(from->ns), xstrdup(from->wrapper_ns),
				     xstrdup(from->service), xstrdup(from->method)};
	free_record(map_put(&w->by_ns, from->ns, r));
}

void wrappers_replace(struct wrappers *w, const struct wrapper_record *records, size_t count)
{
	pthread_mutex_lock(&w->mu);
	map_release(&w->by_ns, free_record);
	w->by_ns = (struct map){0};
	for (size_t i = 0; i < count; i++)
		put(w, &records[i]);
	atomic_store(&w->is_empty, !w->by_ns.count);
	atomic_store(&w->is_known, true);
	pthread_mutex_unlock(&w->mu);
}

bool wrappers_set(struct wrappers *w, const struct wrapper_record *record)
{
	bool fits = true;

	pthread_mutex_lock(&w->mu);
	if (!*record->service)
		free_record(map_remove(&w->by_ns, record->ns));
	else if (w->by_ns.count < WRAPPERS_MAX || map_get(&w->by_ns, record->ns))
		put(w, record);
	else
		fits = false;
	atomic_store(&w->is_empty, !w->by_ns.count);
	pthread_mutex_unlock(&w->mu);
	return fits;
}

static void copy(const struct wrapper_record *from, struct arena *arena,
		 struct wrapper_record *to)
{
	*to = (struct wrapper_record){
		arena_strdup(arena, from->ns),
		arena_strdup(arena, from->wrapper_ns),
		arena_strdup(arena, from->service),
		arena_strdup(arena, from->method),
	};
}

enum wrappers_answer wrappers_find(struct wrappers *w, const char *ns, struct arena *arena,
				   struct wrapper_record *ret)
{
	const struct wrapper_record *r;

	if (!atomic_load(&w->is_known))
		return WRAPPERS_UNKNOWN;
	if (atomic_load(&w->is_empty))
		return WRAPPERS_NONE;
	pthread_mutex_lock(&w->mu);
	r = map_get(&w->by_ns, ns);
	if (r)
		copy(r, arena, ret);
	pthread_mutex_unlock(&w->mu);
	return r ? WRAPPERS_FOUND : WRAPPERS_NONE;
}

bool wrappers_are_known(struct wrappers *w)
{
	return atomic_load(&w->is_known);
}

bool wrappers_are_none(struct wrappers *w, const char *ns)
{
	bool found;

	if (!atomic_load(&w->is_known) || atomic_load(&w->is_empty))
		return atomic_load(&w->is_known);
	pthread_mutex_lock(&w->mu);
	found = map_get(&w->by_ns, ns) != NULL;
	pthread_mutex_unlock(&w->mu);
	return !found;
}

static int by_namespace(const void *a, const void *b)
{
	return strcmp(((const struct wrapper_record *)a)->ns,
		      ((const struct wrapper_record *)b)->ns);
}

size_t wrappers_list(struct wrappers *w, struct arena *arena, struct wrapper_record **ret)
{
	size_t n = 0;

	pthread_mutex_lock(&w->mu);
	*ret = arena_alloc(arena, (w->by_ns.count + 1) * sizeof(**ret));
	map_for_each (&w->by_ns, e)
		copy(e->value, arena, &(*ret)[n++]);
	pthread_mutex_unlock(&w->mu);
	qsort(*ret, n, sizeof(**ret), by_namespace);
	return n;
}
