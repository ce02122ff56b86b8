#include "common/rpc/server.h"

#include <assert.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/random.h"
#include "common/reflect/builtin.h"
#include "common/rpc/core.h"
#include "common/rpc/due.h"
#include "common/rpc/health.h"
#include "common/rpc/inbound.h"
#include "common/rpc/kinds.h"
#include "common/rpc/pool.h"
#include "common/rpc/reflection_service.h"
#include "common/rpc/stats.h"

enum {
	DEFAULT_POOL_THREADS = 4,
	DEFAULT_POOL_QUEUE = 1024,
	DEFAULT_MESSAGE_BYTES = 16 << 20,
	DEFAULT_UNPACKED_BYTES = 64 << 20,
	DEFAULT_QUOTA_BYTES = 256 << 20,
	DEFAULT_MAX_CALLS = 20000,
	FEW_CALLS = 1000,
	DEFAULT_DEADLINE_MS = 60000,
	DEFAULT_STALL_MS = 20000,
	MAX_METADATA_BYTES = 16 << 10,
	KEEPALIVE_MS = 60000,
	KEEPALIVE_TIMEOUT_MS = 20000,
	MIN_PING_INTERVAL_MS = 5000,
	HANDSHAKE_TIMEOUT_MS = 10000,
	/* After all calls were cancelled, methods have so long to notice. */
	CANCEL_GRACE_MS = 1000,
};

static struct rpc_server_options with_defaults(const struct rpc_server_options *given)
{
	struct rpc_server_options o = *given;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (!o.loops)
		o.loops = cores > 3 ? (unsigned)cores / 2 : 1;
	if (!o.pool_threads)
		o.pool_threads = DEFAULT_POOL_THREADS;
	if (!o.pool_queue)
		o.pool_queue = DEFAULT_POOL_QUEUE;
	if (!o.max_message_bytes)
		o.max_message_bytes = DEFAULT_MESSAGE_BYTES;
	if (!o.max_unpacked_bytes)
		o.max_unpacked_bytes = DEFAULT_UNPACKED_BYTES;
	if (!o.memory_quota_bytes)
		o.memory_quota_bytes = DEFAULT_QUOTA_BYTES;
	if (!o.max_calls)
		o.max_calls = DEFAULT_MAX_CALLS;
	if (!o.default_deadline_ms)
		o.default_deadline_ms = DEFAULT_DEADLINE_MS;
	if (!o.stall_ms)
		o.stall_ms = DEFAULT_STALL_MS;
	if (!o.name)
		o.name = "collector";
	return o;
}

static grpc_arg int_arg(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

/* Of one connection: whatever it holds open, there is room for others. */
static unsigned max_streams(const struct rpc_server_options *o)
{
	return o->max_calls < FEW_CALLS ? o->max_calls : o->max_calls / 2;
}

static grpc_server *make_core(const struct rpc_server_options *o, grpc_resource_quota *quota)
{
	int max_message =
		o->max_message_bytes > INT32_MAX ? INT32_MAX : (int)o->max_message_bytes;
	grpc_arg args[] = {
		int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, max_message),
		int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)max_streams(o)),
		int_arg(GRPC_ARG_MAX_METADATA_SIZE, MAX_METADATA_BYTES),
		/* On by default, and then two daemons share a port. */
		int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
		int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
		int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
		int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0), /* see inflate.h */
		int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
		int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
		int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
			MIN_PING_INTERVAL_MS),
		int_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS),
		{.type = GRPC_ARG_POINTER,
		 .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
		 .value.pointer = {quota, grpc_resource_quota_arg_vtable()}},
	};
	const grpc_channel_args all = {sizeof(args) / sizeof(args[0]), args};

	return grpc_server_create(&all, NULL);
}

static void tick(void *arg)
{
	rpc_due_end(arg);
}

struct rpc_server *rpc_server_new(const struct rpc_server_options *options)
{
	struct rpc_server *s = xcalloc(1, sizeof(*s));

