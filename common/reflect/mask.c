#include "common/reflect/mask.h"

#include <stdio.h>
#include <string.h>

#include "common/reflect/mask_tree.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

enum { ENTRY_KEY = 1, ENTRY_VALUE = 2, KEY_TEXT_BYTES = 24 };

/* ----------------------------------------------------------------- entries */

/* A map entry's key as paths spell it. */
static struct bytes key_text(const struct pool_field *map, struct bytes entry,
			     char buffer[KEY_TEXT_BYTES])
{
	const struct pool_field *key = &map->type_message->fields[0];
	struct wire_cursor c = wire_cursor_of(entry);
	struct wire_field f, found = {.data = {(const uint8_t *)"", 0}};
	int len;

	while (wire_next(&c, &f))
		if (f.number == ENTRY_KEY && f.type == key->wire_type)
			found = f;
	switch (key->type) {
	case POOL_TYPE_STRING:
		return found.data;
	case POOL_TYPE_SINT32:
		len = snprintf(buffer, KEY_TEXT_BYTES, "%d",
			       (int32_t)wire_zigzag_decode((uint32_t)found.value));
		break;
	case POOL_TYPE_SINT64:
		len = snprintf(buffer, KEY_TEXT_BYTES, "%lld",
			       (long long)wire_zigzag_decode(found.value));
		break;
	case POOL_TYPE_INT32:
	case POOL_TYPE_SFIXED32:
		len = snprintf(buffer, KEY_TEXT_BYTES, "%d", (int32_t)found.value);
		break;
	case POOL_TYPE_UINT32:
	case POOL_TYPE_FIXED32:
		len = snprintf(buffer, KEY_TEXT_BYTES, "%u", (uint32_t)found.value);
		break;
	case POOL_TYPE_INT64:
	case POOL_TYPE_SFIXED64:
		len = snprintf(buffer, KEY_TEXT_BYTES, "%lld", (long long)found.value);
		break;
	default:
		len = snprintf(buffer, KEY_TEXT_BYTES, "%llu", (unsigned long long)found.value);
		break;
	}
	return bytes_of(buffer, (size_t)len);
}

/* The node for an entry of @map's field. NULL: the mask does not name it. */
static struct mask_node *node_of_entry(const struct mask_node *map, struct bytes entry)
{
	char buffer[KEY_TEXT_BYTES];

	return mask_child_of_key(map, key_text(map->field, entry, buffer));
}

static const struct pool_field *value_of(const struct pool_field *map)
{
	return &map->type_message->fields[1];
}

static void add_raw(struct strbuf *out, const struct wire_field *f)
{
	strbuf_add(out, f->raw.data, f->raw.size);
}

/*
 * Sub-messages that are groups are written as such; their end tag follows their
 * content.
 */
static size_t open_message(struct strbuf *out, const struct pool_field *f)
{
	if (f->type != POOL_TYPE_GROUP)
		return wire_open(out, f->number);
	wire_add_tag(out, f->number, WIRE_GROUP_START);
	return 0;
}

static void close_message(struct strbuf *out, const struct pool_field *f, size_t mark)
{
	if (f->type == POOL_TYPE_GROUP)
		wire_add_tag(out, f->number, WIRE_GROUP_END);
	else
		wire_close(out, mark);
}

/* ------------------------------------------------------------------- prune */

static void prune(const struct mask_node *node, struct bytes message, struct strbuf *out);

static void prune_message(const struct mask_node *node, const struct pool_field *f,
			  struct bytes message, struct strbuf *out)
{
	const size_t mark = open_message(out, f);

	prune(node, message, out);
	close_message(out, f, mark);
}

static void prune_entry(const struct mask_node *map, const struct wire_field *entry,
			struct strbuf *out)
{
	const struct mask_node *n = map->is_each ? map : node_of_entry(map, entry->data);
	const struct pool_field *value = value_of(map->field);
	struct wire_cursor c = wire_cursor_of(entry->data);
	struct wire_field f;
	size_t mark;

