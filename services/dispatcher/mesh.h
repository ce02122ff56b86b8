/*
 * Getting connected and staying so: Connect in both directions with its
 * dial-back, seeds that are tried for ever, the pings, and what peers tell of others.
 *
 * A Connect is only believed after the caller was dialled at the address that it
 * named and echoed the nonce of that Connect there: nobody can connect somebody
 * else. Thread-safe.
 */
#ifndef SERVICES_DISPATCHER_MESH_H
#define SERVICES_DISPATCHER_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/client/dispatcher_client.h"

struct dispatcher;
struct heard;
struct mesh;
struct peer;

struct mesh *mesh_new(struct dispatcher *d);

/* Connect to the seeds, and ping every second. */
void mesh_start(struct mesh *m);

/*
 * Run @work(@arg) on a thread that may wait for other collectors; there are few of them,
 * and a collector that never answers must not hold any other. False: too much waits.
 */
bool mesh_submit(struct mesh *m, void (*work)(void *arg), void *arg) MUST_CHECK;

/* Say goodbye to every peer; waits for them half a second at most. */
void mesh_leave(struct mesh *m);

/* After all calls have ended. */
void mesh_free(struct mesh *m);

/* The namespaces that this collector serves now: as configured, or "default"
 * and those with handlers. In @arena, ends with NULL. */
const char *const *mesh_own_namespaces(struct mesh *m, struct arena *arena);

/*
 * Connect to @address, offering @namespaces (empty: our own). *ret_id is the
 * peer's, in @arena. Blocks.
 */
enum status mesh_connect(struct mesh *m, const char *address, const char *const *namespaces,
			 const struct rpc_options *options, struct arena *arena,
			 const char **ret_id, struct error *err) MUST_CHECK;

/* Take a Connect: dial back, check, keep. Blocks. */
enum status mesh_accept(struct mesh *m, const struct connect_request *request,
			const struct rpc_options *options, struct arena *arena,
			struct error *err) MUST_CHECK;

/*
 * May a Ping from @collector_id with @nonce be told its nonce back? It is a peer,
 * or it answers a Connect of ours that is under way.
 */
bool mesh_knows(struct mesh *m, const char *collector_id, const char *nonce);

/*
 * The collector @id for the inbound call @call: a peer, or one that was heard of and is
 * dialled now. *ret_relays: it cannot be reached from here, but this peer told of it and
 * can pass a Dispatch on. NULL: neither. Blocks. Give it back with peer_done().
 */
struct peer *mesh_reach(struct mesh *m, const char *id, void *call, bool *ret_relays);

/* The same for any collector that serves @ns and is no peer yet. */
struct peer *mesh_reach_serving(struct mesh *m, const char *ns, void *call, bool *ret_relays);

/* Those that are heard of and no peers, in @arena. */
const struct heard *mesh_heard(struct mesh *m, struct arena *arena, size_t *ret_count);

/* For answers to Ping: see PingResponse. */
uint64_t mesh_version(struct mesh *m);
uint64_t mesh_instance(struct mesh *m);

/* A goodbye, or an operator's wish. NOT_FOUND: there is no such peer. */
enum status mesh_disconnect(struct mesh *m, const char *collector_id,
			    struct error *err) MUST_CHECK;

#endif
