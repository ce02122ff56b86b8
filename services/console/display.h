/*
 * The views of Display, made from what the other daemons answer at that moment.
 * A daemon that does not answer is shown as unreachable; a view never fails for
 * it. Blocks: runs on the pool.
 */
#ifndef SERVICES_CONSOLE_DISPLAY_H
#define SERVICES_CONSOLE_DISPLAY_H

#include "common/base/status.h"
#include "common/base/strbuf.h"

struct json_t;
struct pool;
struct rpc_channel;
struct rpc_options;

enum display_view {
	DISPLAY_OVERVIEW,
	DISPLAY_REGISTRIES,
	DISPLAY_COLLECTIONS,
	DISPLAY_WORKFLOWS,
	DISPLAY_EXECUTIONS,
	DISPLAY_CONNECTIONS,
	DISPLAY_VIEW_COUNT,
};

struct display_daemon {
	const char *name; /* "repo" */
	const char *address;
	struct rpc_channel *channel;
};

/* In the order of enum daemon_name. */
struct display_sources {
	const struct display_daemon *daemons;
	size_t daemon_count;
	const struct pool *types;
};

struct display_request {
	enum display_view view;
	const char *ns;     /* "": all */
	const char *state;  /* filters["state"] of workflows and executions, "": any */
	const char *prefix; /* filters["prefix"] of registries, "": any */
	const struct rpc_options *options;
};

/* *ret_data is an object, owned by the caller; lines for a person go to @summary. */
void display_view(const struct display_sources *sources, const struct display_request *request,
		  struct json_t **ret_data, struct strbuf *summary);

#endif
