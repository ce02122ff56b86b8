#include "services/dispatcher/peers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "common/rpc/client.h"
#include "services/dispatcher/ejection.h"

enum { MUCH_NEARER_US = 5000, MAX_PASSED = 16, TRIPS = 8, ENOUGH_TRIPS = 3 };

struct peer {
	atomic_uint refs;  /* the table's and one each who holds it */
	atomic_uint calls; /* under way */
	struct ejection ejection;
	char *id;
	struct rpc_channel *channel; /* a reference; for good: elsewhere it is another peer */
	char *address;
	char **namespaces; /* this and below: peers.mu; ends with NULL */
	enum peer_state state;
	int missed;
	uint64_t created_us, last_seen_us, round_trip_us;
	uint64_t trips_us[TRIPS]; /* of the last pings, in turn */
	unsigned trip_count;
	bool outbound;
};

struct peers {
	struct rpc_client *client;
	pthread_mutex_t mu;
	struct map by_id;
};

struct peers *peers_new(struct rpc_client *client)
{
	struct peers *p = xcalloc(1, sizeof(*p));

	p->client = client;
	pthread_mutex_init(&p->mu, NULL);
	return p;
}

static void free_list(char **list)
{
	for (char **item = list; item && *item; item++)
		free(*item);
	free(list);
}

