#include "common/reflect/mask.h"

#include <stdio.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/reflect/decode.h"
#include "common/reflect/pool.h"
#include "common/reflect/search.h"

/*
 * Paths as a tree. A node without children takes the field as a whole; one with
 * keys takes these entries of a map; one with children goes on inside.
 */
struct mask_node {
	const struct pool_field *field; /* NULL: the root */
	const char *key;                /* of a map entry, then field is NULL */
	size_t key_len;
	struct mask_node *children;
	struct mask_node *next;
	bool is_whole;
};

struct mask {
	const struct pool *pool;
	struct error *err;
	struct arena arena;
	struct mask_node root;
};

/* --------------------------------------------------------------- parsing */

static struct mask_node *child_for(struct mask *mask, struct mask_node *node,
				   const struct pool_field *f, const char *key, size_t key_len)
{
	struct mask_node *n;

	for (n = node->children; n; n = n->next)
		if (n->field == f && n->key_len == key_len &&
		    (!key || !memcmp(n->key, key, key_len)))
			return n;
	n = arena_zalloc(&mask->arena, sizeof(*n));
	*n = (struct mask_node){
		.field = f, .key = key, .key_len = key_len, .next = node->children};
	node->children = n;
	return n;
}

static enum status refuse(const struct mask *mask, const char *path)
{
	return error_field(mask->err, path,
			   "a mask goes through single messages, and into maps by one key");
}

static enum status add_path(struct mask *mask, const struct pool_message *m, const char *path)
{
	struct mask_node *node = &mask->root;
	struct search_path resolved;
	enum status status =
		search_resolve(mask->pool, m, path, &mask->arena, &resolved, mask->err);

	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < resolved.part_count && !node->is_whole; i++) {
		const struct search_part *part = &resolved.parts[i];
		const struct pool_field *f = node->field;

		if (part->is_map_key && f && f->is_map && i + 1 == resolved.part_count) {
			node = child_for(mask, node, NULL, part->key, part->key_len);
			break;
		}
		if (part->is_map_key || part->is_position || (f && f->repeated))
			return refuse(mask, path);
		f = pool_field_by_name(m, part->key, part->key_len);
		if (!f)
			return refuse(mask, path);
		node = child_for(mask, node, f, NULL, 0);
		m = f->type_message;
	}
	node->is_whole = true;
	return STATUS_OK;
}

static void mask_release(struct mask *mask)
{
	arena_release(&mask->arena);
}

static enum status mask_init(struct mask *mask, const struct pool *pool,
			     const struct pool_message *m, const char *const *paths,
			     size_t path_count, struct error *err)
{
	*mask = (struct mask){.pool = pool, .err = err};
	arena_init(&mask->arena, 0);
	if (path_count > MASK_MAX_PATHS)
		return error_set(err, STATUS_INVALID_ARGUMENT, "a mask has at most %d paths",
				 MASK_MAX_PATHS);
	for (size_t i = 0; i < path_count; i++) {
		enum status status;

		if (path_count == 1 && !strcmp(paths[i], "*")) {
			mask->root.is_whole = true;
			return STATUS_OK;
		}
		status = add_path(mask, m, paths[i]);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static const struct mask_node *node_of_number(const struct mask_node *node, uint32_t number)
{
	for (const struct mask_node *n = node->children; n; n = n->next)
		if (n->field && n->field->number == number)
			return n;
	return NULL;
}

/* ------------------------------------------------------------------ maps */

enum { KEY_TEXT_BYTES = 24 };

/* A map entry's key as it is written in a path. */
static struct bytes key_text(const struct pool_field *key, struct bytes entry,
			     char buffer[KEY_TEXT_BYTES])
{
	struct wire_cursor c = wire_cursor_of(entry);
	struct wire_field f, found = {.data = {(const uint8_t *)"", 0}};
	int len;

	while (wire_next(&c, &f))
		if (f.number == 1 && f.type == key->wire_type)
			found = f;
	switch (key->type) {
	case POOL_TYPE_STRING:
		return found.data;
	case POOL_TYPE_BOOL:
		return bytes_of_string(found.value ? "true" : "false");
	case POOL_TYPE_SINT32:
	case POOL_TYPE_SINT64:
		len = snprintf(buffer, KEY_TEXT_BYTES, "%lld",
			       (long long)wire_zigzag_decode(found.value));
		break;
	case POOL_TYPE_INT32:
	case POOL_TYPE_SFIXED32:
		len = snprintf(buffer, KEY_TEXT_BYTES, "%d", (int32_t)found.value);
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

static bool names_entry(const struct mask_node *map, struct bytes entry)
{
	char buffer[KEY_TEXT_BYTES];
	const struct bytes key = key_text(&map->field->type_message->fields[0], entry, buffer);

	for (const struct mask_node *n = map->children; n; n = n->next)
		if (bytes_equal(key, bytes_of(n->key, n->key_len)))
			return true;
	return false;
}

/* ----------------------------------------------------------------- prune */

static void add_raw(struct strbuf *out, const struct wire_field *f)
{
	strbuf_add(out, f->raw.data, f->raw.size);
}

/*
 * Sub-messages that are groups are written as such; their end tag follows their
 * content. Depth is that of the mask, which SEARCH_PATH_MAX_PARTS bounds.
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

static void prune(const struct mask_node *node, struct bytes message, struct strbuf *out)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const struct mask_node *n = node_of_number(node, f.number);
		size_t mark;

		if (!n)
			continue;
		if (n->is_whole || (n->field->is_map && names_entry(n, f.data))) {
			add_raw(out, &f);
		} else if (!n->field->is_map && f.type == n->field->wire_type) {
			mark = open_message(out, n->field);
			prune(n, f.data, out);
			close_message(out, n->field, mark);
		}
	}
}

enum status mask_prune(const struct pool *pool, const struct pool_message *m,
		       struct bytes message, const char *const *paths, size_t path_count,
		       struct strbuf *out, struct error *err)
{
	struct mask mask;
	enum status status = mask_init(&mask, pool, m, paths, path_count, err);

	if (status == STATUS_OK) {
		if (!path_count || mask.root.is_whole)
			strbuf_add(out, message.data, message.size);
		else
			prune(&mask.root, message, out);
	}
	mask_release(&mask);
	return status;
}

/* ----------------------------------------------------------------- merge */

static bool occurs(struct bytes message, uint32_t number)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number == number)
			return true;
	return false;
}

/* Of a normalized message, in which a singular one occurs once. */
static bool find_message(struct bytes message, const struct pool_field *f,
			 struct bytes *ret_data)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field found;

	*ret_data = bytes_of("", 0);
	while (wire_next(&c, &found))
		if (found.number == f->number && found.type == f->wire_type) {
			*ret_data = found.data;
			return true;
		}
	return false;
}

/* Does the mask set a member of the oneof that @f is in, other than it? */
static bool loses_oneof(const struct mask_node *node, const struct pool_field *f,
			struct bytes patch)
{
	if (!f || f->oneof < 0)
		return false;
	for (const struct mask_node *n = node->children; n; n = n->next)
		if (n->field && n->field != f && n->field->oneof == f->oneof &&
		    occurs(patch, n->field->number))
			return true;
	return false;
}

/* What of @base stays as it is. */
static void copy_untouched(const struct mask_node *node, const struct pool_message *m,
			   struct bytes base, struct bytes patch, struct strbuf *out)
{
	struct wire_cursor c = wire_cursor_of(base);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const struct mask_node *n = node_of_number(node, f.number);

		if (n && !(n->field->is_map && !n->is_whole && !names_entry(n, f.data)))
			continue;
		if (!loses_oneof(node, pool_declared_field(m, f.number), patch))
			add_raw(out, &f);
	}
}

