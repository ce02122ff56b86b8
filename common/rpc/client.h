/*
 * Outbound calls: a client has a loop thread and a cache of channels. Calls
 * are made with protobuf-c messages or with raw bytes, synchronously on the
 * caller's thread or with a callback on the loop thread. Thread-safe.
 */
#ifndef COMMON_RPC_CLIENT_H
#define COMMON_RPC_CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

struct rpc_client;
struct rpc_channel;
struct rpc_pending;

/* Who the other side is decides what it is told. */
enum rpc_trust {
	RPC_TRUST_FOREIGN, /* handlers, backends, peers: no key, no credentials */
	RPC_TRUST_DAEMON,  /* this collector's own daemons: the daemon key */
};

struct rpc_client_options {
	const char *name;          /* this daemon's name, told to the other daemons; borrowed */
	const char *daemon_key;    /* borrowed; NULL: none (collectorctl) */
	size_t max_message_bytes;  /* inbound; 0: 16 MiB */
	size_t max_unpacked_bytes; /* 0: 64 MiB */
	bool no_compression;       /* of what comes in: small messages may become huge by it */
	struct rpc_server
		*server; /* whose loop is used, of which it has a share; NULL: its own */
};

struct rpc_client *rpc_client_new(const struct rpc_client_options *options);

/* Calls must have ended. */
void rpc_client_free(struct rpc_client *client);

/*
 * Who judges what foreign channels dial: which addresses a target "host:port" may be
 * dialled as (address_resolve() of common/base/address.h). Blocks until @deadline_ns on
 * clock_monotonic_ns(), but not for a target that is an address.
 */
struct address_list;
struct rpc_naming {
	enum status (*resolve)(void *arg, const char *target, uint64_t deadline_ns,
			       struct address_list *ret, struct error *err);
	void *arg;
};

/*
 * From now on foreign channels dial what @naming says, names looked up anew whenever
 * they are to be connected again. Without it names are gRPC's to resolve. Before there
 * are foreign channels.
 */
void rpc_client_set_naming(struct rpc_client *client, const struct rpc_naming *naming);

/* No more of it: waits for those under way. What is known goes on being dialled. */
void rpc_client_end_lookups(struct rpc_client *client);

/*
 * The channel to "host:port", as a reference; made at first use and shared. Calls hold
 * it; one that nobody holds is forgotten after a minute, and 64 such are kept at
 * most. To a daemon of this collector it need not be given back. At most 16,384; NULL:
 * that bound is reached, the target is not host:port, or it is an address that may not be
 * dialled.
 */
struct rpc_channel *rpc_client_channel(struct rpc_client *client, const char *target,
				       enum rpc_trust trust);

/*
 * The same for a name that the caller has resolved: dials @address, an IP address
 * and port, and tells the server that it was called @target.
 */
struct rpc_channel *rpc_client_channel_at(struct rpc_client *client, const char *target,
					  const char *address, enum rpc_trust trust);

void rpc_channel_unref(struct rpc_channel *channel); /* NULL is fine */

/*
 * Who asks for this channel from now on gets another one, with a connection of its own. For a
 * peer that has been silent: its connection may take TCP many seconds to try again or to give
 * up. Who has it, the caller too, goes on with it.
 */
void rpc_channel_replace(struct rpc_channel *channel);

/* Forget those that nobody has used for long; a client that is used does so by itself. */
void rpc_client_forget_unused(struct rpc_client *client);
size_t rpc_client_channel_count(struct rpc_client *client);

/* Is it connected now? Starts connecting when it is not. */
bool rpc_channel_is_ready(struct rpc_channel *channel);

const char *rpc_channel_target(const struct rpc_channel *channel);

struct rpc_header {
	const char *key; /* lower case */
	const char *value;
};

struct rpc_options {
	int timeout_ms;      /* 0: 30,000, or what @parent has left */
	bool wait_for_ready; /* wait for a connection within the deadline */
	int patience_ms;     /* else so long for one that failed: who is asked may just start */
	void *parent;        /* the inbound call (struct rpc_call *) that this one serves: its
				    deadline bounds, its request id and traceparent go along */
	bool forward_caller; /* over RPC_TRUST_DAEMON: act with the rights of @parent's caller
				    instead of this daemon's own */
	const struct rpc_header *headers;
	size_t header_count;
};

/* What the far side sent besides the message; in the caller's arena. */
struct rpc_outcome {
	bool not_processed; /* certain: the call did not reach a handler */
	const struct rpc_header *trailers;
	size_t trailer_count;
};

/*
 * Call @method ("Get") of @service and wait. *ret_reply is in @arena. Returns
 * the call's status; on failure @err has the message and, when the server told
 * it, the field. A reply that does not parse is INTERNAL.
 */
enum status rpc_invoke(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
		       const char *method, const ProtobufCMessage *request,
		       const struct rpc_options *options, struct arena *arena,
		       ProtobufCMessage **ret_reply, struct error *err) MUST_CHECK;

/* The same by path ("/shop.v1.Orders/Ship") and with bytes. */
enum status rpc_invoke_raw(struct rpc_channel *channel, const char *path, struct bytes request,
			   const struct rpc_options *options, struct arena *arena,
			   struct bytes *ret_reply, struct rpc_outcome *ret_outcome,
			   struct error *err) MUST_CHECK;

/*
 * @done runs exactly once, on the client's loop thread; reply and outcome are
 * borrowed for its duration. *ret_pending may be used with rpc_cancel() until
 * then. Unary methods only.
 */
typedef void rpc_done(void *arg, enum status status, const struct error *err,
		      struct bytes reply, const struct rpc_outcome *outcome);
void rpc_start_raw(struct rpc_channel *channel, const char *path, struct bytes request,
		   const struct rpc_options *options, rpc_done *done, void *arg,
		   struct rpc_pending **ret_pending);
void rpc_cancel(struct rpc_pending *pending);

/* Pack @message into @arena. */
struct bytes rpc_pack(const ProtobufCMessage *message, struct arena *arena);

/*
 * Check (depth, UTF-8, NUL) and unpack into @arena. INVALID_ARGUMENT with the
 * field's path; RESOURCE_EXHAUSTED past the arena's limit.
 */
enum status rpc_unpack(const ProtobufCMessageDescriptor *type, struct bytes data,
		       struct arena *arena, ProtobufCMessage **ret_message,
		       struct error *err) MUST_CHECK;

#endif
