#include "services/repo/query.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/reflect/calendar.h"
#include "common/reflect/descriptor.h"

void query_init(struct query *q, const struct pool *pool, const struct pool_message *message,
		struct arena *arena)
{
	*q = (struct query){.pool = pool,
			    .message = message,
			    .arena = arena,
			    .highlight_start = "[",
			    .highlight_end = "]",
			    .limit = -1};
	q->root.join = QUERY_ALL;
	q->group = &q->root;
}

/* Fill @err for the field of the request that the user can find. */
static enum status complain(const char *blame, const char *path, const char *why,
			    struct error *err)
{
	char field[160], message[sizeof(err->message)];

	/* @why may be what @err says now. */
	(void)snprintf(message, sizeof(message), "%s", why);
	(void)snprintf(field, sizeof(field), "%s[\"%.100s\"]", blame, path);
	return error_field(err, field, "%s", message);
}

/* ------------------------------------------------------------ values */

static struct query_value text_value(struct query *q, const char *text)
{
	return (struct query_value){
		.type = VALUE_TEXT, .text = arena_strdup(q->arena, text), .len = strlen(text)};
}

/* A double that is a whole number within 64 bits is compared as one. */
static struct query_value number_value(double number)
{
	if (number >= -0x1p63 && number < 0x1p63 && number == floor(number))
		return (struct query_value){.type = VALUE_INT, .integer = (int64_t)number};
	return (struct query_value){.type = VALUE_REAL, .real = number};
}

static const char *integer_of(const struct query_operand *o, bool is_unsigned,
			      struct query_value *ret)
{
	char *end;

	if (o->type == OPERAND_NUMBER) {
		*ret = number_value(o->number);
		return NULL;
	}
	if (o->type != OPERAND_TEXT || !*o->text || isspace((unsigned char)*o->text))
		return "an integer is compared with a number or digits";
	errno = 0;
	*ret = (struct query_value){.type = VALUE_INT, .integer = strtoll(o->text, &end, 10)};
	if (!*end && errno == ERANGE && is_unsigned && *o->text != '-') {
		/* In documents too such numbers are floating-point. */
		errno = 0;
		unsigned long long large = strtoull(o->text, &end, 10);
		*ret = (struct query_value){.type = VALUE_REAL, .real = (double)large};
	}
	return *end || errno ? "this is not an integer" : NULL;
}

static const char *real_of(struct query *q, const struct query_operand *o,
			   struct query_value *ret)
{
	char *end;

	if (o->type == OPERAND_NUMBER) {
		*ret = (struct query_value){.type = VALUE_REAL, .real = o->number};
		return NULL;
	}
	if (o->type != OPERAND_TEXT || !*o->text || isspace((unsigned char)*o->text))
		return "a number is compared with a number";
	if (!strcmp(o->text, "NaN") || !strcmp(o->text, "Infinity") ||
	    !strcmp(o->text, "-Infinity")) {
		*ret = text_value(q, o->text);
		return NULL;
	}
	*ret = (struct query_value){.type = VALUE_REAL, .real = strtod(o->text, &end)};
	return *end ? "this is not a number" : NULL;
}

static const char *enum_of(struct query *q, const struct pool_enum *type,
			   const struct query_operand *o, struct query_value *ret)
{
	const struct pool_enum_value *value;

	if (o->type == OPERAND_NUMBER && o->number == floor(o->number) &&
	    fabs(o->number) < 0x1p31) {
		value = pool_enum_value_by_number(type, (int32_t)o->number);
		*ret = value ? text_value(q, value->name) : number_value(o->number);
		return NULL;
	}
	if (o->type != OPERAND_TEXT)
		return "an enum is compared with a name or number";
	if (!pool_enum_value_by_name(type, o->text, strlen(o->text)))
		return "the enum has no such value";
	*ret = text_value(q, o->text);
	return NULL;
}

static const char *timestamp_of(struct query *q, const struct query_operand *o,
				struct query_value *ret)
{
	char text[CALENDAR_TEXT_BYTES + 16];
	int64_t seconds;
	int32_t nanos;

