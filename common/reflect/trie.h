/*
 * A persistent hash trie: a map whose old versions stay as they were when it is
 * changed, because a change copies only the few nodes on its way and shares the
 * rest. Nodes are counted atomically, so versions may be released by any thread;
 * changing one version is for one thread.
 *
 * Items are borrowed: they carry their own key and outlive every version that
 * they are in. (Shape: Steindorfer and Vinju's CHAMP, OOPSLA 2015.)
 */
#ifndef COMMON_REFLECT_TRIE_H
#define COMMON_REFLECT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trie_item {
	uint64_t hash; /* of the key; equal keys have equal hashes */
	const char *key;
	uint32_t key_len;
};

struct trie_node;

/* Zeroed storage is an empty trie. */
struct trie {
	struct trie_node *root;
	/* Nodes that carry this mark were made by this version and may be changed in place. */
	uint64_t edit;
};

/* Another version, to be changed without touching @from, which is not changed any more. */
struct trie trie_fork(const struct trie *from);
void trie_release(struct trie *t);

/* Add @item unless the key is there; returns what is there then, or NULL if it was added. */
const struct trie_item *trie_insert(struct trie *t, const struct trie_item *item);

/* Take @item itself out. False: it is not there, or another item of its key is. */
bool trie_remove(struct trie *t, const struct trie_item *item);

/* NULL: not there. */
const struct trie_item *trie_find(const struct trie *t, uint64_t hash, const char *key,
				  size_t len);

#endif
