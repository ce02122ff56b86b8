/* What a change breaks for collections. */
#include <string.h>

#include "common/base/strbuf.h"
#include "common/reflect/pool.h"
#include "common/reflect/search.h"
#include "services/registry/checking.h"
#include "services/registry/snapshot.h"

/*
 * Clocks differ, and between the moment at which a type was asked for and the one
 * at which the collection was made a new version may have come.
 */
enum { CREATION_SLACK_US = 60 * 1000000 };

static bool is_same_path(const struct search_path *a, const struct search_path *b)
{
	AUTO_STRBUF x = STRBUF_INIT;
	AUTO_STRBUF y = STRBUF_INIT;

	search_path_sql(a, &x);
	search_path_sql(b, &y);
	return !strcmp(x.buf, y.buf) && a->kind == b->kind && a->is_list == b->is_list &&
	       a->is_map == b->is_map && a->crosses_list == b->crosses_list;
}

/* @what it is for: "indexed" or so. */
static void check_path(struct checking *c, const struct pool_message *before, const char *path,
		       const char *what)
{
	const struct pool_message *after =
		checking_type_in(c->change->after, before->full_name);
	struct search_path was, is;
	struct arena arena;

	arena_init(&arena, 0);
	if (checking_resolve(c->change->before->pool, before, path, &arena, &was)) {
		const char *full = arena_printf(&arena, "%s.%s", before->full_name, path);
		if (!checking_resolve(c->change->after, after, path, &arena, &is))
			checking_hit(c, "COLLECTION_INDEX", full, before->file->name,
				     "the %s field %s goes", what, path);
		else if (!is_same_path(&was, &is))
			checking_hit(c, "COLLECTION_INDEX", full, before->file->name,
				     "the %s field %s changes its kind or its JSON name", what,
				     path);
	}
	arena_release(&arena);
}

int64_t checking_made_us(const struct collection_record *r)
{
	return r->created_us - CREATION_SLACK_US;
}

enum status checking_collection(struct checking *c, const struct collection_record *r)
{
	const struct pool_message *before = checking_type_in(c->change->before->pool, r->type);

	if (!before)
		return STATUS_OK;
	c->user = arena_printf(&c->arena, "collection %s/%s", r->ns, r->name);
	if (!checking_type_in(c->change->after, r->type)) {
		checking_hit(c, "COLLECTION_TYPE", r->type, before->file->name,
			     "the type of its records goes");
		return STATUS_OK;
	}
	for (size_t i = 0; i < r->indexed_count; i++)
		check_path(c, before, r->indexed_fields[i], "indexed");
	for (size_t i = 0; i < r->text_count; i++)
		check_path(c, before, r->text_fields[i], "full-text");
	if (*r->vector_field)
		check_path(c, before, r->vector_field, "vector");
	return checking_values(c, &c->records, "COLLECTION_RECORDS", before,
			       checking_made_us(r));
}
