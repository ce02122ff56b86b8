#include "services/registry/diff.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/base/strbuf.h"
#include "common/reflect/pool.h"
#include "common/reflect/proto_text.h"
#include "common/reflect/wire.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
	NAME = 1, /* of everything that has one */
	FILE_MESSAGE = 4,
	FILE_ENUM = 5,
	FILE_SERVICE = 6,
	FILE_EXTENSION = 7,
	MESSAGE_FIELD = 2,
	MESSAGE_MESSAGE = 3,
	MESSAGE_ENUM = 4,
	MESSAGE_EXTENSION = 6,
	MESSAGE_OPTIONS = 7,
	MESSAGE_ONEOF = 8,
	OPTIONS_MAP_ENTRY = 7,
	FIELD_TYPE_NAME = 6,
	FIELD_ONEOF_INDEX = 9,
	SERVICE_METHOD = 2,
};

enum symbol_kind { SYMBOL_FILE, SYMBOL_MESSAGE, SYMBOL_SERVICE, SYMBOL_OTHER };

/* Declared in a file, or the file itself. */
struct symbol {
	const char *path;
	enum symbol_kind kind;
	struct bytes declaration;
	struct bytes oneof;     /* that a field is in; its name */
	struct bytes map_entry; /* that a map is made of */
};

struct symbols {
	struct arena *arena;
	struct symbol *items; /* ordered by path, once all are there */
	size_t count, room;
};

/* ------------------------------------------------------------------- listing */

static const char *add(struct symbols *s, enum symbol_kind kind, const char *scope,
		       struct bytes declaration)
{
	struct bytes name = {0};
	struct symbol *symbol;

	if (s->count == s->room) {
		s->room = s->room ? 2 * s->room : 64;
		s->items = xreallocarray(s->items, s->room, sizeof(*s->items));
	}
	(void)wire_find_bytes(declaration, NAME, &name);
	symbol = &s->items[s->count++];
	*symbol = (struct symbol){.kind = kind, .declaration = declaration};
	symbol->path = arena_printf(s->arena, "%s%s%.*s", scope, *scope ? "." : "",
				    (int)name.size, name.size ? (const char *)name.data : "");
	return symbol->path;
}

static bool is_map_entry(struct bytes message)
{
	struct wire_field f;
	struct wire_cursor c;
	struct bytes options;

	if (!wire_find_bytes(message, MESSAGE_OPTIONS, &options))
		return false;
	for (c = wire_cursor_of(options); wire_next(&c, &f);)
		if (f.number == OPTIONS_MAP_ENTRY && f.value)
			return true;
	return false;
}

/* The names of a message's oneofs, by their index. */
static struct bytes *oneofs_of(struct bytes message, struct arena *arena, size_t *ret_count)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;
	struct bytes *names;
	size_t count = 0;

	while (wire_next(&c, &f))
		count += f.number == MESSAGE_ONEOF;
	names = arena_zalloc(arena, (count + 1) * sizeof(*names));
	*ret_count = count;
	count = 0;
	for (c = wire_cursor_of(message); wire_next(&c, &f);)
		if (f.number == MESSAGE_ONEOF)
			(void)wire_find_bytes(f.data, NAME, &names[count++]);
	return names;
}

static struct bytes oneof_of(struct bytes field, const struct bytes *oneofs, size_t count)
{
	struct wire_cursor c = wire_cursor_of(field);
	struct bytes found = {0};
	struct wire_field f;

	while (wire_next(&c, &f))
		if (f.number == FIELD_ONEOF_INDEX && f.value < count)
			found = oneofs[f.value];
	return found;
}

/* The entries of a message's maps, by their own names. */
static void take_map_entries(struct bytes message, struct arena *arena, struct map *entries)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct wire_field f;
	struct bytes name;

	while (wire_next(&c, &f))
		if (f.number == MESSAGE_MESSAGE && is_map_entry(f.data) &&
		    wire_find_bytes(f.data, NAME, &name))
			map_put_n(entries, (const char *)name.data, name.size,
				  arena_memdup(arena, &f.data, sizeof(f.data)));
}

