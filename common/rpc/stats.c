#include "common/rpc/stats.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

/*
 * A histogram of microseconds with 16 buckets to each power of two: a bucket's
 * middle is within 1/32 of every value in it. Values below 16 have their own.
 */
enum {
	SUB_BITS = 4,
	SUB_COUNT = 1 << SUB_BITS,
	VALUE_BITS = 36, /* 19 hours */
	BUCKET_COUNT = (VALUE_BITS - SUB_BITS + 1) * SUB_COUNT,
	MAX_METHODS = 128,
	OTHER = MAX_METHODS,
};

struct rpc_stats_slot {
	char *method; /* owned */
	atomic_uint_fast64_t calls, errors, rejected, max_us;
	atomic_uint_fast64_t buckets[BUCKET_COUNT];
};

struct rpc_stats {
	atomic_uint_fast64_t live;
	pthread_mutex_t adding; /* makes slots one at a time */
	atomic_size_t count;    /* slots below it are complete */
	_Atomic(struct rpc_stats_slot *) slots[MAX_METHODS + 1];
};

static unsigned bucket_of(uint64_t us)
{
	unsigned top;

	if (us < SUB_COUNT)
		return (unsigned)us;
	if (us >> VALUE_BITS)
		return BUCKET_COUNT - 1;
	top = 63 - (unsigned)__builtin_clzll(us);
	return (top - SUB_BITS + 1) * SUB_COUNT + (unsigned)(us >> (top - SUB_BITS)) -
	       SUB_COUNT;
}

/* The middle of a bucket. */
static uint64_t bucket_value(unsigned bucket)
{
	unsigned power = bucket / SUB_COUNT;
	uint64_t low;

	if (power <= 1)
		return bucket;
	low = (uint64_t)(SUB_COUNT + bucket % SUB_COUNT) << (power - 1);
	return low + ((uint64_t)1 << (power - 1)) / 2;
}

static struct rpc_stats_slot *slot_new(const char *method)
{
	struct rpc_stats_slot *slot = xcalloc(1, sizeof(*slot));

	slot->method = xstrdup(method);
	return slot;
}

struct rpc_stats *rpc_stats_new(void)
{
	struct rpc_stats *stats = xcalloc(1, sizeof(*stats));

	pthread_mutex_init(&stats->adding, NULL);
	atomic_store(&stats->slots[OTHER], slot_new("other"));
	return stats;
}

void rpc_stats_free(struct rpc_stats *stats)
{
	if (!stats)
		return;
	for (int i = 0; i <= MAX_METHODS; i++) {
		struct rpc_stats_slot *slot = atomic_load(&stats->slots[i]);
		if (slot)
			free(slot->method);
		free(slot);
	}
	pthread_mutex_destroy(&stats->adding);
	free(stats);
}

static struct rpc_stats_slot *find(struct rpc_stats *stats, const char *method)
{
	size_t count = atomic_load_explicit(&stats->count, memory_order_acquire);

	for (size_t i = 0; i < count; i++) {
		struct rpc_stats_slot *slot = atomic_load(&stats->slots[i]);
		if (!strcmp(slot->method, method))
			return slot;
	}
	return NULL;
}

struct rpc_stats_slot *rpc_stats_slot(struct rpc_stats *stats, const char *method)
{
	struct rpc_stats_slot *slot = find(stats, method);
	size_t count;

	if (slot)
		return slot;
	pthread_mutex_lock(&stats->adding);
	slot = find(stats, method);
	count = atomic_load(&stats->count);
	if (!slot && count < MAX_METHODS) {
		slot = slot_new(method);
		atomic_store(&stats->slots[count], slot);
		atomic_store_explicit(&stats->count, count + 1, memory_order_release);
	}
	pthread_mutex_unlock(&stats->adding);
	return slot ? slot : atomic_load(&stats->slots[OTHER]);
}

static void add(atomic_uint_fast64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void rpc_stats_record_at(struct rpc_stats_slot *slot, enum status status, uint64_t duration_ns)
{
	uint64_t us = duration_ns / 1000;
	uint_fast64_t max = atomic_load_explicit(&slot->max_us, memory_order_relaxed);

	add(&slot->calls);
	if (status != STATUS_OK)
		add(&slot->errors);
	if (status == STATUS_RESOURCE_EXHAUSTED)
		add(&slot->rejected);
	add(&slot->buckets[bucket_of(us)]);
	while (us > max && !atomic_compare_exchange_weak(&slot->max_us, &max, us))
		;
}

void rpc_stats_record(struct rpc_stats *stats, const char *method, enum status status,
		      uint64_t duration_ns)
{
	rpc_stats_record_at(rpc_stats_slot(stats, method), status, duration_ns);
}

/* The value that @share of @total are at or below. */
static uint64_t quantile(const uint64_t *buckets, uint64_t total, double share)
{
	uint64_t wanted = (uint64_t)((double)total * share), seen = 0;

	for (unsigned i = 0; i < BUCKET_COUNT; i++) {
		seen += buckets[i];
		if (seen > wanted)
			return bucket_value(i);
	}
	return 0;
}

static struct rpc_method_stats read_slot(struct rpc_stats_slot *slot)
{
	struct rpc_method_stats out = {
		.method = slot->method,
		.calls = atomic_load(&slot->calls),
		.errors = atomic_load(&slot->errors),
		.rejected = atomic_load(&slot->rejected),
		.max_us = atomic_load(&slot->max_us),
	};
	uint64_t buckets[BUCKET_COUNT], total = 0;

	for (unsigned i = 0; i < BUCKET_COUNT; i++) {
		buckets[i] = atomic_load_explicit(&slot->buckets[i], memory_order_relaxed);
		total += buckets[i];
	}
	out.p50_us = quantile(buckets, total, 0.50);
	out.p99_us = quantile(buckets, total, 0.99);
	/* A bucket's middle may lie above its largest value. */
	if (out.p99_us > out.max_us)
		out.p99_us = out.max_us;
	if (out.p50_us > out.max_us)
		out.p50_us = out.max_us;
	return out;
}

size_t rpc_stats_read(struct rpc_stats *stats, struct rpc_method_stats *out, size_t max)
{
	size_t n = 0;

	for (int i = 0; i <= MAX_METHODS; i++) {
		struct rpc_stats_slot *slot = atomic_load(&stats->slots[i]);
		if (!slot || !atomic_load(&slot->calls))
			continue;
		if (n < max)
			out[n] = read_slot(slot);
		n++;
	}
	return n;
}

uint64_t rpc_stats_add_live(struct rpc_stats *stats, int change)
{
	return atomic_fetch_add(&stats->live, (uint64_t)(int64_t)change) +
	       (uint64_t)(int64_t)change;
}

uint64_t rpc_stats_live_calls(struct rpc_stats *stats)
{
	return atomic_load(&stats->live);
}
