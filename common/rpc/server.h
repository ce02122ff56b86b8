/*
 * A gRPC server of protobuf-c services on the gRPC C core.
 *
 * One loop thread per completion queue runs inline methods and moves messages;
 * everything else runs on a bounded pool. Around every method, the same for
 * all daemons: request id, caller, limits on size, depth and memory, deadline,
 * access log and counters.
 *
 * Life: rpc_server_new, _add..., _listen, _start, _drain, _stop, _free, all
 * from one thread.
 */
#ifndef COMMON_RPC_SERVER_H
#define COMMON_RPC_SERVER_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/call.h"

struct rpc_server;
struct rpc_pool;
struct rpc_stats;
struct rpc_health;
struct rpc_reflection_source;

struct rpc_server_options {
	const char *name;          /* the daemon's, for ErrorInfo.domain and logs; borrowed */
	unsigned loops;            /* completion queues; 0: max(1, cores / 2) */
	unsigned patience_us;      /* see rpc_loop_new(); 0: none */
	unsigned pool_threads;     /* 0: 4 */
	unsigned pool_queue;       /* calls waiting for a pool thread; 0: 1024 */
	size_t max_message_bytes;  /* inbound, each message; 0: 16 MiB */
	size_t max_unpacked_bytes; /* one call's arena for its request; 0: 64 MiB */
	size_t memory_quota_bytes; /* gRPC's buffers together; 0: 256 MiB */
	unsigned max_calls;        /* live at once; past it RESOURCE_EXHAUSTED; 0: 20,000 */
	int default_deadline_ms;   /* of unary calls that bring none; 0: 60,000 */
	int stall_ms; /* a stream ends whose client takes nothing for so long; 0: 20,000 */
	const char *daemon_key; /* shared by this collector's daemons; NULL: believe nobody */
	bool log_calls;         /* an access log line per call at info, else at debug */
	const struct rpc_fallback
		*fallback; /* methods that nobody registered; NULL: UNIMPLEMENTED */
};

/* What happens to a call of a method that is not registered with the server. */
struct rpc_fallback {
	/*
	 * Runs on a loop thread and must not block: it ends the call with
	 * rpc_fail(), hands it to rpc_forward() (proxy.h), or does one of the two
	 * later from another thread.
	 */
	void (*route)(void *arg, struct rpc_call *call);
	void *arg;
};

enum rpc_run {
	RPC_RUN_POOL,   /* may block: disk, other daemons */
	RPC_RUN_INLINE, /* microseconds only, on the loop thread */
};

/* Differences from the default for one method: where it runs. */
struct rpc_method_policy {
	const char *method; /* "Get" */
	enum rpc_run run;
};

struct rpc_server *rpc_server_new(const struct rpc_server_options *options);

/*
 * Serve every method of @service (a generated struct ..._Service, borrowed until
 * rpc_server_free()). Methods whose function pointer is NULL answer
 * UNIMPLEMENTED. Streaming flags come from the built-in descriptors; unknown
 * services are unary. @policies ends with a NULL method and may be NULL.
 */
void rpc_server_add(struct rpc_server *s, ProtobufCService *service,
		    const struct rpc_method_policy *policies);

/*
 * Check field @number of the requests of @method, "/pkg.Service/Method", which was
 * added, but do not unpack it: for what is large and goes on as bytes. The method
 * slices it out of rpc_request_bytes().
 */
void rpc_server_leave_packed(struct rpc_server *s, const char *method, uint32_t number);

/*
 * Run @method, "/pkg.Service/Method", which was added and does not run inline, on threads of
 * @pool instead of the server's. @pool must outlive all calls.
 */
void rpc_server_run_on(struct rpc_server *s, const char *method, struct rpc_pool *pool);

/*
 * A serialized FileDescriptorSet to look for streaming flags in before the
 * built-ins, for services that are added after this. Borrowed.
 */
void rpc_server_describe(struct rpc_server *s, struct bytes descriptor_set);

/*
 * @address is "host:port"; port 0 picks one. *ret_port is the bound port.
 * UNAVAILABLE: the address cannot be bound.
 */
enum status rpc_server_listen(struct rpc_server *s, const char *address, int *ret_port,
			      struct error *err) MUST_CHECK;

/* Health and reflection are added here; from now on calls come in. */
void rpc_server_start(struct rpc_server *s);

/* NOT_SERVING for everyone; calls are still answered. */
void rpc_server_drain(struct rpc_server *s);

/*
 * No new calls; wait up to @grace_ms for the live ones, then cancel them. False:
 * a method did not end its call even so; the server and what it uses must then
 * not be freed, only the process ended.
 */
bool rpc_server_stop(struct rpc_server *s, int grace_ms);
void rpc_server_free(struct rpc_server *s);

/* Borrowed from the server. */
struct rpc_pool *rpc_server_pool(struct rpc_server *s);
struct rpc_stats *rpc_server_stats(struct rpc_server *s);

/*
 * grpc.health.v1 for @service ("" is the whole server; NULL is that and every
 * service that was added so far). Services that were
 * added are SERVING from rpc_server_start() on unless set otherwise. Any thread.
 */
void rpc_server_set_serving(struct rpc_server *s, const char *service, bool serving);

/*
 * Where reflection finds what was registered at run time, beside the built-ins.
 * Before rpc_server_start().
 */
void rpc_server_set_reflection(struct rpc_server *s,
			       const struct rpc_reflection_source *source);

#endif
