/* Files from outside become units of a pool: parsed, put in order, linked. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/hash.h"
#include "common/reflect/file_proto.h"
#include "common/reflect/link.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

/* What unpacking one file may take: protobuf-c's structs are larger than their wire form. */
enum { UNPACK_MAX_BYTES = 64 << 20 };

enum progress { TO_DO, OPEN, DONE };

/* A file that is to become a unit. */
struct candidate {
	struct trie_item item; /* under its name */
	struct bytes bytes;
	enum progress progress;
	size_t next; /* import to look at next */
	size_t then; /* the candidate to go on with after this one */
	Google__Protobuf__FileDescriptorProto *proto;
};

struct loader {
	const struct pool *base;
	struct pool *pool;
	struct arena names;     /* of candidates; lives as long as the loader */
	struct arena unpacked;  /* of one file at a time */
	struct strbuf stripped; /* its bytes on the way there */
	struct trie by_name;
	struct candidate *candidates;
	size_t count;
	struct error *err;
};

static void loader_init(struct loader *l, const struct pool *base, size_t room,
			struct error *err)
{
	*l = (struct loader){.base = base, .err = err};
	arena_init(&l->names, 0);
	arena_init(&l->unpacked, UNPACK_MAX_BYTES);
	l->candidates = xcalloc(room ? room : 1, sizeof(*l->candidates));
}

static void loader_release(struct loader *l)
{
	pool_unref(l->pool);
	trie_release(&l->by_name);
	arena_release(&l->names);
	arena_release(&l->unpacked);
	strbuf_release(&l->stripped);
	free(l->candidates);
}

/* ------------------------------------------------------------ candidates */

static struct candidate *find_candidate(struct loader *l, const char *name, size_t len)
{
	const struct trie_item *item = trie_find(&l->by_name, hash_bytes(name, len), name, len);

	return (struct candidate *)item;
}

static bool next_but_source_info(struct wire_cursor *c, struct wire_field *ret_field)
{
	bool more;

	do
		more = wire_next(c, ret_field);
	while (more && ret_field->number == FILE_PROTO_SOURCE_INFO);
	return more;
}

bool pool_same_file(struct bytes a, struct bytes b)
{
	struct wire_cursor x = wire_cursor_of(a), y = wire_cursor_of(b);
	struct wire_field f, g;
	bool more;

	do {
		more = next_but_source_info(&x, &f);
		if (more != next_but_source_info(&y, &g))
			return false;
	} while (more && bytes_equal(f.raw, g.raw));
	return !more;
}

/* Take in @file, unless it is there already. */
static enum status add_candidate(struct loader *l, struct bytes file, bool may_replace)
{
	struct candidate *c = &l->candidates[l->count];
	const struct pool_file *there;
	const struct candidate *twin;
	struct bytes name;
	const char *key;
	enum status status = file_proto_check(file, &name, l->err);

	if (status != STATUS_OK)
		return status;
	key = arena_strndup(&l->names, (const char *)name.data, name.size);
	there = pool_file(l->base, key, name.size);
	if (there && (may_replace ? bytes_equal(there->bytes, file)
				  : pool_same_file(there->bytes, file)))
		return STATUS_OK;
	twin = find_candidate(l, key, name.size);
	if (twin && bytes_equal(twin->bytes, file))
		return STATUS_OK;
	if (twin || (there && !may_replace)) {
		error_field(l->err, key, "a file of this name, with another content, is there");
		if (l->err)
			l->err->status = STATUS_ALREADY_EXISTS;
		return STATUS_ALREADY_EXISTS;
	}
	*c = (struct candidate){.item = {hash_bytes(key, name.size), key, (uint32_t)name.size},
				.bytes = file};
	(void)trie_insert(&l->by_name, &c->item); /* it is not there: @twin is NULL */
	l->count++;
	return STATUS_OK;
}

/* --------------------------------------------------------------- linking */

static enum status bad_import(struct loader *l, const struct candidate *c, const char *import,
			      const char *why)
{
	AUTO_STRBUF where = STRBUF_INIT;

	strbuf_addf(&where, "%s: import \"%s\"", c->item.key, import);
	return error_field(l->err, strbuf_str(&where), "%s", why);
}

