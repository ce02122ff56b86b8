#include "common/rpc/client.h"

#include <ctype.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/rpc/outbound.h"

enum {
	DEFAULT_MESSAGE_BYTES = 16 << 20,
	DEFAULT_UNPACKED_BYTES = 64 << 20,
	MAX_TARGETS = 4096,
	MAX_HOST_BYTES = 253, /* RFC 1035 */
	MAX_METADATA_BYTES = 32 << 10,
	/* gRPC raises the first one to 100. */
	FIRST_BACKOFF_MS = 50,
	MAX_BACKOFF_MS = 1000,
	CONNECT_TIMEOUT_MS = 5000,
	/* Foreign servers take pings more often than every five minutes for abuse. */
	KEEPALIVE_DAEMON_MS = 30000,
	KEEPALIVE_FOREIGN_MS = 360000,
	KEEPALIVE_TIMEOUT_MS = 10000,
};

struct rpc_client *rpc_client_new(const struct rpc_client_options *options)
{
	struct rpc_client *client = xcalloc(1, sizeof(*client));

	grpc_init();
	client->options = *options;
	if (!client->options.max_message_bytes)
		client->options.max_message_bytes = DEFAULT_MESSAGE_BYTES;
	if (!client->options.max_unpacked_bytes)
		client->options.max_unpacked_bytes = DEFAULT_UNPACKED_BYTES;
	pthread_mutex_init(&client->mutex, NULL);
	client->loop = rpc_loop_new(NULL, NULL);
	return client;
}

static void free_channel(void *value)
{
	struct rpc_channel *channel = value;

	grpc_channel_destroy(channel->core);
	free(channel->target);
	free(channel);
}

void rpc_client_free(struct rpc_client *client)
{
	if (!client)
		return;
	map_release(&client->channels[RPC_TRUST_FOREIGN], free_channel);
	map_release(&client->channels[RPC_TRUST_DAEMON], free_channel);
	rpc_loop_free(client->loop);
	pthread_mutex_destroy(&client->mutex);
	free(client);
	grpc_shutdown();
}

/* -------------------------------------------------------------------- targets */

static bool is_port(const char *text)
{
	size_t len = strlen(text);
	long port;

	if (!len || len > 5 || strspn(text, "0123456789") != len)
		return false;
	port = strtol(text, NULL, 10);
	return port > 0 && port <= 65535;
}

/* "1.2.3.4": then it is no name to be resolved. */
static bool is_ipv4(const char *host, size_t len)
{
	unsigned parts = 1, digits = 0;

	for (size_t i = 0; i < len; i++) {
		if (host[i] == '.') {
			if (!digits || parts++ == 4)
				return false;
			digits = 0;
		} else if (!isdigit((unsigned char)host[i]) || ++digits > 3) {
			return false;
		}
	}
	return parts == 4 && digits;
}

static bool is_host_name(const char *host, size_t len)
{
	if (!len || len > MAX_HOST_BYTES || host[0] == '-' || host[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)host[i]) && !strchr("-._", host[i]))
			return false;
	return true;
}

static bool is_ipv6(const char *host, size_t len)
{
	if (len < 4 || len > 48 || host[0] != '[' || host[len - 1] != ']')
		return false;
	for (size_t i = 1; i < len - 1; i++)
		if (!isxdigit((unsigned char)host[i]) && host[i] != ':' && host[i] != '.')
			return false;
	return true;
}

/*
 * What gRPC is to dial, or NULL. Its own schemes (unix:, xds:, ...) must not be
 * reachable by who names a target.
 */
static char *core_target(const char *target)
{
	const char *colon = strrchr(target, ':');
	size_t len = colon ? (size_t)(colon - target) : 0;

	if (!colon || !is_port(colon + 1))
		return NULL;
	if (is_ipv6(target, len))
		return xasprintf("ipv6:%s", target);
	if (is_ipv4(target, len))
		return xasprintf("ipv4:%s", target);
	return is_host_name(target, len) ? xasprintf("dns:///%s", target) : NULL;
}

static grpc_arg int_arg(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

/* Filters that a closed system does not need are left out. */
static grpc_channel *make_core(const struct rpc_client *client, const char *dialled,
			       const char *authority, enum rpc_trust trust)
{
	size_t max = client->options.max_message_bytes;
	grpc_arg args[] = {
		int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
			max > INT32_MAX ? INT32_MAX : (int)max),
		int_arg(GRPC_ARG_MAX_METADATA_SIZE, MAX_METADATA_BYTES),
		int_arg(GRPC_ARG_ENABLE_RETRIES, 0),
		int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
		int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
		int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, FIRST_BACKOFF_MS),
		int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
		int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, MAX_BACKOFF_MS),
		int_arg(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, MAX_BACKOFF_MS),
		int_arg(GRPC_ARG_KEEPALIVE_TIME_MS,
			trust == RPC_TRUST_DAEMON ? KEEPALIVE_DAEMON_MS : KEEPALIVE_FOREIGN_MS),
		int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
		{.type = GRPC_ARG_STRING,
		 .key = (char *)GRPC_ARG_DEFAULT_AUTHORITY,
		 .value.string = (char *)authority},
		int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
			1 << GRPC_COMPRESS_NONE),
	};
	const size_t count = sizeof(args) / sizeof(args[0]);
	const grpc_channel_args all = {client->options.no_compression ? count : count - 1,
				       args};
	grpc_channel_credentials *plain = grpc_insecure_credentials_create();
	grpc_channel *core = grpc_channel_create(dialled, plain, &all);

	grpc_channel_credentials_release(plain);
	return core;
}

/* @dialled is as gRPC takes it; @key is what the channel is found by. */
static struct rpc_channel *channel_of(struct rpc_client *client, const char *key,
				      const char *target, const char *dialled,
				      enum rpc_trust trust)
{
	struct map *channels = &client->channels[trust];
	struct rpc_channel *channel;

	pthread_mutex_lock(&client->mutex);
	channel = map_get(channels, key);
	if (!channel && client->channels[0].count + client->channels[1].count < MAX_TARGETS) {
		channel = xmalloc(sizeof(*channel));
		*channel = (struct rpc_channel){
			.client = client,
			.core = make_core(client, dialled, target, trust),
			.trust = trust,
			.target = xstrdup(target),
		};
		(void)map_put(channels, key, channel);
	}
	pthread_mutex_unlock(&client->mutex);
	return channel;
}

struct rpc_channel *rpc_client_channel(struct rpc_client *client, const char *target,
				       enum rpc_trust trust)
{
	AUTO_FREE char *dialled = core_target(target);

	return dialled ? channel_of(client, target, target, dialled, trust) : NULL;
}

struct rpc_channel *rpc_client_channel_at(struct rpc_client *client, const char *target,
					  const char *address, enum rpc_trust trust)
{
	AUTO_FREE char *dialled = core_target(address);
	AUTO_FREE char *key = xasprintf("%s at %s", target, address);

	return dialled ? channel_of(client, key, target, dialled, trust) : NULL;
}

bool rpc_channel_is_ready(struct rpc_channel *channel)
{
	return grpc_channel_check_connectivity_state(channel->core, 1) == GRPC_CHANNEL_READY;
}

const char *rpc_channel_target(const struct rpc_channel *channel)
{
	return channel->target;
}
