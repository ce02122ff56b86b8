#include "services/console/ctl/output.h"

#include <assert.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/strbuf.h"
#include "common/base/utf8.h"

enum { MAX_CELL_BYTES = 60 };

struct table {
	const char *const *columns;
	size_t column_count;
	char **cells;
	size_t count;
};

void output_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

struct table *table_new(const char *const *columns)
{
	struct table *t = xcalloc(1, sizeof(*t));

	t->columns = columns;
	while (columns[t->column_count])
		t->column_count++;
	return t;
}

/* Terminals are not told control characters; long texts are cut with "...". */
static char *tidy(const char *text)
{
	size_t len = strlen(text);
	bool cut = len > MAX_CELL_BYTES;
	char *out;

	if (cut)
		len = utf8_cut(text, MAX_CELL_BYTES - 3);
	out = cut ? xasprintf("%.*s...", (int)len, text) : xstrdup(text);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	return out;
}

void table_add(struct table *t, const char *text)
{
	t->cells = xreallocarray(t->cells, t->count + 1, sizeof(*t->cells));
	t->cells[t->count++] = tidy(text && *text ? text : "-");
}

void table_addf(struct table *t, const char *fmt, ...)
{
	AUTO_STRBUF text = STRBUF_INIT;
	va_list args;

	va_start(args, fmt);
	strbuf_vaddf(&text, fmt, args);
	va_end(args);
	table_add(t, strbuf_str(&text));
}

void table_add_json(struct table *t, const json_t *value)
{
	char *text;

	if (!value || json_is_string(value)) {
		table_add(t, json_string_value(value));
		return;
	}
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	table_add(t, text);
	free(text);
}

static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void print_row(const struct table *t, const char *const *cells, const int *widths)
{
	for (size_t i = 0; i < t->column_count; i++) {
		bool last = i + 1 == t->column_count;
		fputs(cells[i], stdout);
		if (!last)
			printf("%*s", widths[i] - width_of(cells[i]) + 2, "");
	}
	putchar('\n');
}

void table_print(struct table *t, const char *when_empty)
{
	assert(t->column_count);
	int *widths = xcalloc(t->column_count, sizeof(*widths));

	for (size_t i = 0; i < t->column_count; i++)
		widths[i] = width_of(t->columns[i]);
	for (size_t i = 0; i < t->count; i++)
		if (width_of(t->cells[i]) > widths[i % t->column_count])
			widths[i % t->column_count] = width_of(t->cells[i]);
	if (t->count)
		print_row(t, t->columns, widths);
	else
		fprintf(stderr, "%s\n", when_empty);
	for (size_t i = 0; i + t->column_count <= t->count; i += t->column_count)
		print_row(t, (const char *const *)t->cells + i, widths);
	fflush(stdout); /* what follows on standard error comes after it */
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(widths);
	free(t);
}

const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}
