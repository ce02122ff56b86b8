#include "common/reflect/scan.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/decode.h"
#include "common/reflect/pool.h"

void scan_init(struct scan *s, const struct pool *pool, struct error *err)
{
	s->pool = pool;
	s->err = err;
	s->entries = s->first;
	s->count = 0;
	s->capacity = SCAN_INLINE_ENTRIES;
	s->overwritten = false;
	s->merged_bytes = 0;
	arena_init(&s->arena, 0);
}

void scan_release(struct scan *s)
{
	if (s->entries != s->first)
		free(s->entries);
	arena_release(&s->arena);
}

enum status scan_check_complete(const struct scan *s)
{
	if (s->merged_bytes <= SCAN_MERGE_MAX_BYTES)
		return STATUS_OK;
	return error_set(s->err, STATUS_RESOURCE_EXHAUSTED,
			 "sub-messages come in parts of more than %d bytes in all",
			 SCAN_MERGE_MAX_BYTES);
}

/*
 * Room for the parts of a sub-message. They may come in parts at every level, so
 * that each level has a copy of most of the message. NULL: that is enough.
 */
static uint8_t *merge_room(struct scan *s, size_t size)
{
	s->merged_bytes += size;
	return s->merged_bytes <= SCAN_MERGE_MAX_BYTES ? arena_alloc(&s->arena, size) : NULL;
}

static void grow(struct scan *s)
{
	struct scan_entry *old = s->entries == s->first ? NULL : s->entries;

	s->capacity *= 2;
	s->entries = xreallocarray(old, s->capacity, sizeof(*s->entries));
	if (!old)
		memcpy(s->entries, s->first, sizeof(s->first));
}

static inline struct scan_entry *push(struct scan *s)
{
	if (s->count == s->capacity)
		grow(s);
	return &s->entries[s->count++];
}

static enum status malformed(struct scan *s, const struct pool_message *m)
{
	return error_set(s->err, STATUS_INVALID_ARGUMENT, "the bytes are not a %s",
			 m->full_name);
}

static int compare_entries(const void *a, const void *b)
{
	const struct scan_entry *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return (x->previous > y->previous) - (x->previous < y->previous);
}

/* The oneof members that were read last, to be taken back when another one follows. */
struct oneof_state {
	uint32_t number;
	int32_t last; /* entry, counted from the message's first; -1: none */
};

enum { INLINE_ONEOFS = 16, TAKEN_BACK = 0 /* no field has this number */ };

static void enter_oneof(struct scan *s, struct oneof_state *o, size_t first)
{
	struct scan_entry *e = &s->entries[s->count - 1];

	if (o->number != e->number) {
		for (int32_t at = o->last; at >= 0;) {
			struct scan_entry *loser = &s->entries[first + (size_t)at];

			at = loser->previous;
			loser->number = TAKEN_BACK;
			s->overwritten = true;
		}
		o->number = e->number;
		o->last = -1;
	}
	e->previous = o->last;
	o->last = (int32_t)(s->count - 1 - first);
}

static void drop_taken_back(struct scan *s, size_t first)
{
	size_t to = first;

	for (size_t i = first; i < s->count; i++)
		if (s->entries[i].number != TAKEN_BACK)
			s->entries[to++] = s->entries[i];
	s->count = to;
}

static void sort(struct scan *s, size_t first)
{
	for (size_t i = first; i < s->count; i++)
		s->entries[i].previous = (int32_t)(i - first);
	qsort(s->entries + first, s->count - first, sizeof(*s->entries), compare_entries);
}

/* Read one field at @at into a new entry, or none where it is not wanted. NULL: malformed. */
static inline const uint8_t *read_entry(struct scan *s, const struct pool_message *m,
					const uint8_t *at, const uint8_t *end, int depth,
					bool keep_unknown, struct scan_entry **ret_entry)
{
	const uint8_t *start = at, *data;
	const struct pool_field *f;
	struct scan_entry *e;
	uint32_t number;
	unsigned type;
	uint64_t value = 0;

	*ret_entry = NULL;
	at = decode_tag(at, end, &number, &type);
	if (at)
		at = decode_value(at, end, number, type, depth, &value, &data);
	if (!at)
		return NULL;
	f = m->is_message_set ? NULL : decode_field(s->pool, m, number);
	if (f && (!decode_type_fits(f, type) || (f->type_enum && type == WIRE_VARINT &&
						 !decode_enum_is_known(f->type_enum, value))))
		f = NULL;
	if (!f && !keep_unknown)
		return at;
	*ret_entry = e = push(s);
	e->field = f;
	e->value = f ? value : (uint64_t)(at - start);
	e->data = f ? data : start;
	e->number = f ? number : UINT32_MAX;
	e->previous = -1;
	return at;
}

