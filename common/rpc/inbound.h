/*
 * Inbound calls from the inside. Private to common/rpc.
 *
 * A call is driven by the events of its loop thread and by whoever ends it, on
 * any thread; its mutex guards what both touch. References: one of the call
 * itself until its status is sent, one of the method until it ends the call,
 * one of every batch in flight, and what rpc_hold() takes.
 *
 * What becomes of messages is up to the call's operations: a protobuf-c service
 * (service.c), the fallback before it is routed (fallback.c), or a relay to
 * another server (proxy.c).
 */
#ifndef COMMON_RPC_INBOUND_H
#define COMMON_RPC_INBOUND_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/rpc/call.h"
#include "common/rpc/due.h"
#include "common/rpc/identity.h"
#include "common/rpc/loop.h"
#include "common/rpc/outbox.h"
#include "common/rpc/server.h"

enum rpc_kind { /* bit 0: the client streams; bit 1: the server streams */
		RPC_KIND_UNARY,
		RPC_KIND_UP,
		RPC_KIND_DOWN,
		RPC_KIND_BIDI,
};

/* All on the loop thread. */
struct rpc_call_ops {
	/* A message (now owned), or NULL at the half-close and at a failed read. */
	void (*message)(struct rpc_call *c, grpc_byte_buffer *payload);
	void (*sent)(struct rpc_call *c); /* a queued message has left; may be NULL */
	void (*closed)(struct rpc_call *c, bool cancelled); /* the last but freed */
	void (*freed)(struct rpc_call *c);                  /* may be NULL */
};

struct rpc_method {
	struct rpc_method *next;
	struct rpc_server *server;
	ProtobufCService *service; /* NULL: the fallback */
	unsigned index;
	enum rpc_kind kind;
	enum rpc_run run;
	struct rpc_pool *pool; /* unless it runs inline */
	uint32_t packed_field; /* see rpc_server_leave_packed(); 0: none */
	/* Answers a message that is not fit for the method; NULL: the call fails. */
	void (*refused)(struct rpc_call *c, const struct error *err, ProtobufCClosure reply);
	char *path;   /* owned */
	void *handle; /* gRPC's */
	struct rpc_stats_slot *stats;
};

/* One loop of a server. */
struct rpc_server_loop {
	struct rpc_server *server;
	struct rpc_loop *loop;
	pthread_mutex_t mutex;       /* guards the lists; taken after a call's own */
	struct rpc_due_list undated; /* unary calls that brought no deadline */
	struct rpc_due_list stalled; /* streams whose client takes nothing */
	struct rpc_call *first_posted, *last_posted; /* by next_posted; see rpc_post() */
	struct grpc_completion_queue_functor
		run_posted; /* on the queue unless there are none */
};

enum { RPC_MAX_TRAILERS = 2 };

struct rpc_call {
	struct grpc_completion_queue_functor on_new, on_read, on_closed;
	struct rpc_method *method;
	struct rpc_server_loop *home;
	struct rpc_stats_slot *stats;
	const struct rpc_call_ops *ops;
	void *ops_state;
	atomic_uint refs;

	/* Of gRPC */
	grpc_call *core; /* NULL: never came in */
	grpc_call_details details;
	gpr_timespec core_deadline;
	grpc_metadata_array metadata;
	grpc_byte_buffer *incoming;
	int core_cancelled; /* valid once closed */

	pthread_mutex_t mutex; /* guards what follows, to the blank line */
	pthread_cond_t changed;
	struct outbox out;
	bool watched, closed, ended, read_failed, half_closed;
	bool read_paused; /* until what is queued has left */
	void (*notify)(void *arg);
	void *notify_arg;
	void (*sent)(void *arg);
	void *sent_arg;
	bool notifying;
	pthread_t notifier;

	/* Set before the method runs */
	uint64_t start_ns, deadline_ns;
	struct rpc_identity identity;
	struct rpc_due due; /* home->mutex */

