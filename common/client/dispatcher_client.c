#include "common/client/dispatcher_client.h"

#include <string.h>

#include "collector/dispatcher.pb-c.h"
#include "common/rpc/status_code.h"

/* What follows the last '/' of a type_url. */
static const char *type_name_of(const Google__Protobuf__Any *any)
{
	const char *slash = any ? strrchr(any->type_url, '/') : NULL;

	return slash ? slash + 1 : "";
}

/* The parts of a request, which live as long as it. */
struct packing {
	Collector__DispatchRequest message;
	Collector__ServiceTypeRef service;
	Google__Protobuf__Any input;
};

static Collector__DispatchRequest__RoutingHintsEntry **hints_of(
	const struct dispatch_request *request, struct arena *arena)
{
	Collector__DispatchRequest__RoutingHintsEntry **entries =
		arena_alloc(arena, (request->hint_count + 1) * sizeof(*entries));

	for (size_t i = 0; i < request->hint_count; i++) {
		entries[i] = arena_alloc(arena, sizeof(**entries));
		collector__dispatch_request__routing_hints_entry__init(entries[i]);
		entries[i]->key = (char *)request->hints[i].key;
		entries[i]->value = (char *)request->hints[i].value;
	}
	return entries;
}

static void fill_request(struct packing *p, const struct dispatch_request *request,
			 struct arena *arena)
{
	collector__dispatch_request__init(&p->message);
	collector__service_type_ref__init(&p->service);
	google__protobuf__any__init(&p->input);
	p->service.service_name = (char *)request->service;
	p->input.type_url = arena_printf(arena, "type.googleapis.com/%s", request->input_type);
	p->input.value.data = (uint8_t *)request->input.data;
	p->input.value.len = request->input.size;
	p->message.namespace_ = (char *)request->ns;
	p->message.service = &p->service;
	p->message.method_name = (char *)request->method;
	p->message.target_collector_id = (char *)request->target;
	p->message.input = &p->input;
	p->message.routing_hints = hints_of(request, arena);
	p->message.n_routing_hints = request->hint_count;
}

static struct dispatch_answer answer_of(const Collector__DispatchResponse *reply)
{
	struct dispatch_answer answer = {
		.handled_by = reply->handled_by_collector_id,
		.status = reply->status ? status_from_collector_code((int)reply->status->code)
					: STATUS_OK,
		.message = reply->status ? reply->status->message : "",
		.output_type = type_name_of(reply->output),
	};

	if (reply->output)
		answer.output = bytes_of(reply->output->value.data, reply->output->value.len);
	return answer;
}

enum status dispatcher_client_dispatch(struct rpc_channel *dispatcher,
				       const struct dispatch_request *request,
				       const struct rpc_options *options, struct arena *arena,
				       struct dispatch_answer *ret, struct error *err)
{
	struct packing packing;
	ProtobufCMessage *reply;
	enum status status;

	fill_request(&packing, request, arena);
	status = rpc_invoke(dispatcher, &collector__collective_dispatcher__descriptor,
			    "Dispatch", &packing.message.base, options, arena, &reply, err);
	if (status == STATUS_OK)
		*ret = answer_of((const Collector__DispatchResponse *)reply);
	return status;
}

struct bytes dispatch_request_pack(const struct dispatch_request *request, struct arena *arena)
{
	struct packing packing;

	fill_request(&packing, request, arena);
	return rpc_pack(&packing.message.base, arena);
}

static Collector__ServeRequest__ExecutionContextEntry **context_of(
	const struct dispatch_request *request, struct arena *arena)
{
	Collector__ServeRequest__ExecutionContextEntry **entries =
		arena_alloc(arena, (request->context_count + 1) * sizeof(*entries));

	for (size_t i = 0; i < request->context_count; i++) {
		entries[i] = arena_alloc(arena, sizeof(**entries));
		collector__serve_request__execution_context_entry__init(entries[i]);
		entries[i]->key = (char *)request->context[i].key;
		entries[i]->value = (char *)request->context[i].value;
	}
	return entries;
}

struct bytes serve_request_pack(const struct dispatch_request *request, struct arena *arena)
{
	Collector__ServeRequest message = COLLECTOR__SERVE_REQUEST__INIT;
	Collector__ServiceTypeRef service = COLLECTOR__SERVICE_TYPE_REF__INIT;
	Google__Protobuf__Any input = GOOGLE__PROTOBUF__ANY__INIT;

	message.execution_context = context_of(request, arena);
	message.n_execution_context = request->context_count;
	service.service_name = (char *)request->service;
	input.type_url = arena_printf(arena, "type.googleapis.com/%s", request->input_type);
	input.value.data = (uint8_t *)request->input.data;
	input.value.len = request->input.size;
	message.namespace_ = (char *)request->ns;
	message.service = &service;
	message.method_name = (char *)request->method;
	message.input = &input;
	return rpc_pack(&message.base, arena);
}

/* What came from another collector: our own fault or not, it is not the caller's. */
static enum status unpack_answer(const ProtobufCMessageDescriptor *type, struct bytes data,
				 struct arena *arena, ProtobufCMessage **ret, struct error *err)
{
	enum status status = rpc_unpack(type, data, arena, ret, err);

	if (status == STATUS_OK)
		return STATUS_OK;
	return error_set(err, STATUS_INTERNAL, "a peer's answer is not a %s", type->name);
}

enum status dispatch_response_unpack(struct bytes data, struct arena *arena,
				     struct dispatch_answer *ret, struct error *err)
{
	ProtobufCMessage *message;
	enum status status = unpack_answer(&collector__dispatch_response__descriptor, data,
					   arena, &message, err);

