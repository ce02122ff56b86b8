/*
 * What List and Search ask for, as a tree of typed conditions: the domain builds
 * it from user input, the store renders it.
 *
 * Truth, for one condition on a field: absent is a field with presence that is
 * not set, or one in a message that is not set. EXISTS is true unless absent.
 * NOT_EQUALS is the opposite of EQUALS, so true for absent. Every other
 * comparison with absent is false. On a list a comparison holds when it holds
 * for one element (NOT_EQUALS: for none), EXISTS when it has an element. Values
 * in Struct, Value and Any are whatever they are: a comparison with one of another
 * kind is false, and null is absent. Every condition is true or false, never
 * unknown, so that QUERY_NOT is the opposite.
 */
#ifndef SERVICES_REPO_QUERY_H
#define SERVICES_REPO_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "common/reflect/search.h"
#include "services/repo/vector.h"

struct pool;
struct pool_message;

enum {
	QUERY_MAX_CONDITIONS = 64, /* and as many groups */
	QUERY_MAX_DEPTH = 16,
	QUERY_MAX_LABELS = 64,
	QUERY_MAX_ORDERS = 8,
	QUERY_MAX_TOTAL_VALUES = 4096, /* of all conditions together */
	QUERY_TEXT_MAX_BYTES = 8192,   /* of full text */
	QUERY_MAX_VECTOR_OFFSET = 10000,
};

enum query_operator {
	QUERY_EQUALS,
	QUERY_NOT_EQUALS,
	QUERY_GREATER,
	QUERY_LESS,
	QUERY_GREATER_EQUAL,
	QUERY_LESS_EQUAL,
	QUERY_CONTAINS,
	QUERY_IN,
	QUERY_EXISTS,
	QUERY_NOT_EXISTS,
};

/* A value as the user gave it. */
struct query_operand {
	enum { OPERAND_NULL, OPERAND_BOOL, OPERAND_NUMBER, OPERAND_TEXT, OPERAND_OTHER } type;
	double number; /* a bool is 0 or 1 */
	const char *text;
};

/* A value as the store compares it. */
struct query_value {
	enum {
		VALUE_NULL,
		VALUE_INT,
		VALUE_REAL,
		VALUE_TEXT,
		VALUE_BLOB,
		VALUE_BOOL, /* only of SEARCH_DYNAMIC, where true is not 1 */
	} type;
	int64_t integer; /* of a bool 0 or 1 */
	double real;
	const char *text; /* or blob */
	size_t len;
};

struct query_condition {
	struct search_path path;
	enum query_operator op;
	struct query_value *values; /* one, several for IN, none for EXISTS */
	size_t value_count;
};

/* A condition, or a group of nodes that are joined. */
enum query_join {
	QUERY_CONDITION,
	QUERY_ALL, /* all hold; an empty one does */
	QUERY_ANY, /* one holds; an empty one does not */
	QUERY_NOT, /* not all of them hold */
};

struct query_node {
	enum query_join join;
	struct query_condition condition;  /* of QUERY_CONDITION */
	struct query_node *first, *parent; /* of groups; what is in them */
	struct query_node *next;
	const char *key; /* says the same for the same node; orders them */
};

struct query_label {
	const char *key, *value;
};

struct query_order {
	struct search_path path;
	bool descending;
};

/* Where a page ended: the order's values and the row. */
struct query_position {
	struct query_value keys[QUERY_MAX_ORDERS];
	int64_t row;
};

struct query {
	const struct pool *pool; /* borrowed */
	const struct pool_message *message;
	struct arena *arena;      /* holds everything in the query; borrowed */
	struct query_node root;   /* QUERY_ALL */
	struct query_node *group; /* where conditions are added */
	size_t condition_count, group_count, value_count;
	struct query_label labels[QUERY_MAX_LABELS];
	size_t label_count;
	struct query_order orders[QUERY_MAX_ORDERS];
	size_t order_count;
	const char *match;                           /* an FTS expression; NULL: no full text */
	bool matches_nothing;                        /* text without a single word */
	const char *highlight_start, *highlight_end; /* around matched words in snippets */
	const float *vector;                         /* as it was sent; NULL: none */
	size_t vector_len;
	bool has_min_score; /* only what is so near: */
	double min_score;
	int64_t matched; /* out, with a vector: how many do, whatever limit and offset are */
	uint64_t free_at_us; /* only records that nobody has leased then; 0: all */
	int64_t limit, offset;
	bool has_after;              /* begin after this position */
	struct query_position after; /* in, */
	struct query_position last;  /* out: of the last row given */
};

/* Everything by creation, without a limit. */
void query_init(struct query *q, const struct pool *pool, const struct pool_message *message,
		struct arena *arena);

/*
 * Add a condition. @blame is the request's field for errors, such as "filters".
 * INVALID_ARGUMENT: no such field, a value that does not fit it, an operator
 * that it does not have, too many.
 */
enum status query_add(struct query *q, const char *path, enum query_operator op,
		      const struct query_operand *operands, size_t count, const char *blame,
		      struct error *err) MUST_CHECK;

/*
 * What is added until query_end_group() is in a group of its own; groups may be in
 * groups. INVALID_ARGUMENT: too many, too deep.
 */
enum status query_begin_group(struct query *q, enum query_join join, const char *blame,
			      struct error *err) MUST_CHECK;
void query_end_group(struct query *q);
enum status query_add_label(struct query *q, const char *key, const char *value,
			    struct error *err) MUST_CHECK;

/* "a.b desc, c". */
enum status query_set_order(struct query *q, const char *order_by,
			    struct error *err) MUST_CHECK;
enum status query_add_order(struct query *q, const char *path, bool descending,
			    struct error *err) MUST_CHECK;

/*
 * Words that must all be there, taken literally: "words in quotes" are a phrase, a
 * '*' after a word or phrase makes its end a prefix. Any text is fine; of one over
 * QUERY_TEXT_MAX_BYTES the beginning counts. @is_expression: it is FTS5's syntax.
 */
void query_set_text(struct query *q, const char *text, bool is_expression);

/* What the @rank-th of a list, from 1, adds to a record's score (reciprocal rank fusion). */
static inline double query_rank_score(size_t rank)
{
	return 1.0 / (60 + (double)rank);
}

/* Conditions may be given in any order: sort them, before the query is used. */
void query_finish(struct query *q);

/* Is there no condition on records at all? */
bool query_is_everything(const struct query *q);

/* The same for the same question, whatever page of it; append to @out. After query_finish(). */
void query_fingerprint(const struct query *q, struct strbuf *out);

#endif
