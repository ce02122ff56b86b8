#include "common/client/dispatch_records.h"

#include <string.h>

#include "collector/dispatcher.pb-c.h"
#include "common/rpc/client.h"
#include "common/rpc/status_code.h"

static Google__Protobuf__Timestamp *stamp(struct arena *arena, uint64_t unix_us)
{
	Google__Protobuf__Timestamp *t = arena_alloc(arena, sizeof(*t));

	google__protobuf__timestamp__init(t);
	t->seconds = (int64_t)(unix_us / 1000000);
	t->nanos = (int32_t)(unix_us % 1000000 * 1000);
	return t;
}

static uint64_t unix_us_of(const Google__Protobuf__Timestamp *t)
{
	return t ? (uint64_t)t->seconds * 1000000 + (uint64_t)t->nanos / 1000 : 0;
}

static Collector__Metadata *metadata(struct arena *arena, uint64_t created_us)
{
	Collector__Metadata *m = arena_alloc(arena, sizeof(*m));

	collector__metadata__init(m);
	m->created_at = stamp(arena, created_us);
	return m;
}

static Collector__ServiceTypeRef *service_ref(struct arena *arena, const char *ns,
					      const char *service)
{
	Collector__ServiceTypeRef *ref = arena_alloc(arena, sizeof(*ref));

	collector__service_type_ref__init(ref);
	ref->namespace_ = (char *)ns;
	ref->service_name = (char *)service;
	return ref;
}

static Collector__NamespacedName *collection_ref(struct arena *arena, const char *ns,
						 const char *collection)
{
	Collector__NamespacedName *ref = arena_alloc(arena, sizeof(*ref));

	collector__namespaced_name__init(ref);
	ref->namespace_ = (char *)ns;
	ref->name = (char *)collection;
	return ref;
}

static size_t count_of(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

struct bytes handler_record_pack(const struct handler_record *record, struct arena *arena)
{
	Collector__DispatchServer m = COLLECTOR__DISPATCH_SERVER__INIT;
	char *namespaces[] = {(char *)record->ns};

	m.id = (char *)record->id;
	m.address = (char *)record->address;
	m.namespaces = namespaces;
	m.n_namespaces = 1;
	m.service = service_ref(arena, record->ns, record->service);
	m.method_name = (char *)record->method;
	m.kind = (Collector__HandlerKind)record->kind;
	m.collector_id = (char *)record->collector_id;
	m.max_in_flight = (int32_t)record->max_in_flight;
	if (*record->collection)
		m.collection = collection_ref(arena, record->ns, record->collection);
	m.forward_authorization = record->forward_authorization;
	m.metadata = metadata(arena, record->created_us);
	return rpc_pack(&m.base, arena);
}

enum status handler_record_unpack(struct bytes data, struct arena *arena,
				  struct handler_record *ret, struct error *err)
{
	const Collector__DispatchServer *m;
	ProtobufCMessage *message;
	enum status status =
		rpc_unpack(&collector__dispatch_server__descriptor, data, arena, &message, err);

	if (status != STATUS_OK)
		return status;
	m = (const Collector__DispatchServer *)message;
	if (!m->n_namespaces || !m->service)
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "handler %s has no namespace or service", m->id);
	*ret = (struct handler_record){
		.id = m->id,
		.ns = m->namespaces[0],
		.service = m->service->service_name,
		.method = m->method_name,
		.kind = (enum handler_kind)m->kind,
		.address = m->address,
		.collection = m->collection ? m->collection->name : "",
		.collector_id = m->collector_id,
		.max_in_flight = (unsigned)m->max_in_flight,
		.forward_authorization = m->forward_authorization,
		.created_us = m->metadata ? unix_us_of(m->metadata->created_at) : 0,
	};
	return STATUS_OK;
}

struct bytes wrapper_record_pack(const struct wrapper_record *record, struct arena *arena)
{
	Collector__ServeWrapper m = COLLECTOR__SERVE_WRAPPER__INIT;

