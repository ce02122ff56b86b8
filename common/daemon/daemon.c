#include "common/daemon/daemon.h"

#include <event2/event.h>
#include <event2/thread.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/daemon/data_dir.h"
#include "common/daemon/notify.h"
#include "common/daemon/numbers.h"
#include "common/daemon/options.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"

/* What an arena of malloc() keeps of memory that calls have freed; larger pieces are mapped. */
enum { KEPT_BYTES = 4 << 20, MAPPED_BYTES = 1 << 20 };

/* Live calls get this long after SIGTERM; the supervisor waits longer. */
enum { DRAIN_MS = 2000, EXIT_CODE_FAILED = 1, EXIT_CODE_USAGE = 2 };

struct common_config {
	const char *data, *listen, *log_level;
	const char *addresses[DAEMON_COUNT];
	bool insecure, log_calls;
	int64_t max_message_bytes, memory_quota_bytes, max_calls, pool_threads, pool_queue;
	int64_t default_deadline_ms;
};

struct timer {
	struct timer *next;
	struct event *event;
	int interval_ms;
	void (*tick)(void *arg);
	void *arg;
};

struct daemon {
	const struct daemon_spec *spec;
	struct common_config config;
	void *own_config;
	struct arena arena; /* everything that options point to */
	char key[HEX_KEY_BYTES];
	char *data_dir, *listen_address;
	int lock, port;
	struct event_base *events;
	struct rpc_server *server;
	struct rpc_client *client;
	struct numbers *numbers;
	struct rpc_fallback fallback;            /* what the server has */
	const struct rpc_fallback *own_fallback; /* what the service gave */
	void *state;
	pthread_mutex_t mu; /* timers, ready_was_set */
	struct timer *timers;
	bool ready_was_set;
};

#define COMMON(member) offsetof(struct common_config, member)

static const struct daemon_option common_options[] = {
	{"data", DAEMON_OPTION_STRING, "./data", 0, 0, COMMON(data), "the data directory"},
	{"listen", DAEMON_OPTION_STRING, NULL, 0, 0, COMMON(listen),
	 "host:port to serve on; port 0 takes a free one"},
	{"dispatcher-address", DAEMON_OPTION_STRING, "127.0.0.1:50051", 0, 0,
	 COMMON(addresses[DAEMON_DISPATCHER]), "where the dispatcher is"},
	{"registry-address", DAEMON_OPTION_STRING, "127.0.0.1:50052", 0, 0,
	 COMMON(addresses[DAEMON_REGISTRY]), "where the registry is"},
	{"repo-address", DAEMON_OPTION_STRING, "127.0.0.1:50053", 0, 0,
	 COMMON(addresses[DAEMON_REPO]), "where the repo is"},
	{"worker-address", DAEMON_OPTION_STRING, "127.0.0.1:50054", 0, 0,
	 COMMON(addresses[DAEMON_WORKER]), "where the worker is"},
	{"console-address", DAEMON_OPTION_STRING, "127.0.0.1:50055", 0, 0,
	 COMMON(addresses[DAEMON_CONSOLE]), "where the console is"},
	{"log-level", DAEMON_OPTION_STRING, "info", 0, 0, COMMON(log_level),
	 "debug, info, warn or error"},
	{"log-calls", DAEMON_OPTION_BOOL, NULL, 0, 0, COMMON(log_calls),
	 "a line for every call at info, not at debug"},
	{"insecure", DAEMON_OPTION_BOOL, NULL, 0, 0, COMMON(insecure),
	 "allow an address that is not loopback, without encryption"},
	{"max-message-bytes", DAEMON_OPTION_INT, "16777216", 1024, 1 << 30,
	 COMMON(max_message_bytes), "the largest message that is taken"},
	{"memory-quota-bytes", DAEMON_OPTION_INT, "268435456", 1 << 20, INT64_C(1) << 40,
	 COMMON(memory_quota_bytes), "for all messages under way"},
	{"max-calls", DAEMON_OPTION_INT, "20000", 1, 1000000, COMMON(max_calls),
	 "calls at once; more are refused"},
	{"pool-threads", DAEMON_OPTION_INT, "4", 1, 256, COMMON(pool_threads),
	 "threads for work that blocks"},
	{"pool-queue", DAEMON_OPTION_INT, "1024", 1, 1000000, COMMON(pool_queue),
	 "calls that wait for such a thread; more are refused"},
	{"default-deadline-ms", DAEMON_OPTION_INT, "60000", 1, 86400000,
	 COMMON(default_deadline_ms), "of calls that bring no deadline"},
	{NULL, DAEMON_OPTION_STRING, NULL, 0, 0, 0, NULL},
};

