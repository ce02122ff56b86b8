/* Conditions as SQL: one function renders a path, here and for the indexes. */
#include "services/repo/condition_store.h"

#include <sqlite3.h>
#include <string.h>

#include "services/repo/store_internal.h"

/* ------------------------------------------------------------ values */

void render_value(struct rendering *r, const struct query_value *value)
{
	r->values[r->count++] = value;
	strbuf_addch(&r->sql, '?');
}

void render_text(struct rendering *r, const char *text)
{
	struct query_value *v = &r->made[r->made_count++];

	*v = (struct query_value){.type = VALUE_TEXT, .text = text, .len = strlen(text)};
	render_value(r, v);
}

void render_integer(struct rendering *r, int64_t integer)
{
	struct query_value *v = &r->made[r->made_count++];

	*v = (struct query_value){.type = VALUE_INT, .integer = integer};
	render_value(r, v);
}

void render_bind(const struct rendering *r, sqlite3_stmt *stmt)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct query_value *v = r->values[i];
		const int at = (int)i + 1;

		switch (v->type) {
		case VALUE_INT:
		case VALUE_BOOL:
			sqlite3_bind_int64(stmt, at, v->integer);
			break;
		case VALUE_REAL:
			sqlite3_bind_double(stmt, at, v->real);
			break;
		case VALUE_TEXT:
			sqlite3_bind_text64(stmt, at, v->text, v->len, SQLITE_STATIC,
					    SQLITE_UTF8);
			break;
		case VALUE_BLOB:
			sqlite3_bind_blob64(stmt, at, v->text, v->len, SQLITE_STATIC);
			break;
		case VALUE_NULL:
			break;
		}
	}
}

/* ------------------------------------------------------------ comparisons */

/*
 * What a condition is on, as SQL expressions: its value, its JSON type, and the
 * arguments of json_each() for what is in it.
 */
struct operand {
	struct strbuf value, type, each;
};

static void operand_release(struct operand *o)
{
	strbuf_release(&o->value);
	strbuf_release(&o->type);
	strbuf_release(&o->each);
}

static const char *sign_of(enum query_operator op)
{
	switch ((int)op) {
	case QUERY_GREATER:
		return " > ";
	case QUERY_LESS:
		return " < ";
	case QUERY_GREATER_EQUAL:
		return " >= ";
	case QUERY_LESS_EQUAL:
		return " <= ";
	default: /* CONTAINS of a list is that an element equals */
		return " = ";
	}
}

/* Numbers come before texts in SQLite; of the texts that doubles may be, -Infinity should. */
static void render_real_order(struct rendering *r, const struct query_condition *c,
			      const char *value)
{
	const bool is_less = c->op == QUERY_LESS || c->op == QUERY_LESS_EQUAL;

	strbuf_addf(&r->sql, "(%s%s", value, sign_of(c->op));
	render_value(r, &c->values[0]);
	if (is_less)
		strbuf_addf(&r->sql, " OR %s = '-Infinity')", value);
	else
		strbuf_addf(&r->sql, " AND %s NOT IN ('NaN', '-Infinity'))", value);
}

static void render_list_of_values(struct rendering *r, const struct query_condition *c)
{
	for (size_t i = 0; i < c->value_count; i++) {
		strbuf_addstr(&r->sql, i ? ", " : "");
		render_value(r, &c->values[i]);
	}
}

/* Of a field whose type is declared. */
static void render_typed(struct rendering *r, const struct query_condition *c,
			 const char *value)
{
	const bool is_order = c->op == QUERY_GREATER || c->op == QUERY_LESS ||
			      c->op == QUERY_GREATER_EQUAL || c->op == QUERY_LESS_EQUAL;

	if (c->op == QUERY_CONTAINS && !c->path.is_list) {
		strbuf_addf(&r->sql, "collector_contains(%s, ", value);
		render_value(r, &c->values[0]);
		strbuf_addch(&r->sql, ')');
	} else if (c->op == QUERY_IN) {
		strbuf_addf(&r->sql, "%s IN (", value);
		render_list_of_values(r, c);
		strbuf_addch(&r->sql, ')');
	} else if (is_order && c->path.kind == SEARCH_REAL) {
		render_real_order(r, c, value);
	} else {
		strbuf_addf(&r->sql, "%s%s", value, sign_of(c->op));
		render_value(r, &c->values[0]);
	}
}