	m.namespace_ = (char *)record->ns;
	m.wrapper_namespace = (char *)record->wrapper_ns;
	m.service_name = (char *)record->service;
	m.method_name = (char *)record->method;
	return rpc_pack(&m.base, arena);
}

enum status wrapper_record_unpack(struct bytes data, struct arena *arena,
				  struct wrapper_record *ret, struct error *err)
{
	ProtobufCMessage *message;
	enum status status =
		rpc_unpack(&collector__serve_wrapper__descriptor, data, arena, &message, err);

	if (status == STATUS_OK) {
		const Collector__ServeWrapper *m = (const Collector__ServeWrapper *)message;
		*ret = (struct wrapper_record){m->namespace_, m->wrapper_namespace,
					       m->service_name, m->method_name};
	}
	return status;
}

struct bytes connection_record_pack(const struct connection_record *record, struct arena *arena)
{
	Collector__Connection m = COLLECTOR__CONNECTION__INIT;

	m.id = (char *)record->id;
	m.source_collector_id = (char *)record->source_id;
	m.target_collector_id = (char *)record->target_id;
	m.address = (char *)record->address;
	m.shared_namespaces = (char **)record->shared_namespaces;
	m.n_shared_namespaces = count_of(record->shared_namespaces);
	m.state = (Collector__ConnectionState)record->state;
	m.round_trip_us = (int64_t)record->round_trip_us;
	m.outbound = record->outbound;
	m.metadata = metadata(arena, record->created_us);
	m.last_activity = stamp(arena, record->last_activity_us);
	return rpc_pack(&m.base, arena);
}

struct bytes collector_record_pack(const struct collector_record *record, struct arena *arena)
{
	Collector__Collector m = COLLECTOR__COLLECTOR__INIT;

	m.id = (char *)record->id;
	m.address = (char *)record->address;
	m.namespaces = (char **)record->namespaces;
	m.n_namespaces = count_of(record->namespaces);
	m.is_direct_peer = record->is_direct_peer;
	m.metadata = metadata(arena, record->created_us);
	if (record->last_seen_us)
		m.last_seen = stamp(arena, record->last_seen_us);
	m.distance = record->distance;
	if (record->heard_through)
		m.heard_through = (char *)record->heard_through;
	return rpc_pack(&m.base, arena);
}

/* "00-<32 hex digits>-...": W3C Trace Context. "" if it is not that. */
static char *trace_id(const char *traceparent, struct arena *arena)
{
	enum { VERSION = 3, TRACE_ID = 32 };

	if (!traceparent || strlen(traceparent) < VERSION + TRACE_ID + 1 ||
	    strspn(traceparent + VERSION, "0123456789abcdef") != TRACE_ID ||
	    traceparent[VERSION + TRACE_ID] != '-')
		return (char *)"";
	return arena_strndup(arena, traceparent + VERSION, TRACE_ID);
}

struct bytes dispatch_record_pack(const struct dispatch_record *record, struct arena *arena)
{
	Collector__Dispatch m = COLLECTOR__DISPATCH__INIT;
	Collector__Status result = COLLECTOR__STATUS__INIT;

	result.code = (Collector__Status__Code)status_to_collector_code(record->status);
	result.message = (char *)record->message;
	m.id = (char *)record->id;
	m.namespace_ = (char *)record->ns;
	m.service = service_ref(arena, record->ns, record->service);
	m.method_name = (char *)record->method;
	m.source_collector_id = (char *)record->source_id;
	m.target_collector_id = (char *)record->target_id;
	m.result_status = &result;
	m.metadata = metadata(arena, record->started_us);
	m.completed_at = stamp(arena, record->started_us + record->duration_us);
	m.duration_us = (int64_t)record->duration_us;
	m.candidates_tried = record->candidates_tried;
	m.request_bytes = (int64_t)record->request_bytes;
	m.response_bytes = (int64_t)record->response_bytes;
	m.native = record->native;
	m.trace_id = trace_id(record->traceparent, arena);
	m.stands_for = (int64_t)record->stands_for;
	return rpc_pack(&m.base, arena);
}
