#include "common/reflect/search.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/base/utf8.h"
#include "common/reflect/map_key.h"
#include "common/reflect/pool.h"

enum token_kind {
	TOKEN_NAME,     /* city */
	TOKEN_KEY,      /* ["city"] */
	TOKEN_POSITION, /* [2] */
};

struct token {
	enum token_kind kind;
	const char *text;
	size_t len;
	uint32_t position;
};

/* What the path has led to so far. */
enum place {
	PLACE_MESSAGE,
	PLACE_LIST,
	PLACE_MAP,
	PLACE_DYNAMIC,
	PLACE_SCALAR,
};

struct resolver {
	const char *user_path;
	const char *at;
	struct arena *arena;
	struct error *err;
	struct search_path *path;
	enum place place;
	const struct pool_message *message; /* PLACE_MESSAGE */
	const struct pool_field *field; /* whose value the place is; NULL: the whole message */
};

static enum status fail(const struct resolver *r, const char *what, const char *text,
			size_t len)
{
	return error_field(r->err, r->user_path, "%s: \"%.*s\"", what,
			   len < 200 ? (int)len : 200, text);
}

/* ---------------------------------------------------------------- tokens */

static enum status read_position(struct resolver *r, struct token *t)
{
	t->kind = TOKEN_POSITION;
	t->text = r->at;
	while (*r->at >= '0' && *r->at <= '9' && t->len < 9) {
		t->position = t->position * 10 + (uint32_t)(*r->at++ - '0');
		t->len++;
	}
	if (!t->len || *r->at != ']')
		return fail(r, "a list position or a quoted key belongs between brackets",
			    t->text, strlen(t->text));
	r->at++;
	return STATUS_OK;
}

static enum status read_key(struct resolver *r, struct token *t)
{
	const char quote = *r->at++;
	const char *end = strchr(r->at, quote);

	if (!end || end[1] != ']')
		return fail(r, "a key in brackets is not closed", r->at, strlen(r->at));
	t->kind = TOKEN_KEY;
	t->text = r->at;
	t->len = (size_t)(end - r->at);
	r->at = end + 2;
	return STATUS_OK;
}

/* The next part; there is one. */
static enum status read_token(struct resolver *r, struct token *t)
{
	*t = (struct token){0};
	if (*r->at == '[') {
		r->at++;
		if (*r->at == '"' || *r->at == '\'')
			return read_key(r, t);
		return read_position(r, t);
	}
	if (r->path->part_count) {
		if (*r->at != '.')
			return fail(r, "a dot is missing before", r->at, strlen(r->at));
		r->at++;
	}
	t->kind = TOKEN_NAME;
	t->text = r->at;
	t->len = strcspn(r->at, ".[");
	r->at += t->len;
	if (!t->len)
		return fail(r, "a part of the path is empty", r->user_path,
			    strlen(r->user_path));
	return STATUS_OK;
}

/* ----------------------------------------------------------------- parts */

/* SQLite's JSON paths have no escapes that all of its versions agree on. */
static bool is_usable_key(const char *key, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)key[i];

		if (c < 0x20 || c == '"' || c == '\\')
			return false;
	}
	return utf8_valid(key, len);
}

static enum status add_part(struct resolver *r, struct search_part part)
{
	struct search_path *path = r->path;

	if (path->part_count == SEARCH_PATH_MAX_PARTS)
		return fail(r, "the path has too many parts", r->user_path,
			    strlen(r->user_path));
	if (!is_usable_key(part.key, part.key_len))
		return fail(r,
			    "a key with quotes, backslashes or control characters cannot be "
			    "searched for",
			    part.key, part.key_len);
	path->parts[path->part_count++] = part;
	return STATUS_OK;
}

static bool is_dynamic(const struct pool_message *m)
{
	return m->well_known == POOL_WELL_KNOWN_ANY ||
	       m->well_known == POOL_WELL_KNOWN_STRUCT ||
	       m->well_known == POOL_WELL_KNOWN_VALUE ||
	       m->well_known == POOL_WELL_KNOWN_LIST_VALUE;
}

/* One value of @f, an element where it is repeated. */
static void enter_value(struct resolver *r, const struct pool_field *f)
{
	r->field = f;
	r->message = f->type_message;
	if (!f->type_message)
		r->place = PLACE_SCALAR;
	else if (is_dynamic(f->type_message))
		r->place = PLACE_DYNAMIC;
	else if (f->type_message->well_known != POOL_WELL_KNOWN_NONE &&
		 f->type_message->well_known != POOL_WELL_KNOWN_EMPTY)
		r->place = PLACE_SCALAR;
	else
		r->place = PLACE_MESSAGE;
}