enum status scan_message(struct scan *s, const struct pool_message *m, struct bytes message,
			 int depth, bool keep_unknown, size_t *ret_first)
{
	const uint8_t *at = message.data, *end = at + message.size;
	struct oneof_state few[INLINE_ONEOFS], *oneofs = few;
	const size_t first = s->count;
	uint32_t last_number = 0;
	bool sorted = true, taken_back = s->overwritten;

	if (message.size > INT32_MAX)
		return malformed(s, m);
	s->overwritten = false;
	if (m->oneof_count > INLINE_ONEOFS)
		oneofs = arena_alloc(&s->arena, m->oneof_count * sizeof(*oneofs));
	for (uint32_t i = 0; i < m->oneof_count; i++)
		oneofs[i] = (struct oneof_state){0, -1};
	while (at < end) {
		struct scan_entry *e;

		at = read_entry(s, m, at, end, depth, keep_unknown, &e);
		if (!at)
			return malformed(s, m);
		if (!e)
			continue;
		sorted &= e->number >= last_number;
		last_number = e->number;
		if (e->field && e->field->oneof >= 0)
			enter_oneof(s, &oneofs[e->field->oneof], first);
	}
	if (s->overwritten)
		drop_taken_back(s, first);
	s->overwritten |= taken_back;
	if (!sorted)
		sort(s, first);
	*ret_first = first;
	return STATUS_OK;
}

struct scan_entry scan_merged(struct scan *s, size_t at, size_t end)
{
	struct scan_entry e = s->entries[end - 1];
	uint8_t *whole;
	size_t size = 0;

	/* Put together, parts may be a message that are none each by itself. */
	s->overwritten = true;
	if (!e.field->type_message)
		return e;
	for (size_t i = at; i < end; i++)
		size += s->entries[i].value;
	whole = merge_room(s, size);
	if (!whole)
		return e;
	e.data = whole;
	e.value = size;
	for (size_t i = at; i < end; i++) {
		memcpy(whole, s->entries[i].data, s->entries[i].value);
		whole += s->entries[i].value;
	}
	return e;
}

bool scan_list_has_elements(const struct scan *s, size_t at, size_t end)
{
	const struct pool_field *f = s->entries[at].field;

	for (; at < end; at++) {
		const uint8_t *data = s->entries[at].data, *data_end;
		uint64_t value;

		if (!data || !decode_is_packable(f))
			return true;
		data_end = data + s->entries[at].value;
		if (data < data_end && !(f->type_enum && f->type_enum->closed))
			return true;
		while (data < data_end) {
			data = decode_packed(f->wire_type, data, data_end, &value);
			if (!data || decode_enum_is_known(f->type_enum, value))
				return true;
		}
	}
	return false;
}

/* ------------------------------------------------------------------ maps */

static uint64_t normal_key(const struct pool_field *key, uint64_t value)
{
	switch (key->type) {
	case POOL_TYPE_INT32:
	case POOL_TYPE_SFIXED32:
		return (uint64_t)(int64_t)(int32_t)value;
	case POOL_TYPE_SINT32:
		return (uint64_t)(int64_t)(int32_t)wire_zigzag_decode((uint32_t)value);
	case POOL_TYPE_SINT64:
		return (uint64_t)wire_zigzag_decode(value);
	case POOL_TYPE_UINT32:
	case POOL_TYPE_FIXED32:
		return (uint32_t)value;
	case POOL_TYPE_BOOL:
		return value != 0;
	default:
		return value;
	}
}

static int compare_texts(const struct scan_map_item *x, const struct scan_map_item *y)
{
	const size_t shorter = (size_t)(x->key < y->key ? x->key : y->key);
	const int order = shorter ? memcmp(x->key_data, y->key_data, shorter) : 0;

	return order ? order : (x->key > y->key) - (x->key < y->key);
}

