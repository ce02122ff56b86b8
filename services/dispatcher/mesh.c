#include "services/dispatcher/mesh.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/names.h"
#include "common/base/random.h"
#include "common/client/dispatch_records.h"
#include "common/daemon/daemon.h"
#include "common/rpc/pool.h"
#include "common/rpc/server.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/peers.h"
#include "services/dispatcher/records.h"

enum {
	TICK_MS = 1000,
	PING_TIMEOUT_MS = 900,
	DIAL_BACK_TIMEOUT_MS = 5000,
	SEED_FIRST_MS = 250,
	SEED_MAX_MS = 10000,
	MAX_NAMESPACES = 1024,
	MAX_PENDING = 256,
	GOODBYE_TIMEOUT_MS = 500,
};

static const char ping_path[] = "/collector.CollectiveDispatcher/Ping";

struct seed {
	struct mesh *mesh;
	const char *address;
	bool trying;
	uint64_t next_ns;
	int delay_ms;
};

struct mesh {
	struct dispatcher *d;
	struct seed *seeds;
	size_t seed_count;
	pthread_mutex_t mu; /* all below, and the seeds */
	pthread_cond_t idle;
	struct map pending; /* nonces of Connects of ours that are under way */
	unsigned under_way; /* pings and work on the pool */
	bool leaving;
};

struct mesh *mesh_new(struct dispatcher *d)
{
	struct mesh *m = xcalloc(1, sizeof(*m));

	m->d = d;
	pthread_mutex_init(&m->mu, NULL);
	pthread_cond_init(&m->idle, NULL);
	while (d->seeds[m->seed_count])
		m->seed_count++;
	m->seeds = xcalloc(m->seed_count + 1, sizeof(*m->seeds));
	for (size_t i = 0; i < m->seed_count; i++)
		m->seeds[i] = (struct seed){m, d->seeds[i], false, 0, SEED_FIRST_MS};
	return m;
}

/* False: the mesh is being left, nothing more may start. */
static bool begin(struct mesh *m)
{
	bool may;

	pthread_mutex_lock(&m->mu);
	may = !m->leaving;
	m->under_way += may;
	pthread_mutex_unlock(&m->mu);
	return may;
}

static void end(struct mesh *m)
{
	pthread_mutex_lock(&m->mu);
	if (!--m->under_way)
		pthread_cond_broadcast(&m->idle);
	pthread_mutex_unlock(&m->mu);
}

/* --------------------------------------------------------------- own namespaces */

static bool is_in(const char *const *list, size_t count, const char *item)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], item))
			return true;
	return false;
}

const char *const *mesh_own_namespaces(struct mesh *m, struct arena *arena)
{
	struct handler_record *records;
	const char **list;
	size_t count, n = 0;

	if (m->d->self.namespaces[0])
		return m->d->self.namespaces;
	count = handlers_count(m->d->handlers);
	records = arena_alloc(arena, (count + 1) * sizeof(*records));
	count = handlers_list(m->d->handlers, "", "", count, arena, records);
	list = arena_alloc(arena, (MAX_NAMESPACES + 2) * sizeof(*list));
	list[n++] = NAMES_DEFAULT_NAMESPACE;
	for (size_t i = 0; i < count && n <= MAX_NAMESPACES; i++)
		if (!is_in(list, n, records[i].ns))
			list[n++] = records[i].ns;
	list[n] = NULL;
	return list;
}

/* ------------------------------------------------------------------ keeping */

/* One id an observer and peer, so that several dispatchers share one repo. */
static char *record_id(const struct mesh *m, const char *peer, struct arena *arena)
{
	return arena_printf(arena, "%s/%s", m->d->self.id, peer);
}

