#include "services/worker/template.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/client/workflow_expression.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/search.h"

static enum status structure_json(const struct pool *pool, struct bytes structure,
				  json_t **ret_json, struct error *err)
{
	static const char type[] = "google.protobuf.Struct";
	AUTO_STRBUF text = STRBUF_INIT;
	enum status status;

	if (structure.size > TEMPLATE_MAX_BYTES)
		return error_set(err, STATUS_INVALID_ARGUMENT, "a template is at most %d bytes",
				 TEMPLATE_MAX_BYTES);
	status = wire_to_json(pool, pool_message(pool, type, sizeof(type) - 1), structure, 0,
			      &text, err);
	if (status != STATUS_OK)
		return status;
	*ret_json = json_loadb(text.buf, text.len, 0, NULL);
	return *ret_json ? STATUS_OK
			 : error_set(err, STATUS_INVALID_ARGUMENT, "the template is not JSON");
}

/* ----------------------------------------------------------------- checking */

static enum status check_expression(const struct template_types *types, const char *expression,
				    struct error *err)
{
	const struct pool_message *type = types->input;
	char *task AUTO_FREE = NULL;
	struct search_path path;
	struct arena arena;
	const char *rest;
	enum status status = workflow_expression_split(expression, &task, &rest, err);

	if (status != STATUS_OK)
		return status;
	if (task && !types->task_output(types->arg, task, &type))
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "{{%s}}: %s is not a task that this one depends on",
				 expression, task);
	if (!type || !*rest)
		return STATUS_OK;
	arena_init(&arena, 0);
	status = search_resolve(types->pool, type, rest, &arena, &path, err);
	arena_release(&arena);
	if (status != STATUS_OK) {
		char *why AUTO_FREE = xstrdup(err->message);
		error_set(err, STATUS_INVALID_ARGUMENT, "{{%s}}: %s", expression, why);
	}
	return status;
}

static enum status check_text(const struct template_types *types, const char *text,
			      struct error *err)
{
	const char *start, *end;
	char *expression;

	while (workflow_expression_next(text, &start, &end, &expression)) {
		enum status status = check_expression(types, expression, err);
		free(expression);
		if (status != STATUS_OK)
			return status;
		text = end;
	}
	while ((text = strstr(text, "{{"))) {
		if (strncmp(text, "{{{{", 4) != 0)
			return error_set(err, STATUS_INVALID_ARGUMENT,
					 "\"%.60s\": an expression ends with }}; {{{{ is a "
					 "literal {{",
					 text);
		text += 4;
	}
	return STATUS_OK;
}

static enum status check_value(const struct template_types *types, const json_t *value,
			       const struct pool_message *target, int depth, struct error *err);

/* What stands in member @key of a @target; *ret is NULL where it cannot be known. */
static enum status member_type(const struct pool_message *target, const char *key,
			       const struct pool_message **ret, struct error *err)
{
	const struct pool_field *f;

	*ret = NULL;
	if (!target || (target->well_known != POOL_WELL_KNOWN_NONE &&
			target->well_known != POOL_WELL_KNOWN_EMPTY))
		return STATUS_OK;
	f = pool_field_by_name(target, key, strlen(key));
	if (!f)
		return error_set(err, STATUS_INVALID_ARGUMENT, "%s has no field \"%s\"",
				 target->full_name, key);
	/* A map's keys are free. */
	*ret = f->is_map ? NULL : f->type_message;
	return STATUS_OK;
}

static enum status check_object(const struct template_types *types, const json_t *object,
				const struct pool_message *target, int depth, struct error *err)
{
	enum status status = STATUS_OK;
	const char *key;
	json_t *item;

	json_object_foreach((json_t *)object, key, item)
	{
		const struct pool_message *type = NULL;

		if (status == STATUS_OK)
			status = member_type(target, key, &type, err);
		if (status == STATUS_OK)
			status = check_value(types, item, type, depth + 1, err);
	}
	return status;
}

