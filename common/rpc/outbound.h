/*
 * Channels and outbound calls from the inside: what unary calls (unary.c) and
 * streams (stream.c) have in common. Private to common/rpc.
 */
#ifndef COMMON_RPC_OUTBOUND_H
#define COMMON_RPC_OUTBOUND_H

#include <grpc/grpc.h>
#include <pthread.h>

#include "common/base/map.h"
#include "common/rpc/channel.h"
#include "common/rpc/client.h"
#include "common/rpc/identity.h"
#include "common/rpc/loop.h"

struct rpc_client {
	struct rpc_client_options options;
	struct rpc_loop *loop;
	struct rpc_naming naming; /* set before there are foreign channels */
	pthread_mutex_t mutex;    /* all below; see channel.h */
	struct map channels[2];   /* by enum rpc_trust: target -> struct rpc_channel */
	struct rpc_channel *newest_unused, *oldest_unused;
	size_t unused;
	unsigned lookups; /* under way */
	pthread_cond_t no_lookups;
	bool is_closing;
};

/* A call but for its messages. */
struct outbound {
	struct rpc_channel *channel; /* a reference */
	grpc_call *core;             /* NULL: not started */
	struct rpc_headers headers;
	grpc_metadata_array initial, trailers;
	grpc_status_code code;
	grpc_slice message;
	uint64_t deadline_ns;
	bool wait_for_ready;
	uint64_t patient_until_ns; /* with a connection that failed */
};

/* INVALID_ARGUMENT: the options have metadata that cannot be sent. Release it in any case. */
enum status outbound_init(struct outbound *o, struct rpc_channel *channel,
			  const struct rpc_options *options, struct error *err) MUST_CHECK;
void outbound_release(struct outbound *o);

/* Of the loop that the call's events come on. */
grpc_completion_queue *outbound_queue(const struct outbound *o);

/* Make the call; under the caller's lock if it has one. */
void outbound_create(struct outbound *o, const char *path, void *parent);

/* The operations that every call has. */
grpc_op outbound_send_headers(struct outbound *o);
grpc_op outbound_receive_headers(struct outbound *o);
grpc_op outbound_receive_status(struct outbound *o);

/* How a call ended whose status has been received. */
enum status outbound_status(const struct outbound *o, struct error *err);

enum outbound_readiness { OUTBOUND_READY, OUTBOUND_NOT_YET, OUTBOUND_NEVER };

/*
 * A call is started on a ready channel only: when it cannot be had, the call
 * certainly was not processed, which gRPC itself does not tell.
 */
enum outbound_readiness outbound_readiness(const struct outbound *o,
					   grpc_connectivity_state *ret_state);

/* Post @tag when the channel leaves @state, or soon. */
void outbound_watch(const struct outbound *o, grpc_connectivity_state state, void *tag);

/* Why it was not started. */
enum status outbound_not_connected(const struct outbound *o, struct error *err);

/* Waits. False: the channel did not become ready in time, or the parent is cancelled. */
bool outbound_connect(struct outbound *o, const struct rpc_options *options);

#endif
