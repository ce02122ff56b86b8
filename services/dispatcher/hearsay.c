#include "services/dispatcher/hearsay.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"

/* What one peer told, in its arena. */
struct tale {
	struct arena arena;
	struct heard *heard;
	size_t count;
};

struct hearsay {
	pthread_mutex_t mu;
	struct map by_peer; /* -> struct tale */
	size_t count;       /* in all tales */
};

struct hearsay *hearsay_new(void)
{
	struct hearsay *h = xcalloc(1, sizeof(*h));

	pthread_mutex_init(&h->mu, NULL);
	return h;
}

static void free_tale(void *p)
{
	struct tale *t = p;

	if (!t)
		return;
	arena_release(&t->arena);
	free(t);
}

void hearsay_free(struct hearsay *h)
{
	if (!h)
		return;
	map_release(&h->by_peer, free_tale);
	pthread_mutex_destroy(&h->mu);
	free(h);
}

static const char *const *copy_list(const char *const *list, struct arena *arena)
{
	const char **copy;
	size_t n = 0;

	while (list[n])
		n++;
	copy = arena_alloc(arena, (n + 1) * sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = arena_strdup(arena, list[i]);
	copy[n] = NULL;
	return copy;
}

static struct heard copy_heard(const struct heard *from, const char *through,
			       struct arena *arena)
{
	return (struct heard){arena_strdup(arena, from->id), arena_strdup(arena, from->address),
			      arena_strdup(arena, through), copy_list(from->namespaces, arena),
			      from->distance};
}

static struct tale *tale_new(const char *through, const struct heard *told, size_t count)
{
	struct tale *t = xcalloc(1, sizeof(*t));

	arena_init(&t->arena, 0);
	t->heard = arena_alloc(&t->arena, (count + 1) * sizeof(*t->heard));
	for (; t->count < count; t->count++)
		t->heard[t->count] = copy_heard(&told[t->count], through, &t->arena);
	return t;
}

static bool is_same_list(const char *const *a, const char *const *b)
{
	for (; *a && *b; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return !*a && !*b;
}

static bool is_same(const struct tale *t, const struct heard *told, size_t count)
{
	if (t->count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (strcmp(t->heard[i].id, told[i].id) != 0 ||
		    strcmp(t->heard[i].address, told[i].address) != 0 ||
		    t->heard[i].distance != told[i].distance ||
		    !is_same_list(t->heard[i].namespaces, told[i].namespaces))
			return false;
	return true;
}

/* Holds h->mu. */
static bool remove_tale(struct hearsay *h, const char *through)
{
	struct tale *t = map_remove(&h->by_peer, through);
	bool told = t && t->count;

	if (t)
		h->count -= t->count;
	free_tale(t);
	return told;
}

bool hearsay_replace(struct hearsay *h, const char *through, const struct heard *told,
		     size_t count)
{
	const struct tale *before;
	bool changed;

	if (count > HEARSAY_MAX_OF_PEER)
		count = HEARSAY_MAX_OF_PEER;
	pthread_mutex_lock(&h->mu);
	before = map_get(&h->by_peer, through);
	changed = before ? !is_same(before, told, count) : count > 0;
	if (changed) {
		(void)remove_tale(h, through);
		if (count > HEARSAY_MAX - h->count)
			count = HEARSAY_MAX - h->count;
		map_put(&h->by_peer, through, tale_new(through, told, count));
		h->count += count;
	}
	pthread_mutex_unlock(&h->mu);
	return changed;
}

bool hearsay_forget(struct hearsay *h, const char *through)
{
	bool told;

	pthread_mutex_lock(&h->mu);
	told = remove_tale(h, through);
	pthread_mutex_unlock(&h->mu);
	return told;
}

/* By id, of one id the nearest first, then by who told. */
static int by_id(const void *a, const void *b)
{
	const struct heard *x = a, *y = b;
	int order = strcmp(x->id, y->id);

	if (!order)
		order = x->distance - y->distance;
	return order ? order : strcmp(x->through, y->through);
}

const struct heard *hearsay_list(struct hearsay *h, struct arena *arena, size_t *ret_count)
{
	struct heard *all;
	size_t n = 0, kept = 0;

	pthread_mutex_lock(&h->mu);
	all = arena_alloc(arena, (h->count + 1) * sizeof(*all));
	map_for_each (&h->by_peer, e) {
		const struct tale *t = e->value;
		for (size_t i = 0; i < t->count; i++)
			all[n++] = copy_heard(&t->heard[i], e->key, arena);
	}
	pthread_mutex_unlock(&h->mu);
	qsort(all, n, sizeof(*all), by_id);
	for (size_t i = 0; i < n; i++)
		if (!kept || strcmp(all[kept - 1].id, all[i].id) != 0)
			all[kept++] = all[i];
	*ret_count = kept;
	return all;
}
