#include "common/reflect/trie.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum { BITS = 5, HASH_BITS = 64 };

/*
 * Slots hold the items first, then the child nodes, each in the order of their
 * five hash bits. Once the hash is used up, a node is a plain list of items with
 * equal hashes: @items counts them and the maps are not used.
 */
struct trie_node {
	atomic_uint refs;
	uint32_t items;
	uint32_t item_map;
	uint32_t node_map;
	uint64_t edit;
	const void *slots[];
};

static unsigned ones(uint32_t map)
{
	return (unsigned)__builtin_popcount(map);
}

static unsigned slot_count(const struct trie_node *n)
{
	return n->items + ones(n->node_map);
}

static struct trie_node *child(const struct trie_node *n, unsigned slot)
{
	/* Nodes are shared but not constant: their counts change. */
	return (struct trie_node *)n->slots[slot];
}

static struct trie_node *node_new(unsigned slots, uint64_t edit)
{
	struct trie_node *n = xcalloc(1, sizeof(*n) + slots * sizeof(n->slots[0]));

	atomic_init(&n->refs, 1);
	n->edit = edit;
	return n;
}

/* The depth of the recursion is that of the trie: HASH_BITS / BITS + 1 levels. */
static void node_unref(struct trie_node *n)
{
	if (!n || atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = n->items; i < slot_count(n); i++)
		node_unref(child(n, i));
	free(n);
}

struct trie trie_fork(const struct trie *from)
{
	static atomic_uint_fast64_t edits = 1;

	if (from->root)
		atomic_fetch_add_explicit(&from->root->refs, 1, memory_order_relaxed);
	return (struct trie){from->root, atomic_fetch_add(&edits, 1)};
}

void trie_release(struct trie *t)
{
	node_unref(t->root);
	*t = (struct trie){0};
}

/*
 * @n with @room more slots, as one that @edit may change: itself (moved) if it
 * is that already, else a copy that takes @n's place and reference.
 */
static struct trie_node *node_own(struct trie_node *n, unsigned room, uint64_t edit)
{
	const unsigned slots = slot_count(n);
	struct trie_node *copy;

	if (n->edit == edit) {
		if (!room)
			return n;
		return xrealloc(n, sizeof(*n) + (slots + room) * sizeof(n->slots[0]));
	}
	copy = node_new(slots + room, edit);
	copy->items = n->items;
	copy->item_map = n->item_map;
	copy->node_map = n->node_map;
	memcpy(copy->slots, n->slots, slots * sizeof(n->slots[0]));
	for (unsigned i = n->items; i < slots; i++)
		atomic_fetch_add_explicit(&child(n, i)->refs, 1, memory_order_relaxed);
	node_unref(n);
	return copy;
}

static bool same_key(const struct trie_item *a, uint64_t hash, const char *key, size_t len)
{
	return a->hash == hash && a->key_len == len && !memcmp(a->key, key, len);
}

static uint32_t bit_of(uint64_t hash, unsigned shift)
{
	return (uint32_t)1 << (hash >> shift & ((1u << BITS) - 1));
}

/* Put @p into slot @at, moving those from there on. */
static void slot_insert(struct trie_node *n, unsigned at, const void *p)
{
	const unsigned slots = slot_count(n);

	memmove(&n->slots[at + 1], &n->slots[at], (slots - at) * sizeof(n->slots[0]));
	n->slots[at] = p;
}

static struct trie_node *pair_of(const struct trie_item *a, const struct trie_item *b,
				 unsigned shift, uint64_t edit)
{
	struct trie_node *n;
	uint32_t bit_a, bit_b;

	if (shift >= HASH_BITS) {
		n = node_new(2, edit);
		n->items = 2;
		n->slots[0] = a;
		n->slots[1] = b;
		return n;
	}
	bit_a = bit_of(a->hash, shift);
	bit_b = bit_of(b->hash, shift);
	if (bit_a == bit_b) {
		n = node_new(1, edit);
		n->node_map = bit_a;
		n->slots[0] = pair_of(a, b, shift + BITS, edit);
		return n;
	}
	n = node_new(2, edit);
	n->items = 2;
	n->item_map = bit_a | bit_b;
	n->slots[0] = bit_a < bit_b ? a : b;
	n->slots[1] = bit_a < bit_b ? b : a;
	return n;
}

