/* SQL text in the making, and conditions as a part of it; for *_store.c files alone. */
#ifndef SERVICES_REPO_CONDITION_STORE_H
#define SERVICES_REPO_CONDITION_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/strbuf.h"
#include "services/repo/query.h"

struct sqlite3_stmt;

/* A condition may bind its value twice, a position its keys once for each order. */
enum {
	RENDERING_MAX_VALUES = QUERY_MAX_TOTAL_VALUES + 2 * QUERY_MAX_LABELS + 256,
	RENDERING_MAX_MADE = 2 * QUERY_MAX_LABELS + 8,
};

/* SQL text and the values for its parameters, in order. */
struct rendering {
	struct strbuf sql;
	const struct query_value *values[RENDERING_MAX_VALUES]; /* borrowed */
	struct query_value made[RENDERING_MAX_MADE];            /* for what is no query_value */
	size_t count, made_count;
	bool counts_rows; /* collector_seen() is to see every record that is looked at */
};

/* Append a parameter for the value, which lives as long as the rendering. */
void render_value(struct rendering *r, const struct query_value *value);
void render_text(struct rendering *r, const char *text);
void render_integer(struct rendering *r, int64_t integer);

/* Give the statement made of the text its values. */
void render_bind(const struct rendering *r, struct sqlite3_stmt *stmt);

/* Append @node as an expression that is true, false or NULL, which is false. */
void render_node(struct rendering *r, const struct query_node *node);

#endif
