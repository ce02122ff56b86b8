#include "services/console/ctl/filter.h"

#include <jansson.h>
#include <string.h>

#include "common/base/alloc.h"
#include "services/console/ctl/arguments.h"

struct filter_operator {
	const char *sign; /* longer ones first */
	const char *list_name, *search_name;
};

static const struct filter_operator operators[] = {
	{" in ", "in", "OP_IN"},
	{"!=", "ne", "OP_NOT_EQUALS"},
	{">=", "ge", "OP_GREATER_EQUAL"},
	{"<=", "le", "OP_LESS_EQUAL"},
	{"=", "eq", "OP_EQUALS"},
	{">", "gt", "OP_GREATER_THAN"},
	{"<", "lt", "OP_LESS_THAN"},
	{"~", "contains", "OP_CONTAINS"},
	{NULL, NULL, NULL},
};
static const struct filter_operator exists = {"?", "exists", "OP_EXISTS"};
static const struct filter_operator not_exists = {"?", "exists", "OP_NOT_EXISTS"};

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
		*ret = (struct expression){trimmed(text + negated, len - 1 - negated),
					   negated ? &not_exists : &exists,
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

enum status filter_for_list(const struct arguments *args, json_t **ret_filter,
			    struct error *err)
{
	json_t *filter = json_object();
	const char *text;

	for (size_t i = 0; (text = arguments_nth(args, "filter", i)); i++) {
		struct expression e;
		enum status status = parse(text, &e, err);
		if (status != STATUS_OK) {
			json_decref(filter);
			return status;
		}
		json_t *on_path = json_object_get(filter, e.path);
		if (!on_path) {
			on_path = json_object();
			json_object_set_new(filter, e.path, on_path);
		}
		json_object_set(on_path, e.op->list_name, e.value);
		expression_release(&e);
	}
	*ret_filter = filter;
	return STATUS_OK;
}

enum status filter_for_search(const struct arguments *args, json_t **ret_filters,
			      struct error *err)
{
	json_t *filters = json_object();
	const char *text;
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && (text = arguments_nth(args, "filter", i));
	     i++) {
		struct expression e;
		status = parse(text, &e, err);
		if (status != STATUS_OK)
			break;
		if (json_object_get(filters, e.path))
			status = error_set(
				err, STATUS_INVALID_ARGUMENT,
				"--filter: search takes one filter a field, %s has two; "
				"list takes several",
				e.path);
		else
			json_object_set_new(filters, e.path,
					    json_pack("{s:s, s:O}", "operator",
						      e.op->search_name, "value", e.value));
		expression_release(&e);
	}
	if (status == STATUS_OK)
		*ret_filters = filters;
	else
		json_decref(filters);
	return status;
}
