/* Pings, and what peers tell of other collectors. */
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/names.h"
#include "common/client/dispatch_records.h"
#include "common/daemon/daemon.h"
#include "services/dispatcher/addresses.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/hearsay.h"
#include "services/dispatcher/mesh_inside.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/records.h"

enum { MAX_TOLD_BYTES = 1 << 20, TELL_TIMEOUT_MS = 5000 };

/* How far a peer was listened to. */
struct mesh_learned {
	uint64_t version; /* of what it told last; 0: nothing yet */
	bool asking;
};

/* ------------------------------------------------------- what peers tell */

/* A question for what a peer knows. */
struct question {
	struct mesh *mesh;
	struct peer *peer;
	uint64_t version;
};

static void keep_heard(struct mesh *m, const struct heard *h, struct arena *arena)
{
	struct collector_record record = {
		.id = h->id,
		.address = h->address,
		.namespaces = h->namespaces,
		.created_us = clock_unix_us(),
		.distance = h->distance,
		.heard_through = h->through,
	};

	records_put(m->d->records, COLLECTORS_COLLECTION, mesh_record_id(m, h->id, arena),
		    COLLECTOR_TYPE, collector_record_pack(&record, arena));
}

static const struct heard *find(const struct heard *list, size_t count, const char *id)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].id, id))
			return &list[i];
	return NULL;
}

/* The system collection follows; of a peer there is another record of the same id. */
static void keep_difference(struct mesh *m, const struct heard *before, size_t before_count,
			    struct arena *arena)
{
	size_t count;
	const struct heard *now = hearsay_list(m->hearsay, arena, &count);

	for (size_t i = 0; i < count; i++)
		if (!peers_has(m->d->peers, now[i].id))
			keep_heard(m, &now[i], arena);
	for (size_t i = 0; i < before_count; i++)
		if (!find(now, count, before[i].id) && !peers_has(m->d->peers, before[i].id))
			records_remove(m->d->records, COLLECTORS_COLLECTION,
				       mesh_record_id(m, before[i].id, arena));
}

static size_t filter(struct mesh *m, const char *teller, const struct known_collector *known,
		     size_t count, struct heard *told)
{
	struct error ignored; /* one bad entry is not believed, the others are */
	size_t n = 0;

	for (size_t i = 0; i < count && n < HEARSAY_MAX_OF_PEER; i++) {
		const struct known_collector *k = &known[i];
		if (k->distance >= HEARSAY_MAX_DISTANCE || !strcmp(k->id, teller) ||
		    strlen(k->address) > 255 ||
		    mesh_check_peer(m, k->id, k->namespaces, &ignored) != STATUS_OK)
			continue;
		told[n++] = (struct heard){k->id, k->address, teller, k->namespaces,
					   k->distance + 1};
	}
	return n;
}

static void learn(struct mesh *m, const char *teller, struct bytes reply)
{
	const struct known_collector *known;
	const struct peer_info *peers;
	const struct heard *before;
	struct heard *told;
	struct arena arena;
	struct error ignored;
	size_t count, before_count;

	arena_init(&arena, 0);
	before = hearsay_list(m->hearsay, &arena, &before_count);
	if (list_connections_unpack(reply, &arena, &known, &count, &ignored) == STATUS_OK) {
		told = arena_alloc(&arena, (count + 1) * sizeof(*told));
		count = filter(m, teller, known, count, told);
		if (hearsay_replace(m->hearsay, teller, told, count)) {
			mesh_changed(m);
			keep_difference(m, before, before_count, &arena);
			peers = peers_list(m->d->peers, &arena, &count);
			mesh_follow(m, peers, count, &arena);
		}
	}
	arena_release(&arena);
}

static void told(void *arg, enum status status, const struct error *err, struct bytes reply,
		 const struct rpc_outcome *outcome)
{
	struct question *q = arg;
	struct mesh *m = q->mesh;
	const char *teller = peer_id(q->peer);
	struct mesh_learned *l;
	bool listen = status == STATUS_OK && reply.size <= MAX_TOLD_BYTES;

	(void)err;
	(void)outcome;
	pthread_mutex_lock(&m->mu);
	l = map_get(&m->learned, teller);
	if (l) {
		l->asking = false;
		if (status == STATUS_OK)
			l->version = q->version;
	}
	listen = listen && l; /* a peer that left meanwhile is not listened to */
	pthread_mutex_unlock(&m->mu);
	if (listen)
		learn(m, teller, reply);
	peer_release(q->peer);
	free(q);
	mesh_end(m);
}

/* Is there news? Then it is going to be asked for. */
static bool will_ask(struct mesh *m, const char *peer, uint64_t version)
{
	struct mesh_learned *l;
	bool ask;

	pthread_mutex_lock(&m->mu);
	l = map_get(&m->learned, peer);
	if (!l) {
		l = xcalloc(1, sizeof(*l));
		map_put(&m->learned, peer, l);
	}
	ask = version && version != l->version && !l->asking;
	l->asking |= ask;
	pthread_mutex_unlock(&m->mu);
	return ask;
}

static void ask(struct mesh *m, const char *id, uint64_t version)
{
	struct rpc_options options = {.timeout_ms = TELL_TIMEOUT_MS};
	struct question *q;
	struct peer *peer;

	if (!will_ask(m, id, version))
		return;
	peer = peers_hold(m->d->peers, id);
	if (!peer || !mesh_begin(m)) {
		mesh_forget(m, id);
		if (peer)
			peer_release(peer);
		return;
	}
	q = xcalloc(1, sizeof(*q));
	*q = (struct question){m, peer, version};
	rpc_start_raw(peer_channel(peer), LIST_CONNECTIONS_PATH, bytes_of(NULL, 0), &options,
		      told, q, NULL);
}