static void keep_records(struct mesh *m, const struct peer_info *p, struct arena *arena)
{
	const char *id = record_id(m, p->id, arena);
	struct connection_record connection = {
		.id = id,
		.source_id = m->d->self.id,
		.target_id = p->id,
		.address = p->address,
		.shared_namespaces =
			peers_shared(mesh_own_namespaces(m, arena), p->namespaces, arena),
		.state = (int)p->state,
		.created_us = p->created_us,
		.last_activity_us = p->last_seen_us,
		.round_trip_us = p->round_trip_us,
		.outbound = p->outbound,
	};
	struct collector_record collector = {
		.id = p->id,
		.address = p->address,
		.namespaces = p->namespaces,
		.is_direct_peer = true,
		.created_us = p->created_us,
		.last_seen_us = p->last_seen_us,
	};

	records_put(m->d->records, CONNECTIONS_COLLECTION, id, CONNECTION_TYPE,
		    connection_record_pack(&connection, arena));
	records_put(m->d->records, COLLECTORS_COLLECTION, id, COLLECTOR_TYPE,
		    collector_record_pack(&collector, arena));
}

static void keep_records_of(struct mesh *m, const char *peer)
{
	struct arena arena;
	size_t count;
	const struct peer_info *list;

	arena_init(&arena, 0);
	list = peers_list(m->d->peers, &arena, &count);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].id, peer))
			keep_records(m, &list[i], &arena);
	daemon_set_number(m->d->daemon, "peers", (int64_t)count);
	arena_release(&arena);
}

static enum status check_peer(const struct mesh *m, const char *id,
			      const char *const *namespaces, struct error *err)
{
	enum status status = *id ? names_check_namespace(id, "collector_id", err)
				 : error_field(err, "collector_id", "the collector has no id");
	size_t n = 0;

	if (status == STATUS_OK && !strcmp(id, m->d->self.id))
		status = error_field(err, "collector_id",
				     "%s is this collector itself, or another with its id", id);
	for (; status == STATUS_OK && namespaces[n]; n++)
		status = n < MAX_NAMESPACES
				 ? names_check_namespace(namespaces[n], "namespaces", err)
				 : error_field(err, "namespaces", "more than %d",
					       MAX_NAMESPACES);
	return status;
}

static enum status keep(struct mesh *m, const char *id, const char *address,
			const char *const *namespaces, bool outbound, struct error *err)
{
	if (!peers_put(m->d->peers, id, address, namespaces, outbound))
		return error_set(err, STATUS_RESOURCE_EXHAUSTED, "no more peers: at most %d",
				 PEERS_MAX);
	keep_records_of(m, id);
	return STATUS_OK;
}

/* --------------------------------------------------------------- connecting */

static bool add_pending(struct mesh *m, const char *nonce)
{
	bool added;

	pthread_mutex_lock(&m->mu);
	added = m->pending.count < MAX_PENDING;
	if (added)
		map_put(&m->pending, nonce, m);
	pthread_mutex_unlock(&m->mu);
	return added;
}

static void remove_pending(struct mesh *m, const char *nonce)
{
	pthread_mutex_lock(&m->mu);
	map_remove(&m->pending, nonce);
	pthread_mutex_unlock(&m->mu);
}

enum status mesh_connect(struct mesh *m, const char *address, const char *const *namespaces,
			 const struct rpc_options *options, struct arena *arena,
			 const char **ret_id, struct error *err)
{
	struct rpc_channel *channel =
		rpc_client_channel(daemon_client(m->d->daemon), address, RPC_TRUST_FOREIGN);
	char nonce[HEX_KEY_BYTES];
	struct connect_request request = {
		.address = m->d->self.address,
		.collector_id = m->d->self.id,
		.nonce = nonce,
		.namespaces = *namespaces ? namespaces : mesh_own_namespaces(m, arena),
	};
	struct connect_answer answer;
	enum status status;

	if (!channel)
		return error_field(err, "address", "'%s' is not host:port", address);
	random_hex_key(nonce);
	if (!add_pending(m, nonce))
		return error_set(err, STATUS_RESOURCE_EXHAUSTED, "%d Connects are under way",
				 MAX_PENDING);
	status = dispatcher_client_connect(channel, &request, options, arena, &answer, err);
	remove_pending(m, nonce);
	if (status == STATUS_OK)
		status = check_peer(m, answer.collector_id, answer.namespaces, err);
	if (status == STATUS_OK)
		status = keep(m, answer.collector_id, address, answer.namespaces, true, err);
	if (status == STATUS_OK)
		*ret_id = answer.collector_id;
	return status;
}

