/* Ranges of numbers that may not overlap. */
#include <stdlib.h>

#include "common/reflect/link.h"

static int compare_ranges(const void *a, const void *b)
{
	const struct link_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static bool is_backwards(const struct link_range *r)
{
	return r->first > r->last;
}

/* Those that run forward to the front; returns how many. */
static size_t forward_first(struct link_range *ranges, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		const struct link_range r = ranges[i];

		if (is_backwards(&r))
			continue;
		ranges[i] = ranges[n];
		ranges[n++] = r;
	}
	return n;
}

static enum status overlap(struct linker *l, const char *symbol, const struct link_range *a,
			   const struct link_range *b, int64_t number)
{
	return link_fail(l, symbol, "%s and %s both take the number %lld", a->what, b->what,
			 (long long)number);
}

/* The one of @sorted that begins last, but not after @number; NULL: all begin after it. */
static const struct link_range *begins_before(const struct link_range *sorted, size_t count,
					      int64_t number)
{
	size_t low = 0, high = count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (sorted[middle].first <= number)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &sorted[low - 1] : NULL;
}

/*
 * To protoc a range that runs backwards (messages may reserve "10 to 5") takes
 * no number, and yet overlaps what lies around all of it.
 */
enum status ranges_check(struct linker *l, const char *symbol, struct link_range *ranges,
			 size_t count)
{
	const size_t n = forward_first(ranges, count);

	if (n)
		qsort(ranges, n, sizeof(*ranges), compare_ranges);
	/* Sorted by where they start, they overlap only if neighbours do. */
	for (size_t i = 1; i < n; i++)
		if (ranges[i].first <= ranges[i - 1].last)
			return overlap(l, symbol, &ranges[i - 1], &ranges[i], ranges[i].first);
	for (size_t i = n; i < count; i++) {
		const struct link_range *around = begins_before(ranges, n, ranges[i].last);

		if (around && around->last >= ranges[i].first)
			return overlap(l, symbol, around, &ranges[i], ranges[i].last);
	}
	return STATUS_OK;
}
