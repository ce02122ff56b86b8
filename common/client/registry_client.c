#include "common/client/registry_client.h"

#include "collector/registry.pb-c.h"

static enum status get_descriptors(struct rpc_channel *registry,
				   const Collector__GetDescriptorsRequest *request,
				   const struct rpc_options *options, struct arena *arena,
				   bool *ret_changed, struct registry_descriptors *ret,
				   struct error *err)
{
	const Collector__GetDescriptorsResponse *reply;
	ProtobufCMessage *message;
	enum status status =
		rpc_invoke(registry, &collector__collector_registry__descriptor,
			   "GetDescriptors", &request->base, options, arena, &message, err);

	if (status != STATUS_OK)
		return status;
	reply = (const Collector__GetDescriptorsResponse *)message;
	*ret_changed = !reply->not_modified;
	if (!reply->not_modified)
		*ret = (struct registry_descriptors){bytes_of(reply->file_descriptor_set.data,
							      reply->file_descriptor_set.len),
						     reply->file_name, reply->version};
	return STATUS_OK;
}

enum status registry_client_descriptors_of_symbol(struct rpc_channel *registry, const char *ns,
						  const char *symbol,
						  const struct rpc_options *options,
						  struct arena *arena,
						  struct registry_descriptors *ret,
						  struct error *err)
{
	Collector__GetDescriptorsRequest request = COLLECTOR__GET_DESCRIPTORS_REQUEST__INIT;
	bool changed;

	request.namespace_ = (char *)ns;
	request.target_case = COLLECTOR__GET_DESCRIPTORS_REQUEST__TARGET_SYMBOL;
	request.symbol = (char *)symbol;
	return get_descriptors(registry, &request, options, arena, &changed, ret, err);
}

enum status registry_client_descriptors_of_namespace(struct rpc_channel *registry,
						     const char *ns, int64_t known_version,
						     const struct rpc_options *options,
						     struct arena *arena, bool *ret_changed,
						     struct registry_descriptors *ret,
						     struct error *err)
{
	Collector__GetDescriptorsRequest request = COLLECTOR__GET_DESCRIPTORS_REQUEST__INIT;

	request.namespace_ = (char *)ns;
	request.known_version = known_version;
	return get_descriptors(registry, &request, options, arena, ret_changed, ret, err);
}

enum status registry_client_version(struct rpc_channel *registry, const char *ns,
				    const struct rpc_options *options, int64_t *ret_version,
				    struct error *err)
{
	struct registry_descriptors found = {0};
	struct arena arena;
	enum status status;

	arena_init(&arena, 0);
	/* A file that is everywhere, and next to nothing. */
	status = registry_client_descriptors_of_symbol(registry, ns, "google.protobuf.Empty",
						       options, &arena, &found, err);
	if (status == STATUS_OK)
		*ret_version = found.version;
	arena_release(&arena);
	return status;
}

enum status registry_client_validate_method(struct rpc_channel *registry, const char *ns,
					    const char *service, const char *method,
					    const struct rpc_options *options,
					    struct arena *arena, bool *ret_valid,
					    const char **ret_reason, struct error *err)
{
	Collector__ValidateMethodRequest request = COLLECTOR__VALIDATE_METHOD_REQUEST__INIT;
	const Collector__ValidateMethodResponse *reply;
	ProtobufCMessage *message;
	enum status status;

	request.namespace_ = (char *)ns;
	request.service_name = (char *)service;
	request.method_name = (char *)method;
	status = rpc_invoke(registry, &collector__collector_registry__descriptor,
			    "ValidateMethod", &request.base, options, arena, &message, err);
	if (status != STATUS_OK)
		return status;
	reply = (const Collector__ValidateMethodResponse *)message;
	*ret_valid = reply->is_valid;
	*ret_reason = reply->message;
	return STATUS_OK;
}
