/* Files from outside become units of a pool: parsed, put in order, linked. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/hash.h"
#include "common/reflect/cwire.h"
#include "common/reflect/link.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

/* What unpacking one file may take: protobuf-c's structs are larger than their wire form. */
enum { UNPACK_MAX_BYTES = 64 << 20 };

enum { FILE_FIELD_NAME = 1, FILE_FIELD_DEPENDENCY = 3, FILE_FIELD_SOURCE_INFO = 9 };

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
	struct arena names;    /* of candidates; lives as long as the loader */
	struct arena unpacked; /* of one file at a time */
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
	free(l->candidates);
}

/* ------------------------------------------------------------- unpacking */

static void *unpack_alloc(void *arena, size_t size)
{
	return arena_try_alloc(arena, size);
}

static void unpack_free(void *arena, void *p)
{
	(void)arena; /* it ends all at once */
	(void)p;
}

/* The comments and positions are most of a file and nothing that linking needs. */
static struct bytes without_source_info(struct bytes file, struct arena *arena)
{
	uint8_t *out = arena_alloc(arena, file.size);
	struct wire_cursor c = wire_cursor_of(file);
	struct wire_field f;
	size_t len = 0;

	while (wire_next(&c, &f)) {
		if (f.number == FILE_FIELD_SOURCE_INFO)
			continue;
		memcpy(out + len, f.raw.data, f.raw.size);
		len += f.raw.size;
	}
	return bytes_of(out, len);
}

static enum status unpack(struct loader *l, struct bytes file, const char *name,
			  Google__Protobuf__FileDescriptorProto **ret_proto)
{
	ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &l->unpacked};
	const struct bytes lean = without_source_info(file, &l->unpacked);

	*ret_proto = google__protobuf__file_descriptor_proto__unpack(&allocator, lean.size,
								     lean.data);
	if (*ret_proto)
		return STATUS_OK;
	return error_field(l->err, name, "it is not a FileDescriptorProto, or far too large");
}

/* ------------------------------------------------------------ candidates */

static struct candidate *find_candidate(struct loader *l, const char *name, size_t len)
{
	const struct trie_item *item = trie_find(&l->by_name, hash_bytes(name, len), name, len);

	return (struct candidate *)item;
}

static bool is_file_name(struct bytes name)
{
	for (size_t i = 0; i < name.size; i++)
		if (name.data[i] < 0x20 || name.data[i] == 0x7f)
			return false;
	return name.size > 0 && name.size <= POOL_NAME_MAX_BYTES;
}

static enum status check_bytes(struct bytes file, struct bytes *ret_name, struct error *err)
{
	const ProtobufCMessageDescriptor *d =
		&google__protobuf__file_descriptor_proto__descriptor;
	enum status status;

	if (file.size > POOL_FILE_MAX_BYTES)
		return error_set(err, STATUS_RESOURCE_EXHAUSTED,
				 "a descriptor of %zu bytes is larger than %d bytes", file.size,
				 POOL_FILE_MAX_BYTES);
	status = cwire_check(d, file, err);
	if (status != STATUS_OK)
		return status;
	if (!wire_find_bytes(file, FILE_FIELD_NAME, ret_name) || !is_file_name(*ret_name))
		return error_field(err, "name", "a file descriptor needs a usable name");
	return STATUS_OK;
}

static bool next_but_source_info(struct wire_cursor *c, struct wire_field *ret_field)
{
	bool more;

	do
		more = wire_next(c, ret_field);
	while (more && ret_field->number == FILE_FIELD_SOURCE_INFO);
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
	enum status status = check_bytes(file, &name, l->err);

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

static enum status set_public_imports(struct loader *l, const struct candidate *c,
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
	return set_public_imports(l, c, u);
}

static enum status set_header(struct loader *l, const struct candidate *c, struct pool_unit *u)
{
	const char *syntax = c->proto->syntax ? c->proto->syntax : "";

	u->file.name = arena_strndup(&u->arena, c->item.key, c->item.key_len);
	u->file.package = arena_strdup(&u->arena, c->proto->package ? c->proto->package : "");
	u->file.bytes =
		bytes_of(arena_memdup(&u->arena, c->bytes.data, c->bytes.size), c->bytes.size);
	u->file.is_proto3 = !strcmp(syntax, "proto3");
	u->file.java_string_check_utf8 =
		c->proto->options && c->proto->options->java_string_check_utf8;
	if (u->file.is_proto3 || !*syntax || !strcmp(syntax, "proto2"))
		return STATUS_OK;
	return error_field(l->err, c->item.key,
			   "the syntax \"%s\" is not supported: use proto2 or proto3", syntax);
}

static enum status make_unit(struct loader *l, struct candidate *c)
{
	struct pool_unit *u = unit_new();
	enum status status;

	arena_reset(&l->unpacked);
	status = unpack(l, c->bytes, c->item.key, &c->proto);
	if (status == STATUS_OK)
		status = set_header(l, c, u);
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
		if (f.number == FILE_FIELD_DEPENDENCY && f.type == WIRE_BYTES) {
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

/*
 * Units of the base are kept when neither they nor anything that they import
 * changes; the others become candidates again, with their old bytes.
 */
static void keep_or_relink(struct loader *l)
{
	struct trie changed = {0};

	l->pool = pool_new();
	for (size_t i = 0; i < l->base->unit_count; i++) {
		struct pool_unit *u = l->base->units[i];
		struct candidate *c = find_candidate(l, u->item.key, u->item.key_len);
		bool stale = c != NULL;

		for (uint32_t k = 0; k < u->file.dependency_count && !stale; k++) {
			const struct trie_item *dep = &unit_of(u->file.dependencies[k])->item;

			stale = trie_find(&changed, dep->hash, dep->key, dep->key_len) != NULL;
		}
		if (stale)
			(void)trie_insert(&changed, &u->item); /* units have different names */
		if (stale && !c) {
			c = &l->candidates[l->count++];
			*c = (struct candidate){.item = u->item, .bytes = u->file.bytes};
			(void)trie_insert(&l->by_name, &c->item); /* as above */
		}
		if (stale)
			continue;
		atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
		pool_add_unit(l->pool, u);
		for (size_t k = 0; k < u->symbol_count; k++)
			(void)trie_insert(&l->pool->symbols,
					  &u->symbols[k]->item); /* packages repeat */
	}
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
			keep_or_relink(&l);
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
