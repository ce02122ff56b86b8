/*
 * Inside common/reflect: the paths of a mask as a tree. A node without children
 * takes its field, or its entry of a map, as a whole.
 */
#ifndef COMMON_REFLECT_MASK_TREE_H
#define COMMON_REFLECT_MASK_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/mask.h"

struct mask_node {
	const struct pool_field *field; /* NULL: the root, or an entry of a map */
	struct bytes key;               /* of an entry, as paths spell it */
	struct mask_node **children;    /* sorted, by number or by key */
	size_t child_count, child_room;
	bool is_whole;
	/* The children are fields of every element of the list, or every value of the map. */
	bool is_each;

	/* For mask.c: what a merge found for the node, in the one place where it applies. */
	bool in_base, in_patch;
	struct bytes old, new; /* of a message that the path goes into */
	struct bytes raw_key;  /* of an entry */
};

struct mask_tree {
	struct arena arena;
	struct mask_node root;
};

/*
 * mask_tree_release() it whatever comes back. INVALID_ARGUMENT: a path is not one of
 * @m, or not one that @use allows; err->field names it.
 */
enum status mask_tree_init(struct mask_tree *tree, const struct pool_message *m,
			   enum mask_use use, const char *const *paths, size_t path_count,
			   struct error *err) MUST_CHECK;
void mask_tree_release(struct mask_tree *tree);

/* NULL: the mask does not name it. */
struct mask_node *mask_child_of_number(const struct mask_node *node, uint32_t number);
struct mask_node *mask_child_of_key(const struct mask_node *node, struct bytes key);

/* As if there were a path that is @f's name. */
void mask_take_whole(struct mask_tree *tree, const struct pool_field *f);

#endif
