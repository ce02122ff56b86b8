/*
 * What commands print on standard output: one JSON document, or a table with
 * aligned columns.
 */
#ifndef SERVICES_CONSOLE_CTL_OUTPUT_H
#define SERVICES_CONSOLE_CTL_OUTPUT_H

#include <stddef.h>

struct json_t;

/* Indented, in the order that it has, with a newline. @value is borrowed. */
void output_json(const struct json_t *value);

struct table;

/* @columns ends with NULL. */
struct table *table_new(const char *const *columns);

/* One cell more; a row is full when every column has one. NULL is "-". */
void table_add(struct table *t, const char *text);
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A JSON value as a cell: texts bare, others as compact JSON, long ones cut. */
void table_add_json(struct table *t, const struct json_t *value);

/* Print and free. Without a row, only @when_empty goes to standard error. */
void table_print(struct table *t, const char *when_empty);

/* The string at @key of an object, or "". */
const char *json_text(const struct json_t *object, const char *key);

#endif
