/*
 * Comments out of a file's SourceCodeInfo: locations are named by paths of field
 * numbers and positions, descriptor.proto's "SourceCodeInfo.Location.path".
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/reflect/comments.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
	FILE_MESSAGE = 4,
	FILE_ENUM = 5,
	FILE_SERVICE = 6,
	FILE_EXTENSION = 7,
	FILE_SOURCE_INFO = 9,
	MESSAGE_FIELD = 2,
	MESSAGE_NESTED = 3,
	MESSAGE_ENUM = 4,
	MESSAGE_EXTENSION = 6,
	ENUM_VALUE = 2,
	SERVICE_METHOD = 2,
	INFO_LOCATION = 1,
	LOCATION_PATH = 1,
	LOCATION_LEADING = 3,
	MAX_PATH = 256, /* messages are nested 100 deep at most */
};

struct path {
	uint32_t parts[MAX_PATH];
	size_t count;
};

static void add(struct path *p, uint32_t field, uint32_t index)
{
	if (p->count + 2 > MAX_PATH)
		return;
	p->parts[p->count++] = field;
	p->parts[p->count++] = index;
}

static void add_message(struct path *p, const struct pool_message *m)
{
	if (m->parent)
		add_message(p, m->parent);
	add(p, m->parent ? MESSAGE_NESTED : FILE_MESSAGE, m->index);
}

static void add_enum(struct path *p, const struct pool_enum *e)
{
	if (e->parent)
		add_message(p, e->parent);
	add(p, e->parent ? MESSAGE_ENUM : FILE_ENUM, e->index);
}

/* "shop.v1.Order.qty": what the part before the last dot declares as the last. */
static bool add_field(const struct pool *pool, const char *symbol, size_t scope, size_t len,
		      struct path *p)
{
	const struct pool_message *m = pool_message(pool, symbol, scope);
	const struct pool_field *f =
		m ? pool_field_by_name(m, symbol + scope + 1, len - scope - 1) : NULL;

	if (!f)
		return false;
	add_message(p, m);
	add(p, MESSAGE_FIELD, f->declaration_index);
	return true;
}

static bool add_method(const struct pool *pool, const char *symbol, size_t scope, size_t len,
		       struct path *p)
{
	const struct pool_service *s = pool_service(pool, symbol, scope);
	const struct pool_method *m =
		s ? pool_method(s, symbol + scope + 1, len - scope - 1) : NULL;

	if (!m)
		return false;
	add(p, FILE_SERVICE, s->index);
	add(p, SERVICE_METHOD, m->index);
	return true;
}

/* Values are siblings of their enum: the enum is one of its scope's. */
static bool add_value(const struct pool_file *file, const char *symbol, size_t scope,
		      size_t len, struct path *p)
{
	for (uint32_t i = 0; i < file->enum_count; i++) {
		const struct pool_enum *e = &file->enums[i];
		size_t around = strlen(e->full_name) - strlen(e->name);
		const struct pool_enum_value *v;
		if (around != (scope ? scope + 1 : 0) || memcmp(e->full_name, symbol, around))
			continue;
		v = pool_enum_value_by_name(e, symbol + around, len - around);
		if (v) {
			add_enum(p, e);
			add(p, ENUM_VALUE, (uint32_t)(v - e->values));
			return true;
		}
	}
	return false;
}

static bool find_path(const struct pool *pool, const struct pool_file *file, const char *symbol,
		      size_t len, struct path *p)
{
	const struct pool_message *m = pool_message(pool, symbol, len);
	const struct pool_enum *e = pool_enum(pool, symbol, len);
	const struct pool_service *s = pool_service(pool, symbol, len);
	size_t scope = len;

	if (m)
		add_message(p, m);
	else if (e)
		add_enum(p, e);
	else if (s)
		add(p, FILE_SERVICE, s->index);
	if (m || e || s)
		return true;
	while (scope && symbol[scope] != '.')
		scope--;
	return (scope && (add_field(pool, symbol, scope, len, p) ||
			  add_method(pool, symbol, scope, len, p))) ||
	       add_value(file, symbol, scope, len, p);
}