	if (o->type != OPERAND_TEXT ||
	    !calendar_parse(o->text, strlen(o->text), &seconds, &nanos))
		return "a time is compared with RFC 3339 text, such as "
		       "\"2026-01-02T03:04:05Z\"";
	size_t len = calendar_format(seconds, text);
	(void)snprintf(text + len, sizeof(text) - len, ".%09dZ", (int)nanos);
	*ret = text_value(q, text);
	return NULL;
}

static const char *duration_of(const struct query_operand *o, struct query_value *ret)
{
	int64_t seconds;
	int32_t nanos;

	if (o->type == OPERAND_NUMBER) {
		*ret = number_value(o->number);
		return NULL;
	}
	if (o->type != OPERAND_TEXT ||
	    !calendar_parse_duration(o->text, strlen(o->text), &seconds, &nanos))
		return "a duration is compared with seconds, such as 1.5 or \"1.5s\"";
	*ret = number_value((double)seconds + nanos / 1e9);
	return NULL;
}

static const char *dynamic_of(struct query *q, const struct query_operand *o,
			      struct query_value *ret)
{
	if (o->type == OPERAND_TEXT)
		*ret = text_value(q, o->text);
	else
		*ret = number_value(o->number);
	if (o->type == OPERAND_BOOL)
		ret->type = VALUE_BOOL;
	return NULL;
}

/* Why @o cannot be compared with what stands at @path; NULL: it can, as *ret. */
static const char *value_of(struct query *q, const struct search_path *path,
			    const struct query_operand *o, struct query_value *ret)
{
	if (o->type == OPERAND_NULL)
		return "null is no value: ask whether the field exists";
	if (o->type == OPERAND_OTHER)
		return "only numbers, texts and booleans can be compared";
	switch (path->kind) {
	case SEARCH_INT:
	case SEARCH_UINT:
		return integer_of(o, path->kind == SEARCH_UINT, ret);
	case SEARCH_REAL:
		return real_of(q, o, ret);
	case SEARCH_BOOL:
		*ret = number_value(o->number);
		return o->type == OPERAND_BOOL ? NULL
					       : "a boolean is compared with true or false";
	case SEARCH_STRING:
	case SEARCH_BYTES:
		if (o->type != OPERAND_TEXT)
			return "a text is compared with a text";
		*ret = text_value(q, o->text);
		return NULL;
	case SEARCH_ENUM:
		return enum_of(q, path->type_enum, o, ret);
	case SEARCH_TIMESTAMP:
		return timestamp_of(q, o, ret);
	case SEARCH_DURATION:
		return duration_of(o, ret);
	case SEARCH_DYNAMIC:
		return dynamic_of(q, o, ret);
	case SEARCH_MESSAGE:
		break;
	}
	return "a message cannot be compared, only its fields";
}

/* ------------------------------------------------------------ conditions */

static bool is_order(enum query_operator op)
{
	return op == QUERY_GREATER || op == QUERY_LESS || op == QUERY_GREATER_EQUAL ||
	       op == QUERY_LESS_EQUAL;
}

static const char *why_not_operator(const struct search_path *path, enum query_operator op)
{
	if (op == QUERY_EXISTS || op == QUERY_NOT_EXISTS)
		return NULL;
	if (path->is_map)
		return "a map cannot be compared, only its values: name a key";
	if (is_order(op) && (path->kind == SEARCH_BOOL || path->kind == SEARCH_ENUM ||
			     path->kind == SEARCH_BYTES))
		return "booleans, enums and bytes have no order";
	if (op == QUERY_CONTAINS && !path->is_list && path->kind != SEARCH_STRING &&
	    path->kind != SEARCH_DYNAMIC)
		return "only texts and lists contain";
	return NULL;
}

/* The operator and this value together. */
static const char *why_not_value(const struct search_path *path, enum query_operator op,
				 const struct query_value *value)
{
	if (is_order(op) && path->kind == SEARCH_REAL && value->type == VALUE_TEXT)
		return "NaN and infinities can only be equal or not";
	if (is_order(op) && value->type == VALUE_BOOL)
		return "booleans have no order";
	return NULL;
}

