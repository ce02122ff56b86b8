#include "common/reflect/compat.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/utf8.h"
#include "common/reflect/compat_rules.h"
#include "common/reflect/pool.h"

static const struct compat_rule file_no_delete = {"FILE_NO_DELETE", COMPAT_SOURCE};

/* -------------------------------------------------------------- findings */

static enum compat_level weakest(unsigned levels)
{
	return levels & COMPAT_WIRE        ? COMPAT_WIRE
	       : levels & COMPAT_WIRE_JSON ? COMPAT_WIRE_JSON
					   : COMPAT_SOURCE;
}

static struct compat_finding *next_finding(struct compat *c)
{
	if (c->count == c->max) {
		c->truncated = true;
		return NULL;
	}
	if (c->count == c->room) {
		c->room = c->room ? 2 * c->room : 16;
		c->findings = xreallocarray(c->findings, c->room, sizeof(*c->findings));
	}
	return &c->findings[c->count++];
}

void compat_add(struct compat *c, const struct compat_rule *rule, const struct pool_file *file,
		const char *path, const char *fmt, ...)
{
	AUTO_STRBUF text = STRBUF_INIT;
	struct compat_finding *f;
	va_list args;

	if (!(c->levels & rule->levels))
		return;
	f = next_finding(c);
	if (!f)
		return;
	va_start(args, fmt);
	strbuf_vaddf(&text, fmt, args);
	va_end(args);
	if (text.len > COMPAT_TEXT_MAX_BYTES)
		strbuf_truncate(&text, utf8_cut(text.buf, COMPAT_TEXT_MAX_BYTES));
	f->rule = rule->name;
	f->level = weakest(rule->levels);
	f->path = arena_strdup(c->arena, path);
	f->file_name = arena_strdup(c->arena, file->name);
	f->text = arena_strndup(c->arena, strbuf_str(&text), text.len);
}

const char *compat_join(struct strbuf *out, const char *scope, const char *name)
{
	strbuf_reset(out);
	strbuf_addf(out, "%s%s%s", scope, *scope ? "." : "", name);
	return out->buf;
}

/* --------------------------------------------------------------- lookups */

const struct pool_message *compat_message_after(const struct compat *c, const char *name)
{
	return pool_message(c->after, name, strlen(name));
}

const struct pool_enum *compat_enum_after(const struct compat *c, const char *name)
{
	return pool_enum(c->after, name, strlen(name));
}

const struct pool_service *compat_service_after(const struct compat *c, const char *name)
{
	return pool_service(c->after, name, strlen(name));
}

static const struct pool_field *extension_after(const struct compat *c,
						const struct pool_field *was)
{
	const struct pool_message *m = compat_message_after(c, was->message->full_name);
	const struct pool_field *f = m ? pool_field_by_number(c->after, m, was->number) : NULL;

	return f && f->is_extension ? f : NULL;
}

/* ----------------------------------------------------------------- files */

static void check_symbols(struct compat *c, const struct pool_file *was)
{
	for (uint32_t i = 0; i < was->message_count && !c->truncated; i++) {
		const struct pool_message *m = &was->messages[i];
		const struct pool_message *is = compat_message_after(c, m->full_name);

		if (is)
			compat_message(c, m, is);
	}
	for (uint32_t i = 0; i < was->enum_count && !c->truncated; i++) {
		const struct pool_enum *e = &was->enums[i];
		const struct pool_enum *is = compat_enum_after(c, e->full_name);

		if (is)
			compat_enum(c, e, is);
	}
	for (uint32_t i = 0; i < was->service_count && !c->truncated; i++) {
		const struct pool_service *s = &was->services[i];
		const struct pool_service *is = compat_service_after(c, s->full_name);

		if (is)
			compat_service(c, s, is);
	}
	for (uint32_t i = 0; i < was->extension_count && !c->truncated; i++) {
		const struct pool_field *is = extension_after(c, &was->extensions[i]);

		if (is)
			compat_field(c, &was->extensions[i], is);
	}
}

static void check_file(struct compat *c, const struct pool_file *was)
{
	const struct pool_file *is = pool_file(c->after, was->name, strlen(was->name));

	if (is == was)
		return;
	if (is)
		compat_file(c, was, is);
	else
		compat_add(c, &file_no_delete, was, was->name, "the file is gone");
	check_symbols(c, was);
}

static int compare_files(const void *a, const void *b)
{
	const struct pool_file *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void check_files(struct compat *c, const struct pool *before)
{
	const struct pool_file **files;
	size_t count;

	files = (const struct pool_file **)pool_files(before, &count);
	if (!count)
		return;
	files = xmemdup(files, count * sizeof(struct pool_file *));
	qsort(files, count, sizeof(struct pool_file *), compare_files);
	for (size_t i = 0; i < count && !c->truncated; i++)
		check_file(c, files[i]);
	free(files);
}

static struct compat_report finish(struct compat *c)
{
	struct compat_report report = {
		arena_memdup(c->arena, c->findings, c->count * sizeof(*c->findings)), c->count,
		c->truncated};

	free(c->findings);
	map_release(&c->enum_pairs, NULL);
	return report;
}

struct compat_report compat_check(const struct pool *before, const struct pool *after,
				  unsigned levels, size_t max, struct arena *arena)
{
	struct compat c = {.after = after, .levels = levels, .max = max, .arena = arena};

	if (levels)
		check_files(&c, before);
	return finish(&c);
}

struct compat_report compat_check_message(const struct pool_message *before,
					  const struct pool *after, unsigned levels, size_t max,
					  struct arena *arena)
{
	struct compat c = {.after = after, .levels = levels, .max = max, .arena = arena};
	const struct pool_message *is = compat_message_after(&c, before->full_name);

	if (levels && is)
		compat_message(&c, before, is);
	return finish(&c);
}

struct compat_report compat_check_file(const struct pool_file *before, const struct pool *after,
				       unsigned levels, size_t max, struct arena *arena)
{
	struct compat c = {.after = after, .levels = levels, .max = max, .arena = arena};

	if (levels)
		check_file(&c, before);
	return finish(&c);
}