static void copy_field(const struct mask_node *n, struct bytes patch, struct strbuf *out)
{
	struct wire_cursor c = wire_cursor_of(patch);
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number == n->field->number && (n->is_whole || names_entry(n, f.data)))
			add_raw(out, &f);
}

/* Both are normalized. Recursion is as deep as the mask's paths are long. */
static void merge(const struct mask_node *node, const struct pool_message *m, struct bytes base,
		  struct bytes patch, struct strbuf *out)
{
	copy_untouched(node, m, base, patch, out);
	for (const struct mask_node *n = node->children; n; n = n->next) {
		struct bytes old, new;
		bool present;
		size_t mark;

		if (n->is_whole || n->field->is_map) {
			copy_field(n, patch, out);
			continue;
		}
		present = find_message(base, n->field, &old);
		present |= find_message(patch, n->field, &new);
		if (!present ||
		    (loses_oneof(node, n->field, patch) && !occurs(patch, n->field->number)))
			continue;
		mark = open_message(out, n->field);
		merge(n, n->field->type_message, old, new, out);
		close_message(out, n->field, mark);
	}
}

/* Without paths, all that the patch has at its top is meant. */
static void mask_what_occurs(struct mask *mask, const struct pool_message *m,
			     struct bytes patch)
{
	struct wire_cursor c = wire_cursor_of(patch);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		const struct pool_field *field = pool_declared_field(m, f.number);

		if (field && !node_of_number(&mask->root, f.number))
			child_for(mask, &mask->root, field, NULL, 0)->is_whole = true;
	}
}

enum status mask_merge(const struct pool *pool, const struct pool_message *m, struct bytes base,
		       struct bytes patch, const char *const *paths, size_t path_count,
		       struct strbuf *out, struct error *err)
{
	AUTO_STRBUF clean_base = STRBUF_INIT, clean_patch = STRBUF_INIT;
	struct mask mask;
	enum status status = mask_init(&mask, pool, m, paths, path_count, err);

	if (status == STATUS_OK)
		status = wire_normalize(pool, m, base, &clean_base, err);
	if (status == STATUS_OK)
		status = wire_normalize(pool, m, patch, &clean_patch, err);
	if (status == STATUS_OK && mask.root.is_whole) {
		strbuf_add(out, patch.data, patch.size);
	} else if (status == STATUS_OK) {
		const struct bytes to = bytes_of(clean_patch.buf, clean_patch.len);

		if (!path_count)
			mask_what_occurs(&mask, m, to);
		merge(&mask.root, m, bytes_of(clean_base.buf, clean_base.len), to, out);
	}
	mask_release(&mask);
	return status;
}

enum status mask_check(const struct pool *pool, const struct pool_message *m,
		       const char *const *paths, size_t path_count, struct error *err)
{
	struct mask mask;
	enum status status = mask_init(&mask, pool, m, paths, path_count, err);

	mask_release(&mask);
	return status;
}
