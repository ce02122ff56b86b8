/*
 * A relay passes one call on, message by message: its inside. Private to relay.c, where
 * messages pass, and proxy.c, where upstreams are connected to, changed and left.
 */
#ifndef COMMON_RPC_RELAY_H
#define COMMON_RPC_RELAY_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/rpc/held.h"
#include "common/rpc/identity.h"
#include "common/rpc/inbound.h"
#include "common/rpc/outbox.h"
#include "common/rpc/proxy.h"

enum stage {
	CONNECTING, /* there is no upstream call yet */
	FORWARDING,
	FAILED, /* the upstream: its last events are awaited */
	ASKING, /* who routed the call looks for another one */
	ENDED,
};

struct relay {
	struct rpc_call *down; /* the client's call; it owns the relay */
	struct grpc_completion_queue_functor on_headers, on_message, on_status, on_touch,
		on_patience, on_connection;
	void (*done)(void *arg, const struct rpc_forwarded *result);
	bool (*failed)(void *arg, const struct rpc_failure *failure);
	bool (*translate)(void *arg, enum rpc_direction direction, struct bytes message,
			  struct strbuf *out);
	void *arg;
	size_t max_message_bytes; /* of the upstream's */
	grpc_slice method;

	pthread_mutex_t mutex; /* guards what follows; taken before the call's own */
	enum stage stage;
	struct rpc_channel *channel; /* the upstream's; borrowed from the route */
	grpc_call *up;               /* ours to the upstream; NULL: none yet */
	unsigned flights;            /* events that will come; each holds the client's call */
	struct held held;
	bool stopped;      /* cut off from this side */
	struct outbox out; /* client -> upstream */
	struct rpc_headers request_headers, response_headers, response_trailers;
	bool started, settled; /* sent our headers; headers crossed both ways */
	bool is_cut;           /* the upstream did not take what was sent */
	bool dirty, again;
	unsigned rounds;
	bool down_reading, down_eof, up_reading, up_eof, up_done;
	bool up_headers, answered; /* came up: headers, a message */
	bool waiting, waited;      /* for more than empty headers */
	grpc_byte_buffer *incoming;
	grpc_metadata_array headers, trailers;
	grpc_status_code code;
	grpc_slice details;
	uint64_t request_bytes, response_bytes;
};

extern const struct rpc_call_ops relay_ops;

/* Of a zeroed one: what its events need. */
void relay_init(struct relay *r);
void relay_free(struct relay *r);

/* An event will come, which ends with relay_land(). */
void relay_take_off(struct relay *r);
void relay_land(struct relay *r);

/*
 * Gives back the mutex and a reference to the client's call. If the upstream has failed and
 * all its events have come, it is asked what comes next, without the mutex.
 */
void relay_unlock(struct relay *r);
void relay_ask(struct relay *r, const struct rpc_failure *failure);

/* Tag of the outbox. */
rpc_tag_run relay_sent;

/* The functions below are called with the mutex. */

/* It is connected: make the upstream call, and pass on what there is. */
void relay_begin(struct relay *r);

/*
 * May the call go to somebody else, now that the upstream has failed? Ordinary errors are
 * its answers.
 */
bool relay_may_go_on(const struct relay *r);

/* The client's call is to end as the upstream's has; flush it. */
void relay_end_as_upstream(struct relay *r);

/* How the call has ended, as its route is told. */
struct rpc_forwarded relay_result(const struct relay *r, enum status status);

#endif
