#include "services/dispatcher/sampling.h"

#include <string.h>

static const uint64_t second = 1000000000;

void sampling_init(struct sampling *s, unsigned per_second, unsigned failed_per_second,
		   unsigned slowest_per_second)
{
	*s = (struct sampling){
		.all = {per_second, per_second},
		.failed = {failed_per_second, failed_per_second},
		.slowest = {slowest_per_second, slowest_per_second},
		.slow_bucket = SAMPLING_BUCKETS, /* unknown: none is */
	};
}

/* Four to each power of two: within a fifth. */
static unsigned bucket_of(uint64_t duration_us)
{
	unsigned power;

	if (duration_us < 4)
		return (unsigned)duration_us;
	power = 63 - (unsigned)__builtin_clzll(duration_us);
	return power * 4 + (unsigned)(duration_us >> (power - 2) & 3);
}

/* A second is over: which durations were among the slowest of it? */
static void turn_second(struct sampling *s, uint64_t now_ns)
{
	uint64_t count = 0;
	unsigned b = SAMPLING_BUCKETS;

	while (b && count + s->durations[b - 1] <= s->slowest.per_second)
		count += s->durations[--b];
	s->slow_bucket =
		count ? b : SAMPLING_BUCKETS; /* nothing slow enough, or nothing at all */
	memset(s->durations, 0, sizeof(s->durations));
	s->second_ns = now_ns;
}

static void grow(struct sampling_room *r, uint64_t elapsed_ns)
{
	r->room += (double)r->per_second * (double)elapsed_ns / (double)second;
	if (r->room > r->per_second)
		r->room = r->per_second;
}

static bool take(struct sampling_room *r)
{
	if (r->room < 1)
		return false;
	r->room -= 1;
	return true;
}

static void pass_time(struct sampling *s, uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns > s->last_ns ? now_ns - s->last_ns : 0;

	grow(&s->all, elapsed_ns);
	grow(&s->failed, elapsed_ns);
	grow(&s->slowest, elapsed_ns);
	if (now_ns > s->last_ns)
		s->last_ns = now_ns;
	if (now_ns >= s->second_ns + second)
		turn_second(s, now_ns);
}

bool sampling_keeps(struct sampling *s, const struct sampling_call *call,
		    uint64_t *ret_stands_for)
{
	unsigned bucket = bucket_of(call->duration_us);

	pass_time(s, call->now_ns);
	s->durations[bucket]++;
	*ret_stands_for = 0;
	if (take(&s->all)) {
		*ret_stands_for = s->skipped;
		s->skipped = 0;
		return true;
	}
	if ((call->failed && take(&s->failed)) ||
	    (bucket >= s->slow_bucket && take(&s->slowest)))
		return true;
	s->skipped++;
	return false;
}