static enum status set_import_kinds(struct loader *l, const struct candidate *c,
				    struct pool_unit *u)
{
	const Google__Protobuf__FileDescriptorProto *p = c->proto;

	u->public_imports =
		arena_alloc(&u->arena, p->n_public_dependency * sizeof(struct pool_file *));
	for (size_t i = 0; i < p->n_public_dependency; i++) {
		const int32_t n = p->public_dependency[i];

		if (n < 0 || (uint32_t)n >= u->file.dependency_count)
			return error_field(l->err, c->item.key,
					   "there is no import %d to be public", n);
		u->public_imports[u->public_count++] = u->file.dependencies[n];
	}
	for (size_t i = 0; i < p->n_weak_dependency; i++) {
		const int32_t n = p->weak_dependency[i];

		if (n < 0 || (uint32_t)n >= u->file.dependency_count)
			return error_field(l->err, c->item.key,
					   "there is no import %d to be weak", n);
	}
	return STATUS_OK;
}

static int compare_text(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

/* All imports are units of the pool by now. */
static enum status set_imports(struct loader *l, const struct candidate *c, struct pool_unit *u)
{
	const Google__Protobuf__FileDescriptorProto *p = c->proto;
	const struct pool_file **imports =
		arena_alloc(&u->arena, p->n_dependency * sizeof(struct pool_file *));
	const char **names = arena_alloc(&l->unpacked, p->n_dependency * sizeof(char *));

	u->file.dependencies = imports;
	for (size_t i = 0; i < p->n_dependency; i++) {
		struct pool_unit *dep =
			pool_unit_by_name(l->pool, p->dependency[i], strlen(p->dependency[i]));

		atomic_fetch_add_explicit(&dep->refs, 1, memory_order_relaxed);
		imports[u->file.dependency_count++] = &dep->file;
		names[i] = p->dependency[i];
	}
	if (p->n_dependency)
		qsort(names, p->n_dependency, sizeof(*names), compare_text);
	for (size_t i = 1; i < p->n_dependency; i++)
		if (!strcmp(names[i - 1], names[i]))
			return bad_import(l, c, names[i], "it is listed twice");
	return set_import_kinds(l, c, u);
}

static enum status set_header(struct loader *l, const struct candidate *c, struct pool_unit *u)
{
	const char *syntax = c->proto->syntax ? c->proto->syntax : "";
	const Google__Protobuf__FileOptions *options = c->proto->options;

	u->file.name = arena_strndup(&u->arena, c->item.key, c->item.key_len);
	u->file.package = arena_strdup(&u->arena, c->proto->package ? c->proto->package : "");
	u->file.bytes =
		bytes_of(arena_memdup(&u->arena, c->bytes.data, c->bytes.size), c->bytes.size);
	u->file.is_proto3 = !strcmp(syntax, "proto3");
	if (options) {
		u->file.java_string_check_utf8 = options->java_string_check_utf8;
		u->is_lite = options->optimize_for ==
			     GOOGLE__PROTOBUF__FILE_OPTIONS__OPTIMIZE_MODE__LITE_RUNTIME;
	}
	if (u->file.is_proto3 || !*syntax || !strcmp(syntax, "proto2"))
		return STATUS_OK;
	if (!strcmp(syntax, "editions"))
		return error_field(l->err, c->item.key,
				   "editions are not supported: use proto2 or proto3");
	return error_field(l->err, c->item.key,
			   "the syntax \"%s\" is not supported: use proto2 or proto3", syntax);
}

static enum status make_unit(struct loader *l, struct candidate *c)
{
	struct pool_unit *u = unit_new();
	enum status status;

	arena_reset(&l->unpacked);
	c->proto = file_proto_unpack(c->bytes, &l->stripped, &l->unpacked);
	status = c->proto ? set_header(l, c, u)
			  : error_field(l->err, c->item.key,
					"the descriptor is far too large, or lacks what it "
					"must have");
	if (status == STATUS_OK)
		status = set_imports(l, c, u);
	if (status == STATUS_OK)
		status = link_file(l->pool, u, c->proto, &l->unpacked, l->err);
	if (status != STATUS_OK) {
		/* Symbols of @u are in the pool, which is thrown away with it. */
		unit_unref(u);
		return status;
	}
	pool_add_unit(l->pool, u);
	return STATUS_OK;
}

/* The next import of @c from the raw bytes, remembering in c->next where to go on. */
static bool next_import(struct candidate *c, const char **ret_name, size_t *ret_len)
{
	struct wire_cursor cursor = wire_cursor_of(c->bytes);
	struct wire_field f;

	cursor.at += c->next;
	while (wire_next(&cursor, &f)) {
		c->next = (size_t)(cursor.at - c->bytes.data);
		if (f.number == FILE_PROTO_DEPENDENCY && f.type == WIRE_BYTES) {
			*ret_name = (const char *)f.data.data;
			*ret_len = f.data.size;
			return true;
		}
	}
	return false;
}

/*
 * Depth first without recursion: a candidate whose imports are candidates waits
 * until they are done. @at is the one to do; its turn goes on where it stopped.
 */
static enum status link_with_imports(struct loader *l, size_t at)
{
	const size_t none = l->count;

	l->candidates[at].then = none;
	while (at != none) {
		struct candidate *c = &l->candidates[at], *other;
		const char *name;
		size_t len;
		enum status status;

		c->progress = OPEN;
		if (next_import(c, &name, &len)) {
			const char *text;

			other = find_candidate(l, name, len);
			if (other ? other->progress == DONE : !!pool_file(l->pool, name, len))
				continue;
			text = arena_strndup(&l->names, name, len);
			if (!other)
				return bad_import(l, c, text, "this file is not there");
			if (other->progress == OPEN)
				return bad_import(l, c, text,
						  "files import each other in a circle");
			other->then = at;
			at = (size_t)(other - l->candidates);
			continue;
		}
		status = make_unit(l, c);
		if (status != STATUS_OK)
			return status;
		c->progress = DONE;
		at = c->then;
	}
	return STATUS_OK;
}

static enum status link_all(struct loader *l, struct pool **ret_pool)
{
	for (size_t i = 0; i < l->count; i++) {
		enum status status;

		if (l->candidates[i].progress == DONE)
			continue;
		status = link_with_imports(l, i);
		if (status != STATUS_OK)
			return status;
	}
	*ret_pool = l->pool;
	l->pool = NULL;
	return STATUS_OK;
}

enum status pool_extend(struct pool *base, const struct bytes *files, size_t count,
			struct pool **ret_pool, struct error *err)
{
	struct loader l;
	enum status status = STATUS_OK;

	loader_init(&l, base, count, err);
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = add_candidate(&l, files[i], false);
	if (status == STATUS_OK) {
		l.pool = l.count ? pool_fork(base) : pool_ref(base);
		status = link_all(&l, ret_pool);
	}
	loader_release(&l);
	return status;
}

/* ----------------------------------------------------------- replacement */

/* Does @u, or anything that it imports, change? What does is in @changed. */
static bool is_stale(const struct loader *l, const struct pool_unit *u,
		     const struct trie *changed)
{
	if (trie_find(&l->by_name, u->item.hash, u->item.key, u->item.key_len))
		return true;
	for (uint32_t i = 0; i < u->file.dependency_count; i++) {
		const struct trie_item *dep = &unit_of(u->file.dependencies[i])->item;

		if (trie_find(changed, dep->hash, dep->key, dep->key_len))
			return true;
	}
	return false;
}

/* A unit whose file is not given anew is to be linked again, from its old bytes. */
static void relink(struct loader *l, const struct pool_unit *u)
{
	struct candidate *c = &l->candidates[l->count];

	*c = (struct candidate){.item = u->item, .bytes = u->file.bytes};
	if (!trie_insert(&l->by_name, &c->item))
		l->count++;
}

/* Shared ones that are out of @pool now are added to @gone. */
static void drop_symbols(struct pool *pool, const struct pool_unit *u, struct trie *gone)
{
	for (size_t i = 0; i < u->symbol_count; i++) {
		const struct symbol_entry *e = u->symbols[i];

		/* Else it is there by another unit. */
		if (trie_remove(&pool->symbols, &e->item) && symbol_is_shared(&e->symbol))
			(void)trie_insert(gone, &e->item); /* each is there once */
	}
	(void)trie_remove(&pool->files, &u->item); /* it is there */
}

/* Packages, and numbers of extensions, are shared: of @gone, another unit may have some. */
static void restore_shared_symbols(struct pool *pool, const struct trie *gone)
{
	for (size_t i = 0; i < pool->unit_count; i++) {
		const struct pool_unit *u = pool->units[i];
		const struct symbol_entry *e;

		/* Packages come first; numbers are there where extensions are. */
		for (size_t k = 0; k < u->symbol_count; k++) {
			e = u->symbols[k];
			if (!symbol_is_shared(&e->symbol)) {
				if (!u->file.extension_count)
					break;
			} else if (trie_find(gone, e->item.hash, e->item.key,
					     e->item.key_len)) {
				(void)trie_insert(&pool->symbols, &e->item); /* may be there */
			}
		}
	}
}

static bool replaces_any(const struct loader *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct trie_item *name = &l->candidates[i].item;

		if (pool_file(l->base, name->key, name->key_len))
			return true;
	}
	return false;
}