/* What a map's key and value are is in its entry, which has no name of its own in a file. */
static struct bytes map_entry_of(struct bytes field, const struct map *entries)
{
	struct bytes type, *entry;
	size_t at;

	if (!entries->count || !wire_find_bytes(field, FIELD_TYPE_NAME, &type))
		return (struct bytes){0};
	for (at = type.size; at && type.data[at - 1] != '.';)
		at--;
	entry = map_get_n(entries, (const char *)type.data + at, type.size - at);
	return entry ? *entry : (struct bytes){0};
}

/* As deep as the pool allows messages to be in each other. */
static void add_message(struct symbols *s, const char *scope, struct bytes message)
{
	struct wire_cursor c = wire_cursor_of(message);
	struct map entries = {0};
	struct wire_field f;
	struct bytes *oneofs;
	size_t oneof_count;

	scope = add(s, SYMBOL_MESSAGE, scope, message);
	oneofs = oneofs_of(message, s->arena, &oneof_count);
	take_map_entries(message, s->arena, &entries);
	while (wire_next(&c, &f)) {
		if (f.number == MESSAGE_MESSAGE && !is_map_entry(f.data)) {
			add_message(s, scope, f.data);
		} else if (f.number == MESSAGE_ENUM || f.number == MESSAGE_EXTENSION) {
			add(s, SYMBOL_OTHER, scope, f.data);
		} else if (f.number == MESSAGE_FIELD) {
			add(s, SYMBOL_OTHER, scope, f.data);
			s->items[s->count - 1].oneof = oneof_of(f.data, oneofs, oneof_count);
			s->items[s->count - 1].map_entry = map_entry_of(f.data, &entries);
		}
	}
	map_release(&entries, NULL);
}

static void add_service(struct symbols *s, const char *scope, struct bytes service)
{
	struct wire_cursor c = wire_cursor_of(service);
	struct wire_field f;

	scope = add(s, SYMBOL_SERVICE, scope, service);
	while (wire_next(&c, &f))
		if (f.number == SERVICE_METHOD)
			add(s, SYMBOL_OTHER, scope, f.data);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct symbol *)a)->path, ((const struct symbol *)b)->path);
}

static void list(struct symbols *s, const struct pool_file *file)
{
	struct wire_cursor c;
	struct wire_field f;

	if (!file)
		return;
	add(s, SYMBOL_FILE, "", file->bytes);
	for (c = wire_cursor_of(file->bytes); wire_next(&c, &f);) {
		if (f.number == FILE_MESSAGE)
			add_message(s, file->package, f.data);
		else if (f.number == FILE_SERVICE)
			add_service(s, file->package, f.data);
		else if (f.number == FILE_ENUM || f.number == FILE_EXTENSION)
			add(s, SYMBOL_OTHER, file->package, f.data);
	}
	qsort(s->items, s->count, sizeof(*s->items), by_path);
}

/* ----------------------------------------------------------------- comparing */

/* Fields of a descriptor that say nothing of the symbol itself. */
static bool is_ignored(enum symbol_kind kind, uint32_t number)
{
	switch (kind) {
	case SYMBOL_FILE: { /* what the file declares, and where it is in the source */
		enum { FIRST = FILE_MESSAGE, LAST = FILE_EXTENSION, SOURCE_INFO = 9 };
		return (number >= FIRST && number <= LAST) || number == SOURCE_INFO;
	}
	case SYMBOL_MESSAGE:
		return number == MESSAGE_FIELD || number == MESSAGE_MESSAGE ||
		       number == MESSAGE_ENUM || number == MESSAGE_EXTENSION ||
		       number == MESSAGE_ONEOF;
	case SYMBOL_SERVICE:
		return number == SERVICE_METHOD;
	case SYMBOL_OTHER: /* which oneof a field is in is known by its name */
		return number == FIELD_ONEOF_INDEX;
	}
	return false;
}

static bool next_own(enum symbol_kind kind, struct wire_cursor *c, struct wire_field *f)
{
	while (wire_next(c, f))
		if (!is_ignored(kind, f->number))
			return true;
	return false;
}