	/* Of the method, one thread at a time */
	struct arena arena;
	struct arena message_arena; /* of the latest message of a client stream */
	grpc_byte_buffer *request;
	grpc_slice request_slice;
	struct bytes request_bytes;
	void (*posted)(void *arg);
	void *posted_arg;
	struct rpc_call *next_posted; /* home->mutex */
	void *user;
	void (*drop_user)(void *user);
	grpc_metadata trailers[RPC_MAX_TRAILERS]; /* keys static, values owned */
	size_t trailer_count;
	char path_text[256]; /* of a fallback call */
};

/* Before a loop's first call. */
void rpc_posted_init(struct rpc_server_loop *home);

/* Post a request for one more call of @method. */
void rpc_call_accept(struct rpc_method *method, struct rpc_server_loop *home);

/* Read the next message; the call's operations are told. */
void rpc_call_read(struct rpc_call *c);

/* Tell the operations when the call is over. False: it is watched or has ended already. */
bool rpc_call_watch(struct rpc_call *c);

/* The headers of the answer, unless they were sent. Borrowed until the call is freed. */
void rpc_call_set_headers(struct rpc_call *c, grpc_metadata *metadata, size_t count);

/* Did reading end because the call was cut off, not at a half-close? */
bool rpc_call_read_failed(struct rpc_call *c);

/* Queue a message. Takes ownership. False: the call has ended. */
bool rpc_call_push(struct rpc_call *c, grpc_byte_buffer *payload);

/* Queue @payload and the end OK, and send. Takes ownership. */
void rpc_call_reply(struct rpc_call *c, grpc_byte_buffer *payload);

/* Send what is queued, as much as goes into one batch. */
void rpc_call_flush(struct rpc_call *c);

/* Queue the end unless there is one already. @details is copied. */
void rpc_call_set_end(struct rpc_call *c, grpc_status_code code, grpc_slice details,
		      grpc_metadata *trailers, size_t trailer_count);

/*
 * The method ends the call: true for the first to say so, who then must call
 * rpc_call_account() and release the method's reference.
 */
bool rpc_call_claim_end(struct rpc_call *c);

/* Count and log a call that the method has ended. */
void rpc_call_account(struct rpc_call *c, enum status status);

/* Cancelled, or its deadline passed? */
bool rpc_call_is_over(struct rpc_call *c);

/* Ended without having reached a method: the caller may safely try elsewhere. */
void rpc_call_reject(struct rpc_call *c, enum status status, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* Forget the latest message. */
void rpc_call_drop_request(struct rpc_call *c);

/*
 * As rpc_collect() (proxy.h), on the loop thread, of a call that was read from: @held, consumed,
 * is what was read, and @is_reading is a read under way.
 */
struct held;
void rpc_collect_rest(struct rpc_call *c, struct held *held, bool is_reading,
		      void (*done)(void *arg, struct rpc_call *call), void *arg);

/* ------------------------------------------------- the parts of a server */

struct rpc_server {
	struct rpc_server_options options;
	grpc_server *core;
	grpc_resource_quota *quota;
	struct rpc_server_loop *loops;
	struct rpc_method *methods, fallback;
	struct rpc_pool *pool;
	struct rpc_stats *stats;
	struct rpc_health *health;
	struct rpc_reflection *reflection;
	const struct rpc_reflection_source *reflection_source;
	struct bytes more_descriptors; /* see rpc_server_describe() */
	uint64_t id_seed;
	atomic_uint_fast64_t id_count;
	struct grpc_completion_queue_functor stopped_tag;
	pthread_mutex_t mutex; /* guards stopped; waits for live calls to go */
	pthread_cond_t changed;
	bool started, stopped;
	atomic_uint live_objects; /* calls not yet freed */
};

/* Operations of calls of protobuf-c services; and their first event. */
extern const struct rpc_call_ops rpc_service_ops;
void rpc_service_open(struct rpc_call *c);

/* The same for methods that nobody registered. */
extern const struct rpc_call_ops rpc_fallback_ops;
void rpc_fallback_open(struct rpc_call *c);

#endif
