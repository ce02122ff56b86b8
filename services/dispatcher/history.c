#include "services/dispatcher/history.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/names.h"
#include "common/base/random.h"
#include "common/client/repo_client.h"
#include "services/dispatcher/sampling.h"

enum {
	BATCH = 500,
	GATHER_MS = 200, /* how long calls are gathered for a batch */
	CALL_TIMEOUT_MS = 5000,
	RETRY_MS = 500,
	TIDY_EVERY_MS = 2000,
	TIDY_BATCHES = 40, /* of removals at a time */
	LAST_WISHES_MS = 1000,
};

struct kept {
	struct kept *next;
	char id[UUID_TEXT_BYTES];
	size_t size;
	uint8_t data[];
};

struct history {
	struct rpc_channel *repo;
	struct history_options options;
	pthread_t thread;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t changed;
	struct sampling sampling;
	struct kept *first, **last;
	unsigned queued;
	struct history_numbers numbers;
	bool closing;
	bool have_collection; /* this and below: the thread's own */
	uint64_t tidied_ns;
};

/* ------------------------------------------------------------------ keeping */

static struct kept *pack(const struct dispatch_record *record, uint64_t stands_for)
{
	struct dispatch_record r = *record;
	struct arena arena;
	struct kept *k;
	struct bytes data;
	char id[UUID_TEXT_BYTES];

	arena_init(&arena, 0);
	random_uuid7(clock_unix_ms(), id);
	r.id = id;
	r.stands_for = stands_for;
	data = dispatch_record_pack(&r, &arena);
	k = xmalloc(sizeof(*k) + data.size);
	k->next = NULL;
	memcpy(k->id, id, sizeof(id));
	k->size = data.size;
	memcpy(k->data, data.data, data.size);
	arena_release(&arena);
	return k;
}

void history_put(struct history *h, const struct dispatch_record *record)
{
	const struct sampling_call call = {.now_ns = clock_monotonic_ns(),
					   .duration_us = record->duration_us,
					   .failed = record->status != STATUS_OK};
	uint64_t stands_for;
	struct kept *k;
	bool keep;

	if (!h->options.max_records)
		return;
	pthread_mutex_lock(&h->mu);
	keep = sampling_keeps(&h->sampling, &call, &stands_for);
	h->numbers.sampled += !keep;
	if (keep && (h->queued >= HISTORY_QUEUE || h->closing)) {
		h->numbers.dropped++;
		keep = false;
	}
	h->queued += keep;
	pthread_mutex_unlock(&h->mu);
	if (!keep)
		return;
	k = pack(record, stands_for);
	pthread_mutex_lock(&h->mu);
	*h->last = k;
	h->last = &k->next;
	if (h->queued == BATCH)
		pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->mu);
}

struct history_numbers history_numbers(struct history *h)
{
	struct history_numbers n;

	pthread_mutex_lock(&h->mu);
	n = h->numbers;
	pthread_mutex_unlock(&h->mu);
	return n;
}

/* ------------------------------------------------------------------ the thread */