static bool is_same(const struct symbol *a, const struct symbol *b)
{
	struct wire_cursor ca = wire_cursor_of(a->declaration);
	struct wire_cursor cb = wire_cursor_of(b->declaration);
	struct wire_field fa, fb;

	if (a->kind != b->kind || !bytes_equal(a->oneof, b->oneof) ||
	    !bytes_equal(a->map_entry, b->map_entry))
		return false;
	for (;;) {
		bool more_a = next_own(a->kind, &ca, &fa), more_b = next_own(b->kind, &cb, &fb);
		if (!more_a || !more_b)
			return more_a == more_b;
		if (!bytes_equal(fa.raw, fb.raw))
			return false;
	}
}

struct comparison {
	const struct diff_side *before, *after;
	struct arena *arena;
	struct diff_change *changes;
	size_t count, text_bytes;
	bool is_cut;
	const char
		*whole; /* the message or service, on one side alone, that holds what follows */
};

static const char *declaration_text(struct comparison *c, const struct diff_side *side,
				    const struct symbol *s)
{
	AUTO_STRBUF text = STRBUF_INIT;
	struct error ignored; /* a linked file has what its bytes declare: it is found */

	if (!s)
		return "";
	if (s->kind == SYMBOL_FILE) {
		proto_text_header(side->pool, side->file, &text);
	} else {
		if (s->oneof.size)
			strbuf_addf(&text, "oneof %.*s: ", (int)s->oneof.size,
				    (const char *)s->oneof.data);
		if (proto_text_bare_symbol(side->pool, s->path, strlen(s->path), &text,
					   &ignored) != STATUS_OK)
			strbuf_reset(&text);
	}
	c->text_bytes += text.len;
	return arena_strndup(c->arena, strbuf_str(&text), text.len);
}

/* Is it in what was told as a whole already? Members follow their message. */
static bool is_told(const struct comparison *c, const char *path)
{
	const size_t n = c->whole ? strlen(c->whole) : 0;

	return n && !strncmp(path, c->whole, n) && path[n] == '.';
}

/* One of them may be NULL. */
static void put(struct comparison *c, const struct symbol *before, const struct symbol *after)
{
	const struct symbol *s = before ? before : after;

	if (is_told(c, s->path))
		return;
	if (!before || !after)
		c->whole = s->path;
	if (c->count == DIFF_MAX_CHANGES || c->text_bytes > DIFF_MAX_TEXT_BYTES) {
		c->is_cut = true;
		return;
	}
	c->changes[c->count++] =
		(struct diff_change){!before  ? DIFF_ADDED
				     : !after ? DIFF_REMOVED
					      : DIFF_CHANGED,
				     s->path, declaration_text(c, c->before, before),
				     declaration_text(c, c->after, after)};
}

static void compare(struct comparison *c, const struct symbols *before,
		    const struct symbols *after)
{
	size_t b = 0, a = 0;

	while (!c->is_cut && (b < before->count || a < after->count)) {
		const struct symbol *sb = b < before->count ? &before->items[b] : NULL;
		const struct symbol *sa = a < after->count ? &after->items[a] : NULL;
		const int order = !sb ? 1 : !sa ? -1 : strcmp(sb->path, sa->path);
		if (order < 0)
			put(c, sb, NULL);
		else if (order > 0)
			put(c, NULL, sa);
		else if (!is_same(sb, sa))
			put(c, sb, sa);
		b += order <= 0;
		a += order >= 0;
	}
}

struct diff diff_files(const struct diff_side *before, const struct diff_side *after,
		       struct arena *arena)
{
	struct symbols old = {.arena = arena}, new = {.arena = arena};
	struct comparison c = {.before = before, .after = after, .arena = arena};

	c.changes = arena_alloc(arena, DIFF_MAX_CHANGES * sizeof(*c.changes));
	list(&old, before->file);
	list(&new, after->file);
	compare(&c, &old, &new);
	free(old.items);
	free(new.items);
	return (struct diff){c.changes, c.count, c.is_cut};
}
