/*
 * collector.DaemonService: what a daemon tells about itself. Numbers may be set
 * from any thread; the table of them is guarded by a mutex of its own.
 */
#ifndef COMMON_DAEMON_NUMBERS_H
#define COMMON_DAEMON_NUMBERS_H

#include <stdint.h>

struct numbers;
struct rpc_server;

enum { NUMBERS_MAX = 256, NUMBERS_MAX_PROBLEMS = 100 }; /* further ones are ignored */

/* @daemon_name is borrowed. Adds the service to @server. */
struct numbers *numbers_new(const char *daemon_name, struct rpc_server *server);

/* After the server is freed. */
void numbers_free(struct numbers *n);
void numbers_set(struct numbers *n, const char *name, int64_t value);

/* @text is copied, and kept once. */
void numbers_add_problem(struct numbers *n, const char *text);

#endif