static bool has_path(struct bytes location, const struct path *p)
{
	struct bytes packed;
	const uint8_t *at, *end;
	size_t n = 0;

	if (!wire_find_bytes(location, LOCATION_PATH, &packed))
		return false;
	for (at = packed.data, end = at + packed.size; at && at < end; n++) {
		uint64_t part;
		at = wire_read_varint(at, end, &part);
		if (!at || n >= p->count || part != p->parts[n])
			return false;
	}
	return n == p->count;
}

void pool_comment(const struct pool *pool, const char *symbol, size_t len, struct strbuf *out)
{
	const struct pool_file *file = pool_file_of_symbol(pool, symbol, len);
	struct path path = {.count = 0};
	struct wire_cursor c;
	struct wire_field location;
	struct bytes info, text;

	if (!file || !find_path(pool, file, symbol, len, &path) ||
	    !wire_find_bytes(file->bytes, FILE_SOURCE_INFO, &info))
		return;
	c = wire_cursor_of(info);
	while (wire_next(&c, &location)) {
		if (location.number != INFO_LOCATION || location.type != WIRE_BYTES ||
		    !has_path(location.data, &path))
			continue;
		if (wire_find_bytes(location.data, LOCATION_LEADING, &text))
			strbuf_add(out, text.data, text.size);
		return;
	}
}

/* --------------------------------------------------- all of a file's, by path */

void comments_init(struct comments *c, const struct pool_file *file)
{
	struct wire_field location;
	struct bytes info, path;
	struct wire_cursor at;

	*c = (struct comments){.by_path = {0}};
	if (!wire_find_bytes(file->bytes, FILE_SOURCE_INFO, &info))
		return;
	at = wire_cursor_of(info);
	while (wire_next(&at, &location)) {
		if (location.number != INFO_LOCATION || location.type != WIRE_BYTES ||
		    !wire_find_bytes(location.data, LOCATION_PATH, &path))
			continue;
		/* Of several with one path the first is the whole declaration. */
		if (!map_get_n(&c->by_path, (const char *)path.data, path.size))
			map_put_n(&c->by_path, (const char *)path.data, path.size,
				  xmemdup(&location.data, sizeof(location.data)));
	}
}

void comments_release(struct comments *c)
{
	map_release(&c->by_path, free);
}

const struct bytes *comments_location(const struct comments *c, struct bytes path)
{
	return map_get_n(&c->by_path, (const char *)path.data, path.size);
}

static void add_leading(const struct comments *c, const struct path *p, struct strbuf *out)
{
	AUTO_STRBUF packed = STRBUF_INIT;
	const struct bytes *location;
	struct bytes text;

	for (size_t i = 0; i < p->count; i++)
		wire_add_varint(&packed, p->parts[i]);
	location = comments_location(c, bytes_of(packed.buf, packed.len));
	if (location && wire_find_bytes(*location, LOCATION_LEADING, &text))
		strbuf_add(out, text.data, text.size);
}

void comments_add_message(const struct comments *c, const struct pool_message *m,
			  struct strbuf *out)
{
	struct path p = {.count = 0};

	add_message(&p, m);
	add_leading(c, &p, out);
}

void comments_add_field(const struct comments *c, const struct pool_field *f,
			struct strbuf *out)
{
	struct path p = {.count = 0};

	if (f->parent)
		add_message(&p, f->parent);
	if (!f->is_extension)
		add(&p, MESSAGE_FIELD, f->declaration_index);
	else
		add(&p, f->parent ? MESSAGE_EXTENSION : FILE_EXTENSION, f->index);
	add_leading(c, &p, out);
}

void comments_add_enum(const struct comments *c, const struct pool_enum *e, struct strbuf *out)
{
	struct path p = {.count = 0};

	add_enum(&p, e);
	add_leading(c, &p, out);
}

void comments_add_value(const struct comments *c, const struct pool_enum *e, uint32_t index,
			struct strbuf *out)
{
	struct path p = {.count = 0};

	add_enum(&p, e);
	add(&p, ENUM_VALUE, index);
	add_leading(c, &p, out);
}