static char **copy_list(const char *const *list)
{
	size_t n = 0;
	char **copy;

	while (list[n])
		n++;
	copy = xcalloc(n + 1, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

static void unref(void *p)
{
	struct peer *x = p;

	if (atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	free(x->id);
	rpc_channel_unref(x->channel);
	free(x->address);
	free_list(x->namespaces);
	free(x);
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	map_release(&p->by_id, unref);
	pthread_mutex_destroy(&p->mu);
	free(p);
}

/* The channel, a reference, is taken. */
static struct peer *new_peer(const char *id, const char *address, struct rpc_channel *channel)
{
	struct peer *x = xcalloc(1, sizeof(*x));

	atomic_init(&x->refs, 1);
	x->id = xstrdup(id);
	x->address = xstrdup(address);
	x->channel = channel;
	return x;
}

/*
 * Holds p->mu. A peer that moved is another one of the same id: who calls the old one goes
 * on doing so. The channel, a reference, is taken or given back.
 */
static struct peer *find_or_make(struct peers *p, const char *id, const char *address,
				 struct rpc_channel *channel)
{
	struct peer *before = map_get(&p->by_id, id), *x;

	if ((before && !strcmp(before->address, address)) ||
	    (!before && p->by_id.count >= PEERS_MAX)) {
		rpc_channel_unref(channel);
		return before;
	}
	x = new_peer(id, address, channel);
	x->created_us = before ? before->created_us : clock_unix_us();
	x->outbound = before && before->outbound;
	map_put(&p->by_id, id, x);
	if (before) {
		before->state = PEER_UNREACHABLE;
		unref(before);
	}
	return x;
}

bool peers_put(struct peers *p, const char *id, const char *address,
	       const char *const *namespaces, bool outbound)
{
	struct rpc_channel *channel = rpc_client_channel(p->client, address, RPC_TRUST_FOREIGN);
	struct peer *x;

	if (!channel)
		return false;
	pthread_mutex_lock(&p->mu);
	x = find_or_make(p, id, address, channel);
	if (x) {
		free_list(x->namespaces);
		x->namespaces = copy_list(namespaces);
		x->state = PEER_UP;
		x->missed = 0;
		x->last_seen_us = clock_unix_us();
		x->outbound |= outbound;
	}
	pthread_mutex_unlock(&p->mu);
	return x != NULL;
}

void peers_redial(struct peers *p, struct peer *peer)
{
	struct rpc_channel *channel;
	struct peer *x;

	rpc_channel_replace(peer->channel);
	channel = rpc_client_channel(p->client, peer->address, RPC_TRUST_FOREIGN);
	if (!channel)
		return; /* the old one has to do, and comes back when TCP tries again */
	pthread_mutex_lock(&p->mu);
	if (map_get(&p->by_id, peer->id) == peer) {
		x = new_peer(peer->id, peer->address, channel);
		channel = NULL;
		x->namespaces = copy_list((const char *const *)peer->namespaces);
		x->state = peer->state;
		x->missed = peer->missed;
		x->created_us = peer->created_us;
		x->last_seen_us = peer->last_seen_us;
		x->round_trip_us = peer->round_trip_us;
		x->outbound = peer->outbound;
		map_put(&p->by_id, peer->id, x);
		unref(peer); /* the caller has it */
	}
	pthread_mutex_unlock(&p->mu);
	rpc_channel_unref(channel);
}

bool peers_remove(struct peers *p, const char *id)
{
	struct peer *x;

	pthread_mutex_lock(&p->mu);
	x = map_remove(&p->by_id, id);
	if (x)
		x->state = PEER_UNREACHABLE;
	pthread_mutex_unlock(&p->mu);
	if (x)
		unref(x);
	return x != NULL;
}

bool peers_has(struct peers *p, const char *id)
{
	bool found;

	pthread_mutex_lock(&p->mu);
	found = map_get(&p->by_id, id) != NULL;
	pthread_mutex_unlock(&p->mu);
	return found;
}

bool peers_has_address(struct peers *p, const char *address)
{
	bool found = false;

	pthread_mutex_lock(&p->mu);
	map_for_each (&p->by_id, e) {
		const struct peer *x = e->value;
		found |= x->state == PEER_UP && !strcmp(x->address, address);
	}
	pthread_mutex_unlock(&p->mu);
	return found;
}

struct peer *peers_hold(struct peers *p, const char *id)
{
	struct peer *x;

	pthread_mutex_lock(&p->mu);
	x = map_get(&p->by_id, id);
	if (x)
		atomic_fetch_add(&x->refs, 1);
	pthread_mutex_unlock(&p->mu);
	return x;
}

void peer_release(struct peer *peer)
{
	unref(peer);
}

struct peer *peers_take(struct peers *p, const char *id)
{
	struct peer *x = peers_hold(p, id);

	if (x)
		atomic_fetch_add(&x->calls, 1);
	return x;
}

void peer_was_away(struct peer *peer)
{
	ejection_was_away(&peer->ejection);
}

void peer_was_there(struct peer *peer)
{
	ejection_was_there(&peer->ejection);
}

void peer_done(struct peer *peer)
{
	atomic_fetch_sub(&peer->calls, 1);
	unref(peer);
}

const char *peer_id(const struct peer *peer)
{
	return peer->id;
}

struct rpc_channel *peer_channel(const struct peer *peer)
{
	return peer->channel;
}

/* ---------------------------------------------------------------- choosing */

static bool is_in(const char *const *list, const char *item)
{
	for (; *list; list++)
		if (!strcmp(*list, item))
			return true;
	return false;
}

static bool is_excluded(const struct peer *x, const struct peer *const *not_these, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (not_these[i] == x)
			return true;
	return false;
}

/*
 * How far it is: the shortest of the last round trips. The others were longer for something
 * that passes, a busy moment at either end.
 */
static uint64_t distance_us(const struct peer *x)
{
	const unsigned n = x->trip_count < TRIPS ? x->trip_count : TRIPS;
	uint64_t shortest = x->trips_us[0];

	for (unsigned i = 1; i < n; i++)
		if (x->trips_us[i] < shortest)
			shortest = x->trips_us[i];
	return shortest;
}

/* Much nearer, not by chance: the one that is drawn first would be the same always. */
static bool is_nearer(const struct peer *a, const struct peer *b)
{
	const uint64_t a_us = distance_us(a), b_us = distance_us(b);

	return a->trip_count >= ENOUGH_TRIPS && b->trip_count >= ENOUGH_TRIPS &&
	       a_us + MUCH_NEARER_US < b_us && a_us * 2 < b_us;
}

static bool is_better(struct peer *a, struct peer *b)
{
	unsigned a_calls = atomic_load(&a->calls), b_calls = atomic_load(&b->calls);

	return a_calls != b_calls ? a_calls < b_calls : is_nearer(a, b);
}

static struct peer *take_one(struct peers *p, const char *ns,
			     const struct peer *const *not_these, size_t not_count)
{
	struct peer *found[PEERS_MAX], *best = NULL;
	size_t n = 0, kept = 0;

	pthread_mutex_lock(&p->mu);
	map_for_each (&p->by_id, e) {
		struct peer *x = e->value;
		if (x->state == PEER_UP && is_in((const char *const *)x->namespaces, ns) &&
		    !is_excluded(x, not_these, not_count))
			found[n++] = x;
	}
	for (size_t i = 0; i < n; i++) /* those that are not ejected to the front */
		if (!ejection_is_now(&found[i]->ejection)) {
			struct peer *x = found[i];
			found[i] = found[kept];
			found[kept++] = x;
		}
	n = kept ? kept : n;
	if (n == 1) {
		best = found[0];
	} else if (n) {
		uint64_t draw = random_u64();
		size_t i = draw % n, k = (i + 1 + (draw >> 32) % (n - 1)) % n;
		best = is_better(found[k], found[i]) ? found[k] : found[i];
	}
	if (best) {
		atomic_fetch_add(&best->refs, 1);
		atomic_fetch_add(&best->calls, 1);
	}
	pthread_mutex_unlock(&p->mu);
	return best;
}

/*
 * A connection that was lost is known here before any ping is missed. Calls to it would fail
 * at once, and it would look the least busy. Asked without the lock: gRPC has its own.
 */
struct peer *peers_take_serving(struct peers *p, const char *ns,
				const struct peer *const *not_these, size_t not_count)
{
	struct peer *first = take_one(p, ns, not_these, not_count), *next;
	const struct peer *passed[MAX_PASSED];
	size_t n = 0;

	if (!first || rpc_channel_is_ready(first->channel))
		return first;
	for (; n < not_count && n < MAX_PASSED - 1; n++)
		passed[n] = not_these[n];
	passed[n++] = first;
	while ((next = take_one(p, ns, passed, n))) {
		if (rpc_channel_is_ready(next->channel)) {
			peer_done(first);
			return next;
		}
		peer_done(next);
		if (n == MAX_PASSED)
			break;
		passed[n++] = next;
	}
	return first; /* the others are no better */
}

/* ----------------------------------------------------------------- pinging */

static bool is_same_list(char *const *a, const char *const *b)
{
	for (; *a && *b; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return !*a && !*b;
}

bool peers_answered(struct peers *p, struct peer *peer, uint64_t round_trip_us,
		    const char *const *namespaces)
{
	bool changed = false;

	pthread_mutex_lock(&p->mu);
	if (map_get(&p->by_id, peer->id) == peer) {
		changed = peer->state != PEER_UP;
		peer->state = PEER_UP;
		peer->missed = 0;
		peer->last_seen_us = clock_unix_us();
		/* An average that forgets: a fifth of it is the newest. */
		peer->round_trip_us = peer->round_trip_us
					      ? (peer->round_trip_us * 4 + round_trip_us) / 5
					      : round_trip_us;
		peer->trips_us[peer->trip_count++ % TRIPS] = round_trip_us;
		if (namespaces && !is_same_list(peer->namespaces, namespaces)) {
			free_list(peer->namespaces);
			peer->namespaces = copy_list(namespaces);
			changed = true;
		}
	}
	pthread_mutex_unlock(&p->mu);
	return changed;
}

bool peers_missed(struct peers *p, struct peer *peer)
{
	enum peer_state before;
	bool changed;

	pthread_mutex_lock(&p->mu);
	before = peer->state;
	if (peer->missed < PEER_UNREACHABLE_AFTER)
		peer->missed++;
	if (peer->missed >= PEER_UNREACHABLE_AFTER)
		peer->state = PEER_UNREACHABLE;
	else if (peer->missed >= PEER_SUSPECT_AFTER)
		peer->state = PEER_SUSPECT;
	changed = peer->state != before;
	pthread_mutex_unlock(&p->mu);
	return changed;
}

enum peer_state peers_state(struct peers *p, const struct peer *peer)
{
	enum peer_state state;

	pthread_mutex_lock(&p->mu);
	state = peer->state;
	pthread_mutex_unlock(&p->mu);
	return state;
}

/* ----------------------------------------------------------------- listing */

static const char *const *arena_list(struct arena *arena, char *const *list)
{
	size_t n = 0;
	const char **copy;

	while (list[n])
		n++;
	copy = arena_alloc(arena, (n + 1) * sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = arena_strdup(arena, list[i]);
	copy[n] = NULL;
	return copy;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct peer_info *)a)->id, ((const struct peer_info *)b)->id);
}

const struct peer_info *peers_list(struct peers *p, struct arena *arena, size_t *ret_count)
{
	struct peer_info *list;
	size_t n = 0;

	pthread_mutex_lock(&p->mu);
	list = arena_alloc(arena, (p->by_id.count + 1) * sizeof(*list));
	map_for_each (&p->by_id, e) {
		const struct peer *x = e->value;
		list[n++] = (struct peer_info){
			.id = arena_strdup(arena, x->id),
			.address = arena_strdup(arena, x->address),
			.namespaces = arena_list(arena, x->namespaces),
			.state = x->state,
			.missed = x->missed,
			.created_us = x->created_us,
			.last_seen_us = x->last_seen_us,
			.round_trip_us = x->round_trip_us,
			.in_flight = atomic_load(&x->calls),
			.is_ejected = ejection_is_now(&((struct peer *)e->value)->ejection),
			.outbound = x->outbound,
		};
	}
	pthread_mutex_unlock(&p->mu);
	qsort(list, n, sizeof(*list), by_id);
	*ret_count = n;
	return list;
}

const char *const *peers_shared(const char *const *a, const char *const *b, struct arena *arena)
{
	const char **shared;
	size_t room = 0, n = 0;

	while (a[room])
		room++;
	shared = arena_alloc(arena, (room + 1) * sizeof(*shared));
	for (; *a; a++)
		if (is_in(b, *a))
			shared[n++] = *a;
	shared[n] = NULL;
	return shared;
}
