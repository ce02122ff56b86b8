/*
 * Which of many calls are kept: see history.h. Not thread-safe.
 *
 * Room grows with time, up to a second's worth: whatever comes in one burst, no more than
 * a second's limit is needed at once, and calls that stay below the limit are all kept.
 * Of n times as many as the limit an n-th part of the limit is kept, down to a tenth of
 * it, beside what is kept for having failed or been slow.
 */
#ifndef SERVICES_DISPATCHER_SAMPLING_H
#define SERVICES_DISPATCHER_SAMPLING_H

#include <stdbool.h>
#include <stdint.h>

enum { SAMPLING_BUCKETS = 256 };

struct sampling_room {
	unsigned per_second;
	double room;
};

struct sampling {
	struct sampling_room all, failed, slowest;
	uint64_t last_ns, second_ns, slice_ns;
	uint32_t durations[SAMPLING_BUCKETS]; /* of this second, by their logarithm */
	unsigned slow_bucket;                 /* this and above were the slowest of the last */
	unsigned slice_calls; /* in this slice of a second, which began at slice_ns */
	bool is_crowded;      /* there was no room, and calls have come too fast since */
	double price;         /* calls of the last slice, of as many as there is room for */
	/* Those that went well, and those that failed, since one was kept that stands for them. */
	uint64_t skipped[2];
};

struct sampling_call {
	uint64_t now_ns, duration_us;
	bool failed;
};

void sampling_init(struct sampling *s, unsigned per_second, unsigned failed_per_second,
		   unsigned slowest_per_second);

/*
 * Is the call kept? *ret_stands_for: how many others it stands for; a failure for failures
 * alone, since more of them are kept.
 */
bool sampling_keeps(struct sampling *s, const struct sampling_call *call,
		    uint64_t *ret_stands_for);

#endif