	if (!n)
		return;
	if (n->is_whole) {
		add_raw(out, entry);
		return;
	}
	mark = wire_open(out, map->field->number);
	while (wire_next(&c, &f)) {
		if (f.number == ENTRY_VALUE && f.type == value->wire_type)
			prune_message(n, value, f.data, out);
		else if (f.number == ENTRY_KEY)
			add_raw(out, &f);
	}
	wire_close(out, mark);
}

/* Recursion is as deep as the mask's paths are long. */
static void prune(const struct mask_node *node, struct bytes message, struct strbuf *out)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const struct mask_node *n = mask_child_of_number(node, f.number);

		if (!n)
			continue;
		if (n->is_whole)
			add_raw(out, &f);
		else if (f.type != n->field->wire_type)
			continue;
		else if (n->field->is_map)
			prune_entry(n, &f, out);
		else
			prune_message(n, n->field, f.data, out);
	}
}

enum status mask_prune(const struct pool_message *m, struct bytes message,
		       const char *const *paths, size_t path_count, struct strbuf *out,
		       struct error *err)
{
	struct mask_tree tree;
	const enum status status = mask_tree_init(&tree, m, MASK_READ, paths, path_count, err);

	if (status == STATUS_OK) {
		if (!path_count || tree.root.is_whole)
			strbuf_add(out, message.data, message.size);
		else
			prune(&tree.root, message, out);
	}
	mask_tree_release(&tree);
	return status;
}

/* ------------------------------------------------------------------- merge */

/* One message, at one node, that is being merged. Both of its versions are normalized. */
struct merging {
	const struct mask_node *node;
	const struct pool_message *type;
	struct bytes patch;
	bool *set; /* oneofs of which the mask takes a member from the patch */
	struct arena *arena;
	struct strbuf *out;
};

static void merge(const struct mask_node *node, const struct pool_message *m, struct bytes base,
		  struct bytes patch, struct arena *arena, struct strbuf *out);

/* What @entry holds for its node @n. */
static void find_in_entry(struct mask_node *n, const struct pool_field *map, struct bytes entry,
			  struct bytes *ret_value)
{
	struct wire_cursor c = wire_cursor_of(entry);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		if (f.number == ENTRY_KEY)
			n->raw_key = f.raw;
		else if (f.number == ENTRY_VALUE && f.type == value_of(map)->wire_type)
			*ret_value = f.data;
	}
}

static void look_at_patch(struct merging *g)
{
	struct wire_cursor c = wire_cursor_of(g->patch);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		struct mask_node *n = mask_child_of_number(g->node, f.number), *entry;

		if (!n || (f.type != n->field->wire_type && !n->is_whole))
			continue;
		n->in_patch = true;
		n->new = f.data;
		if (n->field->oneof >= 0)
			g->set[n->field->oneof] = true;
		entry = n->field->is_map && !n->is_whole ? node_of_entry(n, f.data) : NULL;
		if (!entry)
			continue;
		entry->in_patch = true;
		find_in_entry(entry, n->field, f.data, &entry->new);
	}
}

/* Does the patch set another member of the oneof that the field is in? */
static bool loses_oneof(const struct merging *g, uint32_t number, const struct mask_node *n)
{
	const struct pool_field *f = n ? n->field : NULL;

	if (!g->type->oneof_count || (n && n->in_patch))
		return false;
	if (!f)
		f = pool_declared_field(g->type, number);
	return f && f->oneof >= 0 && g->set[f->oneof];
}

/* One field of the base: kept as it is, gone, or remembered until it is merged. */
static void take_from_base(struct merging *g, const struct wire_field *f)
{
	struct mask_node *n = mask_child_of_number(g->node, f->number), *entry;

	if (loses_oneof(g, f->number, n) || (n && n->is_whole))
		return;
	if (!n || f->type != n->field->wire_type) {
		add_raw(g->out, f);
		return;
	}
	if (!n->field->is_map) {
		n->in_base = true;
		n->old = f->data;
		return;
	}
	entry = node_of_entry(n, f->data);
	if (!entry) {
		add_raw(g->out, f);
	} else if (!entry->is_whole) {
		entry->in_base = true;
		find_in_entry(entry, n->field, f->data, &entry->old);
	}
}