/* The item at @at gives way to a node that holds it and @item. */
static struct trie_node *split(struct trie_node *n, unsigned at, uint32_t bit,
			       const struct trie_item *item, unsigned shift, uint64_t edit)
{
	const struct trie_item *old = n->slots[at];
	struct trie_node *pair = pair_of(old, item, shift + BITS, edit);
	unsigned to;

	n = node_own(n, 0, edit);
	/* Out of the items, into the nodes: what is between moves down by one. */
	to = n->items - 1 + ones(n->node_map & (bit - 1));
	memmove(&n->slots[at], &n->slots[at + 1], (to - at) * sizeof(n->slots[0]));
	n->slots[to] = pair;
	n->items--;
	n->item_map &= ~bit;
	n->node_map |= bit;
	return n;
}

static struct trie_node *insert(struct trie_node *n, const struct trie_item *item,
				unsigned shift, uint64_t edit)
{
	uint32_t bit;
	unsigned at;

	if (shift >= HASH_BITS) {
		n = node_own(n, 1, edit);
		n->slots[n->items++] = item;
		return n;
	}
	bit = bit_of(item->hash, shift);
	if (n->node_map & bit) {
		n = node_own(n, 0, edit);
		at = n->items + ones(n->node_map & (bit - 1));
		n->slots[at] = insert(child(n, at), item, shift + BITS, edit);
		return n;
	}
	at = ones(n->item_map & (bit - 1));
	if (n->item_map & bit)
		return split(n, at, bit, item, shift, edit);
	n = node_own(n, 1, edit);
	slot_insert(n, at, item);
	n->items++;
	n->item_map |= bit;
	return n;
}

const struct trie_item *trie_insert(struct trie *t, const struct trie_item *item)
{
	const struct trie_item *there = trie_find(t, item->hash, item->key, item->key_len);

	if (there)
		return there;
	if (!t->root)
		t->root = node_new(0, t->edit);
	t->root = insert(t->root, item, 0, t->edit);
	return NULL;
}

/* Take slot @at away, moving those after it. */
static void slot_remove(struct trie_node *n, unsigned at)
{
	const unsigned slots = slot_count(n);

	memmove(&n->slots[at], &n->slots[at + 1], (slots - at - 1) * sizeof(n->slots[0]));
}

static struct trie_node *without(struct trie_node *n, const struct trie_item *item,
				 unsigned shift, uint64_t edit);

static void remove_item(struct trie_node *n, unsigned at, uint32_t bit)
{
	slot_remove(n, at);
	n->items--;
	n->item_map &= ~bit;
}

static void remove_below(struct trie_node *n, const struct trie_item *item, unsigned shift,
			 uint32_t bit, uint64_t edit)
{
	const unsigned at = n->items + ones(n->node_map & (bit - 1));
	struct trie_node *left = without(child(n, at), item, shift + BITS, edit);

	if (left) {
		n->slots[at] = left;
		return;
	}
	slot_remove(n, at);
	n->node_map &= ~bit;
}

/* @n, whose reference is taken over, without @item, which it holds. NULL: nothing is left. */
static struct trie_node *without(struct trie_node *n, const struct trie_item *item,
				 unsigned shift, uint64_t edit)
{
	const uint32_t bit = shift < HASH_BITS ? bit_of(item->hash, shift) : 0;
	unsigned at = 0;

	n = node_own(n, 0, edit);
	if (n->node_map & bit) {
		remove_below(n, item, shift, bit, edit);
	} else {
		while (n->slots[at] != item)
			at++;
		remove_item(n, at, bit);
	}
	if (n->items || n->node_map)
		return n;
	node_unref(n);
	return NULL;
}

bool trie_remove(struct trie *t, const struct trie_item *item)
{
	if (trie_find(t, item->hash, item->key, item->key_len) != item)
		return false;
	t->root = without(t->root, item, 0, t->edit);
	return true;
}

static const struct trie_item *find_in_list(const struct trie_node *n, uint64_t hash,
					    const char *key, size_t len)
{
	for (unsigned i = 0; i < n->items; i++)
		if (same_key(n->slots[i], hash, key, len))
			return n->slots[i];
	return NULL;
}

const struct trie_item *trie_find(const struct trie *t, uint64_t hash, const char *key,
				  size_t len)
{
	const struct trie_node *n = t->root;

	for (unsigned shift = 0; n; shift += BITS) {
		uint32_t bit;

		if (shift >= HASH_BITS)
			return find_in_list(n, hash, key, len);
		bit = bit_of(hash, shift);
		if (n->node_map & bit) {
			n = child(n, n->items + ones(n->node_map & (bit - 1)));
			continue;
		}
		if (n->item_map & bit) {
			const struct trie_item *item = n->slots[ones(n->item_map & (bit - 1))];
			return same_key(item, hash, key, len) ? item : NULL;
		}
		return NULL;
	}
	return NULL;
}
