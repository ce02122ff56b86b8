#include "common/client/daemon_client.h"

#include "collector/daemon.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"

enum status daemon_client_is_serving(struct rpc_channel *daemon, const char *service,
				     const struct rpc_options *options, struct arena *arena,
				     bool *ret_serving, struct error *err)
{
	Grpc__Health__V1__HealthCheckRequest request =
		GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	ProtobufCMessage *reply;
	enum status status;

	request.service = (char *)service;
	status = rpc_invoke(daemon, &grpc__health__v1__health__descriptor, "Check",
			    &request.base, options, arena, &reply, err);
	if (status != STATUS_OK)
		return status;
	*ret_serving = ((Grpc__Health__V1__HealthCheckResponse *)reply)->status ==
		       GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	return STATUS_OK;
}

static void take_methods(const Collector__GetStatsResponse *reply, struct arena *arena,
			 struct daemon_stats *ret)
{
	struct daemon_method_stats *methods =
		arena_alloc(arena, reply->n_methods * sizeof(*methods));

	for (size_t i = 0; i < reply->n_methods; i++) {
		const Collector__MethodStats *m = reply->methods[i];
		methods[i] = (struct daemon_method_stats){
			.method = m->method,
			.calls = m->calls,
			.errors = m->errors,
			.rejected = m->rejected,
			.p50_us = m->p50_us,
			.p99_us = m->p99_us,
			.max_us = m->max_us,
		};
	}
	ret->methods = methods;
	ret->method_count = reply->n_methods;
}

static void take_numbers(const Collector__GetStatsResponse *reply, struct arena *arena,
			 struct daemon_stats *ret)
{
	struct daemon_number *numbers = arena_alloc(arena, reply->n_numbers * sizeof(*numbers));

	for (size_t i = 0; i < reply->n_numbers; i++)
		numbers[i] = (struct daemon_number){reply->numbers[i]->key,
						    reply->numbers[i]->value};
	ret->numbers = numbers;
	ret->number_count = reply->n_numbers;
}

enum status daemon_client_stats(struct rpc_channel *daemon, const struct rpc_options *options,
				struct arena *arena, struct daemon_stats *ret,
				struct error *err)
{
	Collector__GetStatsRequest request = COLLECTOR__GET_STATS_REQUEST__INIT;
	const Collector__GetStatsResponse *reply;
	ProtobufCMessage *message;
	enum status status =
		rpc_invoke(daemon, &collector__daemon_service__descriptor, "GetStats",
			   &request.base, options, arena, &message, err);

	if (status != STATUS_OK)
		return status;
	reply = (const Collector__GetStatsResponse *)message;
	*ret = (struct daemon_stats){
		.name = reply->name,
		.version = reply->version,
		.pid = reply->pid,
		.memory_bytes = reply->memory_bytes,
		.live_calls = reply->live_calls,
	};
	if (reply->started_at)
		ret->started_unix_ms =
			reply->started_at->seconds * 1000 + reply->started_at->nanos / 1000000;
	take_methods(reply, arena, ret);
	take_numbers(reply, arena, ret);
	return STATUS_OK;
}