/* One of the values, where true is not 1 as it is in SQLite. */
static void render_dynamic_equality(struct rendering *r, const struct query_condition *c,
				    const char *value, const char *type)
{
	size_t others = 0;

	strbuf_addf(&r->sql, "(%s IN (", value);
	for (size_t i = 0; i < c->value_count; i++) {
		if (c->values[i].type == VALUE_BOOL)
			continue;
		strbuf_addstr(&r->sql, others++ ? ", " : "");
		render_value(r, &c->values[i]);
	}
	strbuf_addf(&r->sql, ") AND %s NOT IN ('true', 'false')", type);
	for (size_t i = 0; i < c->value_count; i++)
		if (c->values[i].type == VALUE_BOOL)
			strbuf_addf(&r->sql, " OR %s = '%s'", type,
				    c->values[i].integer ? "true" : "false");
	strbuf_addch(&r->sql, ')');
}

static void render_dynamic_contains(struct rendering *r, const struct query_condition *c,
				    const struct operand *o)
{
	strbuf_addf(&r->sql, "CASE %s WHEN 'text' THEN ", strbuf_str(&o->type));
	if (c->values[0].type == VALUE_TEXT) {
		strbuf_addf(&r->sql, "collector_contains(%s, ", strbuf_str(&o->value));
		render_value(r, &c->values[0]);
		strbuf_addch(&r->sql, ')');
	} else {
		strbuf_addch(&r->sql, '0');
	}
	strbuf_addf(&r->sql,
		    " WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each(%s) AS m WHERE ",
		    strbuf_str(&o->each));
	render_dynamic_equality(r, c, "m.atom", "m.type");
	strbuf_addstr(&r->sql, ") ELSE 0 END");
}

/* Of a value that may be anything: only its own kind compares. */
static void render_dynamic(struct rendering *r, const struct query_condition *c,
			   const struct operand *o)
{
	const char *value = strbuf_str(&o->value), *type = strbuf_str(&o->type);

	if (c->op == QUERY_CONTAINS && !c->path.is_list) {
		render_dynamic_contains(r, c, o);
	} else if (c->op == QUERY_IN || c->op == QUERY_EQUALS || c->op == QUERY_NOT_EQUALS ||
		   c->op == QUERY_CONTAINS) {
		render_dynamic_equality(r, c, value, type);
	} else {
		strbuf_addf(&r->sql, "(%s%s", value, sign_of(c->op));
		render_value(r, &c->values[0]);
		strbuf_addf(&r->sql, " AND %s %s)", type,
			    c->values[0].type == VALUE_TEXT ? "= 'text'"
							    : "IN ('integer', 'real')");
	}
}

/* EXISTS, or the comparison; NOT_EQUALS and NOT_EXISTS are negated by the caller. */
static void render_comparison(struct rendering *r, const struct query_condition *c,
			      const struct operand *o)
{
	if (c->op == QUERY_EXISTS || c->op == QUERY_NOT_EXISTS)
		strbuf_addf(&r->sql, "%s IS NOT NULL", strbuf_str(&o->value));
	else if (c->path.kind == SEARCH_DYNAMIC)
		render_dynamic(r, c, o);
	else
		render_typed(r, c, strbuf_str(&o->value));
}

/* ------------------------------------------------------------ conditions */

/* The first list among parts [first, count), or count. */
static size_t next_list(const struct search_path *path, size_t first)
{
	while (first < path->part_count && !path->parts[first].is_list)
		first++;
	return first;
}

/* Parts [@first, end) inside of element @depth of a list, or the element itself. */
static void operand_of_element(const struct search_path *path, size_t first, unsigned depth,
			       struct operand *ret)
{
	AUTO_STRBUF inner = STRBUF_INIT;

