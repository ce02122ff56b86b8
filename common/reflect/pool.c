#include "common/reflect/pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/hash.h"
#include "common/reflect/decode.h"
#include "common/reflect/unit.h"

/* --------------------------------------------------- units and snapshots */

struct pool_unit *unit_new(void)
{
	struct pool_unit *u = xcalloc(1, sizeof(*u));

	arena_init(&u->arena, 0);
	atomic_init(&u->refs, 1);
	return u;
}

static void unit_ref(struct pool_unit *u)
{
	atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
}

/* Units import each other in chains of any length, so the dead wait in a list, not on the stack. */
void unit_unref(struct pool_unit *unit)
{
	struct pool_unit *dead = NULL;

	if (unit && atomic_fetch_sub_explicit(&unit->refs, 1, memory_order_acq_rel) == 1)
		dead = unit;
	while (dead) {
		struct pool_unit *u = dead;

		dead = u->next_dead;
		for (uint32_t i = 0; i < u->file.dependency_count; i++) {
			struct pool_unit *dep = (struct pool_unit *)u->file.dependencies[i];

			if (atomic_fetch_sub_explicit(&dep->refs, 1, memory_order_acq_rel) ==
			    1) {
				dep->next_dead = dead;
				dead = dep;
			}
		}
		arena_release(&u->arena);
		free(u);
	}
}

struct pool *pool_new(void)
{
	struct pool *p = xcalloc(1, sizeof(*p));

	atomic_init(&p->refs, 1);
	return p;
}

struct pool *pool_ref(struct pool *pool)
{
	atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
	return pool;
}