/* Fields and entries that the mask takes as a whole. */
static void copy_from_patch(struct merging *g)
{
	struct wire_cursor c = wire_cursor_of(g->patch);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const struct mask_node *n = mask_child_of_number(g->node, f.number);
		const struct mask_node *entry;

		if (!n)
			continue;
		entry = n->field->is_map && !n->is_whole && f.type == WIRE_BYTES
				? node_of_entry(n, f.data)
				: NULL;
		if (n->is_whole || (entry && entry->is_whole))
			add_raw(g->out, &f);
	}
}

static void merge_message(struct merging *g, const struct mask_node *n,
			  const struct pool_field *f)
{
	const size_t mark = open_message(g->out, f);

	merge(n, f->type_message, n->old, n->new, g->arena, g->out);
	close_message(g->out, f, mark);
}

static void merge_entries(struct merging *g, const struct mask_node *map)
{
	for (size_t i = 0; i < map->child_count; i++) {
		const struct mask_node *n = map->children[i];
		size_t mark;

		if (n->is_whole || !(n->in_base || n->in_patch))
			continue;
		mark = wire_open(g->out, map->field->number);
		strbuf_add(g->out, n->raw_key.data, n->raw_key.size);
		merge_message(g, n, value_of(map->field));
		wire_close(g->out, mark);
	}
}

/* Recursion is as deep as the mask's paths are long, and comes to a node once. */
static void merge(const struct mask_node *node, const struct pool_message *m, struct bytes base,
		  struct bytes patch, struct arena *arena, struct strbuf *out)
{
	struct merging g = {
		.node = node, .type = m, .patch = patch, .arena = arena, .out = out};
	struct wire_cursor c = wire_cursor_of(base);
	struct wire_field f;

	g.set = arena_zalloc(arena, m->oneof_count * sizeof(*g.set));
	look_at_patch(&g);
	while (wire_next(&c, &f))
		take_from_base(&g, &f);
	copy_from_patch(&g);
	for (size_t i = 0; i < node->child_count; i++) {
		const struct mask_node *n = node->children[i];

		if (n->is_whole)
			continue;
		if (n->field->is_map)
			merge_entries(&g, n);
		else if (n->in_base || n->in_patch)
			merge_message(&g, n, n->field);
	}
}

/* Without paths, all that the patch has at its top is meant. */
static void take_what_occurs(struct mask_tree *tree, const struct pool *pool,
			     const struct pool_message *m, struct bytes patch)
{
	struct wire_cursor c = wire_cursor_of(patch);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const struct pool_field *field = pool_field_by_number(pool, m, f.number);

		if (field)
			mask_take_whole(tree, field);
	}
}

enum status mask_merge(const struct pool *pool, const struct pool_message *m, struct bytes base,
		       struct bytes patch, const char *const *paths, size_t path_count,
		       struct strbuf *out, struct error *err)
{
	AUTO_STRBUF old = STRBUF_INIT, new = STRBUF_INIT;
	struct mask_tree tree;
	enum status status = mask_tree_init(&tree, m, MASK_UPDATE, paths, path_count, err);

	if (status == STATUS_OK)
		status = wire_normalize(pool, m, base, &old, err);
	if (status == STATUS_OK)
		status = wire_normalize(pool, m, patch, &new, err);
	if (status == STATUS_OK && tree.root.is_whole) {
		strbuf_add(out, patch.data, patch.size);
	} else if (status == STATUS_OK) {
		if (!path_count)
			take_what_occurs(&tree, pool, m, bytes_of(new.buf, new.len));
		merge(&tree.root, m, bytes_of(old.buf, old.len), bytes_of(new.buf, new.len),
		      &tree.arena, out);
	}
	mask_tree_release(&tree);
	return status;
}

enum status mask_check(const struct pool_message *m, enum mask_use use,
		       const char *const *paths, size_t path_count, struct error *err)
{
	struct mask_tree tree;
	const enum status status = mask_tree_init(&tree, m, use, paths, path_count, err);

	mask_tree_release(&tree);
	return status;
}