	if (status == STATUS_OK)
		*ret = answer_of((const Collector__DispatchResponse *)message);
	return status;
}

enum status serve_response_unpack(struct bytes data, struct arena *arena,
				  struct dispatch_answer *ret, struct error *err)
{
	const Collector__ServeResponse *reply;
	ProtobufCMessage *message;
	enum status status = unpack_answer(&collector__serve_response__descriptor, data, arena,
					   &message, err);

	if (status != STATUS_OK)
		return status;
	reply = (const Collector__ServeResponse *)message;
	*ret = (struct dispatch_answer){
		.handled_by = reply->executor_id,
		.status = reply->status ? status_from_collector_code((int)reply->status->code)
					: STATUS_OK,
		.message = reply->status ? reply->status->message : "",
		.output_type = type_name_of(reply->output),
	};
	if (reply->output)
		ret->output = bytes_of(reply->output->value.data, reply->output->value.len);
	return STATUS_OK;
}

/* protobuf-c counts its lists; ours end with NULL. */
static const char *const *list_of(char **items, size_t count, struct arena *arena)
{
	const char **list = arena_alloc(arena, (count + 1) * sizeof(*list));

	for (size_t i = 0; i < count; i++)
		list[i] = items[i];
	list[count] = NULL;
	return list;
}

enum status dispatcher_client_connect(struct rpc_channel *peer,
				      const struct connect_request *request,
				      const struct rpc_options *options, struct arena *arena,
				      struct connect_answer *ret, struct error *err)
{
	Collector__ConnectRequest message = COLLECTOR__CONNECT_REQUEST__INIT;
	const Collector__ConnectResponse *reply;
	Collector__ConnectRequest__MetadataEntry id =
		COLLECTOR__CONNECT_REQUEST__METADATA_ENTRY__INIT;
	Collector__ConnectRequest__MetadataEntry *metadata[] = {&id};
	ProtobufCMessage *answer;
	enum status status;

	id.key = (char *)"collector_id";
	id.value = (char *)request->collector_id;
	message.metadata = metadata;
	message.n_metadata = 1;
	message.address = (char *)request->address;
	message.collector_id = (char *)request->collector_id;
	message.nonce = (char *)request->nonce;
	message.namespaces = (char **)request->namespaces;
	while (request->namespaces[message.n_namespaces])
		message.n_namespaces++;
	status = rpc_invoke(peer, &collector__collective_dispatcher__descriptor, "Connect",
			    &message.base, options, arena, &answer, err);
	if (status != STATUS_OK)
		return status;
	reply = (const Collector__ConnectResponse *)answer;
	ret->collector_id = reply->target_collector_id;
	/* A peer that tells only what is shared serves at least that. */
	ret->namespaces =
		reply->n_namespaces
			? list_of(reply->namespaces, reply->n_namespaces, arena)
			: list_of(reply->shared_namespaces, reply->n_shared_namespaces, arena);
	return STATUS_OK;
}

struct bytes ping_request_pack(const char *collector_id, const char *nonce, struct arena *arena)
{
	Collector__PingRequest message = COLLECTOR__PING_REQUEST__INIT;

	message.collector_id = (char *)collector_id;
	message.nonce = (char *)nonce;
	return rpc_pack(&message.base, arena);
}

enum status ping_response_unpack(struct bytes data, struct arena *arena,
				 struct ping_answer *ret, struct error *err)
{
	const Collector__PingResponse *reply;
	ProtobufCMessage *message;
	enum status status = unpack_answer(&collector__ping_response__descriptor, data, arena,
					   &message, err);

	if (status != STATUS_OK)
		return status;
	reply = (const Collector__PingResponse *)message;
	*ret = (struct ping_answer){reply->collector_id, reply->nonce,
				    list_of(reply->namespaces, reply->n_namespaces, arena),
				    reply->mesh_version, reply->instance};
	return STATUS_OK;
}

/* A collector that the teller has a link to, but that does not answer it? */
static bool is_down(const Collector__ListConnectionsResponse *reply, const char *id)
{
	for (size_t i = 0; i < reply->n_connections; i++)
		if (!strcmp(reply->connections[i]->target_collector_id, id))
			return reply->connections[i]->state !=
			       COLLECTOR__CONNECTION_STATE__CONNECTION_UP;
	return false;
}

enum status list_connections_unpack(struct bytes data, struct arena *arena,
				    const struct known_collector **ret, size_t *ret_count,
				    struct error *err)
{
	const Collector__ListConnectionsResponse *reply;
	struct known_collector *list;
	ProtobufCMessage *message;
	enum status status = unpack_answer(&collector__list_connections_response__descriptor,
					   data, arena, &message, err);
	size_t n = 0;

	if (status != STATUS_OK)
		return status;
	reply = (const Collector__ListConnectionsResponse *)message;
	list = arena_alloc(arena, (reply->n_collectors + 1) * sizeof(*list));
	for (size_t i = 0; i < reply->n_collectors; i++) {
		const Collector__Collector *c = reply->collectors[i];
		if (strcmp(c->id, reply->collector_id) != 0 && !is_down(reply, c->id))
			list[n++] = (struct known_collector){
				c->id, c->address,
				list_of(c->namespaces, c->n_namespaces, arena),
				c->distance > 0     ? c->distance
				: c->is_direct_peer ? 1
						    : 2};
	}
	*ret = list;
	*ret_count = n;
	return STATUS_OK;
}
