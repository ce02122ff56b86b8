/*
 * The history of calls: records in system/dispatches, written in batches by a thread of
 * its own, behind the calls' back.
 *
 * Up to 1,000 a second all are kept. Above, failures and the slowest are kept as far as
 * they have room of their own, and of the rest fewer the more there are: half of 1,000 a
 * second at 2,000, a tenth from 10,000 on, so that those who call the most pay the least
 * for it; each tells how many it stands for. What the repo cannot take in time is dropped and counted.
 * Old ones are removed by age and by count.
 *
 * Thread-safe; history_put() does not block, and packs only what is kept.
 */
#ifndef SERVICES_DISPATCHER_HISTORY_H
#define SERVICES_DISPATCHER_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/client/dispatch_records.h"

struct history;
struct rpc_channel;

enum {
	HISTORY_PER_SECOND = 1000,        /* of all calls */
	HISTORY_FAILED_PER_SECOND = 1000, /* more, of those that failed */
	HISTORY_SLOWEST_PER_SECOND = 100, /* more, of the slowest */
	HISTORY_QUEUE = 32768,            /* that wait for the repo */
};

struct history_options {
	uint64_t max_records; /* 0: no history at all */
	uint64_t max_age_ms;
};

/* Starts the thread. @repo is borrowed. */
struct history *history_new(struct rpc_channel *repo, const struct history_options *options);

/* Writes for up to a second what is queued, then joins the thread. */
void history_free(struct history *h);

/* A call has ended. Its id is made here; texts are copied. */
void history_put(struct history *h, const struct dispatch_record *record);

struct history_numbers {
	uint64_t written; /* to the repo */
	uint64_t sampled; /* not kept for themselves: others stand for them */
	uint64_t dropped; /* for want of a repo that takes them */
};
struct history_numbers history_numbers(struct history *h);

#endif