/*
 * l->pool becomes the base without what is replaced and what depends on that;
 * the latter become candidates.
 */
static void drop_stale(struct loader *l)
{
	struct trie changed = {0}, gone = {0};
	size_t kept = 0;

	l->pool = pool_fork(l->base);
	if (!replaces_any(l))
		return; /* new files: nothing can depend on them */
	for (size_t i = 0; i < l->base->unit_count; i++) {
		struct pool_unit *u = l->base->units[i];

		if (!is_stale(l, u, &changed)) {
			l->pool->units[kept++] = u;
			continue;
		}
		(void)trie_insert(&changed, &u->item); /* units have different names */
		relink(l, u);
		drop_symbols(l->pool, u, &gone);
		unit_unref(u); /* the base has it */
	}
	l->pool->unit_count = kept;
	if (gone.root)
		restore_shared_symbols(l->pool, &gone);
	trie_release(&gone);
	trie_release(&changed);
}

enum status pool_replace(struct pool *base, const struct bytes *files, size_t count,
			 struct pool **ret_pool, struct error *err)
{
	struct loader l;
	enum status status = STATUS_OK;

	loader_init(&l, base, count + base->unit_count, err);
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = add_candidate(&l, files[i], true);
	if (status == STATUS_OK) {
		if (l.count)
			drop_stale(&l);
		else
			l.pool = pool_ref(base);
		status = link_all(&l, ret_pool);
	}
	loader_release(&l);
	return status;
}

