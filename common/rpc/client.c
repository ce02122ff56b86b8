#include "common/rpc/client.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/rpc/channel.h"
#include "common/rpc/core.h"
#include "common/rpc/inbound.h"
#include "common/rpc/outbound.h"

enum { DEFAULT_MESSAGE_BYTES = 16 << 20, DEFAULT_UNPACKED_BYTES = 64 << 20 };

struct rpc_client *rpc_client_new(const struct rpc_client_options *options)
{
	struct rpc_client *client = xcalloc(1, sizeof(*client));

	rpc_core_init();
	client->options = *options;
	if (!client->options.max_message_bytes)
		client->options.max_message_bytes = DEFAULT_MESSAGE_BYTES;
	if (!client->options.max_unpacked_bytes)
		client->options.max_unpacked_bytes = DEFAULT_UNPACKED_BYTES;
	pthread_mutex_init(&client->mutex, NULL);
	pthread_cond_init(&client->no_lookups, NULL);
	client->loop = options->server ? rpc_loop_ref(options->server->loops[0].loop)
				       : rpc_loop_new(0);
	return client;
}

void rpc_client_free(struct rpc_client *client)
{
	if (!client)
		return;
	rpc_loop_free(client->loop); /* a call that has told its end lets go of its channel */
	rpc_channels_release(client);
	pthread_cond_destroy(&client->no_lookups);
	pthread_mutex_destroy(&client->mutex);
	free(client);
	grpc_shutdown();
}
