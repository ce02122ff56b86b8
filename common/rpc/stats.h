/*
 * Counters and latency histograms per method, in fixed memory: 128 methods, the
 * rest together as "other". Safe from any thread, without locks.
 */
#ifndef COMMON_RPC_STATS_H
#define COMMON_RPC_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct rpc_stats;
struct rpc_stats_slot;

struct rpc_method_stats {
	const char *method; /* "/collector.CollectionService/Get"; lives as long as the stats */
	uint64_t calls, errors;
	uint64_t rejected;               /* RESOURCE_EXHAUSTED; among the errors */
	uint64_t p50_us, p99_us, max_us; /* within 4% */
};

struct rpc_stats *rpc_stats_new(void);
void rpc_stats_free(struct rpc_stats *stats);
void rpc_stats_record(struct rpc_stats *stats, const char *method, enum status status,
		      uint64_t duration_ns);

/*
 * The place of @method, made at first use, or that of "other". Recording there
 * saves the lookup; it lives as long as the stats.
 */
struct rpc_stats_slot *rpc_stats_slot(struct rpc_stats *stats, const char *method);
void rpc_stats_record_at(struct rpc_stats_slot *slot, enum status status, uint64_t duration_ns);

/* A call begins (+1) or has ended (-1); returns how many are live then. */
uint64_t rpc_stats_add_live(struct rpc_stats *stats, int change);

/* Fills up to @max entries; returns how many there are. */
size_t rpc_stats_read(struct rpc_stats *stats, struct rpc_method_stats *out, size_t max);
uint64_t rpc_stats_live_calls(struct rpc_stats *stats);

#endif
