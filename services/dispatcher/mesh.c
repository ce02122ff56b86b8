#include "services/dispatcher/mesh.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "common/client/dispatch_records.h"
#include "common/daemon/daemon.h"
#include "common/rpc/pool.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/hearsay.h"
#include "services/dispatcher/history.h"
#include "services/dispatcher/mesh_inside.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/records.h"

enum {
	TICK_MS = 1000,
	DIALLING_THREADS = 4,
	DIALLING_QUEUE = 64,
	SEED_FIRST_MS = 250,
	SEED_MAX_MS = 10000,
	GOODBYE_TIMEOUT_MS = 500,
};

struct mesh *mesh_new(struct dispatcher *d)
{
	struct mesh *m = xcalloc(1, sizeof(*m));

	m->d = d;
	m->hearsay = hearsay_new();
	m->dialling = rpc_pool_new("mesh", DIALLING_THREADS, DIALLING_QUEUE);
	m->instance = random_u64() | 1;
	atomic_init(&m->version, m->instance);
	pthread_mutex_init(&m->mu, NULL);
	pthread_cond_init(&m->idle, NULL);
	while (d->seeds[m->seed_count])
		m->seed_count++;
	m->seeds = xcalloc(m->seed_count + 1, sizeof(*m->seeds));
	for (size_t i = 0; i < m->seed_count; i++)
		m->seeds[i] = (struct mesh_seed){m, d->seeds[i], false, 0, SEED_FIRST_MS};
	return m;
}

bool mesh_begin(struct mesh *m)
{
	bool may;

	pthread_mutex_lock(&m->mu);
	may = !m->leaving;
	m->under_way += may;
	pthread_mutex_unlock(&m->mu);
	return may;
}

void mesh_end(struct mesh *m)
{
	pthread_mutex_lock(&m->mu);
	if (!--m->under_way)
		pthread_cond_broadcast(&m->idle);
	pthread_mutex_unlock(&m->mu);
}

bool mesh_submit(struct mesh *m, void (*work)(void *arg), void *arg)
{
	return rpc_pool_submit(m->dialling, work, arg);
}

void mesh_changed(struct mesh *m)
{
	atomic_fetch_add(&m->version, 1);
}

uint64_t mesh_version(struct mesh *m)
{
	return atomic_load(&m->version);
}

uint64_t mesh_instance(struct mesh *m)
{
	return m->instance;
}

/* -------------------------------------------------------------------- seeds */

static void seed_tried(struct mesh_seed *s, bool connected)
{
	struct mesh *m = s->mesh;
	int jitter_ms;

	pthread_mutex_lock(&m->mu);
	s->trying = false;
	jitter_ms = (int)(random_u64() % (unsigned)(s->delay_ms / 2 + 1));
	s->next_ns = clock_monotonic_ns() + (uint64_t)(s->delay_ms + jitter_ms) * 1000000;
	s->delay_ms = connected                       ? SEED_FIRST_MS
		      : s->delay_ms * 2 < SEED_MAX_MS ? s->delay_ms * 2
						      : SEED_MAX_MS;
	pthread_mutex_unlock(&m->mu);
}

static void seed_on_pool(void *arg)
{
	static const char *const own[] = {NULL};
	struct mesh_seed *s = arg;
	struct rpc_options options = {.timeout_ms = MESH_DIAL_TIMEOUT_MS};
	struct arena arena;
	struct error err;
	const char *id;
	enum status status;

	arena_init(&arena, 0);
	status = mesh_connect(s->mesh, s->address, own, &options, &arena, &id, &err);
	if (status == STATUS_OK)
		log_info("connected to %s at %s", id, s->address);
	else
		log_debug("cannot connect to seed %s: %s; trying again", s->address,
			  err.message);
	seed_tried(s, status == STATUS_OK);
	mesh_end(s->mesh);
	arena_release(&arena);
}

static void try_seed(struct mesh *m, struct mesh_seed *s)
{
	bool due;

	if (peers_has_address(m->d->peers, s->address))
		return;
	pthread_mutex_lock(&m->mu);
	due = !s->trying && !m->leaving && clock_monotonic_ns() >= s->next_ns;
	s->trying |= due;
	pthread_mutex_unlock(&m->mu);
	if (!due)
		return;
	if (mesh_begin(m)) {
		if (mesh_submit(m, seed_on_pool, s))
			return;
		mesh_end(m);
	}
	seed_tried(s, false);
}

