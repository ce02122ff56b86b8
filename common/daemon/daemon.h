/*
 * The skeleton of every daemon: configuration, the data directory and its lock,
 * the daemon key, a server and a client, signals, readiness, drain.
 *
 * main.c gives tables and hooks to daemon_run() and does nothing else.
 */
#ifndef COMMON_DAEMON_DAEMON_H
#define COMMON_DAEMON_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct daemon;
struct rpc_channel;
struct rpc_client;
struct rpc_fallback;
struct rpc_server;

enum daemon_option_type {
	DAEMON_OPTION_STRING, /* const char * */
	DAEMON_OPTION_INT,    /* int64_t, within [minimum, maximum] */
	DAEMON_OPTION_BOOL,   /* bool */
	DAEMON_OPTION_LIST,   /* const char ** ending with NULL; repeated or comma-separated */
};

/*
 * One row per option. A row named "page-size" is the flag --page-size, the
 * variable COLLECTOR_PAGE_SIZE and the key "page_size" of the JSON file; flags
 * win over the environment, that over the file.
 */
struct daemon_option {
	const char *name;
	enum daemon_option_type type;
	const char *default_value; /* as the flag would be written; NULL: "", 0, false, empty */
	int64_t minimum, maximum;
	size_t offset; /* of the destination in the daemon's configuration struct */
	const char *help;
};

enum daemon_name {
	DAEMON_DISPATCHER,
	DAEMON_REGISTRY,
	DAEMON_REPO,
	DAEMON_WORKER,
	DAEMON_CONSOLE,
	DAEMON_COUNT,
};

struct daemon_spec {
	enum daemon_name name;
	const char *summary; /* one line for --help */
	const struct daemon_option
		*options;     /* its own, beside the common ones; ends with a NULL name */
	size_t config_size;   /* of the struct that the offsets point into */
	unsigned patience_us; /* of its server's loops: see rpc_server_options */
	const struct rpc_fallback *(*fallback)(void *state); /* may be NULL */
	/*
	 * Before serving: open files, make the state, rpc_server_add() its services.
	 * Blocking is fine, other daemons may not be called. A failure ends the
	 * process with exit code 1 and @err in the log.
	 */
	enum status (*open)(struct daemon *d, const void *config, void **ret_state,
			    struct error *err);
	/* After the port is open; starts what needs the other daemons. May be NULL. */
	void (*start)(void *state);
	/* NOT_SERVING is out, calls still come: say goodbye to peers. May be NULL. */
	void (*drain)(void *state);
	/* No calls any more; stop threads, free everything. */
	void (*close)(void *state);
};

/* Runs until SIGTERM or SIGINT; the process's exit code. */
int daemon_run(const struct daemon_spec *spec, int argc, char **argv);

/* All valid from open() to the end of close(). */
struct rpc_server *daemon_server(struct daemon *d);
struct rpc_client *daemon_client(struct daemon *d);

/* "<data>/repo" for the repo: made, 0700, and locked by this process. */
const char *daemon_data_dir(struct daemon *d);

/* The port that it listens on; 0 before it does. */
int daemon_port(struct daemon *d);

/* "127.0.0.1:50051": where it listens (after start), as others may dial it. */
const char *daemon_listen_address(struct daemon *d);

/* The channel to another daemon, from the common option --<name>-address. */
struct rpc_channel *daemon_channel(struct daemon *d, enum daemon_name other);
const char *daemon_address(struct daemon *d, enum daemon_name other);

/* "repo" */
const char *daemon_name_text(enum daemon_name name);

/*
 * Is the whole daemon ready? Sets health "" and all its services; a daemon that
 * never calls it is SERVING once start() returned. Any thread.
 */
void daemon_set_ready(struct daemon *d, bool ready);

/* A number for GetStats and /metrics, such as "collections_open". Any thread. */
void daemon_set_number(struct daemon *d, const char *name, int64_t value);

/*
 * Something that a person should look at while the daemon serves all the same,
 * for GetStats; it is told until the daemon ends. Any thread.
 */
void daemon_add_problem(struct daemon *d, const char *text);

/*
 * Run @tick(@arg) on the daemon's event thread after @delay_ms and then every
 * @interval_ms (0: once), until close. It must not block for long.
 */
void daemon_every(struct daemon *d, int delay_ms, int interval_ms, void (*tick)(void *arg),
		  void *arg);

/* Is this address on loopback? Targets that must be, or need --insecure. */
bool daemon_address_is_loopback(const char *address);

#endif