	rpc_core_init();
	s->options = with_defaults(options);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->id_seed = random_u64();
	s->stats = rpc_stats_new();
	s->health = rpc_health_new();
	s->pool = rpc_pool_new("pool", s->options.pool_threads, s->options.pool_queue);
	s->quota = grpc_resource_quota_create(s->options.name);
	grpc_resource_quota_resize(s->quota, s->options.memory_quota_bytes);
	s->core = make_core(&s->options, s->quota);
	s->loops = xcalloc(s->options.loops, sizeof(*s->loops));
	for (unsigned i = 0; i < s->options.loops; i++) {
		struct rpc_server_loop *l = &s->loops[i];
		l->server = s;
		pthread_mutex_init(&l->mutex, NULL);
		rpc_posted_init(l);
		l->loop = rpc_loop_new(s->options.patience_us);
		rpc_loop_set_tick(l->loop, tick, l);
		grpc_server_register_completion_queue(s->core, rpc_loop_queue(l->loop), NULL);
	}
	s->fallback = (struct rpc_method){
		.server = s,
		.kind = RPC_KIND_BIDI,
		.stats = rpc_stats_slot(s->stats, "(not registered)"),
	};
	return s;
}

/* ------------------------------------------------------------------- services */

void rpc_server_describe(struct rpc_server *s, struct bytes descriptor_set)
{
	s->more_descriptors = descriptor_set;
}

static enum rpc_run run_of(const struct rpc_method_policy *policies, const char *method)
{
	for (; policies && policies->method; policies++)
		if (!strcmp(policies->method, method))
			return policies->run;
	return RPC_RUN_POOL;
}

void rpc_server_add(struct rpc_server *s, ProtobufCService *service,
		    const struct rpc_method_policy *policies)
{
	const ProtobufCServiceDescriptor *d = service->descriptor;
	AUTO_FREE unsigned char *kinds = xcalloc(d->n_methods + 1, 1);

	if (!rpc_kinds(d, s->more_descriptors, kinds))
		(void)rpc_kinds(d, builtin_descriptor_set(), kinds); /* else all are unary */
	for (unsigned i = 0; i < d->n_methods; i++) {
		struct rpc_method *m = xmalloc(sizeof(*m));
		*m = (struct rpc_method){
			.next = s->methods,
			.server = s,
			.service = service,
			.index = i,
			.kind = (enum rpc_kind)kinds[i],
			.run = run_of(policies, d->methods[i].name),
			.pool = s->pool,
			.path = xasprintf("/%s/%s", d->name, d->methods[i].name),
		};
		m->stats = rpc_stats_slot(s->stats, m->path);
		m->handle = grpc_server_register_method(
			s->core, m->path, NULL,
			m->kind & RPC_KIND_UP ? GRPC_SRM_PAYLOAD_NONE
					      : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
			0);
		if (!m->handle)
			abort(); /* the same service twice: our fault */
		s->methods = m;
	}
}

static struct rpc_method *added(struct rpc_server *s, const char *method)
{
	struct rpc_method *m = s->methods;

	while (m && strcmp(m->path, method) != 0)
		m = m->next;
	assert(m);
	return m;
}

void rpc_server_leave_packed(struct rpc_server *s, const char *method, uint32_t number)
{
	added(s, method)->packed_field = number;
}

void rpc_server_run_on(struct rpc_server *s, const char *method, struct rpc_pool *pool)
{
	added(s, method)->pool = pool;
}

enum status rpc_server_listen(struct rpc_server *s, const char *address, int *ret_port,
			      struct error *err)
{
	grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
	int port = grpc_server_add_http2_port(s->core, address, plain);

	grpc_server_credentials_release(plain);
	if (!port)
		return error_set(err, STATUS_UNAVAILABLE,
				 "cannot listen on %s: the address is taken or not ours",
				 address);
	*ret_port = port;
	return STATUS_OK;
}

