/*
 * The channels of a client: which there are, what they dial and for how long they are
 * kept. Private to common/rpc, but for what client.h declares of it.
 *
 * A channel that is in use is counted by its users. One that is not stays for a while, so
 * that who comes back finds its connection, and is forgotten as the least recently used
 * of too many or with time.
 *
 * A channel to a name of a client that has a naming (client.h) never dials the name: it is
 * looked up, its addresses are judged and dialled as they are, and the server is told the
 * name as authority. While it is not connected the name is looked up anew, once a second
 * at most; until the first answer, and after a refusal, there is nothing to dial.
 */
#ifndef COMMON_RPC_CHANNEL_H
#define COMMON_RPC_CHANNEL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/status.h"
#include "common/rpc/client.h"

struct rpc_channel {
	struct rpc_client *client;
	enum rpc_trust trust;
	char *key, *target;
	bool is_named;      /* what it dials comes of lookups */
	grpc_channel *core; /* for good, if it is not named */
	atomic_uint refs; /* become and leave 0 with client.mutex, which guards what follows */
	bool is_replaced; /* not to be found any more: gone with its last user */
	uint64_t unused_since_ns;
	struct rpc_channel *newer, *older; /* of those that nobody uses */
	/* If it is named: the mutex guards what follows, and core. */
	pthread_mutex_t mutex;
	char *dialled; /* as gRPC takes it; NULL: nothing may be, core connects to nobody */
	bool is_looking_up;
	uint64_t looked_up_ns; /* when the last lookup began; 0: never */
	char why[256];         /* the last one failed; "": it did not */
};

struct rpc_channel *rpc_channel_ref(struct rpc_channel *channel);

/* As gRPC says; a named one that has nothing to dial is CONNECTING or failed. */
grpc_connectivity_state rpc_channel_state(struct rpc_channel *channel, bool connect);

/* Post @tag to @queue when it leaves @state, which rpc_channel_state() told, or then. */
void rpc_channel_watch(struct rpc_channel *channel, grpc_connectivity_state state,
		       gpr_timespec until, grpc_completion_queue *queue, void *tag);

/* grpc_channel_create_call() on what it dials now. @method stays the caller's. */
grpc_call *rpc_channel_call(struct rpc_channel *channel, grpc_call *parent,
			    grpc_completion_queue *queue, grpc_slice method,
			    gpr_timespec deadline);

/* UNAVAILABLE, saying why it is not connected as far as that is known. */
enum status rpc_channel_explain(struct rpc_channel *channel, struct error *err) MUST_CHECK;

/* Before the client is freed: lookups end, all channels go. */
void rpc_channels_release(struct rpc_client *client);

#endif