static struct timespec from_now(int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

/* False: the daemon ends. */
static bool pause_ms(struct history *h, int ms, unsigned until_queued)
{
	struct timespec until = from_now(ms);
	bool goes_on;

	pthread_mutex_lock(&h->mu);
	while (!h->closing && h->queued < until_queued)
		if (pthread_cond_timedwait(&h->changed, &h->mu, &until))
			break;
	goes_on = !h->closing;
	pthread_mutex_unlock(&h->mu);
	return goes_on;
}

/* The first of the queue, which stay in it until they are written. */
static size_t look(struct history *h, struct repo_write writes[BATCH])
{
	size_t n = 0;

	pthread_mutex_lock(&h->mu);
	for (const struct kept *k = h->first; k && n < BATCH; k = k->next)
		writes[n++] = (struct repo_write){.id = k->id,
						  .type_name = DISPATCH_TYPE,
						  .item = bytes_of(k->data, k->size)};
	pthread_mutex_unlock(&h->mu);
	return n;
}

static void take_off(struct history *h, size_t count, bool written)
{
	struct kept *gone, *k;

	pthread_mutex_lock(&h->mu);
	gone = k = h->first;
	for (size_t i = 0; i + 1 < count; i++)
		k = k->next;
	h->first = k->next;
	if (!h->first)
		h->last = &h->first;
	k->next = NULL;
	h->queued -= (unsigned)count;
	*(written ? &h->numbers.written : &h->numbers.dropped) += count;
	pthread_mutex_unlock(&h->mu);
	while (gone) {
		k = gone->next;
		free(gone);
		gone = k;
	}
}

static enum status ensure_collection(struct history *h, struct arena *arena, struct error *err)
{
	static const char *const indexed[] = {"method_name",         "namespace",
					      "target_collector_id", "result_status.code",
					      "duration_us",         NULL};
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	enum status status = STATUS_OK;

	if (!h->have_collection)
		status = repo_client_ensure_collection(h->repo, NAMES_SYSTEM_NAMESPACE,
						       DISPATCHES_COLLECTION, DISPATCH_TYPE,
						       indexed, &options, arena, err);
	h->have_collection = status == STATUS_OK;
	return status;
}

/* An absent repo is waited for: the queue's bound decides what is lost meanwhile. */
static bool write_batch(struct history *h)
{
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	struct repo_write writes[BATCH];
	size_t count = look(h, writes);
	struct arena arena;
	struct error err;
	enum status status;

	if (!count)
		return true;
	arena_init(&arena, 0);
	status = ensure_collection(h, &arena, &err);
	if (status == STATUS_OK)
		status = repo_client_write(h->repo, NAMES_SYSTEM_NAMESPACE,
					   DISPATCHES_COLLECTION, writes, count, &options,
					   &arena, NULL, &err);
	arena_release(&arena);
	if (status == STATUS_NOT_FOUND)
		h->have_collection = false; /* somebody deleted it */
	if (status == STATUS_OK) {
		take_off(h, count, true);
	} else if (status != STATUS_UNAVAILABLE && status != STATUS_DEADLINE_EXCEEDED &&
		   status != STATUS_NOT_FOUND) {
		log_warn("%zu records of the history cannot be written and are dropped: %s",
			 count, err.message);
		take_off(h, count, false);
	}
	return status == STATUS_OK;
}

/* --------------------------------------------------------------------- tidying */

/* The time in a UUIDv7: its first 48 bits. 0: it is none. */
static uint64_t unix_ms_of(const char *id)
{
	uint64_t ms = 0;
	int digits = 0;

	for (; *id && digits < 12; id++) {
		const char *hex = "0123456789abcdef", *at = strchr(hex, *id);
		if (*id == '-')
			continue;
		if (!at)
			return 0;
		ms = ms << 4 | (uint64_t)(at - hex);
		digits++;
	}
	return digits == 12 ? ms : 0;
}

/* Of the first written, @limit at most: those that are too many or too old. */
static size_t choose_old(struct history *h, int limit, struct arena *arena,
			 struct repo_write writes[BATCH])
{
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	const uint64_t now_ms = clock_unix_ms();
	const uint64_t oldest_ms =
		now_ms > h->options.max_age_ms ? now_ms - h->options.max_age_ms : 0;
	struct repo_page page;
	struct error ignored; /* the next time will do */
	uint64_t excess;
	size_t n = 0;

	if (repo_client_list(h->repo, NAMES_SYSTEM_NAMESPACE, DISPATCHES_COLLECTION, "", "",
			     limit, "", &options, arena, &page, &ignored) != STATUS_OK)
		return 0;
	excess = (uint64_t)page.total_count > h->options.max_records
			 ? (uint64_t)page.total_count - h->options.max_records
			 : 0;
	for (size_t i = 0; i < page.count && n < BATCH; i++)
		if (i < excess || unix_ms_of(page.records[i].id) < oldest_ms)
			writes[n++] = (struct repo_write){.id = page.records[i].id};
	return n;
}

/*
 * False: nothing more is to be removed, or it cannot be now. Most of the time the first is
 * to stay, and so are the others.
 */
static bool remove_old(struct history *h, struct arena *arena)
{
	struct rpc_options options = {.timeout_ms = CALL_TIMEOUT_MS};
	struct repo_write writes[BATCH];
	struct error ignored;
	size_t count = choose_old(h, 1, arena, writes);

	if (count)
		count = choose_old(h, BATCH, arena, writes);
	return count &&
	       repo_client_write(h->repo, NAMES_SYSTEM_NAMESPACE, DISPATCHES_COLLECTION, writes,
				 count, &options, arena, NULL, &ignored) == STATUS_OK &&
	       count == BATCH;
}

static void tidy(struct history *h)
{
	uint64_t now_ns = clock_monotonic_ns();
	bool more = true;

	if (h->tidied_ns && now_ns - h->tidied_ns < TIDY_EVERY_MS * 1000000ull)
		return;
	h->tidied_ns = now_ns;
	for (int i = 0; more && i < TIDY_BATCHES; i++) {
		struct arena arena;
		arena_init(&arena, 0);
		more = remove_old(h, &arena);
		arena_release(&arena);
		more = more && pause_ms(h, 0, BATCH); /* new ones go first */
	}
}

static void *run(void *arg)
{
	struct history *h = arg;
	uint64_t give_up_ns;
	struct repo_write writes[BATCH];

	while (pause_ms(h, GATHER_MS, BATCH)) {
		if (!write_batch(h))
			(void)pause_ms(h, RETRY_MS, HISTORY_QUEUE + 1);
		else
			tidy(h);
	}
	give_up_ns = clock_monotonic_ns() + LAST_WISHES_MS * 1000000ull;
	while (look(h, writes) && clock_monotonic_ns() < give_up_ns)
		if (!write_batch(h))
			break;
	return NULL;
}

struct history *history_new(struct rpc_channel *repo, const struct history_options *options)
{
	struct history *h = xcalloc(1, sizeof(*h));

	h->repo = repo;
	h->options = *options;
	h->last = &h->first;
	sampling_init(&h->sampling, HISTORY_PER_SECOND, HISTORY_FAILED_PER_SECOND,
		      HISTORY_SLOWEST_PER_SECOND);
	pthread_mutex_init(&h->mu, NULL);
	pthread_cond_init(&h->changed, NULL);
	if (pthread_create(&h->thread, NULL, run, h))
		abort();
	return h;
}

void history_free(struct history *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->mu);
	h->closing = true;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->mu);
	pthread_join(h->thread, NULL);
	while (h->first) {
		struct kept *k = h->first;
		h->first = k->next;
		free(k);
	}
	pthread_mutex_destroy(&h->mu);
	pthread_cond_destroy(&h->changed);
	free(h);
}
