#include "common/rpc/channel.h"

#include <ctype.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/rpc/outbound.h"

enum {
	MAX_CHANNELS = 16384,
	MAX_UNUSED = 64,
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
	MAX_LOOKUPS = 16, /* under way at once */
	LOOKUP_TIMEOUT_MS = 3000,
};
static const uint64_t unused_for_ns = 60000000000, look_up_every_ns = 1000000000;

/* What is connected to when there is nothing to dial: nobody can be there. */
#define NOBODY "unix:/dev/null/nobody"

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
		int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0), /* see inflate.h */
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

/* ------------------------------------------------------------ names to dial */

static void add_mapped(struct strbuf *out, const char *address)
{
	const char *colon = strrchr(address, ':');

	if (*address == '[')
		strbuf_addstr(out, address);
	else
		strbuf_addf(out, "[::ffff:%.*s]%s", (int)(colon - address), address, colon);
}

/* All of them, as gRPC takes them; of both families, IPv4 is written as IPv6. */
static char *dialled_of(const struct address_list *list)
{
	AUTO_STRBUF out = STRBUF_INIT;
	bool has_ipv6 = false;

	for (size_t i = 0; i < list->count; i++)
		has_ipv6 |= list->items[i][0] == '[';
	strbuf_addstr(&out, has_ipv6 ? "ipv6:" : "ipv4:");
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			strbuf_addch(&out, ',');
		if (has_ipv6)
			add_mapped(&out, list->items[i]);
		else
			strbuf_addstr(&out, list->items[i]);
	}
	return xstrdup(strbuf_str(&out));
}

/* Have it dial @dialled, which is consumed; NULL: nothing. Who watches it is woken. */
static grpc_channel *replace_core(struct rpc_channel *c, char *dialled)
{
	grpc_channel *old = c->core;

	free(c->dialled);
	c->dialled = dialled;
	c->core = make_core(c->client, dialled ? dialled : NOBODY, c->target, c->trust);
	return old;
}

/*
 * With the mutex: what came of a lookup. A name that nobody can tell about now keeps what
 * it meant; one that means what may not be dialled has nothing. Returns what is to be
 * destroyed, or NULL.
 */
static grpc_channel *take_answer(struct rpc_channel *c, enum status status,
				 const struct address_list *list, const struct error *err)
{
	const bool is_refused =
		status == STATUS_PERMISSION_DENIED || status == STATUS_INVALID_ARGUMENT;
	char *dialled = status == STATUS_OK ? dialled_of(list) : NULL;

	snprintf(c->why, sizeof(c->why), "%s", status == STATUS_OK ? "" : err->message);
	if (status == STATUS_OK ? c->dialled && !strcmp(c->dialled, dialled)
				: c->dialled && !is_refused) {
		free(dialled);
		return NULL;
	}
	return replace_core(c, dialled);
}

static void end_lookup(struct rpc_client *client)
{
	pthread_mutex_lock(&client->mutex);
	if (!--client->lookups)
		pthread_cond_broadcast(&client->no_lookups);
	pthread_mutex_unlock(&client->mutex);
}

static void *look_up(void *arg)
{
	struct rpc_channel *c = arg;
	struct rpc_client *client = c->client;
	const struct rpc_naming *naming = &client->naming;
	struct address_list list;
	struct error err;
	grpc_channel *old;
	enum status status = naming->resolve(
		naming->arg, c->target,
		clock_monotonic_ns() + LOOKUP_TIMEOUT_MS * UINT64_C(1000000), &list, &err);

	pthread_mutex_lock(&c->mutex);
	c->is_looking_up = false;
	old = take_answer(c, status, &list, &err);
	pthread_mutex_unlock(&c->mutex);
	if (old)
		grpc_channel_destroy(old);
	rpc_channel_unref(c);
	end_lookup(client);
	return NULL;
}

static bool start_thread(struct rpc_channel *c)
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	started = !pthread_create(&thread, &attributes, look_up, c);
	pthread_attr_destroy(&attributes);
	return started;
}

/* With the mutex: look the name up, unless that was done just now. */
static void look_up_soon(struct rpc_channel *c)
{
	struct rpc_client *client = c->client;
	const uint64_t now = clock_monotonic_ns();
	bool begun;

	if (c->is_looking_up || (c->looked_up_ns && now - c->looked_up_ns < look_up_every_ns))
		return;
	pthread_mutex_lock(&client->mutex);
	begun = client->lookups < MAX_LOOKUPS && !client->is_closing;
	client->lookups += begun;
	atomic_fetch_add(&c->refs, begun);
	pthread_mutex_unlock(&client->mutex);
	if (!begun)
		return;
	c->is_looking_up = true;
	c->looked_up_ns = now;
	if (start_thread(c))
		return;
	c->is_looking_up = false;
	atomic_fetch_sub(&c->refs, 1); /* whoever calls here holds another */
	end_lookup(client);
}

