/*
 * Several calls to other daemons at once, in JSON: added, run together, read.
 * One thread uses a gather; it blocks in gather_run() for the timeout at most.
 */
#ifndef SERVICES_CONSOLE_GATHER_H
#define SERVICES_CONSOLE_GATHER_H

#include <stddef.h>

#include "common/base/status.h"

struct gather;
struct json_t;
struct pool;
struct rpc_channel;
struct rpc_options;

enum { GATHER_MAX_CALLS = 512 };

/* @types has the built-in services; borrowed. */
struct gather *gather_new(const struct pool *types);
void gather_free(struct gather *g);

/*
 * Add a call of @path ("/collector.X/Y") with @request (consumed); returns its
 * number, from 0. Past GATHER_MAX_CALLS it is not made and answers
 * RESOURCE_EXHAUSTED.
 */
size_t gather_add(struct gather *g, struct rpc_channel *channel, const char *path,
		  struct json_t *request);

/* Make all calls that were added since the last run, and wait for them. */
void gather_run(struct gather *g, const struct rpc_options *options);

/*
 * The reply of call @number, borrowed; NULL: it failed, *ret_err (borrowed, may
 * be NULL) says how.
 */
const struct json_t *gather_reply(const struct gather *g, size_t number,
				  const struct error **ret_err);

#endif