static void add_key_value(struct strbuf *key, const struct query_value *v)
{
	switch (v->type) {
	case VALUE_INT:
		strbuf_addf(key, " i%lld", (long long)v->integer);
		break;
	case VALUE_REAL:
		strbuf_addf(key, " r%a", v->real);
		break;
	case VALUE_TEXT:
	case VALUE_BLOB:
		strbuf_addf(key, " t%zu:", v->len);
		strbuf_add(key, v->text, v->len);
		break;
	case VALUE_BOOL:
		strbuf_addf(key, " b%lld", (long long)v->integer);
		break;
	case VALUE_NULL:
		break;
	}
}

static const char *make_key(struct query *q, const struct query_condition *c)
{
	AUTO_STRBUF key = STRBUF_INIT;

	search_path_canonical(&c->path, &key);
	strbuf_addf(&key, " %d", (int)c->op);
	for (size_t i = 0; i < c->value_count; i++)
		add_key_value(&key, &c->values[i]);
	return arena_strndup(q->arena, strbuf_str(&key), key.len);
}

static struct query_node *append_node(struct query *q, enum query_join join)
{
	struct query_node *node = arena_alloc(q->arena, sizeof(*node));

	*node = (struct query_node){.join = join, .parent = q->group, .next = q->group->first};
	q->group->first = node;
	return node;
}

enum status query_add(struct query *q, const char *path, enum query_operator op,
		      const struct query_operand *operands, size_t count, const char *blame,
		      struct error *err)
{
	struct query_condition c = {.op = op, .value_count = count};
	struct query_node *node;
	const char *why;
	enum status status;

	if (q->condition_count == QUERY_MAX_CONDITIONS)
		return error_field(err, blame, "more than %d conditions", QUERY_MAX_CONDITIONS);
	if (q->value_count + count > QUERY_MAX_TOTAL_VALUES)
		return error_field(err, blame, "more than %d values", QUERY_MAX_TOTAL_VALUES);
	status = search_resolve(q->pool, q->message, path, q->arena, &c.path, err);
	if (status != STATUS_OK)
		return complain(blame, path, err ? err->message : "", err);
	why = why_not_operator(&c.path, op);
	c.values = arena_alloc(q->arena, (count + 1) * sizeof(*c.values));
	for (size_t i = 0; !why && i < count; i++) {
		why = value_of(q, &c.path, &operands[i], &c.values[i]);
		if (!why)
			why = why_not_value(&c.path, op, &c.values[i]);
	}
	if (why)
		return complain(blame, path, why, err);
	node = append_node(q, QUERY_CONDITION);
	node->condition = c;
	node->key = make_key(q, &c);
	q->condition_count++;
	q->value_count += count;
	return STATUS_OK;
}

enum status query_begin_group(struct query *q, enum query_join join, const char *blame,
			      struct error *err)
{
	size_t depth = 1;

	for (const struct query_node *n = q->group; n != &q->root; n = n->parent)
		depth++;
	if (depth > QUERY_MAX_DEPTH)
		return error_field(err, blame, "groups are more than %d deep", QUERY_MAX_DEPTH);
	if (q->group_count++ == QUERY_MAX_CONDITIONS)
		return error_field(err, blame, "more than %d groups", QUERY_MAX_CONDITIONS);
	q->group = append_node(q, join);
	return STATUS_OK;
}

void query_end_group(struct query *q)
{
	q->group = q->group->parent;
}

enum status query_add_label(struct query *q, const char *key, const char *value,
			    struct error *err)
{
	if (q->label_count == QUERY_MAX_LABELS)
		return error_field(err, "label_filters", "more than %d labels",
				   QUERY_MAX_LABELS);
	q->labels[q->label_count++] = (struct query_label){key, value};
	return STATUS_OK;
}

/* ------------------------------------------------------------ order */

enum status query_add_order(struct query *q, const char *path, bool descending,
			    struct error *err)
{
	struct query_order *o = &q->orders[q->order_count];
	enum status status;

