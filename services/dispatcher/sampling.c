#include "services/dispatcher/sampling.h"

#include <string.h>

static const uint64_t second = 1000000000, slice = 20000000;

enum { PRICE_MAX = 10 };

void sampling_init(struct sampling *s, unsigned per_second, unsigned failed_per_second,
		   unsigned slowest_per_second)
{
	*s = (struct sampling){
		.all = {per_second, per_second},
		.failed = {failed_per_second, failed_per_second},
		.slowest = {slowest_per_second, slowest_per_second},
		.slow_bucket = SAMPLING_BUCKETS, /* unknown: none is */
		.price = 1,
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

/*
 * Room for one call costs as many times more as more calls come than there is room for:
 * then the more there are, the less it costs to keep some of them. Only once the room
 * was used up: many at once may still be few in a second.
 */
static void turn_slice(struct sampling *s, uint64_t now_ns)
{
	const double rate =
		(double)s->slice_calls * (double)second / (double)(now_ns - s->slice_ns);

	s->price = rate / (double)s->all.per_second;
	if (s->price <= 1)
		s->is_crowded = false;
	if (s->price > PRICE_MAX)
		s->price = PRICE_MAX;
	s->slice_calls = 0;
	s->slice_ns = now_ns;
}

static void grow(struct sampling_room *r, uint64_t elapsed_ns)
{
	r->room += (double)r->per_second * (double)elapsed_ns / (double)second;
	if (r->room > r->per_second)
		r->room = r->per_second;
}

/* A higher price is paid afterwards: who waits until there is as much comes after all others. */
static bool take(struct sampling_room *r, double price)
{
	if (r->room < 1)
		return false;
	r->room -= price;
	return true;
}

/* Room among all. A failure, which tells more, never costs more. */
static bool take_any(struct sampling *s, bool failed)
{
	s->is_crowded = s->is_crowded || s->all.room < 1;
	return take(&s->all, s->is_crowded && !failed && s->price > 1 ? s->price : 1);
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
	if (now_ns >= s->slice_ns + slice)
		turn_slice(s, now_ns);
}

bool sampling_keeps(struct sampling *s, const struct sampling_call *call,
		    uint64_t *ret_stands_for)
{
	unsigned bucket = bucket_of(call->duration_us);

	pass_time(s, call->now_ns);
	s->durations[bucket]++;
	s->slice_calls++;
	*ret_stands_for = 0;
	if (take_any(s, call->failed) || (call->failed && take(&s->failed, 1))) {
		*ret_stands_for = s->skipped[call->failed];
		s->skipped[call->failed] = 0;
		return true;
	}
	if (bucket >= s->slow_bucket && take(&s->slowest, 1))
		return true;
	s->skipped[call->failed]++;
	return false;
}