static enum status step_into_field(struct resolver *r, const struct token *t)
{
	const struct pool_field *f = NULL;
	struct search_part part = {0};

	if (t->kind == TOKEN_NAME)
		f = pool_field_by_name(r->message, t->text, t->len);
	if (!f)
		return error_field(r->err, r->user_path, "%s has no field \"%.*s\"",
				   r->message->full_name, t->len < 200 ? (int)t->len : 200,
				   t->text);
	part.key = f->json_name;
	part.key_len = f->json_name_len;
	part.is_list = f->repeated && !f->is_map;
	r->field = f;
	r->path->has_presence = f->has_presence;
	if (f->is_map)
		r->place = PLACE_MAP;
	else if (f->repeated)
		r->place = PLACE_LIST;
	else
		enter_value(r, f);
	return add_part(r, part);
}

static enum status step_into_map(struct resolver *r, const struct token *t)
{
	const struct pool_message *entry = r->field->type_message;
	struct bytes key;

	if (!map_key_read(&entry->fields[0], bytes_of(t->text, t->len), r->arena, &key))
		return fail(r, "this cannot be a key of the map", t->text, t->len);
	r->path->has_presence = true;
	enter_value(r, &entry->fields[1]);
	return add_part(r, (struct search_part){.key = (const char *)key.data,
						.key_len = key.size,
						.is_map_key = true});
}

static enum status add_position(struct resolver *r, const struct token *t)
{
	r->path->has_presence = true;
	return add_part(r, (struct search_part){
				   .key = "", .position = t->position, .is_position = true});
}

static enum status step_into_dynamic(struct resolver *r, const struct token *t)
{
	r->path->has_presence = true;
	r->field = NULL;
	if (t->kind == TOKEN_POSITION)
		return add_position(r, t);
	return add_part(
		r, (struct search_part){.key = t->text, .key_len = t->len, .is_map_key = true});
}

static enum status step_into_list(struct resolver *r, const struct token *t)
{
	enter_value(r, r->field);
	if (t->kind == TOKEN_POSITION) {
		r->path->parts[r->path->part_count - 1].is_list = false;
		return add_position(r, t);
	}
	r->path->crosses_list = true;
	if (r->place == PLACE_MESSAGE)
		return step_into_field(r, t);
	if (r->place == PLACE_DYNAMIC)
		return add_part(r, (struct search_part){.key = t->text,
							.key_len = t->len,
							.is_map_key = true});
	return fail(r, "the elements of the list have no parts", t->text, t->len);
}

static enum status step(struct resolver *r, const struct token *t)
{
	switch (r->place) {
	case PLACE_MESSAGE:
		return step_into_field(r, t);
	case PLACE_LIST:
		return step_into_list(r, t);
	case PLACE_MAP:
		return step_into_map(r, t);
	case PLACE_DYNAMIC:
		return step_into_dynamic(r, t);
	case PLACE_SCALAR:
		break;
	}
	return fail(r, "there is nothing inside of a plain value, such as", t->text, t->len);
}

/* ------------------------------------------------------------------ leaf */

static enum search_kind scalar_kind(const struct pool_field *f)
{
	switch ((enum pool_type)f->type) {
	case POOL_TYPE_DOUBLE:
	case POOL_TYPE_FLOAT:
		return SEARCH_REAL;
	case POOL_TYPE_INT64:
	case POOL_TYPE_INT32:
	case POOL_TYPE_SFIXED32:
	case POOL_TYPE_SFIXED64:
	case POOL_TYPE_SINT32:
	case POOL_TYPE_SINT64:
		return SEARCH_INT;
	case POOL_TYPE_UINT64:
	case POOL_TYPE_FIXED64:
	case POOL_TYPE_FIXED32:
	case POOL_TYPE_UINT32:
		return SEARCH_UINT;
	case POOL_TYPE_BOOL:
		return SEARCH_BOOL;
	case POOL_TYPE_STRING:
		return SEARCH_STRING;
	case POOL_TYPE_BYTES:
		return SEARCH_BYTES;
	case POOL_TYPE_ENUM:
		/* A NullValue is null whatever it is. */
		return f->type_enum->is_null ? SEARCH_DYNAMIC : SEARCH_ENUM;
	case POOL_TYPE_GROUP:
	case POOL_TYPE_MESSAGE:
		break;
	}
	return SEARCH_MESSAGE;
}

