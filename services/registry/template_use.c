/* What a change breaks in the templates of task inputs. */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/client/workflow_expression.h"
#include "common/reflect/pool.h"
#include "common/reflect/search.h"
#include "common/reflect/wire.h"
#include "services/registry/checking.h"
#include "services/registry/snapshot.h"

enum {
	STRUCT_FIELD = 1, /* google.protobuf.Struct.fields */
	ENTRY_KEY = 1,
	ENTRY_VALUE = 2,
	VALUE_STRING = 3, /* google.protobuf.Value */
	VALUE_STRUCT = 5,
	VALUE_LIST = 6,
	LIST_VALUE = 1, /* google.protobuf.ListValue.values */
};

/* One task's template. */
struct template
{
	struct checking *checking;
	const struct workflow_definition *definition;
	const struct pool_message *input; /* that it makes */
	struct arena *arena;
};

/* What stood at @path, in a message of @type, and does not any more. */
static void check_path(struct template *t, const struct pool_message *type, const char *path)
{
	struct checking *c = t->checking;
	const struct pool_message *after;
	struct search_path found;

	after = type ? checking_type_in(c->change->after, type->full_name) : NULL;
	/* That a type goes as a whole is told by who looks at types. */
	if (!after || !*path ||
	    !checking_resolve(c->change->before->pool, type, path, t->arena, &found) ||
	    checking_resolve(c->change->after, after, path, t->arena, &found))
		return;
	checking_hit(c, c->rule, arena_printf(t->arena, "%s.%s", type->full_name, path),
		     type->file->name, "a template refers to %s, which goes", path);
}

/* ------------------------------------------------------------- expressions */

/* The type that a task answers with; NULL: it is not known. */
static const struct pool_message *output_of(const struct template *t, const char *task_id)
{
	const struct pool *pool = t->checking->change->before->pool;
	const struct workflow_definition *d = t->definition;

	for (size_t i = 0; i < d->task_count; i++) {
		const struct workflow_task *task = &d->tasks[i];
		const struct pool_service *s;
		const struct pool_method *m;
		if (strcmp(task->id, task_id) != 0)
			continue;
		s = pool_service(pool, task->service, strlen(task->service));
		m = s ? pool_method(s, task->method, strlen(task->method)) : NULL;
		return m ? m->output : NULL;
	}
	return NULL;
}

static void check_expression(struct template *t, const char *expression)
{
	const struct pool *pool = t->checking->change->before->pool;
	char *task AUTO_FREE = NULL;
	struct error ignored; /* it was checked when it was defined */
	const char *path;

	if (workflow_expression_split(expression, &task, &path, &ignored) != STATUS_OK)
		return;
	check_path(t,
		   task ? output_of(t, task)
			: checking_type_in(pool, t->definition->input_type),
		   path);
}

static void check_text(struct template *t, const char *text)
{
	const char *start, *end;
	char *expression;

	while (workflow_expression_next(text, &start, &end, &expression)) {
		check_expression(t, expression);
		free(expression);
		text = end;
	}
}

/* --------------------------------------------------------------- structure */

static char *text_of(struct template *t, struct bytes b)
{
	return arena_strndup(t->arena, (const char *)b.data, b.size);
}

static void check_struct(struct template *t, struct bytes structure, const char *path);

/* Messages are at most WIRE_MAX_DEPTH deep: what is stored was checked. */
static void check_value(struct template *t, struct bytes value, const char *path)
{
	struct wire_cursor c = wire_cursor_of(value);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		if (f.type != WIRE_BYTES)
			continue;
		if (f.number == VALUE_STRING)
			check_text(t, text_of(t, f.data));
		else if (f.number == VALUE_STRUCT)
			check_struct(t, f.data, path);
		else if (f.number == VALUE_LIST) {
			struct wire_cursor list = wire_cursor_of(f.data);
			while (wire_next(&list, &f))
				if (f.number == LIST_VALUE && f.type == WIRE_BYTES)
					check_value(t, f.data, path);
		}
	}
}

/* NULL: a map's key that a path cannot have as it is; what is below is not looked at. */
static const char *path_below(struct template *t, const char *path, const char *name)
{
	if (!path || strpbrk(name, ".[\""))
		return NULL;
	return *path ? arena_printf(t->arena, "%s.%s", path, name) : name;
}

static void check_struct(struct template *t, struct bytes structure, const char *path)
{
	struct wire_cursor c = wire_cursor_of(structure);
	struct wire_field f;

	while (wire_next(&c, &f)) {
		struct bytes key = {0}, value = {0};
		const char *name, *below;
		if (f.number != STRUCT_FIELD || f.type != WIRE_BYTES)
			continue;
		(void)wire_find_bytes(f.data, ENTRY_KEY, &key); /* without it: "" */
		(void)wire_find_bytes(f.data, ENTRY_VALUE, &value);
		name = text_of(t, key);
		below = path_below(t, path, name);
		if (below)
			check_path(t, t->input, below);
		check_value(t, value, below);
	}
}

void checking_template(struct checking *c, const struct workflow_definition *d,
		       const struct workflow_task *task)
{
	const struct pool *pool = c->change->before->pool;
	const struct pool_service *s = pool_service(pool, task->service, strlen(task->service));
	const struct pool_method *m =
		s ? pool_method(s, task->method, strlen(task->method)) : NULL;
	struct arena arena;
	struct template t = {c, d, m ? m->input : NULL, &arena};

	if (!task->has_template)
		return;
	arena_init(&arena, 0);
	check_struct(&t, task->template_struct, "");
	arena_release(&arena);
}
