/*
 * What tests/schema/run.js asks about messages; see there.
 *	messages schema TYPE...           a schema in a line each
 *	messages skeleton TYPE...         a skeleton in a line each
 *	messages random TYPE COUNT SEED   so many messages, as JSON in a line each
 *	messages read TYPE                for each line of input: what it says as JSON,
 *	                                  or "!" and why it is refused
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/schema.h"
#include "tests/support/random_message.h"
#include "tests/support/types.h"

static struct pool *pool;
static struct error err;

static void check(enum status status)
{
	if (status == STATUS_OK)
		return;
	fprintf(stderr, "%s: %s\n", err.field, err.message);
	exit(2);
}

static const struct pool_message *type_of(const char *name)
{
	const struct pool_message *m = pool_message(pool, name, strlen(name));

	if (!m) {
		fprintf(stderr, "there is no %s\n", name);
		exit(2);
	}
	return m;
}

static void print_schema(const char *type)
{
	AUTO_STRBUF out = STRBUF_INIT;

	check(schema_json(pool, type_of(type), &out, &err));
	puts(out.buf);
}

static void print_skeleton(const char *type)
{
	AUTO_STRBUF out = STRBUF_INIT;

	check(schema_skeleton(type_of(type), &out, &err));
	puts(out.buf);
}

static void print_random(const char *type, long count, uint64_t seed)
{
	const struct pool_message *m = type_of(type);

	for (; count > 0; count--) {
		AUTO_STRBUF wire = STRBUF_INIT, text = STRBUF_INIT;

		random_message(m, &seed, &wire);
		check(wire_to_json(pool, m, bytes_of(wire.buf, wire.len), 0, &text, &err));
		puts(text.buf);
	}
}

static void read_line(const struct pool_message *m, const char *line, size_t len)
{
	AUTO_STRBUF wire = STRBUF_INIT, text = STRBUF_INIT;

	if (json_to_wire(pool, m, line, len, 0, &wire, &err) != STATUS_OK) {
		/* It may quote what it was given, ends of lines too. */
		for (char *p = err.message; (p = strchr(p, '\n'));)
			*p = ' ';
		printf("!%s\n", err.message);
		return;
	}
	check(wire_to_json(pool, m, bytes_of(wire.buf, wire.len), 0, &text, &err));
	puts(text.buf);
}

static void read_lines(const struct pool_message *m)
{
	char *line = NULL;
	size_t capacity = 0;
	ssize_t len;

	while ((len = getline(&line, &capacity, stdin)) > 0)
		read_line(m, line, (size_t)len);
	free(line);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	pool = types_pool();
	if (!strcmp(what, "schema"))
		for (int i = 2; i < argc; i++)
			print_schema(argv[i]);
	else if (!strcmp(what, "skeleton"))
		for (int i = 2; i < argc; i++)
			print_skeleton(argv[i]);
	else if (!strcmp(what, "random") && argc == 5)
		print_random(argv[2], strtol(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	else if (!strcmp(what, "read"))
		read_lines(type_of(argv[2]));
	else
		return 2;
	pool_unref(pool);
	return 0;
}