static enum status check_value(const struct template_types *types, const json_t *value,
			       const struct pool_message *target, int depth, struct error *err)
{
	enum status status = STATUS_OK;
	json_t *item;
	size_t i;

	if (depth > TEMPLATE_MAX_DEPTH)
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "the template is nested too deep");
	if (json_is_string(value))
		return check_text(types, json_string_value(value), err);
	if (json_is_object(value))
		return check_object(types, value, target, depth, err);
	json_array_foreach(value, i, item)
	{
		if (status == STATUS_OK)
			status = check_value(types, item, target, depth + 1, err);
	}
	return status;
}

enum status template_check(const struct template_types *types, struct bytes structure,
			   const struct pool_message *target, struct error *err)
{
	json_t *json;
	enum status status = structure_json(types->pool, structure, &json, err);

	if (status == STATUS_OK) {
		status = check_value(types, json, target, 0, err);
		json_decref(json);
	}
	return status;
}

/* ------------------------------------------------------------------ filling */

/* The values, as JSON with defaults, made when first referred to. */
struct values {
	const struct template_scope *scope;
	json_t *input;
	json_t **outputs; /* by task */
};

static enum status message_json(const struct pool *pool, const struct typed_message *m,
				json_t **ret_json, struct error *err)
{
	const struct pool_message *type =
		m->type ? pool_message(pool, m->type, strlen(m->type)) : NULL;
	AUTO_STRBUF text = STRBUF_INIT;
	enum status status;

	if (!type)
		return error_set(err, STATUS_INVALID_ARGUMENT, "%s is not registered",
				 m->type ? m->type : "the message");
	status = wire_to_json(pool, type, m->value, JSON_OUT_DEFAULTS | JSON_OUT_LENIENT, &text,
			      err);
	if (status == STATUS_OK) {
		*ret_json = json_loadb(text.buf, text.len, JSON_DECODE_ANY, NULL);
		if (!*ret_json)
			status = error_set(err, STATUS_INTERNAL, "%s has no JSON", m->type);
	}
	return status;
}

static enum status root_of(struct values *v, const char *task, json_t **ret_root,
			   struct error *err)
{
	const struct template_scope *scope = v->scope;

	if (!task) {
		if (!v->input) {
			enum status status =
				message_json(scope->pool, &scope->input, &v->input, err);
			if (status != STATUS_OK)
				return status;
		}
		*ret_root = v->input;
		return STATUS_OK;
	}
	for (size_t i = 0; i < scope->task_count; i++) {
		if (strcmp(scope->tasks[i].task_id, task))
			continue;
		if (!v->outputs[i]) {
			enum status status = message_json(scope->pool, &scope->tasks[i].output,
							  &v->outputs[i], err);
			if (status != STATUS_OK)
				return status;
		}
		*ret_root = v->outputs[i];
		return STATUS_OK;
	}
	return error_set(err, STATUS_INVALID_ARGUMENT, "there is no task %s", task);
}

/* installed_size_kb as installedSizeKb: users write either. */
static json_t *member(const json_t *object, const char *name, size_t len)
{
	char *camel AUTO_FREE = xstrndup(name, len), *out = camel;
	json_t *found = json_object_getn(object, name, len);

	if (found)
		return found;
	for (const char *p = camel; *p; p++) {
		bool up = *p == '_' && p[1] >= 'a' && p[1] <= 'z';
		*out++ = up ? (char)(*++p - 'a' + 'A') : *p;
	}
	*out = '\0';
	return json_object_get(object, camel);
}

/* The value at "a.b[0].c", borrowed; NULL: it leads nowhere. */
static json_t *value_at(json_t *value, const char *path)
{
	while (value && *path) {
		size_t len = strcspn(path, ".[]");
		if (json_is_array(value))
			value = json_array_get(value, strtoul(path, NULL, 10));
		else if (len)
			value = member(value, path, len);
		path += len;
		path += strspn(path, ".[]");
	}
	return value;
}

static enum status evaluate(struct values *v, const char *expression, json_t **ret_value,
			    struct error *err)
{
	char *task AUTO_FREE = NULL;
	const char *path;
	json_t *root = NULL, *found;
	enum status status = workflow_expression_split(expression, &task, &path, err);