static void describe_value(struct search_path *path, const struct pool_field *f)
{
	const struct pool_message *m = f->type_message;

	path->type_enum = f->type_enum;
	path->type_message = m;
	if (!m) {
		path->kind = scalar_kind(f);
		return;
	}
	switch ((enum pool_well_known)m->well_known) {
	case POOL_WELL_KNOWN_TIMESTAMP:
		path->kind = SEARCH_TIMESTAMP;
		break;
	case POOL_WELL_KNOWN_DURATION:
		path->kind = SEARCH_DURATION;
		break;
	case POOL_WELL_KNOWN_FIELD_MASK:
		path->kind = SEARCH_STRING;
		break;
	case POOL_WELL_KNOWN_WRAPPER:
		path->kind = scalar_kind(&m->fields[0]);
		path->is_wrapper = true;
		break;
	case POOL_WELL_KNOWN_ANY:
	case POOL_WELL_KNOWN_STRUCT:
	case POOL_WELL_KNOWN_VALUE:
	case POOL_WELL_KNOWN_LIST_VALUE:
		path->kind = SEARCH_DYNAMIC;
		break;
	case POOL_WELL_KNOWN_EMPTY:
	case POOL_WELL_KNOWN_NONE:
		path->kind = SEARCH_MESSAGE;
		break;
	}
}

static void describe_leaf(struct resolver *r)
{
	struct search_path *path = r->path;

	path->is_list = r->place == PLACE_LIST;
	path->is_map = r->place == PLACE_MAP;
	if (!r->field)
		path->kind = SEARCH_DYNAMIC;
	else if (path->is_map)
		describe_value(path, &r->field->type_message->fields[1]);
	else
		describe_value(path, r->field);
}

enum status search_resolve(const struct pool *pool, const struct pool_message *m,
			   const char *user_path, struct arena *arena,
			   struct search_path *ret_path, struct error *err)
{
	struct search_path path = {0};
	struct resolver r = {.err = err, .path = &path, .place = PLACE_MESSAGE, .message = m};

	(void)pool; /* extensions, which it would find, have no place in a path yet */
	r.user_path = user_path;
	r.arena = arena;
	if (strlen(user_path) > SEARCH_PATH_MAX_BYTES)
		return error_field(err, "", "a field path is longer than %d bytes",
				   SEARCH_PATH_MAX_BYTES);
	/* Keys are slices of the user's text, so it moves into the arena. */
	r.at = arena_strdup(arena, user_path);
	path.parts = arena_alloc(arena, SEARCH_PATH_MAX_PARTS * sizeof(*path.parts));
	if (is_dynamic(m))
		r.place = PLACE_DYNAMIC;
	do {
		struct token t;
		enum status status = read_token(&r, &t);

		if (status == STATUS_OK)
			status = step(&r, &t);
		if (status != STATUS_OK)
			return status;
	} while (*r.at);
	describe_leaf(&r);
	*ret_path = path;
	return STATUS_OK;
}

/* ------------------------------------------------------------- rendering */

static bool is_plain_label(const struct search_part *part)
{
	for (size_t i = 0; i < part->key_len; i++) {
		const char c = part->key[i];
		const bool letter =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return part->key_len > 0;
}

void search_path_sql_range(const struct search_path *path, size_t first, size_t end,
			   struct strbuf *out)
{
	strbuf_addch(out, '$');
	for (size_t i = first; i < end; i++) {
		const struct search_part *part = &path->parts[i];

		if (part->is_position) {
			strbuf_addf(out, "[%u]", part->position);
			continue;
		}
		strbuf_addch(out, '.');
		if (is_plain_label(part)) {
			strbuf_add(out, part->key, part->key_len);
			continue;
		}
		strbuf_addch(out, '"');
		for (size_t k = 0; k < part->key_len; k++) {
			if (part->key[k] == '\'')
				strbuf_addch(out, '\'');
			strbuf_addch(out, part->key[k]);
		}
		strbuf_addch(out, '"');
	}
}

void search_path_sql(const struct search_path *path, struct strbuf *out)
{
	search_path_sql_range(path, 0, path->part_count, out);
}

void search_path_canonical(const struct search_path *path, struct strbuf *out)
{
	for (size_t i = 0; i < path->part_count; i++) {
		const struct search_part *part = &path->parts[i];

		if (part->is_position) {
			strbuf_addf(out, "[%u]", part->position);
		} else if (part->is_map_key && !is_plain_label(part)) {
			strbuf_addf(out, "[\"%.*s\"]", (int)part->key_len, part->key);
		} else {
			if (i)
				strbuf_addch(out, '.');
			strbuf_add(out, part->key, part->key_len);
		}
	}
}
