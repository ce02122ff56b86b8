#include "common/reflect/mask_tree.h"

#include <string.h>

#include "common/reflect/map_key.h"

enum { PATH_MAX_BYTES = 1024, PATH_MAX_PARTS = 32 };

/* -------------------------------------------------------------------- tree */

static int compare_keys(struct bytes a, struct bytes b)
{
	if (a.size != b.size)
		return a.size < b.size ? -1 : 1;
	return a.size ? memcmp(a.data, b.data, a.size) : 0;
}

/* Fields come by number; the children of a map's node are entries alone. */
static int compare(const struct mask_node *n, uint32_t number, struct bytes key)
{
	if (n->field)
		return (n->field->number > number) - (n->field->number < number);
	return compare_keys(n->key, key);
}

/* Where the child is, or where it would be. */
static size_t place_of(const struct mask_node *node, uint32_t number, struct bytes key)
{
	size_t low = 0, high = node->child_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (compare(node->children[middle], number, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct mask_node *find(const struct mask_node *node, uint32_t number, struct bytes key)
{
	const size_t at = place_of(node, number, key);

	return at < node->child_count && !compare(node->children[at], number, key)
		       ? node->children[at]
		       : NULL;
}

struct mask_node *mask_child_of_number(const struct mask_node *node, uint32_t number)
{
	return find(node, number, bytes_of(NULL, 0));
}

struct mask_node *mask_child_of_key(const struct mask_node *node, struct bytes key)
{
	return find(node, 0, key);
}

static void make_room(struct arena *a, struct mask_node *node)
{
	struct mask_node **more;

	if (node->child_count < node->child_room)
		return;
	node->child_room = node->child_room ? node->child_room * 2 : 4;
	more = arena_alloc(a, node->child_room * sizeof(struct mask_node *));
	if (node->child_count)
		memcpy(more, node->children, node->child_count * sizeof(struct mask_node *));
	node->children = more;
}

/* The child for @f, or where that is NULL for @key: made if need be. */
static struct mask_node *child_for(struct arena *a, struct mask_node *node,
				   const struct pool_field *f, struct bytes key)
{
	const uint32_t number = f ? f->number : 0;
	const size_t at = place_of(node, number, key);
	struct mask_node *n;

	if (at < node->child_count && !compare(node->children[at], number, key))
		return node->children[at];
	n = arena_zalloc(a, sizeof(*n));
	n->field = f;
	n->key = key;
	make_room(a, node);
	memmove(&node->children[at + 1], &node->children[at],
		(node->child_count - at) * sizeof(struct mask_node *));
	node->children[at] = n;
	node->child_count++;
	return n;
}

void mask_take_whole(struct mask_tree *tree, const struct pool_field *f)
{
	child_for(&tree->arena, &tree->root, f, bytes_of(NULL, 0))->is_whole = true;
}

/* ------------------------------------------------------------------- parts */

struct part {
	struct bytes text;
	bool is_quoted; /* in backticks: a key, whatever is in it */
};

struct walker {
	struct mask_tree *tree;
	struct error *err;
	enum mask_use use;
	const char *path; /* of the user */
	const char *at;
	struct mask_node *node;
	const struct pool_message *message; /* whose field comes next; NULL: none can */
	bool in_map;                        /* a key of node's map comes next */
	bool in_list;                       /* elements of node's list come next */
};

static enum status refuse(const struct walker *w, const char *what, const struct part *p)
{
	return error_field(w->err, w->path, "%s: \"%.*s\"", what,
			   p->text.size < 200 ? (int)p->text.size : 200,
			   (const char *)p->text.data);
}

static enum status refuse_path(const struct walker *w, const char *what)
{
	return error_field(w->err, w->path, "%s", what);
}

/* `a key`, with two backticks for one in it. */
static enum status read_quoted(struct walker *w, struct part *ret_part)
{
	char *text = arena_alloc(&w->tree->arena, strlen(w->at) + 1);
	size_t len = 0;

	for (w->at++;; w->at++) {
		if (!*w->at)
			return refuse_path(w, "a key in backticks is not closed");
		if (*w->at == '`' && *++w->at != '`')
			break;
		text[len++] = *w->at;
	}
	*ret_part = (struct part){bytes_of(text, len), true};
	return STATUS_OK;
}

static enum status read_part(struct walker *w, struct part *ret_part)
{
	const char *start = w->at;

	if (*start == '`') {
		const enum status status = read_quoted(w, ret_part);

		if (status != STATUS_OK)
			return status;
	} else {
		w->at += strcspn(w->at, ".");
		*ret_part = (struct part){bytes_of(start, (size_t)(w->at - start)), false};
		if (w->at == start)
			return refuse_path(w, "a part of the path is empty");
	}
	if (!*w->at)
		return STATUS_OK;
	if (*w->at != '.')
		return refuse_path(w, "a dot belongs behind a key in backticks");
	w->at++;
	return *w->at ? STATUS_OK : refuse_path(w, "a part of the path is empty");
}

static bool is_star(const struct part *p)
{
	return !p->is_quoted && p->text.size == 1 && p->text.data[0] == '*';
}

/* -------------------------------------------------------------------- keys */

/* AIP-161: maps are entered by strings and integers. */
static enum status read_key(struct walker *w, const struct part *p, struct bytes *ret_key)
{
	const struct pool_field *key = &w->node->field->type_message->fields[0];

	if (key->type == POOL_TYPE_BOOL)
		return refuse(w, "a mask enters maps by strings and integers alone", p);
	if (!map_key_read(key, p->text, &w->tree->arena, ret_key))
		return refuse(w, "this cannot be a key of the map", p);
	return STATUS_OK;
}

/* ----------------------------------------------------------------- walking */

static enum status enter_each(struct walker *w, const struct part *p)
{
	const struct pool_field *f = w->node->field;

	if (w->use == MASK_UPDATE)
		return refuse(w, "an update takes lists and maps as a whole, or entries by key",
			      p);
	if (w->node->child_count && !w->node->is_each)
		return refuse_path(w, "the mask names entries of the map, and all of them");
	w->node->is_each = true;
	w->message = f->is_map ? f->type_message->fields[1].type_message : f->type_message;
	w->in_map = w->in_list = false;
	return STATUS_OK;
}

static enum status step_into_map(struct walker *w, const struct part *p)
{
	const struct pool_field *f = w->node->field;
	struct bytes key;
	enum status status;

	if (is_star(p))
		return enter_each(w, p);
	if (w->node->is_each)
		return refuse_path(w, "the mask names entries of the map, and all of them");
	status = read_key(w, p, &key);
	if (status != STATUS_OK)
		return status;
	w->node = child_for(&w->tree->arena, w->node, NULL, key);
	w->message = f->type_message->fields[1].type_message;
	w->in_map = false;
	return STATUS_OK;
}

static enum status step_into_field(struct walker *w, const struct part *p)
{
	const struct pool_field *f = NULL;

	if (!w->message)
		return refuse(w, "there is nothing inside of a plain value, such as", p);
	if (!p->is_quoted)
		f = pool_field_by_name(w->message, (const char *)p->text.data, p->text.size);
	if (!f)
		return error_field(w->err, w->path, "%s has no field \"%.*s\"",
				   w->message->full_name,
				   p->text.size < 200 ? (int)p->text.size : 200,
				   (const char *)p->text.data);
	w->node = child_for(&w->tree->arena, w->node, f, bytes_of(NULL, 0));
	w->in_map = f->is_map;
	w->in_list = f->repeated && !f->is_map;
	w->message = f->repeated ? NULL : f->type_message;
	return STATUS_OK;
}

static enum status step(struct walker *w, const struct part *p)
{
	if (w->in_map)
		return step_into_map(w, p);
	if (!w->in_list)
		return step_into_field(w, p);
	if (is_star(p))
		return enter_each(w, p);
	return refuse(w, "a list is the last part of a path: nothing can follow, such as", p);
}

static enum status add_path(struct mask_tree *tree, const struct pool_message *m,
			    enum mask_use use, const char *path, struct error *err)
{
	struct walker w = {.tree = tree,
			   .err = err,
			   .use = use,
			   .path = path,
			   .at = path,
			   .node = &tree->root,
			   .message = m};
	size_t parts = 0;

	if (strlen(path) > PATH_MAX_BYTES)
		return error_field(err, "", "a path of a mask is longer than %d bytes",
				   PATH_MAX_BYTES);
	do {
		struct part p;
		enum status status = read_part(&w, &p);

		if (status == STATUS_OK && ++parts > PATH_MAX_PARTS)
			status = refuse_path(&w, "the path has too many parts");
		if (status == STATUS_OK)
			status = step(&w, &p);
		if (status != STATUS_OK)
			return status;
	} while (*w.at);
	/* "items.*" is "items"; what longer paths say of a whole does not matter. */
	w.node->is_whole = true;
	return STATUS_OK;
}

enum status mask_tree_init(struct mask_tree *tree, const struct pool_message *m,
			   enum mask_use use, const char *const *paths, size_t path_count,
			   struct error *err)
{
	*tree = (struct mask_tree){.root = {.field = NULL}};
	arena_init(&tree->arena, 0);
	if (path_count > MASK_MAX_PATHS)
		return error_set(err, STATUS_INVALID_ARGUMENT, "a mask has at most %d paths",
				 MASK_MAX_PATHS);
	if (path_count == 1 && !strcmp(paths[0], "*")) {
		tree->root.is_whole = true;
		return STATUS_OK;
	}
	for (size_t i = 0; i < path_count; i++) {
		const enum status status = add_path(tree, m, use, paths[i], err);

		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

void mask_tree_release(struct mask_tree *tree)
{
	arena_release(&tree->arena);
}
