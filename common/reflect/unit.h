/*
 * Inside common/reflect: what a pool is made of. A unit is one linked file with
 * all of its descriptors in one arena; it holds references to the units that it
 * imports. A pool holds its units and a trie over their symbols. Both are
 * immutable once published; while one thread builds them, it alone sees them.
 */
#ifndef COMMON_REFLECT_UNIT_H
#define COMMON_REFLECT_UNIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/trie.h"

enum symbol_kind {
	SYMBOL_NONE,
	SYMBOL_PACKAGE,
	SYMBOL_MESSAGE,
	SYMBOL_ENUM,
	SYMBOL_ENUM_VALUE, /* descriptor: its enum; index: in values */
	SYMBOL_FIELD,
	SYMBOL_EXTENSION,
	SYMBOL_ONEOF, /* descriptor: its message; index: in oneofs */
	SYMBOL_SERVICE,
	SYMBOL_METHOD,
	SYMBOL_EXTENSION_NUMBER, /* under a key that no name can have, see extension_key() */
};

struct symbol {
	enum symbol_kind kind;
	uint32_t index;
	const struct pool_file *file;
	const void *descriptor;
};

/* May several files have it under one key? */
static inline bool symbol_is_shared(const struct symbol *s)
{
	return s->kind == SYMBOL_PACKAGE || s->kind == SYMBOL_EXTENSION_NUMBER;
}

/* Fields and methods have none: their message or service knows them by name. */
struct symbol_entry {
	struct trie_item item; /* first: the trie hands it back */
	struct symbol symbol;
};

struct pool_unit {
	struct pool_file file; /* first: callers hold pointers to it */
	struct trie_item item; /* under the file's name */
	struct arena arena;
	atomic_uint refs;
	bool is_lite; /* optimize_for = LITE_RUNTIME */
	uint32_t public_count;
	const struct pool_file **public_imports;
	const struct symbol_entry **symbols; /* all of the file's, packages too */
	size_t symbol_count;
	struct pool_unit *next_dead;
};

struct pool {
	atomic_uint refs;
	struct trie symbols;
	struct trie files;
	struct pool_unit **units; /* each after its dependencies */
	size_t unit_count;
	size_t unit_capacity;
};

static inline const struct pool_unit *unit_of(const struct pool_file *file)
{
	return (const struct pool_unit *)file;
}

struct pool_unit *unit_new(void);
void unit_unref(struct pool_unit *unit);

/* Add a unit (consumes the reference), its name and nothing else. */
void pool_add_unit(struct pool *pool, struct pool_unit *unit);

/* What @name, fully qualified, is in @pool. SYMBOL_NONE: nothing. */
struct symbol pool_symbol(const struct pool *pool, const char *name, size_t len);
struct pool_unit *pool_unit_by_name(const struct pool *pool, const char *name, size_t len);

/* A pool with the units and symbols of @from, to be extended by this thread. */
struct pool *pool_fork(const struct pool *from);

enum { EXTENSION_KEY_MAX_BYTES = 1024 + 16 };

/* The key of extension @number of @extendee in pool.symbols; returns its length. */
size_t extension_key(const struct pool_message *extendee, uint32_t number,
		     char out[EXTENSION_KEY_MAX_BYTES]);

#endif