static const struct daemon_option no_options[] = {
	{NULL, DAEMON_OPTION_STRING, NULL, 0, 0, 0, NULL}};

const char *daemon_name_text(enum daemon_name name)
{
	static const char *const texts[DAEMON_COUNT] = {
		[DAEMON_DISPATCHER] = "dispatcher",
		[DAEMON_REGISTRY] = "registry",
		[DAEMON_REPO] = "repo",
		[DAEMON_WORKER] = "worker",
		[DAEMON_CONSOLE] = "console",
	};

	return texts[name];
}

/* ---------------------------------------------------------------- accessors */

struct rpc_server *daemon_server(struct daemon *d)
{
	return d->server;
}

struct rpc_client *daemon_client(struct daemon *d)
{
	return d->client;
}

const char *daemon_data_dir(struct daemon *d)
{
	return d->data_dir;
}

int daemon_port(struct daemon *d)
{
	return d->port;
}

const char *daemon_listen_address(struct daemon *d)
{
	return d->listen_address ? d->listen_address : d->config.listen;
}

const char *daemon_address(struct daemon *d, enum daemon_name other)
{
	return d->config.addresses[other];
}

struct rpc_channel *daemon_channel(struct daemon *d, enum daemon_name other)
{
	return rpc_client_channel(d->client, d->config.addresses[other], RPC_TRUST_DAEMON);
}

void daemon_set_number(struct daemon *d, const char *name, int64_t value)
{
	numbers_set(d->numbers, name, value);
}

void daemon_add_problem(struct daemon *d, const char *text)
{
	numbers_add_problem(d->numbers, text);
}

void daemon_set_ready(struct daemon *d, bool ready)
{
	pthread_mutex_lock(&d->mu);
	d->ready_was_set = true;
	pthread_mutex_unlock(&d->mu);
	rpc_server_set_serving(d->server, NULL, ready);
}

bool daemon_address_is_loopback(const char *address)
{
	return !strncmp(address, "127.", 4) || !strncmp(address, "[::1]:", 6) ||
	       !strncmp(address, "localhost:", 10);
}

/* ------------------------------------------------------------------- timers */

static void run_timer(evutil_socket_t fd, short what, void *arg)
{
	struct timer *t = arg;

	(void)fd;
	(void)what;
	t->tick(t->arg);
	if (t->interval_ms) {
		struct timeval next = {t->interval_ms / 1000, t->interval_ms % 1000 * 1000};
		event_add(t->event, &next);
	}
}

void daemon_every(struct daemon *d, int delay_ms, int interval_ms, void (*tick)(void *arg),
		  void *arg)
{
	struct timer *t = xcalloc(1, sizeof(*t));
	struct timeval first = {delay_ms / 1000, delay_ms % 1000 * 1000};

	*t = (struct timer){.interval_ms = interval_ms, .tick = tick, .arg = arg};
	t->event = event_new(d->events, -1, 0, run_timer, t);
	if (!t->event)
		abort();
	pthread_mutex_lock(&d->mu);
	t->next = d->timers;
	d->timers = t;
	pthread_mutex_unlock(&d->mu);
	event_add(t->event, &first);
}

static void free_timers(struct daemon *d)
{
	while (d->timers) {
		struct timer *t = d->timers;
		d->timers = t->next;
		event_free(t->event);
		free(t);
	}
}

/* ------------------------------------------------------------------ start-up */

/* The server is made before the service's state, and with it its fallback. */
static void route(void *arg, struct rpc_call *call)
{
	struct daemon *d = arg;

	d->own_fallback->route(d->own_fallback->arg, call);
}