void rpc_client_set_naming(struct rpc_client *client, const struct rpc_naming *naming)
{
	client->naming = *naming;
}

/* ------------------------------------------------------------ one channel */

static void lock_if_named(struct rpc_channel *c)
{
	if (c->is_named)
		pthread_mutex_lock(&c->mutex);
}

static void unlock_if_named(struct rpc_channel *c)
{
	if (c->is_named)
		pthread_mutex_unlock(&c->mutex);
}

grpc_connectivity_state rpc_channel_state(struct rpc_channel *c, bool connect)
{
	grpc_connectivity_state state;

	if (!c->is_named)
		return grpc_channel_check_connectivity_state(c->core, connect);
	pthread_mutex_lock(&c->mutex);
	state = c->dialled ? grpc_channel_check_connectivity_state(c->core, connect)
			   : GRPC_CHANNEL_IDLE;
	if (connect && state != GRPC_CHANNEL_READY)
		look_up_soon(c);
	if (!c->dialled)
		state = c->is_looking_up ? GRPC_CHANNEL_CONNECTING
					 : GRPC_CHANNEL_TRANSIENT_FAILURE;
	pthread_mutex_unlock(&c->mutex);
	return state;
}

void rpc_channel_watch(struct rpc_channel *c, grpc_connectivity_state state, gpr_timespec until,
		       grpc_completion_queue *queue, void *tag)
{
	lock_if_named(c);
	/* What connects to nobody is idle until it is replaced. */
	if (c->is_named && !c->dialled)
		state = GRPC_CHANNEL_IDLE;
	grpc_channel_watch_connectivity_state(c->core, state, until, queue, tag);
	unlock_if_named(c);
}

grpc_call *rpc_channel_call(struct rpc_channel *c, grpc_call *parent,
			    grpc_completion_queue *queue, grpc_slice method,
			    gpr_timespec deadline)
{
	grpc_call *call;

	lock_if_named(c);
	call = grpc_channel_create_call(c->core, parent,
					parent ? GRPC_PROPAGATE_CANCELLATION : 0, queue, method,
					NULL, deadline, NULL);
	unlock_if_named(c);
	return call;
}

enum status rpc_channel_explain(struct rpc_channel *c, struct error *err)
{
	char why[sizeof(c->why)] = "";

	lock_if_named(c);
	if (c->is_named)
		memcpy(why, c->why, sizeof(why));
	unlock_if_named(c);
	return error_set(err, STATUS_UNAVAILABLE, "cannot connect to %s%s%s", c->target,
			 *why ? ": " : "", why);
}

bool rpc_channel_is_ready(struct rpc_channel *c)
{
	return rpc_channel_state(c, true) == GRPC_CHANNEL_READY;
}

const char *rpc_channel_target(const struct rpc_channel *c)
{
	return c->target;
}

/* -------------------------------------------------------------- all of them */

static void free_channel(struct rpc_channel *c)
{
	grpc_channel_destroy(c->core);
	if (c->is_named) {
		pthread_mutex_destroy(&c->mutex);
	}
	free(c->dialled);
	free(c->target);
	free(c->key);
	free(c);
}

static struct rpc_channel *new_channel(struct rpc_client *client, const char *key,
				       const char *target, const char *dialled,
				       enum rpc_trust trust)
{
	struct rpc_channel *c = xcalloc(1, sizeof(*c));

	c->client = client;
	c->trust = trust;
	c->key = xstrdup(key);
	c->target = xstrdup(target);
	c->is_named = !dialled;
	c->core = make_core(client, dialled ? dialled : NOBODY, target, trust);
	if (!c->is_named)
		return c;
	pthread_mutex_init(&c->mutex, NULL);
	return c;
}

/* With client.mutex: out of the list of those that nobody uses. */
static void unlist(struct rpc_channel *c)
{
	struct rpc_client *client = c->client;

	*(c->newer ? &c->newer->older : &client->newest_unused) = c->older;
	*(c->older ? &c->older->newer : &client->oldest_unused) = c->newer;
	c->newer = c->older = NULL;
	client->unused--;
}

static void list(struct rpc_channel *c)
{
	struct rpc_client *client = c->client;

	c->unused_since_ns = clock_monotonic_ns();
	c->older = client->newest_unused;
	*(c->older ? &c->older->newer : &client->oldest_unused) = c;
	client->newest_unused = c;
	client->unused++;
}

/* With client.mutex: those that are to go, as a list by `older`; free them without it. */
static struct rpc_channel *take_surplus(struct rpc_client *client)
{
	const uint64_t now = clock_monotonic_ns();
	struct rpc_channel *gone = NULL, *c;

	while ((c = client->oldest_unused) &&
	       (client->unused > MAX_UNUSED || now - c->unused_since_ns > unused_for_ns)) {
		unlist(c);
		(void)map_remove(&client->channels[c->trust], c->key);
		c->older = gone;
		gone = c;
	}
	return gone;
}