static void tick(void *arg)
{
	struct mesh *m = arg;
	const struct peer_info *list;
	struct history_numbers history;
	struct arena arena;
	size_t count;

	arena_init(&arena, 0);
	list = peers_list(m->d->peers, &arena, &count);
	for (size_t i = 0; i < count; i++)
		mesh_send_ping(m, &list[i], &arena);
	mesh_follow(m, list, count, &arena);
	mesh_record_peers(m, list, count, &arena);
	for (size_t i = 0; i < m->seed_count; i++)
		try_seed(m, &m->seeds[i]);
	rpc_client_forget_unused(daemon_client(m->d->daemon));
	daemon_set_number(m->d->daemon, "channels",
			  (int64_t)rpc_client_channel_count(daemon_client(m->d->daemon)));
	daemon_set_number(m->d->daemon, "peers", (int64_t)count);
	daemon_set_number(m->d->daemon, "records_dropped",
			  (int64_t)records_dropped(m->d->records));
	history = history_numbers(m->d->history);
	daemon_set_number(m->d->daemon, "history_written", (int64_t)history.written);
	daemon_set_number(m->d->daemon, "history_sampled", (int64_t)history.sampled);
	daemon_set_number(m->d->daemon, "history_dropped", (int64_t)history.dropped);
	arena_release(&arena);
}

void mesh_start(struct mesh *m)
{
	daemon_every(m->d->daemon, 0, TICK_MS, tick, m);
}

/* ------------------------------------------------------------------- leaving */

static void goodbye_done(void *arg, enum status status, const struct error *err,
			 struct bytes reply, const struct rpc_outcome *outcome)
{
	(void)status;
	(void)err;
	(void)reply;
	(void)outcome;
	mesh_end(arg);
}

/* DisconnectRequest.collector_id is field 1, as Ping's. Who is away is not waited for. */
static void say_goodbye(struct mesh *m, struct peer *peer)
{
	struct rpc_options options = {.timeout_ms = GOODBYE_TIMEOUT_MS};
	struct arena arena;

	arena_init(&arena, 0);
	if (mesh_begin(m))
		rpc_start_raw(peer_channel(peer), "/collector.CollectiveDispatcher/Disconnect",
			      ping_request_pack(m->d->self.id, "", &arena), &options,
			      goodbye_done, m, NULL);
	arena_release(&arena);
}

enum status mesh_disconnect(struct mesh *m, const char *collector_id, struct error *err)
{
	struct peer *peer = peers_hold(m->d->peers, collector_id);
	struct arena arena;

	if (!peer)
		return error_set(err, STATUS_NOT_FOUND, "there is no peer %s", collector_id);
	(void)peers_remove(m->d->peers, collector_id);
	mesh_forget(m, collector_id);
	say_goodbye(m, peer); /* or its next ping would connect us again */
	peer_release(peer);
	arena_init(&arena, 0);
	records_remove(m->d->records, CONNECTIONS_COLLECTION,
		       mesh_record_id(m, collector_id, &arena));
	records_remove(m->d->records, COLLECTORS_COLLECTION,
		       mesh_record_id(m, collector_id, &arena));
	arena_release(&arena);
	return STATUS_OK;
}

void mesh_leave(struct mesh *m)
{
	const struct peer_info *list;
	struct arena arena;
	size_t count;

	arena_init(&arena, 0);
	list = peers_list(m->d->peers, &arena, &count);
	for (size_t i = 0; i < count; i++) {
		struct peer *peer =
			list[i].state == PEER_UP ? peers_hold(m->d->peers, list[i].id) : NULL;
		if (!peer)
			continue;
		say_goodbye(m, peer);
		peer_release(peer);
	}
	arena_release(&arena);
	pthread_mutex_lock(&m->mu);
	m->leaving = true;
	while (m->under_way)
		pthread_cond_wait(&m->idle, &m->mu);
	pthread_mutex_unlock(&m->mu);
}

void mesh_free(struct mesh *m)
{
	if (!m)
		return;
	rpc_pool_free(m->dialling);
	map_release(&m->pending, NULL);
	map_release(&m->learned, free);
	map_release(&m->dialled, NULL);
	hearsay_free(m->hearsay);
	map_release(&m->recorded, free);
	free(m->seeds);
	pthread_mutex_destroy(&m->mu);
	pthread_cond_destroy(&m->idle);
	free(m);
}
