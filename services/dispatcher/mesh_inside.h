/*
 * The parts of mesh.h: mesh.c (life, seeds, goodbyes), mesh_connect.c (Connect, both
 * ways), mesh_ping.c (pings, and what peers tell), mesh_reach.c (dialling for a call).
 */
#ifndef SERVICES_DISPATCHER_MESH_INSIDE_H
#define SERVICES_DISPATCHER_MESH_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"
#include "services/dispatcher/mesh.h"

struct hearsay;
struct peer_info;
struct rpc_pool;

#define MESH_PING_PATH "/collector.CollectiveDispatcher/Ping"

enum { MESH_MAX_NAMESPACES = 1024, MESH_PING_TIMEOUT_MS = 900, MESH_DIAL_TIMEOUT_MS = 5000 };

struct mesh_seed {
	struct mesh *mesh;
	const char *address;
	bool trying;
	uint64_t next_ns;
	int delay_ms;
};

struct mesh {
	struct dispatcher *d;
	struct hearsay *hearsay;
	struct rpc_pool *dialling;    /* threads that wait for other collectors */
	uint64_t instance;            /* drawn at the start */
	atomic_uint_fast64_t version; /* of what ListConnections tells */
	struct map recorded; /* peer id -> what its records say, owned; the timer's own */
	struct mesh_seed *seeds;
	size_t seed_count;
	pthread_mutex_t mu; /* all below, and the seeds */
	pthread_cond_t idle;
	struct map pending; /* nonces of Connects of ours that are under way */
	struct map learned; /* peer id -> struct mesh_learned */
	struct map dialled; /* addresses that a reconnect is under way to */
	unsigned under_way; /* pings and work on the pool */
	bool leaving;
};

/* False: the mesh is being left, nothing more may start. Pairs with mesh_end(). */
bool mesh_begin(struct mesh *m);
void mesh_end(struct mesh *m);

/* What is told to peers is different now. */
void mesh_changed(struct mesh *m);

/* One id for each observer and peer, so that several dispatchers share one repo. */
const char *mesh_record_id(const struct mesh *m, const char *peer, struct arena *arena);

/*
 * Record anew what is different about peers, their state or what is shared with them.
 * @list is all of them. For the timer's thread.
 */
void mesh_record_peers(struct mesh *m, const struct peer_info *list, size_t count,
		       struct arena *arena);

/* An id and namespaces from outside. */
enum status mesh_check_peer(const struct mesh *m, const char *id, const char *const *namespaces,
			    struct error *err) MUST_CHECK;

/* Ping one peer; what comes of it goes to the tables. */
void mesh_send_ping(struct mesh *m, const struct peer_info *info, struct arena *arena);

/* Who answers no more, and was told to be elsewhere, is dialled there. */
void mesh_follow(struct mesh *m, const struct peer_info *list, size_t count,
		 struct arena *arena);

/* The peer is gone: what it told is, too. */
void mesh_forget(struct mesh *m, const char *peer);

#endif