static int compare_text_items(const void *a, const void *b)
{
	const struct scan_map_item *x = a, *y = b;
	const int order = compare_texts(x, y);

	return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int compare_number_items(const void *a, const void *b)
{
	const struct scan_map_item *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

/* Most writers have sorted them. */
static void sort_items(struct scan_map_item *items, size_t count,
		       int (*compare)(const void *a, const void *b))
{
	for (size_t i = 1; i < count; i++)
		if (compare(&items[i - 1], &items[i]) > 0) {
			qsort(items, count, sizeof(*items), compare);
			return;
		}
}

/* A message value that occurs several times in one entry is merged: their concatenation. */
static void merge_values(struct scan *s, struct bytes entry, unsigned wire_type,
			 struct scan_map_item *item)
{
	struct wire_cursor c = wire_cursor_of(entry);
	struct wire_field f;
	uint8_t *whole = merge_room(s, entry.size);
	size_t size = 0;

	if (!whole)
		return;
	while (wire_next(&c, &f)) {
		if (f.number != 2 || f.type != wire_type)
			continue;
		memcpy(whole + size, f.data.data, f.data.size);
		size += f.data.size;
	}
	item->value = size;
	item->value_data = whole;
}

/* *ret_keep becomes false where a parser keeps the entry as an unknown field. */
static enum status read_item(struct scan *s, const struct pool_message *entry,
			     struct bytes data, int depth, struct scan_map_item *item,
			     bool *ret_keep)
{
	static const uint8_t nothing;
	const struct pool_field *key = &entry->fields[0], *value_field = &entry->fields[1];
	const uint8_t *at = data.data, *end = at + data.size;
	size_t values = 0;

	*ret_keep = true;
	*item = (struct scan_map_item){0};
	while (at < end) {
		const uint8_t *content;
		uint64_t value;
		uint32_t number;
		unsigned type;

		at = decode_tag(at, end, &number, &type);
		if (at)
			at = decode_value(at, end, number, type, depth, &value, &content);
		if (!at)
			return malformed(s, entry);
		if (number == 1 && type == key->wire_type) {
			s->overwritten |= item->key_data != NULL;
			item->key = content ? value : normal_key(key, value);
			item->key_data = content;
		} else if (number == 2 && type == value_field->wire_type) {
			/* The last one decides, as in C++. */
			*ret_keep = !value_field->type_enum ||
				    decode_enum_is_known(value_field->type_enum, value);
			s->overwritten |= values++ > 0;
			item->value = value;
			item->value_data = content;
		}
	}
	if (values > 1 && value_field->type_message)
		merge_values(s, data, value_field->wire_type, item);
	if (!item->key_data)
		item->key_data = &nothing;
	if (!item->value_data)
		item->value_data = &nothing;
	if (!values && value_field->type_enum)
		item->value = (uint64_t)(int64_t)value_field->type_enum->values[0].number;
	return STATUS_OK;
}

enum status scan_map(struct scan *s, size_t at, size_t end, int depth,
		     struct scan_map_item **ret_items, size_t *ret_count)
{
	const struct pool_message *entry = s->entries[at].field->type_message;
	const bool text = entry->fields[0].wire_type == WIRE_BYTES;
	struct scan_map_item *items = arena_alloc(&s->arena, (end - at) * sizeof(*items));
	size_t count = 0, kept = 0;

	for (; at < end; at++) {
		const struct bytes data =
			bytes_of(s->entries[at].data, (size_t)s->entries[at].value);
		bool keep;
		enum status status = read_item(s, entry, data, depth, &items[count], &keep);

		if (status != STATUS_OK)
			return status;
		items[count].order = (uint32_t)count;
		if (keep)
			count++;
		else
			s->overwritten = true;
	}
	sort_items(items, count, text ? compare_text_items : compare_number_items);
	for (size_t i = 0; i < count; i++) {
		if (i + 1 < count && (text ? !compare_texts(&items[i], &items[i + 1])
					   : items[i].key == items[i + 1].key)) {
			s->overwritten = true;
			continue;
		}
		items[kept++] = items[i];
	}
	*ret_items = items;
	*ret_count = kept;
	return STATUS_OK;
}