static enum status dial_back(struct mesh *m, const struct connect_request *request,
			     const struct rpc_options *parent, struct arena *arena,
			     struct error *err)
{
	struct rpc_channel *channel = rpc_client_channel(daemon_client(m->d->daemon),
							 request->address, RPC_TRUST_FOREIGN);
	struct rpc_options options = *parent;
	struct ping_answer answer;
	struct bytes reply;
	enum status status;

	if (!channel)
		return error_field(err, "address", "'%s' is not host:port", request->address);
	if (!options.timeout_ms || options.timeout_ms > DIAL_BACK_TIMEOUT_MS)
		options.timeout_ms = DIAL_BACK_TIMEOUT_MS;
	status = rpc_invoke_raw(channel, ping_path,
				ping_request_pack(m->d->self.id, request->nonce, arena),
				&options, arena, &reply, NULL, err);
	if (status == STATUS_OK)
		status = ping_response_unpack(reply, arena, &answer, err);
	if (status != STATUS_OK)
		return error_set(err, STATUS_FAILED_PRECONDITION,
				 "%s cannot be dialled back, so it cannot be a peer",
				 request->address);
	if (strcmp(answer.collector_id, request->collector_id) ||
	    strcmp(answer.nonce, request->nonce))
		return error_set(err, STATUS_PERMISSION_DENIED,
				 "the collector at %s did not ask for this connection",
				 request->address);
	return STATUS_OK;
}

enum status mesh_accept(struct mesh *m, const struct connect_request *request,
			const struct rpc_options *options, struct arena *arena,
			struct error *err)
{
	enum status status = check_peer(m, request->collector_id, request->namespaces, err);

	if (status == STATUS_OK)
		status = address_check(request->address, m->d->allowed_addresses, "address",
				       err);
	if (status == STATUS_OK && !*request->nonce)
		status = error_field(err, "nonce",
				     "without a nonce the connection cannot be "
				     "checked");
	if (status == STATUS_OK)
		status = dial_back(m, request, options, arena, err);
	if (status == STATUS_OK)
		status = keep(m, request->collector_id, request->address, request->namespaces,
			      false, err);
	return status;
}

bool mesh_knows(struct mesh *m, const char *collector_id, const char *nonce)
{
	bool known;

	pthread_mutex_lock(&m->mu);
	known = *nonce && map_get(&m->pending, nonce);
	pthread_mutex_unlock(&m->mu);
	return known || peers_has(m->d->peers, collector_id);
}

/* -------------------------------------------------------------------- pings */

struct ping {
	struct mesh *mesh;
	struct peer *peer;
	char *address;
	uint64_t sent_ns;
};

struct reconnect {
	struct mesh *mesh;
	char *address;
};

static void reconnect_on_pool(void *arg)
{
	static const char *const own[] = {NULL};
	struct reconnect *r = arg;
	struct rpc_options options = {.timeout_ms = DIAL_BACK_TIMEOUT_MS};
	struct arena arena;
	struct error err;
	const char *id;

	arena_init(&arena, 0);
	if (mesh_connect(r->mesh, r->address, own, &options, &arena, &id, &err) != STATUS_OK)
		log_debug("%s has forgotten us and cannot be connected to: %s; trying again",
			  r->address, err.message);
	arena_release(&arena);
	end(r->mesh);
	free(r->address);
	free(r);
}

