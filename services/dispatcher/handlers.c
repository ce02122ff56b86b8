#include "services/dispatcher/handlers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "common/rpc/client.h"
#include "services/dispatcher/attached.h"
#include "services/dispatcher/ejection.h"

enum { MAX_CANDIDATES = 64 };

struct handler {
	struct handler *next;         /* of the same namespace and service */
	struct handler_record record; /* texts owned */
	struct rpc_channel *channel;  /* of a backend; a reference */
	struct attached *attached;    /* owned */
	atomic_uint refs;             /* the table's and one a call under way */
	struct ejection ejection;
};

struct handlers {
	struct rpc_client *client;
	pthread_mutex_t mu;    /* all below */
	struct map by_service; /* "<ns>/<service>" -> first struct handler */
	size_t count;
};

struct handlers *handlers_new(struct rpc_client *client)
{
	struct handlers *h = xcalloc(1, sizeof(*h));

	h->client = client;
	pthread_mutex_init(&h->mu, NULL);
	return h;
}

static void unref(struct handler *x)
{
	if (atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	free((char *)x->record.id);
	free((char *)x->record.ns);
	free((char *)x->record.service);
	free((char *)x->record.method);
	free((char *)x->record.address);
	free((char *)x->record.collection);
	free((char *)x->record.collector_id);
	rpc_channel_unref(x->channel);
	attached_unref(x->attached);
	free(x);
}

static void unref_chain(void *p)
{
	for (struct handler *x = p, *next; x; x = next) {
		next = x->next;
		unref(x);
	}
}

void handlers_free(struct handlers *h)
{
	if (!h)
		return;
	map_release(&h->by_service, unref_chain);
	pthread_mutex_destroy(&h->mu);
	free(h);
}

static char *key_of(const char *ns, const char *service)
{
	return xasprintf("%s/%s", ns, service);
}

/* Holds h->mu. */
static bool remove_from(struct handlers *h, const char *key, const char *id)
{
	struct handler *first = map_get(&h->by_service, key), **at = &first, *found;

	while (*at && strcmp((*at)->record.id, id))
		at = &(*at)->next;
	found = *at;
	if (!found)
		return false;
	*at = found->next;
	if (first)
		map_put(&h->by_service, key, first);
	else
		map_remove(&h->by_service, key);
	h->count--;
	unref(found);
	return true;
}

static struct handler *new_handler(const struct handler_record *r, struct rpc_channel *channel,
				   struct attached *attached)
{
	struct handler *x = xcalloc(1, sizeof(*x));

	x->record = (struct handler_record){
		.id = xstrdup(r->id),
		.ns = xstrdup(r->ns),
		.service = xstrdup(r->service),
		.method = xstrdup(r->method),
		.kind = r->kind,
		.address = xstrdup(r->address),
		.collection = xstrdup(r->collection),
		.collector_id = xstrdup(r->collector_id),
		.max_in_flight = r->max_in_flight,
		.forward_authorization = r->forward_authorization,
		.created_us = r->created_us,
	};
	x->channel = channel;
	x->attached = attached ? attached_ref(attached) : NULL;
	atomic_init(&x->refs, 1);
	return x;
}

/* Holds h->mu. The channel is consumed. */
static bool put_locked(struct handlers *h, const struct handler_record *record,
		       struct rpc_channel *channel, struct attached *attached)
{
	char *key AUTO_FREE = key_of(record->ns, record->service);
	struct handler *x;

	(void)remove_from(h, key, record->id);
	if (h->count >= HANDLERS_MAX) {
		rpc_channel_unref(channel);
		return false;
	}
	x = new_handler(record, channel, attached);
	x->next = map_get(&h->by_service, key);
	map_put(&h->by_service, key, x);
	h->count++;
	return true;
}

/* False: it needs a channel, and none can be made to its address. */
static bool make_channel(struct handlers *h, const struct handler_record *record,
			 struct rpc_channel **ret_channel)
{
	*ret_channel =
		record->kind == HANDLER_BACKEND
			? rpc_client_channel(h->client, record->address, RPC_TRUST_FOREIGN)
			: NULL;
	return *ret_channel || record->kind != HANDLER_BACKEND;
}

bool handlers_put(struct handlers *h, const struct handler_record *record,
		  struct attached *attached)
{
	struct rpc_channel *channel;
	bool done;

	if (!make_channel(h, record, &channel))
		return false;
	pthread_mutex_lock(&h->mu);
	done = put_locked(h, record, channel, attached);
	pthread_mutex_unlock(&h->mu);
	return done;
}

/* Holds h->mu. The key of the handler with this id, owned; NULL: none. */
static char *key_of_id(struct handlers *h, const char *ns, const char *id)
{
	map_for_each (&h->by_service, e)
		for (const struct handler *x = e->value; x; x = x->next)
			if (!strcmp(x->record.id, id) && !strcmp(x->record.ns, ns))
				return xstrdup(e->key);
	return NULL;
}

bool handlers_remove(struct handlers *h, const char *ns, const char *id)
{
	char *key;
	bool removed = false;

	pthread_mutex_lock(&h->mu);
	key = key_of_id(h, ns, id);
	if (key)
		removed = remove_from(h, key, id);
	pthread_mutex_unlock(&h->mu);
	free(key);
	return removed;
}

static bool is_same(const struct handler_record *a, const struct handler_record *b)
{
	return a->kind == b->kind && a->forward_authorization == b->forward_authorization &&
	       !strcmp(a->ns, b->ns) && !strcmp(a->service, b->service) &&
	       !strcmp(a->method, b->method) && !strcmp(a->address, b->address) &&
	       !strcmp(a->collection, b->collection);
}

/*
 * Holds h->mu. Move into the table those of a chain that are attached or are in @wanted as
 * they were, which are taken out there; let go of the others. What is kept goes on counting
 * its calls.
 */
static void keep_some(struct handlers *h, const char *key, struct handler *chain,
		      struct map *wanted)
{
	for (struct handler *x = chain, *next; x; x = next) {
		const struct handler_record *same = map_get(wanted, x->record.id);
		next = x->next;
		if (!x->attached && (!same || !is_same(same, &x->record))) {
			unref(x);
			continue;
		}
		(void)map_remove(wanted, x->record.id);
		x->next = map_get(&h->by_service, key);
		map_put(&h->by_service, key, x);
		h->count++;
	}
}

void handlers_replace(struct handlers *h, const struct handler_record *records, size_t count)
{
	struct map old, wanted = {0};

	for (size_t i = 0; i < count; i++)
		if (records[i].kind != HANDLER_ATTACHED)
			map_put(&wanted, records[i].id, (void *)&records[i]);
	pthread_mutex_lock(&h->mu);
	old = h->by_service;
	h->by_service = (struct map){0};
	h->count = 0;
	map_for_each (&old, e)
		keep_some(h, e->key, e->value, &wanted);
	map_for_each (&wanted, e) {
		struct rpc_channel *channel;
		if (make_channel(h, e->value, &channel))
			(void)put_locked(h, e->value, channel, NULL);
	}
	pthread_mutex_unlock(&h->mu);
	map_release(&old, NULL);
	map_release(&wanted, NULL);
}

/* ---------------------------------------------------------------- choosing */

static bool is_excluded(const struct handler *x, const struct handler_wanted *w)
{
	for (size_t i = 0; i < w->not_count; i++)
		if (w->not_these[i] == x)
			return true;
	return false;
}

static bool serves(const struct handler *x, const struct handler_wanted *w)
{
	return !is_excluded(x, w) && (x->attached || !w->attached_only) &&
	       (!*x->record.method || !strcmp(x->record.method, w->method));
}

/* Can it be called without a wait? */
static bool is_ready(const struct handler *x)
{
	return x->channel    ? rpc_channel_is_ready(x->channel)
	       : x->attached ? attached_is_open(x->attached)
			     : true;
}

/* Fewer calls under way is better, and a connection is better than none. */
static bool is_better(struct handler *a, struct handler *b)
{
	bool a_ready = is_ready(a), b_ready = is_ready(b);

	if (a_ready != b_ready)
		return a_ready;
	return atomic_load(&a->refs) < atomic_load(&b->refs);
}

/* All that serve the method; those that are ejected only if nobody else does. */
static size_t find(struct handler *first, const struct handler_wanted *w,
		   struct handler *found[MAX_CANDIDATES])
{
	bool all_ejected = true;
	size_t n = 0, kept = 0;

	for (struct handler *x = first; x && n < MAX_CANDIDATES; x = x->next)
		if (serves(x, w)) {
			found[n++] = x;
			all_ejected = all_ejected && ejection_is_now(&x->ejection);
		}
	if (all_ejected)
		return n;
	for (size_t i = 0; i < n; i++)
		if (!ejection_is_now(&found[i]->ejection))
			found[kept++] = found[i];
	return kept;
}

struct handler *handlers_take(struct handlers *h, const struct handler_wanted *w)
{
	char *key AUTO_FREE = key_of(w->ns, w->service);
	struct handler *found[MAX_CANDIDATES], *best = NULL;
	size_t n;

	pthread_mutex_lock(&h->mu);
	n = find(map_get(&h->by_service, key), w, found);
	if (n == 1) {
		best = found[0];
	} else if (n) {
		uint64_t draw = random_u64();
		size_t i = draw % n, k = (i + 1 + (draw >> 32) % (n - 1)) % n;
		best = is_better(found[k], found[i]) ? found[k] : found[i];
	}
	if (best)
		atomic_fetch_add(&best->refs, 1);
	pthread_mutex_unlock(&h->mu);
	return best;
}

void handler_was_away(struct handler *handler)
{
	ejection_was_away(&handler->ejection);
	if (handler->channel) /* its name may mean another address now */
		(void)rpc_channel_is_ready(handler->channel);
}

void handler_was_there(struct handler *handler)
{
	ejection_was_there(&handler->ejection);
}

void handlers_done(struct handler *handler)
{
	unref(handler);
}

enum handler_kind handler_kind(const struct handler *handler)
{
	return handler->record.kind;
}

struct attached *handler_attached(const struct handler *handler)
{
	return handler->attached;
}

const char *handler_collection(const struct handler *handler)
{
	return handler->record.collection;
}

const char *handler_address(const struct handler *handler)
{
	return handler->record.address;
}

struct rpc_channel *handler_channel(const struct handler *handler)
{
	return handler->channel;
}

bool handler_forwards_authorization(const struct handler *handler)
{
	return handler->record.forward_authorization;
}

const char *handler_id(const struct handler *handler)
{
	return handler->record.id;
}

/* ----------------------------------------------------------------- listing */

static int by_id(const void *a, const void *b)
{
	return strcmp((*(const struct handler *const *)a)->record.id,
		      (*(const struct handler *const *)b)->record.id);
}

static void copy_record(struct arena *arena, const struct handler_record *from,
			struct handler_record *to)
{
	*to = *from;
	to->id = arena_strdup(arena, from->id);
	to->ns = arena_strdup(arena, from->ns);
	to->service = arena_strdup(arena, from->service);
	to->method = arena_strdup(arena, from->method);
	to->address = arena_strdup(arena, from->address);
	to->collection = arena_strdup(arena, from->collection);
	to->collector_id = arena_strdup(arena, from->collector_id);
}

size_t handlers_list(struct handlers *h, const char *ns, const char *after, size_t max,
		     struct arena *arena, struct handler_record *ret)
{
	const struct handler **all;
	size_t n = 0, taken = 0;

	pthread_mutex_lock(&h->mu);
	all = arena_alloc(arena, (h->count + 1) * sizeof(*all));
	map_for_each (&h->by_service, e)
		for (const struct handler *x = e->value; x; x = x->next)
			if ((!*ns || !strcmp(x->record.ns, ns)) &&
			    strcmp(x->record.id, after) > 0)
				all[n++] = x;
	qsort(all, n, sizeof(*all), by_id);
	for (; taken < n && taken < max; taken++)
		copy_record(arena, &all[taken]->record, &ret[taken]);
	pthread_mutex_unlock(&h->mu);
	return taken;
}

bool handlers_has(struct handlers *h, const char *ns, const char *service, const char *id)
{
	char *key AUTO_FREE = key_of(ns, service);
	bool found = false;

	pthread_mutex_lock(&h->mu);
	for (const struct handler *x = map_get(&h->by_service, key); x; x = x->next)
		found |= !strcmp(x->record.id, id);
	pthread_mutex_unlock(&h->mu);
	return found;
}

size_t handlers_serving(struct handlers *h, const struct handler_wanted *wanted,
			struct arena *arena, struct handler_info *ret, size_t max)
{
	char *key AUTO_FREE = key_of(wanted->ns, wanted->service);
	size_t n = 0;

	pthread_mutex_lock(&h->mu);
	for (struct handler *x = map_get(&h->by_service, key); x && n < max; x = x->next) {
		if (!serves(x, wanted))
			continue;
		copy_record(arena, &x->record, &ret[n].record);
		ret[n].is_ready = is_ready(x);
		ret[n].is_ejected = ejection_is_now(&x->ejection);
		ret[n++].in_flight = atomic_load(&x->refs) - 1;
	}
	pthread_mutex_unlock(&h->mu);
	return n;
}

size_t handlers_count(struct handlers *h)
{
	size_t n;

	pthread_mutex_lock(&h->mu);
	n = h->count;
	pthread_mutex_unlock(&h->mu);
	return n;
}
