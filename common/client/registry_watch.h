/*
 * Following what is registered: the registry's Watch, as plain structs. Blocks; one
 * thread at a time, but for registry_watch_cancel().
 */
#ifndef COMMON_CLIENT_REGISTRY_WATCH_H
#define COMMON_CLIENT_REGISTRY_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

struct registry_watch;

/* A namespace to be told of, and the version of it that is known here. */
struct registry_known {
	const char *ns;
	int64_t version;
};

/* collector.WatchResponse, see there. Borrowed until the next one. */
struct registry_event {
	const char *ns; /* "": what had changed at the start has been told */
	int64_t version;
	const char *const *removed; /* names of files */
	size_t removed_count;
	struct bytes file_descriptor_set; /* of the new and changed files */
	bool complete, more;
};

/* Statuses as rpc_stream_open(). */
enum status registry_watch_open(struct rpc_channel *registry,
				const struct registry_known *known, size_t count,
				const struct rpc_options *options, struct registry_watch **ret,
				struct error *err) MUST_CHECK;
void registry_watch_free(struct registry_watch *w);

/* Wait for the next event. Never ends with OK: UNAVAILABLE, should the registry end it. */
enum status registry_watch_next(struct registry_watch *w, struct registry_event *ret,
				struct error *err) MUST_CHECK;

/* End it: whoever waits gets CANCELLED. Any thread, while it is not freed. */
void registry_watch_cancel(struct registry_watch *w);

#endif