/* ------------------------------------------------------------------ sets */

enum status pool_split_set(struct bytes descriptor_set, struct arena *arena,
			   struct bytes **ret_files, size_t *ret_count, struct error *err)
{
	struct wire_cursor c = wire_cursor_of(descriptor_set);
	struct wire_field f;
	struct bytes *files;
	size_t count = 0;

	while (wire_next(&c, &f))
		count += f.number == 1 && f.type == WIRE_BYTES;
	if (c.malformed)
		return error_set(err, STATUS_INVALID_ARGUMENT, "it is not a FileDescriptorSet");
	files = arena_alloc(arena, count * sizeof(*files));
	c = wire_cursor_of(descriptor_set);
	for (count = 0; wire_next(&c, &f);)
		if (f.number == 1 && f.type == WIRE_BYTES)
			files[count++] = f.data;
	*ret_files = files;
	*ret_count = count;
	return STATUS_OK;
}

enum status pool_extend_set(struct pool *base, struct bytes descriptor_set,
			    struct pool **ret_pool, struct error *err)
{
	struct arena arena;
	struct bytes *files;
	size_t count;
	enum status status;

	arena_init(&arena, 0);
	status = pool_split_set(descriptor_set, &arena, &files, &count, err);
	if (status == STATUS_OK)
		status = pool_extend(base, files, count, ret_pool, err);
	arena_release(&arena);
	return status;
}