void pool_unref(struct pool *pool)
{
	if (!pool || atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
		return;
	trie_release(&pool->symbols);
	trie_release(&pool->files);
	for (size_t i = 0; i < pool->unit_count; i++)
		unit_unref(pool->units[i]);
	free(pool->units);
	free(pool);
}

struct pool *pool_fork(const struct pool *from)
{
	struct pool *p = pool_new();

	p->symbols = trie_fork(&from->symbols);
	p->files = trie_fork(&from->files);
	p->unit_capacity = from->unit_count + 8;
	p->units = xreallocarray(NULL, p->unit_capacity, sizeof(struct pool_unit *));
	for (size_t i = 0; i < from->unit_count; i++) {
		unit_ref(from->units[i]);
		p->units[i] = from->units[i];
	}
	p->unit_count = from->unit_count;
	return p;
}

void pool_add_unit(struct pool *pool, struct pool_unit *unit)
{
	if (pool->unit_count == pool->unit_capacity) {
		pool->unit_capacity = pool->unit_capacity ? pool->unit_capacity * 2 : 8;
		pool->units = xreallocarray(pool->units, pool->unit_capacity,
					    sizeof(struct pool_unit *));
	}
	unit->item.key = unit->file.name;
	unit->item.key_len = (uint32_t)strlen(unit->file.name);
	unit->item.hash = hash_bytes(unit->item.key, unit->item.key_len);
	(void)trie_insert(&pool->files, &unit->item); /* names were found to be new before */
	pool->units[pool->unit_count++] = unit;
}

/* -------------------------------------------------------------- lookups */

struct pool_unit *pool_unit_by_name(const struct pool *pool, const char *name, size_t len)
{
	const struct trie_item *item =
		trie_find(&pool->files, hash_bytes(name, len), name, len);

	if (!item)
		return NULL;
	return (struct pool_unit *)((const char *)item - offsetof(struct pool_unit, item));
}

const struct pool_file *pool_file(const struct pool *pool, const char *name, size_t len)
{
	struct pool_unit *u = pool_unit_by_name(pool, name, len);

	return u ? &u->file : NULL;
}

static const struct symbol *find_entry(const struct pool *pool, const char *name, size_t len)
{
	const struct trie_item *item =
		trie_find(&pool->symbols, hash_bytes(name, len), name, len);

	return item ? &((const struct symbol_entry *)item)->symbol : NULL;
}

/* A field or a method: @name up to its last dot is the message or service that has it. */
static struct symbol find_member(const struct pool *pool, const char *name, size_t len)
{
	const struct symbol *scope, none = {.kind = SYMBOL_NONE};
	const void *member = NULL;
	size_t start = len;

	while (start && name[start - 1] != '.')
		start--;
	scope = start ? find_entry(pool, name, start - 1) : NULL;
	if (!scope)
		return none;
	if (scope->kind == SYMBOL_MESSAGE)
		member = pool_field_by_proto_name(scope->descriptor, name + start, len - start);
	else if (scope->kind == SYMBOL_SERVICE)
		member = pool_method(scope->descriptor, name + start, len - start);
	if (!member)
		return none;
	return (struct symbol){.kind = scope->kind == SYMBOL_MESSAGE ? SYMBOL_FIELD
								     : SYMBOL_METHOD,
			       .file = scope->file,
			       .descriptor = member};
}

struct symbol pool_symbol(const struct pool *pool, const char *name, size_t len)
{
	const struct symbol *s = find_entry(pool, name, len);

	return s ? *s : find_member(pool, name, len);
}

static const void *descriptor_of(const struct pool *pool, enum symbol_kind kind,
				 const char *name, size_t len)
{
	const struct symbol *s = find_entry(pool, name, len);

	return s && s->kind == kind ? s->descriptor : NULL;
}

const struct pool_message *pool_message(const struct pool *pool, const char *name, size_t len)
{
	return descriptor_of(pool, SYMBOL_MESSAGE, name, len);
}

const struct pool_enum *pool_enum(const struct pool *pool, const char *name, size_t len)
{
	return descriptor_of(pool, SYMBOL_ENUM, name, len);
}

const struct pool_service *pool_service(const struct pool *pool, const char *name, size_t len)
{
	return descriptor_of(pool, SYMBOL_SERVICE, name, len);
}

const struct pool_field *pool_extension(const struct pool *pool, const char *name, size_t len)
{
	return descriptor_of(pool, SYMBOL_EXTENSION, name, len);
}

const struct pool_message *pool_message_of_url(const struct pool *pool, const char *url,
					       size_t len)
{
	size_t start = len;

	while (start && url[start - 1] != '/')
		start--;
	return start ? pool_message(pool, url + start, len - start) : NULL;
}

const struct pool_file *pool_file_of_symbol(const struct pool *pool, const char *name,
					    size_t len)
{
	const struct symbol s = pool_symbol(pool, name, len);

	return symbol_is_shared(&s) ? NULL : s.file;
}

size_t extension_key(const struct pool_message *extendee, uint32_t number,
		     char out[EXTENSION_KEY_MAX_BYTES])
{
	/* Full names are bounded, see POOL_NAME_MAX_BYTES. */
	return (size_t)snprintf(out, EXTENSION_KEY_MAX_BYTES, "#%u %s", number,
				extendee->full_name);
}

const struct pool_field *pool_field_by_number(const struct pool *pool,
					      const struct pool_message *m, uint32_t number)
{
	const struct pool_field *f = pool_declared_field(m, number);
	char key[EXTENSION_KEY_MAX_BYTES];

	if (f || !m->is_extendable)
		return f;
	f = descriptor_of(pool, SYMBOL_EXTENSION_NUMBER, key, extension_key(m, number, key));
	return f && f->message == m ? f : NULL;
}

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Two files may take the same number. */
static size_t without_doubles(uint32_t *sorted, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (!kept || sorted[kept - 1] != sorted[i])
			sorted[kept++] = sorted[i];
	return kept;
}

uint32_t *pool_extension_numbers(const struct pool *pool, const struct pool_message *m,
				 struct arena *arena, size_t *ret_count)
{
	uint32_t *numbers;
	size_t count = 0, found = 0;

	for (size_t i = 0; m->is_extendable && i < pool->unit_count; i++)
		count += pool->units[i]->file.extension_count;
	numbers = arena_alloc(arena, count * sizeof(*numbers));
	for (size_t i = 0; count && i < pool->unit_count; i++) {
		const struct pool_file *file = &pool->units[i]->file;

		for (uint32_t k = 0; k < file->extension_count; k++)
			if (file->extensions[k].message == m)
				numbers[found++] = file->extensions[k].number;
	}
	qsort(numbers, found, sizeof(*numbers), compare_numbers);
	*ret_count = without_doubles(numbers, found);
	return numbers;
}

/* ------------------------------------------------------------ iteration */

const struct pool_file *const *pool_files(const struct pool *pool, size_t *ret_count)
{
	*ret_count = pool->unit_count;
	/* A unit starts with its file. */
	return (const struct pool_file *const *)pool->units;
}

/* What a walk over imports still has to do: a file, and the next of its imports. */
struct closure_step {
	const struct pool_file *file;
	uint32_t next;
};

struct closure {
	struct arena scratch;
	struct trie seen;
	struct closure_step *stack;
	size_t depth, room;
};

static void closure_enter(struct closure *c, const struct pool_file *file)
{
	struct trie_item *item = arena_alloc(&c->scratch, sizeof(*item));
	const struct pool_file **key = arena_alloc(&c->scratch, sizeof(file));

	*key = file;
	*item = (struct trie_item){hash_bytes(key, sizeof(file)), (const char *)key,
				   sizeof(file)};
	if (trie_insert(&c->seen, item))
		return;
	if (c->depth == c->room) {
		c->room = c->room ? c->room * 2 : 32;
		c->stack = xreallocarray(c->stack, c->room, sizeof(*c->stack));
	}
	c->stack[c->depth++] = (struct closure_step){file, 0};
}

const struct pool_file *const *pool_closure(const struct pool_file *file, struct arena *arena,
					    size_t *ret_count)
{
	struct closure c = {0};
	const struct pool_file **out = NULL, **in_arena;
	size_t count = 0, room = 0;

	arena_init(&c.scratch, 0);
	closure_enter(&c, file);
	while (c.depth) {
		struct closure_step *top = &c.stack[c.depth - 1];

		if (top->next < top->file->dependency_count) {
			closure_enter(&c, top->file->dependencies[top->next++]);
			continue;
		}
		if (count == room) {
			room = room ? room * 2 : 32;
			out = xreallocarray(out, room, sizeof(struct pool_file *));
		}
		out[count++] = top->file;
		c.depth--;
	}
	in_arena = arena_memdup(arena, out, count * sizeof(struct pool_file *));
	free(out);
	free(c.stack);
	trie_release(&c.seen);
	arena_release(&c.scratch);
	*ret_count = count;
	return in_arena;
}

void pool_write_set(const struct pool_file *const *files, size_t count, struct strbuf *out)
{
	for (size_t i = 0; i < count; i++)
		wire_add_bytes(out, 1, files[i]->bytes);
}
