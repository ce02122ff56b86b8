/*
 * Inside common/reflect: one message read as a parser would read it, without
 * building objects: its field occurrences sorted by number, oneofs resolved,
 * as entries on a stack that nested messages share. A scan belongs to one call.
 */
#ifndef COMMON_REFLECT_SCAN_H
#define COMMON_REFLECT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/reflect/descriptor.h"

struct pool;

struct scan_entry {
	const struct pool_field *field; /* NULL: unknown; data is the whole field then */
	uint64_t value;                 /* a number, or the size of data */
	const uint8_t *data;            /* NULL for numbers */
	int32_t previous;               /* of the same oneof, or the order of arrival */
	uint32_t number;                /* unknown fields sort last */
};

enum {
	SCAN_INLINE_ENTRIES = 96,
	SCAN_MERGE_MAX_BYTES = 64 << 20, /* of sub-messages that came in parts, in all */
};

struct scan {
	const struct pool *pool;
	struct error *err;
	struct scan_entry *entries;
	size_t count;
	size_t capacity;
	struct arena arena; /* for what must be put together; freed with the scan */
	/*
	 * Something was overwritten or put together, so not every byte was looked at
	 * as it came: the caller must wire_validate() the whole before it trusts the outcome.
	 */
	bool overwritten;
	size_t merged_bytes; /* beyond SCAN_MERGE_MAX_BYTES nothing more was merged */
	struct scan_entry first[SCAN_INLINE_ENTRIES];
};

void scan_init(struct scan *s, const struct pool *pool, struct error *err);
void scan_release(struct scan *s);

/*
 * After the walk: was every part looked at?
 * RESOURCE_EXHAUSTED: no, SCAN_MERGE_MAX_BYTES were reached.
 */
enum status scan_check_complete(const struct scan *s) MUST_CHECK;

/*
 * Push the entries of @message; they are entries[*ret_first .. s->count). The
 * caller pops them by setting s->count back to *ret_first. Unknown fields are
 * pushed if @keep_unknown is set.
 * INVALID_ARGUMENT: malformed.
 */
enum status scan_message(struct scan *s, const struct pool_message *m, struct bytes message,
			 int depth, bool keep_unknown, size_t *ret_first) MUST_CHECK;

/* The entries from @at on that are of the same field as that one: their end. */
static inline size_t scan_run_end(const struct scan *s, size_t at)
{
	const uint32_t number = s->entries[at].number;

	do
		at++;
	while (at < s->count && s->entries[at].number == number);
	return at;
}

/* scan_singular() of several. */
struct scan_entry scan_merged(struct scan *s, size_t at, size_t end);

/*
 * The value of the singular field whose entries are [@at, @end): the last, or
 * for messages all of them merged, which is their concatenation.
 */
static inline struct scan_entry scan_singular(struct scan *s, size_t at, size_t end)
{
	return end - at == 1 ? s->entries[at] : scan_merged(s, at, end);
}

/* An entry of a map. Keys that are numbers are as their type has them, sign-extended. */
struct scan_map_item {
	uint64_t key; /* or the size of key_data */
	const uint8_t *key_data;
	uint64_t value; /* or the size of value_data */
	const uint8_t *value_data;
	uint32_t order;
};

/*
 * The map whose entries are [@at, @end), sorted by key, the last of equal keys
 * only. Entries that hold an unknown closed enum value are left out, as parsers
 * do. *ret_items is in s->arena.
 */
enum status scan_map(struct scan *s, size_t at, size_t end, int depth,
		     struct scan_map_item **ret_items, size_t *ret_count) MUST_CHECK;

/*
 * Is there an element in the packed or unpacked list [@at, @end)? Unknown
 * numbers of a closed enum are none. A malformed packed run counts as one.
 */
bool scan_list_has_elements(const struct scan *s, size_t at, size_t end);

/* Is a number the default of its type? Only the bits that the type keeps count. */
static inline bool scan_is_default(const struct pool_field *f, uint64_t value)
{
	switch (f->type) {
	case POOL_TYPE_INT32:
	case POOL_TYPE_UINT32:
	case POOL_TYPE_SINT32:
	case POOL_TYPE_ENUM:
		return (uint32_t)value == 0;
	default:
		return value == 0;
	}
}

#endif
