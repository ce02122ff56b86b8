#include "services/console/ctl/filter.h"

#include <jansson.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/console/ctl/arguments.h"

struct filter_operator {
	const char *sign; /* longer ones first */
	const char *name;
};

static const struct filter_operator operators[] = {
	{" in ", "in"}, {"!=", "ne"}, {">=", "ge"},      {"<=", "le"}, {"=", "eq"},
	{">", "gt"},    {"<", "lt"},  {"~", "contains"}, {NULL, NULL},
};
static const struct filter_operator exists = {"?", "exists"};

struct expression {
	char *path; /* owned */
	const struct filter_operator *op;
	json_t *value; /* owned */
};

static void expression_release(struct expression *e)
{
	free(e->path);
	json_decref(e->value);
}

static json_t *value_of(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

	return value ? value : json_string(text);
}

static char *trimmed(const char *text, size_t len)
{
	while (len && *text == ' ')
		text++, len--;
	while (len && text[len - 1] == ' ')
		len--;
	return xstrndup(text, len);
}

/* Where the first operator of @text stands; brackets and quotes belong to paths. */
static const char *find_operator(const char *text, const struct filter_operator **ret_op)
{
	bool quoted = false;

	for (const char *p = text; *p; p++) {
		if (*p == '"')
			quoted = !quoted;
		for (const struct filter_operator *op = operators; !quoted && op->sign; op++)
			if (p > text && !strncmp(p, op->sign, strlen(op->sign))) {
				*ret_op = op;
				return p;
			}
	}
	return NULL;
}

static enum status parse(const char *text, struct expression *ret, struct error *err)
{
	const struct filter_operator *op = NULL;
	const char *at = find_operator(text, &op);
	size_t len = strlen(text);
	bool negated = text[0] == '!';

	if (at) {
		char *value AUTO_FREE =
			trimmed(at + strlen(op->sign), strlen(at + strlen(op->sign)));
		*ret = (struct expression){trimmed(text, (size_t)(at - text)), op,
					   value_of(value)};
	} else if (len > 1U + negated && text[len - 1] == '?') {
		*ret = (struct expression){trimmed(text + negated, len - 1 - negated), &exists,
					   json_boolean(!negated)};
	} else {
		return error_set(
			err, STATUS_INVALID_ARGUMENT,
			"--filter: '%s' is not PATH=VALUE, with one of = != < <= > >= ~, "
			"'PATH in [..]', 'PATH?' or '!PATH?'",
			text);
	}
	if (!ret->value) {
		expression_release(ret);
		return error_set(err, STATUS_INVALID_ARGUMENT, "--filter: not valid UTF-8");
	}
	return STATUS_OK;
}

/* --where has a filter as List does. */
static enum status read_where(const struct arguments *args, json_t **ret, struct error *err)
{
	const char *text = arguments_value(args, "where");

	*ret = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (text && !json_is_object(*ret)) {
		json_decref(*ret);
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "--where: not a JSON object, such as "
				 "'{\"$or\": [{\"a\": 1}, {\"b\": {\"gt\": 2}}]}'");
	}
	return STATUS_OK;
}

static enum status add_expressions(const struct arguments *args, json_t *filter,
				   struct error *err)
{
	const char *text;

	for (size_t i = 0; (text = arguments_nth(args, "filter", i)); i++) {
		struct expression e = {NULL, NULL, NULL};
		enum status status = parse(text, &e, err);
		if (status != STATUS_OK)
			return status;
		json_t *on_path = json_object_get(filter, e.path);
		if (!on_path) {
			on_path = json_object();
			json_object_set_new(filter, e.path, on_path);
		}
		json_object_set(on_path, e.op->name, e.value);
		expression_release(&e);
	}
	return STATUS_OK;
}

enum status filter_parse(const struct arguments *args, json_t **ret_filter, struct error *err)
{
	json_t *where, *filter;
	enum status status = read_where(args, &where, err);

	if (status != STATUS_OK)
		return status;
	filter = json_object();
	status = add_expressions(args, filter, err);
	if (status != STATUS_OK) {
		json_decref(filter);
		json_decref(where);
		return status;
	}
	if (where)
		json_object_set_new(filter, "$and", json_pack("[o]", where));
	*ret_filter = filter;
	return STATUS_OK;
}
