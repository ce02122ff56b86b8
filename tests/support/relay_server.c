#include "tests/support/relay_server.h"

#include <stdio.h>
#include <stdlib.h>

static void done(void *arg, const struct rpc_forwarded *result)
{
	struct relay_server *r = arg;

	pthread_mutex_lock(&r->mutex);
	r->done++;
	r->last = *result;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->mutex);
}

static void route(void *arg, struct rpc_call *call)
{
	struct relay_server *r = arg;

	pthread_mutex_lock(&r->mutex);
	r->routed++;
	pthread_mutex_unlock(&r->mutex);
	rpc_forward(call, &r->route);
}

void relay_server_init(struct relay_server *r, const struct relay_options *options)
{
	struct rpc_server_options server = options->server;
	struct rpc_client_options client = options->client;
	struct error err;
	char target[32];

	*r = (struct relay_server){.fallback = {.route = route, .arg = r}};
	pthread_mutex_init(&r->mutex, NULL);
	pthread_cond_init(&r->changed, NULL);
	server.fallback = &r->fallback;
	server.name = client.name = "relay";
	r->client = rpc_client_new(&client);
	snprintf(target, sizeof(target), "127.0.0.1:%d", options->to_port);
	r->route = (struct rpc_route){
		.channel = rpc_client_channel(r->client, target, options->trust),
		.done = done,
		.arg = r,
	};
	r->server = rpc_server_new(&server);
	if (rpc_server_listen(r->server, "127.0.0.1:0", &r->port, &err) != STATUS_OK)
		abort();
	rpc_server_start(r->server);
}

bool relay_server_release(struct relay_server *r)
{
	enum { GRACE_MS = 60000 };
	bool all_ended = rpc_server_stop(r->server, GRACE_MS);

	if (!all_ended)
		return false;
	rpc_server_free(r->server);
	rpc_client_free(r->client);
	all_ended = r->routed == r->done;
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->mutex);
	return all_ended;
}

void relay_server_wait(struct relay_server *r, unsigned value, struct rpc_forwarded *ret_last)
{
	pthread_mutex_lock(&r->mutex);
	while (r->done < value)
		pthread_cond_wait(&r->changed, &r->mutex);
	if (ret_last)
		*ret_last = r->last;
	pthread_mutex_unlock(&r->mutex);
}
