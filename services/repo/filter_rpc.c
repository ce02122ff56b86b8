/* Conditions out of the protobuf messages that they come in. */
#include <string.h>

#include "services/repo/rpc_internal.h"

/*
 * A query to which something could not be added is not used: groups that are
 * open then stay so.
 */

static struct query_operand operand_of(const Google__Protobuf__Value *value)
{
	struct query_operand o = {.type = OPERAND_NULL, .text = ""};

	switch (value ? value->kind_case : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET) {
	case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
		o.type = OPERAND_NUMBER;
		o.number = value->number_value;
		break;
	case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
		o.type = OPERAND_TEXT;
		o.text = value->string_value;
		break;
	case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
		o.type = OPERAND_BOOL;
		o.number = value->bool_value ? 1 : 0;
		break;
	case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
	case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
		o.type = OPERAND_OTHER;
		break;
	case GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET:
	case GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE:
	default: /* protobuf-c's enums have a sentinel of their size */
		break;
	}
	return o;
}

static enum status add_in(struct query *q, const char *path,
			  const Google__Protobuf__Value *value, const char *blame,
			  struct error *err)
{
	const Google__Protobuf__ListValue *list;
	struct query_operand *operands;

	if (!value || value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
		return error_field(err, blame, "%s: \"in\" takes a list of values", path);
	list = value->list_value;
	if (list->n_values > QUERY_MAX_TOTAL_VALUES)
		return error_field(err, blame, "%s: more than %d values", path,
				   QUERY_MAX_TOTAL_VALUES);
	operands = arena_alloc(q->arena, (list->n_values + 1) * sizeof(*operands));
	for (size_t i = 0; i < list->n_values; i++)
		operands[i] = operand_of(list->values[i]);
	return query_add(q, path, QUERY_IN, operands, list->n_values, blame, err);
}

static enum status add_one(struct query *q, const char *path, enum query_operator op,
			   const Google__Protobuf__Value *value, const char *blame,
			   struct error *err)
{
	struct query_operand operand;

	if (op == QUERY_IN)
		return add_in(q, path, value, blame, err);
	if (op == QUERY_EXISTS || op == QUERY_NOT_EXISTS)
		return query_add(q, path, op, NULL, 0, blame, err);
	operand = operand_of(value);
	return query_add(q, path, op, &operand, 1, blame, err);
}

enum status filter_add(struct query *q, const char *path, const Collector__Filter *filter,
		       struct error *err)
{
	static const enum query_operator operators[] = {
		[COLLECTOR__FILTER_OPERATOR__OP_EQUALS] = QUERY_EQUALS,
		[COLLECTOR__FILTER_OPERATOR__OP_NOT_EQUALS] = QUERY_NOT_EQUALS,
		[COLLECTOR__FILTER_OPERATOR__OP_GREATER_THAN] = QUERY_GREATER,
		[COLLECTOR__FILTER_OPERATOR__OP_LESS_THAN] = QUERY_LESS,
		[COLLECTOR__FILTER_OPERATOR__OP_GREATER_EQUAL] = QUERY_GREATER_EQUAL,
		[COLLECTOR__FILTER_OPERATOR__OP_LESS_EQUAL] = QUERY_LESS_EQUAL,
		[COLLECTOR__FILTER_OPERATOR__OP_CONTAINS] = QUERY_CONTAINS,
		[COLLECTOR__FILTER_OPERATOR__OP_IN] = QUERY_IN,
		[COLLECTOR__FILTER_OPERATOR__OP_EXISTS] = QUERY_EXISTS,
		[COLLECTOR__FILTER_OPERATOR__OP_NOT_EXISTS] = QUERY_NOT_EXISTS,
	};
	const unsigned op = filter ? (unsigned)filter->operator_ : 0;

