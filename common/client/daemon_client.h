/* Asking a daemon, on its own port, about itself: health and numbers. Blocks. */
#ifndef COMMON_CLIENT_DAEMON_CLIENT_H
#define COMMON_CLIENT_DAEMON_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

struct daemon_method_stats {
	const char *method;
	int64_t calls, errors, rejected, p50_us, p99_us, max_us;
};

struct daemon_number {
	const char *name;
	int64_t value;
};

struct daemon_stats {
	const char *name, *version;
	int64_t pid, started_unix_ms, memory_bytes, live_calls;
	const struct daemon_method_stats *methods;
	size_t method_count;
	const struct daemon_number *numbers;
	size_t number_count;
};

/* grpc.health.v1: is @service ("" the whole daemon) SERVING? */
enum status daemon_client_is_serving(struct rpc_channel *daemon, const char *service,
				     const struct rpc_options *options, struct arena *arena,
				     bool *ret_serving, struct error *err) MUST_CHECK;

enum status daemon_client_stats(struct rpc_channel *daemon, const struct rpc_options *options,
				struct arena *arena, struct daemon_stats *ret,
				struct error *err) MUST_CHECK;

#endif
