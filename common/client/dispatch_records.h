/*
 * What the dispatcher keeps in the system collections, as plain structs and as
 * the bytes of collector.DispatchServer, Connection, Collector and Dispatch.
 */
#ifndef COMMON_CLIENT_DISPATCH_RECORDS_H
#define COMMON_CLIENT_DISPATCH_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

#define DISPATCH_SERVERS_COLLECTION "dispatch_servers"
#define DISPATCH_SERVER_TYPE        "collector.DispatchServer"
#define SERVE_WRAPPERS_COLLECTION   "serve_wrappers"
#define SERVE_WRAPPER_TYPE          "collector.ServeWrapper"
#define CONNECTIONS_COLLECTION      "connections"
#define CONNECTION_TYPE             "collector.Connection"
#define COLLECTORS_COLLECTION       "collectors"
#define COLLECTOR_TYPE              "collector.Collector"
#define DISPATCHES_COLLECTION       "dispatches"
#define DISPATCH_TYPE               "collector.Dispatch"

/* As collector.HandlerKind numbers them. */
enum handler_kind { HANDLER_BACKEND = 0, HANDLER_ATTACHED = 1, HANDLER_COLLECTION = 2 };

/* A binding of methods to what runs them. No text is NULL. */
struct handler_record {
	const char *id;
	const char *ns, *service;
	const char *method; /* "": every method of the service */
	enum handler_kind kind;
	const char *address;      /* of a backend, else "" */
	const char *collection;   /* of the same namespace; of a HANDLER_COLLECTION, else "" */
	const char *collector_id; /* that an attached one is attached to, else "" */
	unsigned max_in_flight;   /* of an attached one */
	bool forward_authorization;
	uint64_t created_us;
};

/* In @arena. */
struct bytes handler_record_pack(const struct handler_record *record, struct arena *arena);

/* Texts are in @arena. INVALID_ARGUMENT: not a DispatchServer. */
enum status handler_record_unpack(struct bytes data, struct arena *arena,
				  struct handler_record *ret, struct error *err) MUST_CHECK;

/* What gets the calls of a namespace. No text is NULL. */
struct wrapper_record {
	const char *ns;         /* that is wrapped */
	const char *wrapper_ns; /* where the method is */
	const char *service, *method;
};

struct bytes wrapper_record_pack(const struct wrapper_record *record, struct arena *arena);

/* Texts are in @arena. INVALID_ARGUMENT: not a ServeWrapper. */
enum status wrapper_record_unpack(struct bytes data, struct arena *arena,
				  struct wrapper_record *ret, struct error *err) MUST_CHECK;

struct connection_record {
	const char *id, *source_id, *target_id, *address;
	const char *const *shared_namespaces; /* ends with NULL */
	int state;                            /* of collector.ConnectionState */
	uint64_t created_us, last_activity_us, round_trip_us;
	bool outbound;
};

struct bytes connection_record_pack(const struct connection_record *record,
				    struct arena *arena);

struct collector_record {
	const char *id, *address;
	const char *const *namespaces; /* ends with NULL */
	bool is_direct_peer;
	uint64_t created_us, last_seen_us; /* last_seen_us 0: never */
	int distance;
	const char *heard_through; /* NULL: of a peer */
};

struct bytes collector_record_pack(const struct collector_record *record, struct arena *arena);

struct dispatch_record {
	const char *id, *ns, *service, *method, *source_id, *target_id;
	enum status status;
	const char *message;
	uint64_t started_us, duration_us, request_bytes, response_bytes;
	int candidates_tried;
	bool native;
	const char *traceparent; /* W3C's, as the call carried it; NULL: it carried none */
	uint64_t stands_for;     /* others, that are not kept */
};

struct bytes dispatch_record_pack(const struct dispatch_record *record, struct arena *arena);

#endif