/* A peer that was started anew answers but does not know us. */
static void reconnect(struct mesh *m, const char *address)
{
	struct reconnect *r = xcalloc(1, sizeof(*r));

	*r = (struct reconnect){m, xstrdup(address)};
	if (begin(m)) {
		if (rpc_pool_submit(rpc_server_pool(daemon_server(m->d->daemon)),
				    reconnect_on_pool, r))
			return;
		end(m);
	}
	free(r->address);
	free(r);
}

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
		peers_answered(m->d->peers, p->peer, (clock_monotonic_ns() - p->sent_ns) / 1000,
			       answer.namespaces);
		if (!*answer.nonce)
			reconnect(m, p->address);
	} else {
		peers_missed(m->d->peers, p->peer);
	}
	arena_release(&arena);
	peer_done(p->peer);
	free(p->address);
	free(p);
	end(m);
}

static void send_ping(struct mesh *m, const struct peer_info *info, struct arena *arena)
{
	struct rpc_options options = {.timeout_ms = PING_TIMEOUT_MS};
	struct peer *peer = peers_take(m->d->peers, info->id);
	struct ping *p;

	if (!peer)
		return;
	if (!begin(m)) {
		peer_done(peer);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	*p = (struct ping){m, peer, xstrdup(info->address), clock_monotonic_ns()};
	rpc_start_raw(peer_channel(peer), ping_path,
		      ping_request_pack(m->d->self.id, "alive", arena), &options, ping_done, p,
		      NULL);
}

/* -------------------------------------------------------------------- seeds */

static void seed_tried(struct seed *s, bool connected)
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
	struct seed *s = arg;
	struct rpc_options options = {.timeout_ms = DIAL_BACK_TIMEOUT_MS};
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
	end(s->mesh);
	arena_release(&arena);
}

static void try_seed(struct mesh *m, struct seed *s)
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
	if (begin(m)) {
		if (rpc_pool_submit(rpc_server_pool(daemon_server(m->d->daemon)), seed_on_pool,
				    s))
			return;
		end(m);
	}
	seed_tried(s, false);
}

static void tick(void *arg)
{
	struct mesh *m = arg;
	const struct peer_info *list;
	struct arena arena;
	size_t count;

	arena_init(&arena, 0);
	list = peers_list(m->d->peers, &arena, &count);
	for (size_t i = 0; i < count; i++)
		send_ping(m, &list[i], &arena);
	for (size_t i = 0; i < m->seed_count; i++)
		try_seed(m, &m->seeds[i]);
	daemon_set_number(m->d->daemon, "peers", (int64_t)count);
	daemon_set_number(m->d->daemon, "records_dropped",
			  (int64_t)records_dropped(m->d->records));
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
	end(arg);
}

/* DisconnectRequest.collector_id is field 1, as Ping's. Who is away is not waited for. */
static void say_goodbye(struct mesh *m, struct peer *peer)
{
	struct rpc_options options = {.timeout_ms = GOODBYE_TIMEOUT_MS};
	struct arena arena;

	arena_init(&arena, 0);
	if (begin(m))
		rpc_start_raw(peer_channel(peer), "/collector.CollectiveDispatcher/Disconnect",
			      ping_request_pack(m->d->self.id, "", &arena), &options,
			      goodbye_done, m, NULL);
	arena_release(&arena);
}

enum status mesh_disconnect(struct mesh *m, const char *collector_id, struct error *err)
{
	struct peer *peer = peers_take(m->d->peers, collector_id);
	struct arena arena;

	if (!peer)
		return error_set(err, STATUS_NOT_FOUND, "there is no peer %s", collector_id);
	(void)peers_remove(m->d->peers, collector_id);
	say_goodbye(m, peer); /* or its next ping would connect us again */
	peer_done(peer);
	arena_init(&arena, 0);
	records_remove(m->d->records, CONNECTIONS_COLLECTION,
		       record_id(m, collector_id, &arena));
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
			list[i].state == PEER_UP ? peers_take(m->d->peers, list[i].id) : NULL;
		if (!peer)
			continue;
		say_goodbye(m, peer);
		peer_done(peer);
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
	map_release(&m->pending, NULL);
	free(m->seeds);
	pthread_mutex_destroy(&m->mu);
	pthread_cond_destroy(&m->idle);
	free(m);
}
