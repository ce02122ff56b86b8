/*
 * Getting connected and staying so: Connect in both directions with its
 * dial-back, seeds that are tried for ever, and the pings.
 *
 * A Connect is only believed after the caller was dialled at the address that it
 * named and echoed the nonce of that Connect there: nobody can connect somebody
 * else. Thread-safe.
 */
#ifndef SERVICES_DISPATCHER_MESH_H
#define SERVICES_DISPATCHER_MESH_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/client/dispatcher_client.h"

struct dispatcher;
struct mesh;

struct mesh *mesh_new(struct dispatcher *d);

/* Connect to the seeds, and ping every second. */
void mesh_start(struct mesh *m);

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

/* A goodbye, or an operator's wish. NOT_FOUND: there is no such peer. */
enum status mesh_disconnect(struct mesh *m, const char *collector_id,
			    struct error *err) MUST_CHECK;

#endif