static void make_server(struct daemon *d)
{
	const struct common_config *c = &d->config;
	const char *name = daemon_name_text(d->spec->name);
	struct rpc_server_options options = {
		.name = name,
		.patience_us = d->spec->patience_us,
		.pool_threads = (unsigned)c->pool_threads,
		.pool_queue = (unsigned)c->pool_queue,
		.max_message_bytes = (size_t)c->max_message_bytes,
		.memory_quota_bytes = (size_t)c->memory_quota_bytes,
		.max_calls = (unsigned)c->max_calls,
		.default_deadline_ms = (int)c->default_deadline_ms,
		.daemon_key = d->key,
		.log_calls = c->log_calls,
		.fallback = d->spec->fallback ? &d->fallback : NULL,
	};

	d->fallback = (struct rpc_fallback){route, d};
	d->server = rpc_server_new(&options);
	d->client = rpc_client_new(&(struct rpc_client_options){
		.name = name,
		.daemon_key = d->key,
		.max_message_bytes = (size_t)c->max_message_bytes,
		.server = d->server,
	});
	d->numbers = numbers_new(name, d->server);
}

static enum status check_addresses(struct daemon *d, struct error *err)
{
	if (!d->config.insecure && !daemon_address_is_loopback(d->config.listen))
		return error_field(err, "listen",
				   "%s is not a loopback address and there is no encryption: "
				   "say --insecure if that is meant",
				   d->config.listen);
	for (int i = 0; i < DAEMON_COUNT; i++)
		if (!rpc_client_channel(d->client, d->config.addresses[i], RPC_TRUST_DAEMON))
			return error_field(err, daemon_name_text((enum daemon_name)i),
					   "'%s' is not host:port", d->config.addresses[i]);
	return STATUS_OK;
}

static enum status open_all(struct daemon *d, struct error *err)
{
	const char *name = daemon_name_text(d->spec->name);
	enum status status = data_dir_open(d->config.data, name, &d->lock, err);

	if (status == STATUS_OK)
		status = data_dir_read_key(d->config.data, d->key, err);
	if (status != STATUS_OK)
		return status;
	d->data_dir = xasprintf("%s/%s", d->config.data, name);
	make_server(d);
	status = check_addresses(d, err);
	if (status == STATUS_OK)
		status = d->spec->open(d, d->own_config, &d->state, err);
	if (status != STATUS_OK)
		return status;
	if (d->spec->fallback)
		d->own_fallback = d->spec->fallback(d->state);
	status = rpc_server_listen(d->server, d->config.listen, &d->port, err);
	if (status != STATUS_OK)
		return status;
	const char *colon = strrchr(d->config.listen, ':');
	d->listen_address = xasprintf("%.*s:%d", (int)(colon - d->config.listen),
				      d->config.listen, d->port);
	return STATUS_OK;
}

static void serve(struct daemon *d)
{
	bool ready_was_set;

	rpc_server_start(d->server);
	if (d->spec->start)
		d->spec->start(d->state);
	pthread_mutex_lock(&d->mu);
	ready_was_set = d->ready_was_set;
	pthread_mutex_unlock(&d->mu);
	if (!ready_was_set)
		rpc_server_set_serving(d->server, NULL, true);
	log_info("serving on %s, data in %s", d->listen_address, d->data_dir);
	notify_supervisor("READY=1");
}

static void shut_down(struct daemon *d)
{
	notify_supervisor("STOPPING=1");
	rpc_server_drain(d->server);
	if (d->spec->drain)
		d->spec->drain(d->state);
	if (!rpc_server_stop(d->server, DRAIN_MS)) {
		/* What the method uses cannot be freed under it; the disk is consistent always. */
		log_error("a method does not end: leaving without it");
		_exit(EXIT_CODE_FAILED);
	}
	free_timers(d);
	if (d->spec->close)
		d->spec->close(d->state);
}

/* -------------------------------------------------------------------- running */

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct daemon *d = arg;

	(void)what;
	log_info("%s: stopping", strsignal((int)number));
	event_base_loopbreak(d->events);
}

/* Blocked before any thread exists, so that no other thread ever takes them. */
static void block_signals(sigset_t *ret_ours)
{
	sigemptyset(ret_ours);
	sigaddset(ret_ours, SIGTERM);
	sigaddset(ret_ours, SIGINT);
	pthread_sigmask(SIG_BLOCK, ret_ours, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ,
	       SIG_IGN); /* writes past a limit on file sizes fail, as on a full disk */
}