void mesh_forget(struct mesh *m, const char *peer)
{
	const struct heard *before;
	struct arena arena;
	size_t count;

	pthread_mutex_lock(&m->mu);
	free(map_remove(&m->learned, peer));
	pthread_mutex_unlock(&m->mu);
	arena_init(&arena, 0);
	before = hearsay_list(m->hearsay, &arena, &count);
	if (hearsay_forget(m->hearsay, peer))
		keep_difference(m, before, count, &arena);
	mesh_changed(m);
	arena_release(&arena);
}

/* --------------------------------------------------------------- dialling again */

struct reconnect {
	struct mesh *mesh;
	char *address;
};

static bool begin_dialling(struct mesh *m, const char *address)
{
	bool first;

	pthread_mutex_lock(&m->mu);
	first = !m->leaving && !map_get(&m->dialled, address);
	if (first) {
		map_put(&m->dialled, address, m);
		m->under_way++;
	}
	pthread_mutex_unlock(&m->mu);
	return first;
}

static void end_reconnect(struct reconnect *r)
{
	pthread_mutex_lock(&r->mesh->mu);
	map_remove(&r->mesh->dialled, r->address);
	pthread_mutex_unlock(&r->mesh->mu);
	mesh_end(r->mesh);
	free(r->address);
	free(r);
}

static void reconnect_on_pool(void *arg)
{
	static const char *const own[] = {NULL};
	struct reconnect *r = arg;
	struct rpc_options options = {.timeout_ms = MESH_DIAL_TIMEOUT_MS};
	struct arena arena;
	struct error err;
	const char *id;

	arena_init(&arena, 0);
	if (mesh_connect(r->mesh, r->address, own, &options, &arena, &id, &err) != STATUS_OK)
		log_debug("%s was a peer and cannot be connected to: %s; trying again",
			  r->address, err.message);
	arena_release(&arena);
	end_reconnect(r);
}

/* Once at a time for each address. */
static void reconnect(struct mesh *m, const char *address)
{
	struct reconnect *r;

	if (!begin_dialling(m, address))
		return;
	r = xcalloc(1, sizeof(*r));
	*r = (struct reconnect){m, xstrdup(address)};
	if (!mesh_submit(m, reconnect_on_pool, r))
		end_reconnect(r);
}

void mesh_follow(struct mesh *m, const struct peer_info *list, size_t count,
		 struct arena *arena)
{
	const struct heard *heard = NULL, *h;
	size_t heard_count = 0;
	struct error ignored;

	for (size_t i = 0; i < count; i++) {
		if (!list[i].missed)
			continue;
		if (!heard)
			heard = hearsay_list(m->hearsay, arena, &heard_count);
		h = find(heard, heard_count, list[i].id);
		if (h && strcmp(h->address, list[i].address) != 0 &&
		    addresses_check_text(m->d->addresses, h->address, "address", &ignored) ==
			    STATUS_OK)
			reconnect(m, h->address);
	}
}

/* -------------------------------------------------------------------- pings */

struct ping {
	struct mesh *mesh;
	struct peer *peer;
	char *address;
	uint64_t sent_ns;
};

static void ping_done(void *arg, enum status status, const struct error *err,
		      struct bytes reply, const struct rpc_outcome *outcome)
{
	struct ping *p = arg;
	struct mesh *m = p->mesh;
	struct ping_answer answer;
	struct arena arena;
	struct error ignored;

	(void)err;
	(void)outcome;
	arena_init(&arena, 0);
	if (status == STATUS_OK)
		status = ping_response_unpack(reply, &arena, &answer, &ignored);
	if (status == STATUS_OK && !strcmp(answer.collector_id, peer_id(p->peer))) {
		if (peers_answered(m->d->peers, p->peer,
				   (clock_monotonic_ns() - p->sent_ns) / 1000,
				   answer.namespaces))
			mesh_changed(m);
		if (!*answer.nonce) /* it was started anew and does not know us */
			reconnect(m, p->address);
		ask(m, peer_id(p->peer), answer.mesh_version);
	} else if (peers_missed(m->d->peers, p->peer)) {
		mesh_changed(m);
		if (peers_state(m->d->peers, p->peer) == PEER_UNREACHABLE) {
			mesh_forget(m, peer_id(p->peer));
			peers_redial(m->d->peers, p->peer);
		}
	}
	arena_release(&arena);
	peer_release(p->peer);
	free(p->address);
	free(p);
	mesh_end(m);
}

void mesh_send_ping(struct mesh *m, const struct peer_info *info, struct arena *arena)
{
	struct rpc_options options = {.timeout_ms = MESH_PING_TIMEOUT_MS};
	struct peer *peer = peers_hold(m->d->peers, info->id);
	struct ping *p;

	if (!peer)
		return;
	if (!mesh_begin(m)) {
		peer_release(peer);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	*p = (struct ping){m, peer, xstrdup(info->address), clock_monotonic_ns()};
	rpc_start_raw(peer_channel(peer), MESH_PING_PATH,
		      ping_request_pack(m->d->self.id, "alive", arena), &options, ping_done, p,
		      NULL);
}