void rpc_server_start(struct rpc_server *s)
{
	rpc_health_serve(s->health, s);
	s->reflection = rpc_reflection_new(s);
	rpc_reflection_serve(s->reflection, s);
	grpc_server_start(s->core);
	s->started = true;
	for (unsigned i = 0; i < s->options.loops; i++) {
		for (struct rpc_method *m = s->methods; m; m = m->next)
			rpc_call_accept(m, &s->loops[i]);
		rpc_call_accept(&s->fallback, &s->loops[i]);
	}
	for (struct rpc_method *m = s->methods; m; m = m->next)
		rpc_health_set_once(s->health, m->service->descriptor->name);
	rpc_health_set_once(s->health, "");
}

/* ------------------------------------------------------------------- the end */

void rpc_server_drain(struct rpc_server *s)
{
	rpc_health_drain(s->health);
}

static void server_stopped(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_server *s = rpc_container(tag, struct rpc_server, stopped_tag);

	(void)ok;
	pthread_mutex_lock(&s->mutex);
	s->stopped = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

/* All calls gone, and gRPC done with the server. With the lock held. */
static bool wait_until_idle(struct rpc_server *s, int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!s->stopped || atomic_load(&s->live_objects))
		if (pthread_cond_timedwait(&s->changed, &s->mutex, &until) == ETIMEDOUT)
			return s->stopped && !atomic_load(&s->live_objects);
	return true;
}

static bool end_calls(struct rpc_server *s, int grace_ms)
{
	bool idle;

	rpc_health_end_watches(s->health);
	s->stopped_tag = rpc_tag(server_stopped);
	grpc_server_shutdown_and_notify(s->core, rpc_loop_queue(s->loops[0].loop),
					&s->stopped_tag);
	pthread_mutex_lock(&s->mutex);
	idle = wait_until_idle(s, grace_ms);
	pthread_mutex_unlock(&s->mutex);
	if (idle)
		return true;
	grpc_server_cancel_all_calls(s->core);
	pthread_mutex_lock(&s->mutex);
	idle = wait_until_idle(s, CANCEL_GRACE_MS);
	pthread_mutex_unlock(&s->mutex);
	return idle;
}

bool rpc_server_stop(struct rpc_server *s, int grace_ms)
{
	if (!s->started)
		return true;
	if (!end_calls(s, grace_ms))
		return false;
	/* Calls have ended; what they left to do, and timers, uses what is freed next. */
	rpc_pool_settle(s->pool);
	return true;
}

static void free_methods(struct rpc_server *s)
{
	while (s->methods) {
		struct rpc_method *m = s->methods;
		s->methods = m->next;
		free(m->path);
		free(m);
	}
}

void rpc_server_free(struct rpc_server *s)
{
	if (!s)
		return;
	if (!s->started) { /* gRPC wants a shutdown even so */
		s->started = true;
		grpc_server_start(s->core);
		(void)rpc_server_stop(s, 0);
	}
	/* Pool threads end calls, so they go before what calls live on. */
	rpc_pool_free(s->pool);
	grpc_server_destroy(s->core);
	for (unsigned i = 0; i < s->options.loops; i++) {
		rpc_loop_set_tick(s->loops[i].loop, NULL, NULL);
		rpc_loop_free(s->loops[i].loop);
		pthread_mutex_destroy(&s->loops[i].mutex);
	}
	free(s->loops);
	grpc_resource_quota_unref(s->quota);
	free_methods(s);
	rpc_reflection_free(s->reflection);
	rpc_health_free(s->health);
	rpc_stats_free(s->stats);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->mutex);
	free(s);
	grpc_shutdown();
}

/* -------------------------------------------------------------------- access */

struct rpc_pool *rpc_server_pool(struct rpc_server *s)
{
	return s->pool;
}

struct rpc_stats *rpc_server_stats(struct rpc_server *s)
{
	return s->stats;
}

void rpc_server_set_serving(struct rpc_server *s, const char *service, bool serving)
{
	if (service) {
		rpc_health_set(s->health, service, serving);
		return;
	}
	for (const struct rpc_method *m = s->methods; m; m = m->next)
		if (!m->index)
			rpc_health_set(s->health, m->service->descriptor->name, serving);
	rpc_health_set(s->health, "", serving);
}

void rpc_server_set_reflection(struct rpc_server *s, const struct rpc_reflection_source *source)
{
	s->reflection_source = source;
}
