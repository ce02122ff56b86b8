/*
 * The other collectors that this one is connected to, and how they are. Every
 * peer is pinged each second: three answers missed and it is suspect (no new
 * calls), six and it is unreachable; an answer makes it up again.
 *
 * Thread-safe: one mutex guards the table. A peer that was taken stays valid
 * until it is given back, also when it is removed.
 */
#ifndef SERVICES_DISPATCHER_PEERS_H
#define SERVICES_DISPATCHER_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"

struct peer;
struct peers;
struct rpc_channel;
struct rpc_client;

/* As collector.ConnectionState numbers them. */
enum peer_state { PEER_UP = 0, PEER_SUSPECT = 1, PEER_UNREACHABLE = 2 };

enum { PEERS_MAX = 1024, PEER_SUSPECT_AFTER = 3, PEER_UNREACHABLE_AFTER = 6 };

struct peer_info {
	const char *id, *address;
	const char *const *namespaces; /* that it serves; ends with NULL */
	enum peer_state state;
	int missed; /* pings since the last that it answered */
	uint64_t created_us, last_seen_us, round_trip_us;
	unsigned in_flight; /* calls under way */
	bool is_ejected;
	bool outbound; /* this side asked for the connection */
};

struct peers *peers_new(struct rpc_client *client);
void peers_free(struct peers *p);

/*
 * Add the peer, or renew it: it is up then. False: PEERS_MAX, or no channel can
 * be made to the address.
 */
bool peers_put(struct peers *p, const char *id, const char *address,
	       const char *const *namespaces, bool outbound);
bool peers_remove(struct peers *p, const char *id);

/*
 * Over a connection of its own from now on, in whatever state it is. Calls under way go on
 * over the old one, and so does @peer, which the caller holds.
 */
void peers_redial(struct peers *p, struct peer *peer);
bool peers_has(struct peers *p, const char *id);

/* Is a peer at this address up? */
bool peers_has_address(struct peers *p, const char *address);

/* The peer, in whatever state, for what is no call; NULL: unknown. Release it. */
struct peer *peers_hold(struct peers *p, const char *id);
void peer_release(struct peer *peer);

/* The same for a call, which is under way until peer_done(). */
struct peer *peers_take(struct peers *p, const char *id);

/*
 * Of the peers that are up, serve @ns and are not in @not_these, two drawn at
 * random, the one with fewer calls under way, then the one that is much nearer by the
 * shortest of its last round trips; ejected ones, and those whose connection is lost,
 * only if there are no others. NULL: none.
 */
struct peer *peers_take_serving(struct peers *p, const char *ns,
				const struct peer *const *not_these, size_t not_count);
void peer_done(struct peer *peer);

/* What came of calling it; see ejection.h. */
void peer_was_away(struct peer *peer);
void peer_was_there(struct peer *peer);

const char *peer_id(const struct peer *peer);
struct rpc_channel *peer_channel(const struct peer *peer);

/*
 * A ping was answered or was not. @namespaces may be NULL: no news. True: the peer's
 * state or its namespaces are others now.
 */
bool peers_answered(struct peers *p, struct peer *peer, uint64_t round_trip_us,
		    const char *const *namespaces);
bool peers_missed(struct peers *p, struct peer *peer);

enum peer_state peers_state(struct peers *p, const struct peer *peer);

/* All peers, in @arena, ordered by id. */
const struct peer_info *peers_list(struct peers *p, struct arena *arena, size_t *ret_count);

/* What both lists have, in @arena; ends with NULL. */
const char *const *peers_shared(const char *const *a, const char *const *b,
				struct arena *arena);

#endif
