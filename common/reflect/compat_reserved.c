/* Numbers and names that are kept from being used: reserved, or for extensions. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/reflect/compat_rules.h"

/* The first range that ends at @number or after it; range_count when there is none. */
static uint32_t range_at(const struct pool_reserved *r, int64_t number)
{
	uint32_t low = 0, high = r->range_count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (r->ranges[middle].last < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool compat_number_is_reserved(const struct pool_reserved *r, int64_t number)
{
	const uint32_t at = range_at(r, number);

	return at < r->range_count && r->ranges[at].first <= number;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool compat_name_is_reserved(const struct pool_reserved *r, const char *name)
{
	return r->name_count &&
	       bsearch(&name, r->names, r->name_count, sizeof(*r->names), compare_names);
}

static void add_range(struct strbuf *out, int64_t first, int64_t last, int64_t last_number)
{
	strbuf_addf(out, "%s%" PRId64, out->len ? ", " : "", first);
	if (last == last_number && last != first)
		strbuf_addstr(out, " to max");
	else if (last != first)
		strbuf_addf(out, " to %" PRId64, last);
}

/* The parts of @range that @is does not hold. */
static void add_missing(struct strbuf *out, const struct pool_range *range,
			const struct pool_reserved *is, int64_t last_number)
{
	int64_t next = range->first;

	for (uint32_t i = range_at(is, next);
	     i < is->range_count && is->ranges[i].first <= range->last; i++) {
		if (next < is->ranges[i].first)
			add_range(out, next, is->ranges[i].first - 1, last_number);
		next = is->ranges[i].last + 1;
	}
	if (next <= range->last)
		add_range(out, next, range->last, last_number);
}

static void check_ranges(struct compat *c, const struct compat_keeper *keeper,
			 const struct pool_reserved *was, const struct pool_reserved *is)
{
	AUTO_STRBUF range = STRBUF_INIT;
	AUTO_STRBUF missing = STRBUF_INIT;

	for (uint32_t i = 0; i < was->range_count && !c->truncated; i++) {
		const struct pool_range *r = &was->ranges[i];

		strbuf_reset(&range);
		strbuf_reset(&missing);
		add_missing(&missing, r, is, keeper->last_number);
		if (!missing.len)
			continue;
		add_range(&range, r->first, r->last, keeper->last_number);
		compat_add(c, keeper->rule, keeper->file, keeper->path, "the %s %s lose %s",
			   keeper->what, range.buf, missing.buf);
	}
}

void compat_reserved(struct compat *c, const struct compat_keeper *keeper,
		     const struct pool_reserved *was, const struct pool_reserved *is)
{
	if (!(c->levels & keeper->rule->levels))
		return;
	check_ranges(c, keeper, was, is);
	for (uint32_t i = 0; i < was->name_count && !c->truncated; i++)
		if (!compat_name_is_reserved(is, was->names[i]))
			compat_add(c, keeper->rule, keeper->file, keeper->path,
				   "the name \"%s\" is not reserved any more", was->names[i]);
}