	if (q->order_count == QUERY_MAX_ORDERS)
		return error_field(err, "order_by", "more than %d fields", QUERY_MAX_ORDERS);
	o->descending = descending;
	status = search_resolve(q->pool, q->message, path, q->arena, &o->path, err);
	if (status != STATUS_OK) {
		struct error why = *err;
		return error_field(err, "order_by", "%s", why.message);
	}
	if (o->path.is_list || o->path.crosses_list || o->path.is_map ||
	    o->path.kind == SEARCH_MESSAGE)
		return error_field(err, "order_by", "%s is no single value", path);
	q->order_count++;
	return STATUS_OK;
}

/* One of the comma-separated parts: "a.b", "a.b asc" or "a.b desc". */
static enum status add_order_part(struct query *q, char *part, struct error *err)
{
	char *words[3] = {NULL}, *save = NULL;
	size_t count = 0;

	for (char *word = strtok_r(part, " \t", &save); word && count < 3;
	     word = strtok_r(NULL, " \t", &save))
		words[count++] = word;
	if (count == 0)
		return error_field(err, "order_by", "a field is missing between commas");
	if (count == 3 ||
	    (count == 2 && strcmp(words[1], "asc") != 0 && strcmp(words[1], "desc") != 0))
		return error_field(err, "order_by", "after %s comes nothing, asc or desc",
				   words[0]);
	return query_add_order(q, words[0], count == 2 && !strcmp(words[1], "desc"), err);
}

enum status query_set_order(struct query *q, const char *order_by, struct error *err)
{
	enum status status = STATUS_OK;
	char *text, *comma;

	if (!*order_by)
		return STATUS_OK;
	text = arena_strdup(q->arena, order_by);
	do {
		comma = strchr(text, ',');
		if (comma)
			*comma = '\0';
		status = add_order_part(q, text, err);
		text = comma + 1;
	} while (status == STATUS_OK && comma);
	return status;
}

/* ------------------------------------------------------------ identity */

static int compare_nodes(const void *a, const void *b)
{
	const struct query_node *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

static int compare_labels(const void *a, const void *b)
{
	const struct query_label *x = a, *y = b;
	int keys = strcmp(x->key, y->key);

	return keys ? keys : strcmp(x->value, y->value);
}

static void add_part(struct strbuf *out, char kind, const char *text)
{
	strbuf_addf(out, "%c%zu:", kind, strlen(text));
	strbuf_addstr(out, text);
}

/* Sort what is in @group, and make its key of theirs. */
static void finish_group(struct query *q, struct query_node *group)
{
	struct query_node *nodes[2 * QUERY_MAX_CONDITIONS];
	size_t count = 0;
	AUTO_STRBUF key = STRBUF_INIT;

	for (struct query_node *n = group->first; n; n = n->next) {
		if (n->join != QUERY_CONDITION)
			finish_group(q, n);
		nodes[count++] = n;
	}
	qsort(nodes, count, sizeof(*nodes), compare_nodes);
	strbuf_addf(&key, "%d ", (int)group->join);
	group->first = NULL;
	for (size_t i = count; i > 0; i--) {
		nodes[i - 1]->next = group->first;
		group->first = nodes[i - 1];
	}
	for (size_t i = 0; i < count; i++)
		add_part(&key, 'c', nodes[i]->key);
	group->key = arena_strndup(q->arena, strbuf_str(&key), key.len);
}

void query_finish(struct query *q)
{
	finish_group(q, &q->root);
	qsort(q->labels, q->label_count, sizeof(*q->labels), compare_labels);
}

bool query_is_everything(const struct query *q)
{
	return !q->match && !q->condition_count && !q->group_count && !q->label_count;
}

void query_fingerprint(const struct query *q, struct strbuf *out)
{
	if (q->root.first)
		add_part(out, 'f', q->root.key);
	for (size_t i = 0; i < q->label_count; i++) {
		add_part(out, 'k', q->labels[i].key);
		add_part(out, 'v', q->labels[i].value);
	}
	for (size_t i = 0; i < q->order_count; i++) {
		strbuf_addch(out, q->orders[i].descending ? '-' : '+');
		search_path_canonical(&q->orders[i].path, out);
	}
	if (q->match)
		add_part(out, 'm', q->match);
}
