/*
 * Calling the dispatcher. Blocks; results are in @arena. UNAVAILABLE: no
 * dispatcher.
 */
#ifndef COMMON_CLIENT_DISPATCHER_CLIENT_H
#define COMMON_CLIENT_DISPATCHER_CLIENT_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

struct dispatch_request {
	const char *ns, *service, *method;
	const char *target;     /* "" routes by itself */
	const char *input_type; /* full message name */
	struct bytes input;
	/* Of a DispatchRequest: its routing_hints. */
	const struct rpc_header *hints;
	size_t hint_count;
	/* Of a ServeRequest: facts for whoever runs it. At most DISPATCH_MAX_CONTEXT. */
	const struct rpc_header *context;
	size_t context_count;
};
enum { DISPATCH_MAX_CONTEXT = 8 };

struct dispatch_answer {
	const char *handled_by; /* collector id */
	enum status status;     /* what the handler answered */
	const char *message;    /* of a handler that failed, else "" */
	const char *output_type;
	struct bytes output;
};

/*
 * The result is the envelope's: NOT_FOUND no route, UNAVAILABLE no live handler,
 * INVALID_ARGUMENT a bad request. What the handler answered is in *ret.
 */
enum status dispatcher_client_dispatch(struct rpc_channel *dispatcher,
				       const struct dispatch_request *request,
				       const struct rpc_options *options, struct arena *arena,
				       struct dispatch_answer *ret,
				       struct error *err) MUST_CHECK;

/* The two halves of that, for calls by rpc_start_raw(); INTERNAL: not an answer. */
#define DISPATCH_PATH "/collector.CollectiveDispatcher/Dispatch"
struct bytes dispatch_request_pack(const struct dispatch_request *request, struct arena *arena);
enum status dispatch_response_unpack(struct bytes data, struct arena *arena,
				     struct dispatch_answer *ret, struct error *err) MUST_CHECK;

/* ------------------------------------------------- between two dispatchers */

/* A ServeRequest in @arena. */
struct bytes serve_request_pack(const struct dispatch_request *request, struct arena *arena);

/* A ServeResponse; handled_by is its executor_id. INTERNAL: not one. */
enum status serve_response_unpack(struct bytes data, struct arena *arena,
				  struct dispatch_answer *ret, struct error *err) MUST_CHECK;

struct connect_request {
	const char *address;           /* where the caller may be dialled back */
	const char *collector_id;      /* the caller's */
	const char *nonce;             /* that a Ping to that address must echo */
	const char *const *namespaces; /* that the caller serves; ends with NULL */
};

struct connect_answer {
	const char *collector_id;
	const char *const *namespaces; /* that the callee serves; ends with NULL */
};

/* Blocks. UNAVAILABLE: nobody there. The callee's refusals come as they are. */
enum status dispatcher_client_connect(struct rpc_channel *peer,
				      const struct connect_request *request,
				      const struct rpc_options *options, struct arena *arena,
				      struct connect_answer *ret, struct error *err) MUST_CHECK;

struct ping_answer {
	const char *collector_id;
	const char *nonce; /* "": the caller is not known there */
	const char *const *namespaces;
	uint64_t mesh_version; /* changes with what ListConnections tells */
	uint64_t instance;     /* changes with every start */
};

/* A PingRequest in @arena, and the answer to it. */
struct bytes ping_request_pack(const char *collector_id, const char *nonce,
			       struct arena *arena);
enum status ping_response_unpack(struct bytes data, struct arena *arena,
				 struct ping_answer *ret, struct error *err) MUST_CHECK;

/* A collector as another one knows it. */
struct known_collector {
	const char *id, *address;
	const char *const *namespaces; /* ends with NULL */
	int distance;                  /* from the one that tells: 1 is its peer */
};

#define LIST_CONNECTIONS_PATH "/collector.CollectiveDispatcher/ListConnections"

/* What a ListConnectionsResponse tells, itself and peers that do not answer left out. */
enum status list_connections_unpack(struct bytes data, struct arena *arena,
				    const struct known_collector **ret, size_t *ret_count,
				    struct error *err) MUST_CHECK;

#endif
