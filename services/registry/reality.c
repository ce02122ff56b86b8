#include "services/registry/reality.h"

#include <stdarg.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/reflect/compat.h"
#include "common/reflect/pool.h"
#include "common/reflect/search.h"
#include "services/registry/checking.h"
#include "services/registry/history.h"
#include "services/registry/snapshot.h"

/* ------------------------------------------------------------ without users */

/* A search through earlier versions. */
struct search {
	const struct reality_change *change;
	struct arena *arena;
	bool has_found;
};

static bool look_into(void *arg, const struct history_version *v)
{
	struct search *s = arg;

	s->has_found = compat_check_file(v->file, s->change->after, COMPAT_RECORDS, 1, s->arena)
			       .count > 0;
	arena_reset(s->arena);
	return !s->has_found && clock_monotonic_ns() < s->change->deadline_ns;
}

/* Also when not all that it had can be known. */
static bool once_had_what_it_takes(const struct reality_change *c, const char *name,
				   struct arena *arena)
{
	struct search s = {.change = c, .arena = arena};

	return !history_visit(c->catalog, c->ns, c->before, name, look_into, &s) || s.has_found;
}

static bool file_may_hit(const struct reality_change *c, const char *name, struct arena *arena)
{
	const struct pool_file *before = pool_file(c->before->pool, name, strlen(name));

	if (!before)
		return false; /* damaged: nobody could find anything in it */
	if (!pool_file(c->after, name, strlen(name)) &&
	    (before->message_count || before->service_count))
		return true;
	return compat_check_file(before, c->after, COMPAT_ANY_LEVEL, 1, arena).count > 0 ||
	       once_had_what_it_takes(c, name, arena);
}

bool reality_may_hit(const struct reality_change *change)
{
	struct arena arena;
	bool may = false;

	arena_init(&arena, 0);
	for (size_t i = 0; i < change->file_count && !may; i++) {
		may = file_may_hit(change, change->file_names[i], &arena);
		arena_reset(&arena);
	}
	arena_release(&arena);
	return may;
}

/* --------------------------------------------------------------------- users */

const struct pool_message *checking_type_in(const struct pool *pool, const char *name)
{
	return pool_message(pool, name, strlen(name));
}

bool checking_resolve(const struct pool *pool, const struct pool_message *type,
		      const char *path, struct arena *arena, struct search_path *ret)
{
	struct error ignored; /* that it leads nowhere is the answer */

	return search_resolve(pool, type, path, arena, ret, &ignored) == STATUS_OK;
}

void checking_hit(struct checking *c, const char *rule, const char *path, const char *file_name,
		  const char *fmt, ...)
{
	AUTO_STRBUF text = STRBUF_INIT;
	AUTO_STRBUF key = STRBUF_INIT;
	va_list args;

	/* Past what is kept they are only counted, and need not be told apart. */
	strbuf_addf(&key, "%s %s %s", rule, path, c->user);
	if (c->breakages->count < BREAKAGES_MAX_KEPT && map_put(&c->said, key.buf, c))
		return;
	va_start(args, fmt);
	strbuf_vaddf(&text, fmt, args);
	va_end(args);
	breakages_add(c->breakages, &(struct breakage){.rule = rule,
						       .path = path,
						       .description = text.buf,
						       .file_name = file_name,
						       .user = c->user});
}

enum status checking_values(struct checking *c, struct losses_finder *finder, const char *rule,
			    const struct pool_message *type, int64_t since_us)
{
	const struct losses *losses;
	enum status status = losses_of(finder, type, &losses, c->err);

	for (size_t i = 0; status == STATUS_OK && i < losses->count; i++) {
		const struct loss *l = &losses->items[i];
		if (l->until_us > since_us)
			checking_hit(c, rule, l->path, l->file_name, "%s%s", l->description,
				     l->until_us == INT64_MAX ? ""
							      : ", from an earlier version");
	}
	return status;
}

/* When the oldest of the collections was made; INT64_MAX: there is none. */
static int64_t oldest_us(const struct users *users)
{
	int64_t oldest = INT64_MAX;

	for (size_t i = 0; i < users->collection_count; i++) {
		const int64_t made = checking_made_us(&users->collections[i]);
		if (made < oldest)
			oldest = made;
	}
	return oldest;
}

enum status reality_check(const struct reality_change *change, const struct users *users,
			  struct breakages *breakages, struct error *err)
{
	struct checking c = {.change = change, .breakages = breakages, .err = err};
	enum status status = STATUS_OK;

	arena_init(&c.arena, 0);
	losses_finder_init(&c.records, change, oldest_us(users));
	losses_finder_init(&c.calls, change, INT64_MAX);
	for (size_t i = 0; i < users->collection_count && status == STATUS_OK; i++)
		status = checking_collection(&c, &users->collections[i]);
	for (size_t i = 0; i < users->handler_count && status == STATUS_OK; i++)
		status = checking_handler(&c, &users->handlers[i]);
	for (size_t i = 0; i < users->workflow_count && status == STATUS_OK; i++)
		status = checking_workflow(&c, &users->workflows[i]);
	map_release(&c.said, NULL);
	losses_finder_release(&c.records);
	losses_finder_release(&c.calls);
	arena_release(&c.arena);
	return status;
}