	if (!filter)
		return error_field(err, "filters", "%s has no condition", path);
	if (op >= sizeof(operators) / sizeof(operators[0]))
		return error_field(err, "filters", "%s: there is no operator %u", path, op);
	return add_one(q, path, operators[op], filter->value, "filters", err);
}

static const struct {
	const char *name;
	enum query_operator op;
} struct_operators[] = {
	{"eq", QUERY_EQUALS},         {"ne", QUERY_NOT_EQUALS},
	{"gt", QUERY_GREATER},        {"lt", QUERY_LESS},
	{"ge", QUERY_GREATER_EQUAL},  {"le", QUERY_LESS_EQUAL},
	{"contains", QUERY_CONTAINS}, {"in", QUERY_IN},
	{"exists", QUERY_EXISTS},
};

/* {"op": value}: "exists" with false is NOT_EXISTS. */
static enum status add_named(struct query *q, const char *path, const char *name,
			     const Google__Protobuf__Value *value, struct error *err)
{
	for (size_t i = 0; i < sizeof(struct_operators) / sizeof(struct_operators[0]); i++) {
		enum query_operator op = struct_operators[i].op;

		if (strcmp(struct_operators[i].name, name) != 0)
			continue;
		if (op == QUERY_EXISTS) {
			const struct query_operand o = operand_of(value);

			if (o.type != OPERAND_BOOL)
				return error_field(err, "filter",
						   "%s: \"exists\" takes true or false", path);
			op = o.number != 0 ? QUERY_EXISTS : QUERY_NOT_EXISTS;
		}
		return add_one(q, path, op, value, "filter", err);
	}
	return error_field(
		err, "filter",
		"%s: there is no operator \"%s\": eq, ne, gt, lt, ge, le, contains, in,"
		" exists",
		path, name);
}

static enum status add_field(struct query *q, const char *path,
			     const Google__Protobuf__Value *value, struct error *err)
{
	const Google__Protobuf__Struct *ops;
	enum status status = STATUS_OK;

	if (!value || value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
		return add_one(q, path, QUERY_EQUALS, value, "filter", err);
	ops = value->struct_value;
	if (!ops->n_fields)
		status = error_field(err, "filter", "%s has no operator", path);
	for (size_t i = 0; status == STATUS_OK && i < ops->n_fields; i++)
		status = add_named(q, path, ops->fields[i]->key, ops->fields[i]->value, err);
	return status;
}

/* {"$not": filter} */
static enum status add_not(struct query *q, const Google__Protobuf__Value *value,
			   struct error *err)
{
	enum status status;

	if (!value || value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE ||
	    !value->struct_value->n_fields)
		return error_field(err, "filter", "\"$not\" takes a filter");
	status = query_begin_group(q, QUERY_NOT, "filter", err);
	if (status == STATUS_OK)
		status = filter_add_struct(q, value->struct_value, err);
	if (status == STATUS_OK)
		query_end_group(q);
	return status;
}

/* {"$and": [filter, ...]}, {"$or": [filter, ...]} */
static enum status add_joined(struct query *q, const char *name, enum query_join join,
			      const Google__Protobuf__Value *value, struct error *err)
{
	const Google__Protobuf__ListValue *list;
	enum status status;

	if (!value || value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE ||
	    !value->list_value->n_values)
		return error_field(err, "filter", "\"%s\" takes a list of filters", name);
	list = value->list_value;
	status = query_begin_group(q, join, "filter", err);
	for (size_t i = 0; status == STATUS_OK && i < list->n_values; i++) {
		const Google__Protobuf__Value *one = list->values[i];

		if (one->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
			return error_field(err, "filter", "\"%s\" takes a list of filters",
					   name);
		status = query_begin_group(q, QUERY_ALL, "filter", err);
		if (status == STATUS_OK)
			status = filter_add_struct(q, one->struct_value, err);
		if (status == STATUS_OK)
			query_end_group(q);
	}
	if (status == STATUS_OK)
		query_end_group(q);
	return status;
}

enum status filter_add_struct(struct query *q, const Google__Protobuf__Struct *filter,
			      struct error *err)
{
	enum status status = STATUS_OK;

	for (size_t i = 0; filter && status == STATUS_OK && i < filter->n_fields; i++) {
		const char *key = filter->fields[i]->key;
		const Google__Protobuf__Value *value = filter->fields[i]->value;

		/* No field's name can begin with a dollar sign. */
		if (!strcmp(key, "$not"))
			status = add_not(q, value, err);
		else if (!strcmp(key, "$and"))
			status = add_joined(q, key, QUERY_ALL, value, err);
		else if (!strcmp(key, "$or"))
			status = add_joined(q, key, QUERY_ANY, value, err);
		else
			status = add_field(q, key, value, err);
	}
	return status;
}

_Static_assert(sizeof(struct label_entry) ==
			       sizeof(Collector__WatchRecordsRequest__LabelFiltersEntry) &&
		       offsetof(struct label_entry, value) ==
			       offsetof(Collector__WatchRecordsRequest__LabelFiltersEntry,
					value),
	       "map entries are as protobuf-c makes them");

enum status filter_add_labels(struct query *q, const void *entries, size_t count,
			      struct error *err)
{
	const struct label_entry *const *labels = entries;
	enum status status = STATUS_OK;

	for (size_t i = 0; status == STATUS_OK && i < count; i++)
		status = query_add_label(q, labels[i]->key, labels[i]->value, err);
	return status;
}