static void wait_for_signal(struct daemon *d, const sigset_t *ours)
{
	struct event *term = evsignal_new(d->events, SIGTERM, on_signal, d);
	struct event *interrupt = evsignal_new(d->events, SIGINT, on_signal, d);

	if (!term || !interrupt || event_add(term, NULL) || event_add(interrupt, NULL))
		abort();
	pthread_sigmask(SIG_UNBLOCK, ours, NULL);
	event_base_loop(d->events, EVLOOP_NO_EXIT_ON_EMPTY);
	event_free(term);
	event_free(interrupt);
}

static int run(struct daemon *d)
{
	sigset_t ours;
	struct error err;
	enum status status;

	block_signals(&ours);
	if (evthread_use_pthreads() || !(d->events = event_base_new())) {
		log_error("cannot start the event loop");
		return EXIT_CODE_FAILED;
	}
	status = open_all(d, &err);
	if (status != STATUS_OK) {
		log_error("cannot start: %s%s%s", err.field, err.field[0] ? ": " : "",
			  err.message);
		if (d->state && d->spec->close)
			d->spec->close(d->state);
		return EXIT_CODE_FAILED;
	}
	serve(d);
	wait_for_signal(d, &ours);
	shut_down(d);
	return EXIT_SUCCESS;
}

static void release(struct daemon *d)
{
	rpc_server_free(d->server);
	rpc_client_free(d->client);
	numbers_free(d->numbers);
	if (d->events)
		event_base_free(d->events);
	libevent_global_shutdown();
	if (d->lock >= 0)
		close(d->lock);
	free(d->data_dir);
	free(d->listen_address);
	free(d->own_config);
	pthread_mutex_destroy(&d->mu);
	arena_release(&d->arena);
}

/* The default address depends on the daemon: a row cannot say that. */
static void default_listen(struct daemon *d)
{
	if (!*d->config.listen)
		d->config.listen = d->config.addresses[d->spec->name];
}

/*
 * A connection is a file. What is usual, 1,024, is a limit for programs that use
 * select(2); who runs this one says more by the hard limit.
 */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		log_warn("the limit of open files cannot be raised: there may be fewer "
			 "connections");
}

/*
 * Calls come and go in bursts. With the 128 KiB that glibc keeps, each burst's memory would
 * be given back to the system and faulted in again for the next.
 */
static void keep_freed_memory(void)
{
	(void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES); /* if refused, it is slower */
	(void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
}

static int configured(struct daemon *d, const struct option_set *sets,
		      enum options_request request)
{
	enum log_level level;

	if (request == OPTIONS_HELP) {
		printf("usage: collector-%s [FLAGS]\n\n%s\n\n", daemon_name_text(d->spec->name),
		       d->spec->summary);
		options_print_help(sets, stdout);
		return EXIT_SUCCESS;
	}
	if (request == OPTIONS_VERSION) {
		printf("collector-%s %s\n", daemon_name_text(d->spec->name), COLLECTOR_VERSION);
		return EXIT_SUCCESS;
	}
	default_listen(d);
	if (!log_level_by_name(d->config.log_level, &level)) {
		fprintf(stderr, "log-level: '%s' is not debug, info, warn or error\n",
			d->config.log_level);
		return EXIT_CODE_USAGE;
	}
	if (request == OPTIONS_CHECK) {
		options_print(sets, stdout);
		return EXIT_SUCCESS;
	}
	log_init(daemon_name_text(d->spec->name), level);
	raise_file_limit();
	keep_freed_memory();
	return run(d);
}

int daemon_run(const struct daemon_spec *spec, int argc, char **argv)
{
	struct daemon d = {.spec = spec, .lock = -1, .mu = PTHREAD_MUTEX_INITIALIZER};
	struct option_set sets[] = {
		{common_options, &d.config}, {no_options, NULL}, {NULL, NULL}};
	enum options_request request;
	struct error err;
	int code = EXIT_CODE_USAGE;

	arena_init(&d.arena, 0);
	d.own_config = xcalloc(1, spec->config_size);
	if (spec->options)
		sets[1] = (struct option_set){spec->options, d.own_config};
	if (options_read(sets, argc, argv, &d.arena, &request, &err) == STATUS_OK)
		code = configured(&d, sets, request);
	else
		fprintf(stderr, "collector-%s: %s: %s\n", daemon_name_text(spec->name),
			err.field, err.message);
	release(&d);
	return code;
}