	if (first == path->part_count) {
		strbuf_addf(&ret->value, "e%u.atom", depth);
		strbuf_addf(&ret->type, "e%u.type", depth);
		strbuf_addf(&ret->each, "e%u.value", depth);
		return;
	}
	search_path_sql_range(path, first, path->part_count, &inner);
	/* Inside of what is no object or list is nothing; SQLite would call it malformed. */
	strbuf_addf(&ret->each,
		    "CASE WHEN e%u.type IN ('object', 'array') THEN e%u.value END, '%s'", depth,
		    depth, strbuf_str(&inner));
	strbuf_addf(&ret->value, "json_extract(%s)", strbuf_str(&ret->each));
	strbuf_addf(&ret->type, "json_type(%s)", strbuf_str(&ret->each));
}

/* A path through lists holds if it holds for one way along their elements. */
static void render_through_lists(struct rendering *r, const struct query_condition *c)
{
	const struct search_path *path = &c->path;
	struct operand o = {STRBUF_INIT, STRBUF_INIT, STRBUF_INIT};
	size_t first = 0, list = next_list(path, 0);
	unsigned depth = 0;

	for (; list < path->part_count; list = next_list(path, first), depth++) {
		strbuf_addstr(&r->sql, depth ? " AND EXISTS (SELECT 1 FROM json_each("
					     : "EXISTS (SELECT 1 FROM json_each(");
		if (depth)
			strbuf_addf(&r->sql, "e%u.value", depth - 1);
		else
			strbuf_addstr(&r->sql, "doc");
		strbuf_addstr(&r->sql, ", '");
		search_path_sql_range(path, first, list + 1, &r->sql);
		strbuf_addf(&r->sql, "') AS e%u WHERE 1", depth);
		first = list + 1;
	}
	operand_of_element(path, first, depth - 1, &o);
	strbuf_addstr(&r->sql, " AND ");
	/* An element that is a list or an object has no atom, and is one all the same. */
	if ((c->op == QUERY_EXISTS || c->op == QUERY_NOT_EXISTS) && path->is_list)
		strbuf_addch(&r->sql, '1');
	else
		render_comparison(r, c, &o);
	for (; depth; depth--)
		strbuf_addch(&r->sql, ')');
	operand_release(&o);
}

static void render_single(struct rendering *r, const struct query_condition *c)
{
	struct operand o = {STRBUF_INIT, STRBUF_INIT, STRBUF_INIT};

	render_path(&c->path, &o.value);
	strbuf_addstr(&o.each, "doc, '");
	search_path_sql(&c->path, &o.each);
	strbuf_addch(&o.each, '\'');
	strbuf_addf(&o.type, "json_type(%s)", strbuf_str(&o.each));
	if (c->path.is_map)
		strbuf_addf(&r->sql, "EXISTS (SELECT 1 FROM json_each(%s))",
			    strbuf_str(&o.each));
	else
		render_comparison(r, c, &o);
	operand_release(&o);
}

static void render_condition(struct rendering *r, const struct query_condition *c)
{
	const bool negated = c->op == QUERY_NOT_EQUALS || c->op == QUERY_NOT_EXISTS;

	strbuf_addstr(&r->sql, negated ? "(" : "");
	if (c->path.is_list || c->path.crosses_list)
		render_through_lists(r, c);
	else
		render_single(r, c);
	strbuf_addstr(&r->sql, negated ? ") IS NOT TRUE" : "");
}

void render_node(struct rendering *r, const struct query_node *node)
{
	const char *joint = node->join == QUERY_ANY ? " OR " : " AND ";

	if (node->join == QUERY_CONDITION) {
		render_condition(r, &node->condition);
		return;
	}
	if (!node->first) {
		strbuf_addch(&r->sql, node->join == QUERY_ALL ? '1' : '0');
		return;
	}
	strbuf_addch(&r->sql, '(');
	for (const struct query_node *n = node->first; n; n = n->next) {
		strbuf_addstr(&r->sql, n == node->first ? "" : joint);
		render_node(r, n);
	}
	strbuf_addstr(&r->sql, node->join == QUERY_NOT ? ") IS NOT TRUE" : ")");
}
