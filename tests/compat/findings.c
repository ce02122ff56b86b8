/*
 * What common/reflect/compat.h finds between two descriptor sets, for a script
 * that knows what it should: findings LEVELS OLD.fds NEW.fds. A line for each:
 * level, rule, path, file and sentence, with tabs between them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/reflect/compat.h"
#include "common/reflect/pool.h"

enum { MAX_FINDINGS = 10000 };

static void read_file(const char *path, struct strbuf *out)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		exit(2);
	}
	do {
		strbuf_grow(out, 1 << 16);
		n = fread(out->buf + out->len, 1, 1 << 16, f);
		out->len += n;
	} while (n);
	fclose(f);
}

static struct pool *load(const char *path)
{
	struct pool *empty = pool_new(), *pool;
	AUTO_STRBUF set = STRBUF_INIT;
	struct error err;

	read_file(path, &set);
	if (pool_extend_set(empty, bytes_of(set.buf, set.len), &pool, &err) != STATUS_OK) {
		fprintf(stderr, "%s: %s: %s\n", path, err.field, err.message);
		exit(2);
	}
	pool_unref(empty);
	return pool;
}

int main(int argc, char **argv)
{
	struct compat_report report;
	struct pool *before, *after;
	struct arena arena;

	if (argc != 4) {
		fprintf(stderr, "usage: findings LEVELS OLD.fds NEW.fds\n");
		return 2;
	}
	arena_init(&arena, 0);
	before = load(argv[2]);
	after = load(argv[3]);
	report = compat_check(before, after, (unsigned)atoi(argv[1]), MAX_FINDINGS, &arena);
	for (size_t i = 0; i < report.count; i++) {
		const struct compat_finding *f = &report.findings[i];

		printf("%d\t%s\t%s\t%s\t%s\n", (int)f->level, f->rule, f->path, f->file_name,
		       f->text);
	}
	pool_unref(before);
	pool_unref(after);
	arena_release(&arena);
	return report.truncated ? 3 : 0;
}