	if (status == STATUS_OK)
		status = root_of(v, task, &root, err);
	if (status != STATUS_OK)
		return status;
	found = value_at(root, path);
	if (!found)
		return error_set(err, STATUS_INVALID_ARGUMENT, "{{%s}}: there is no such value",
				 expression);
	*ret_value = json_incref(found);
	return STATUS_OK;
}

/* Literal text, in which "{{{{" is "{{". */
static void put_literal(const char *text, size_t len, struct strbuf *out)
{
	for (size_t i = 0; i < len; i++) {
		strbuf_addch(out, text[i]);
		if (len - i >= 4 && !strncmp(text + i, "{{{{", 4)) {
			strbuf_addch(out, '{');
			i += 3;
		}
	}
}

static void put_value(const json_t *value, struct strbuf *out)
{
	char *text;

	if (json_is_string(value)) {
		strbuf_addstr(out, json_string_value(value));
		return;
	}
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	strbuf_addstr(out, text ? text : "");
	free(text);
}

static enum status fill_text(struct values *v, const char *text, json_t **ret_value,
			     struct error *err)
{
	AUTO_STRBUF out = STRBUF_INIT;
	const char *at = text, *start, *end;
	char *expression;

	while (workflow_expression_next(at, &start, &end, &expression)) {
		bool whole = start == text && !*end;
		json_t *value = NULL;
		enum status status = evaluate(v, expression, &value, err);
		free(expression);
		if (status != STATUS_OK)
			return status;
		if (whole) {
			*ret_value = value;
			return STATUS_OK;
		}
		put_literal(at, (size_t)(start - at), &out);
		put_value(value, &out);
		json_decref(value);
		at = end;
	}
	put_literal(at, strlen(at), &out);
	*ret_value = json_string(strbuf_str(&out));
	return STATUS_OK;
}

static enum status fill_value(struct values *v, const json_t *value, int depth,
			      json_t **ret_value, struct error *err)
{
	enum status status = STATUS_OK;
	json_t *out, *item, *filled;
	const char *key;
	size_t i;

	if (depth > TEMPLATE_MAX_DEPTH)
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "the template is nested too deep");
	if (json_is_string(value))
		return fill_text(v, json_string_value(value), ret_value, err);
	if (!json_is_array(value) && !json_is_object(value)) {
		*ret_value = json_incref((json_t *)value);
		return STATUS_OK;
	}
	out = json_is_array(value) ? json_array() : json_object();
	json_array_foreach(value, i, item)
	{
		if (status == STATUS_OK)
			status = fill_value(v, item, depth + 1, &filled, err);
		if (status == STATUS_OK)
			json_array_append_new(out, filled);
	}
	json_object_foreach((json_t *)value, key, item)
	{
		if (status == STATUS_OK)
			status = fill_value(v, item, depth + 1, &filled, err);
		if (status == STATUS_OK)
			json_object_set_new(out, key, filled);
	}
	if (status == STATUS_OK)
		*ret_value = out;
	else
		json_decref(out);
	return status;
}

static enum status to_message(const struct template_scope *scope, const json_t *filled,
			      const struct pool_message *type, struct strbuf *out,
			      struct error *err)
{
	char *text = json_dumps(filled, JSON_COMPACT);
	enum status status =
		text ? json_to_wire(scope->pool, type, text, strlen(text), 0, out, err)
		     : error_set(err, STATUS_INTERNAL, "the filled template has no JSON");

	free(text);
	return status;
}

enum status template_fill(const struct template_scope *scope, struct bytes structure,
			  const struct pool_message *type, struct strbuf *out,
			  struct error *err)
{
	struct values v = {.scope = scope};
	json_t *json, *filled;
	enum status status = structure_json(scope->pool, structure, &json, err);

	if (status != STATUS_OK)
		return status;
	v.outputs = xcalloc(scope->task_count + 1, sizeof(*v.outputs));
	status = fill_value(&v, json, 0, &filled, err);
	if (status == STATUS_OK) {
		status = to_message(scope, filled, type, out, err);
		json_decref(filled);
	}
	json_decref(v.input);
	for (size_t i = 0; i < scope->task_count; i++)
		json_decref(v.outputs[i]);
	free(v.outputs);
	json_decref(json);
	return status;
}