static void free_all(struct rpc_channel *gone)
{
	for (struct rpc_channel *next; gone; gone = next) {
		next = gone->older;
		free_channel(gone);
	}
}

/* @dialled is as gRPC takes it, NULL: to be looked up; @key is what it is found by. */
static struct rpc_channel *channel_of(struct rpc_client *client, const char *key,
				      const char *target, const char *dialled,
				      enum rpc_trust trust)
{
	struct map *channels = &client->channels[trust];
	struct rpc_channel *c, *gone;

	pthread_mutex_lock(&client->mutex);
	c = map_get(channels, key);
	if (c && !atomic_load(&c->refs))
		unlist(c);
	gone = take_surplus(client);
	if (!c && client->channels[0].count + client->channels[1].count < MAX_CHANNELS) {
		c = new_channel(client, key, target, dialled, trust);
		(void)map_put(channels, key, c);
	}
	if (c)
		atomic_fetch_add(&c->refs, 1);
	pthread_mutex_unlock(&client->mutex);
	free_all(gone);
	return c;
}

/* May it be dialled? Of an address, that is told without a wait. */
static bool may_dial(struct rpc_client *client, const char *target)
{
	struct address_list ignored;
	struct error why;

	return client->naming.resolve(client->naming.arg, target, 0, &ignored, &why) ==
	       STATUS_OK;
}

struct rpc_channel *rpc_client_channel(struct rpc_client *client, const char *target,
				       enum rpc_trust trust)
{
	AUTO_FREE char *dialled = core_target(target);
	const bool is_judged = trust == RPC_TRUST_FOREIGN && client->naming.resolve;
	const bool is_name = dialled && !strncmp(dialled, "dns:", 4);
	struct rpc_channel *c;

	if (!dialled || (is_judged && !is_name && !may_dial(client, target)))
		return NULL;
	c = channel_of(client, target, target, is_judged && is_name ? NULL : dialled, trust);
	if (c && c->is_named)
		(void)rpc_channel_state(c, true); /* begin to look it up */
	return c;
}

struct rpc_channel *rpc_client_channel_at(struct rpc_client *client, const char *target,
					  const char *address, enum rpc_trust trust)
{
	AUTO_FREE char *dialled = core_target(address);
	AUTO_FREE char *key = xasprintf("%s at %s", target, address);

	return dialled ? channel_of(client, key, target, dialled, trust) : NULL;
}

struct rpc_channel *rpc_channel_ref(struct rpc_channel *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed); /* there is another */
	return c;
}

/* False: it may be the last one, which is given back with client.mutex. */
static bool drop_ref(struct rpc_channel *c)
{
	unsigned refs = atomic_load(&c->refs);

	while (refs > 1)
		if (atomic_compare_exchange_weak(&c->refs, &refs, refs - 1))
			return true;
	return false;
}

void rpc_channel_unref(struct rpc_channel *c)
{
	struct rpc_channel *gone = NULL;
	struct rpc_client *client;

	if (!c || drop_ref(c))
		return;
	client = c->client;
	pthread_mutex_lock(&client->mutex);
	if (atomic_fetch_sub(&c->refs, 1) == 1) {
		if (!c->is_replaced)
			list(c);
		gone = take_surplus(client);
		if (c->is_replaced) {
			c->older = gone;
			gone = c;
		}
	}
	pthread_mutex_unlock(&client->mutex);
	free_all(gone);
}

void rpc_channel_replace(struct rpc_channel *c)
{
	struct rpc_client *client = c->client;
	struct map *channels = &client->channels[c->trust];

	pthread_mutex_lock(&client->mutex);
	if (map_get(channels, c->key) == c) {
		(void)map_remove(channels, c->key);
		c->is_replaced = true;
	}
	pthread_mutex_unlock(&client->mutex);
}

void rpc_client_forget_unused(struct rpc_client *client)
{
	struct rpc_channel *gone;

	pthread_mutex_lock(&client->mutex);
	gone = take_surplus(client);
	pthread_mutex_unlock(&client->mutex);
	free_all(gone);
}

size_t rpc_client_channel_count(struct rpc_client *client)
{
	size_t count;

	pthread_mutex_lock(&client->mutex);
	count = client->channels[0].count + client->channels[1].count;
	pthread_mutex_unlock(&client->mutex);
	return count;
}

static void free_value(void *channel)
{
	free_channel(channel);
}

void rpc_client_end_lookups(struct rpc_client *client)
{
	pthread_mutex_lock(&client->mutex);
	client->is_closing = true;
	while (client->lookups)
		pthread_cond_wait(&client->no_lookups, &client->mutex);
	pthread_mutex_unlock(&client->mutex);
}

void rpc_channels_release(struct rpc_client *client)
{
	rpc_client_end_lookups(client);
	map_release(&client->channels[RPC_TRUST_FOREIGN], free_value);
	map_release(&client->channels[RPC_TRUST_DAEMON], free_value);
}
