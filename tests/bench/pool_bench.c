/*
 * What a pool of 10,000 files with 50,000 messages costs: loading it, extending
 * it by one file, replacing one, looking things up, and letting it go. To hold
 * them against, in the same run: protobuf-c unpacking the same files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "google/protobuf/descriptor.pb-c.h"

enum { FILES = 10000, MESSAGES_PER_FILE = 5, FIELDS = 6, LOOKUPS = 1000000 };

enum {
	TYPE_STRING = 9,
	TYPE_MESSAGE = 11,
	TYPE_ENUM = 14,
	LABEL_OPTIONAL = 1,
	LABEL_REPEATED = 3,
};

struct corpus {
	struct arena arena;
	struct bytes *files;
	size_t bytes;
};

/* -------------------------------------------------------------- files */

static void add_field(struct strbuf *out, int number, int label, int type,
		      const char *type_name)
{
	const size_t mark = wire_open(out, 2);
	char name[40];

	snprintf(name, sizeof(name), "field_number_%d", number);
	wire_add_string(out, 1, name);
	wire_add_uint(out, 3, (uint64_t)number);
	wire_add_uint(out, 4, (uint64_t)label);
	wire_add_uint(out, 5, (uint64_t)type);
	if (type_name)
		wire_add_string(out, 6, type_name);
	snprintf(name, sizeof(name), "fieldNumber%d", number);
	wire_add_string(out, 10, name);
	wire_close(out, mark);
}

static void add_message(struct strbuf *out, int file, int message)
{
	const size_t mark = wire_open(out, 4);
	char name[80];

	snprintf(name, sizeof(name), "Message%d", message);
	wire_add_string(out, 1, name);
	for (int i = 1; i <= FIELDS - 2; i++)
		add_field(out, i, LABEL_OPTIONAL, i % 2 ? TYPE_STRING : i, NULL);
	snprintf(name, sizeof(name), ".bench.p%d.f%d.Message%d", file % 100, file, message);
	add_field(out, FIELDS - 1, LABEL_REPEATED, TYPE_MESSAGE, name);
	if (file)
		snprintf(name, sizeof(name), ".bench.p%d.f%d.State", (file - 1) / 2 % 100,
			 (file - 1) / 2);
	else
		snprintf(name, sizeof(name), ".bench.p0.f0.State");
	add_field(out, FIELDS, LABEL_OPTIONAL, TYPE_ENUM, name);
	wire_close(out, mark);
}

static void add_enum(struct strbuf *out, int file)
{
	const size_t mark = wire_open(out, 5);
	char name[40];

	wire_add_string(out, 1, "State");
	for (int i = 0; i < 3; i++) {
		const size_t value = wire_open(out, 2);

		snprintf(name, sizeof(name), "STATE_%d_OF_%d", i, file);
		wire_add_string(out, 1, name);
		wire_add_uint(out, 2, (uint64_t)i);
		wire_close(out, value);
	}
	wire_close(out, mark);
}

/* File @n imports the file that is its parent in a binary tree, which many import in turn. */
static void make_file(struct strbuf *out, int n, int revision)
{
	char name[80];

	snprintf(name, sizeof(name), "bench/p%d/f%d.proto", n % 100, n);
	wire_add_string(out, 1, name);
	snprintf(name, sizeof(name), "bench.p%d.f%d", n % 100, n);
	wire_add_string(out, 2, name);
	if (n) {
		snprintf(name, sizeof(name), "bench/p%d/f%d.proto", (n - 1) / 2 % 100,
			 (n - 1) / 2);
		wire_add_string(out, 3, name);
	}
	for (int i = 0; i < MESSAGES_PER_FILE + revision; i++)
		add_message(out, n, i);
	add_enum(out, n);
	wire_add_string(out, 12, "proto3");
}

static struct bytes file_of(struct arena *arena, int n, int revision)
{
	AUTO_STRBUF sb = STRBUF_INIT;

	make_file(&sb, n, revision);
	return bytes_of(arena_memdup(arena, sb.buf, sb.len), sb.len);
}

static void corpus_init(struct corpus *c)
{
	arena_init(&c->arena, 0);
	c->bytes = 0;
	c->files = arena_alloc(&c->arena, FILES * sizeof(*c->files));
	for (int i = 0; i < FILES; i++) {
		c->files[i] = file_of(&c->arena, i, 0);
		c->bytes += c->files[i].size;
	}
}

/* ------------------------------------------------------------ measuring */

/* One thread does it all, so this is what an idle machine's clock would show. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double ms_since(uint64_t start_ns)
{
	return (double)(cpu_ns() - start_ns) / 1e6;
}

static double unpack_all(const struct corpus *c)
{
	const uint64_t start = cpu_ns();

	for (size_t i = 0; i < FILES; i++)
		google__protobuf__file_descriptor_proto__free_unpacked(
			google__protobuf__file_descriptor_proto__unpack(NULL, c->files[i].size,
									c->files[i].data),
			NULL);
	return ms_since(start);
}

static struct pool *must(enum status status, const struct error *err, struct pool *pool)
{
	if (status == STATUS_OK)
		return pool;
	fprintf(stderr, "%s: %s\n", err->field, err->message);
	exit(1);
}

static struct pool *extend(struct pool *base, const struct bytes *files, size_t count,
			   double *ret_ms)
{
	const uint64_t start = cpu_ns();
	struct pool *pool = NULL;
	struct error err;
	const enum status status = pool_extend(base, files, count, &pool, &err);

	*ret_ms = ms_since(start);
	return must(status, &err, pool);
}

static double replace(struct pool *base, struct bytes file)
{
	const uint64_t start = cpu_ns();
	struct pool *pool = NULL;
	struct error err;
	const enum status status = pool_replace(base, &file, 1, &pool, &err);
	const double ms = ms_since(start);

	pool_unref(must(status, &err, pool));
	return ms;
}

/* Nanoseconds for one message by name and one of its fields by name. */
static double look_up(const struct pool *pool)
{
	uint64_t start;
	size_t found = 0;

	start = cpu_ns();
	for (int i = 0; i < LOOKUPS; i++) {
		const int n = (int)((unsigned)i * 2654435761u % FILES);
		const struct pool_message *m;
		char name[80];
		const int len = snprintf(name, sizeof(name), "bench.p%d.f%d.Message%d", n % 100,
					 n, i % MESSAGES_PER_FILE);

		m = pool_message(pool, name, (size_t)len);
		found += m && pool_field_by_name(m, "fieldNumber3", 12);
	}
	if (found != LOOKUPS) {
		fprintf(stderr, "only %zu lookups found something\n", found);
		exit(1);
	}
	return ms_since(start) * 1e6 / LOOKUPS;
}

static void report(const char *what, double ms, double bar_ms)
{
	printf("%-34s %9.2f ms", what, ms);
	if (bar_ms > 0)
		printf("   bar %6.0f ms   %s", bar_ms, ms < bar_ms ? "holds" : "DOES NOT HOLD");
	printf("\n");
}

int main(void)
{
	struct pool *empty = pool_new(), *large, *more;
	double load_ms, one_ms, unpack_ms, again_ms;
	struct corpus c;
	uint64_t start;
	struct bytes one;

	corpus_init(&c);
	printf("%d files, %d messages, %.1f MB\n", FILES, FILES * MESSAGES_PER_FILE,
	       (double)c.bytes / 1e6);
	unpack_ms = unpack_all(&c);
	large = extend(empty, c.files, FILES, &load_ms);
	report("load all", load_ms, 1000);
	printf("%-34s %9.2f ms   load is %.2f times that\n", "protobuf-c unpacks them",
	       unpack_ms, load_ms / unpack_ms);
	one = file_of(&c.arena, FILES, 0);
	more = extend(large, &one, 1, &one_ms);
	report("one more file", one_ms, 5);
	report("replace a file nobody imports", replace(large, file_of(&c.arena, FILES - 1, 1)),
	       0);
	report("replace one that 1 % import", replace(large, file_of(&c.arena, 126, 1)), 0);
	report("replace the one all import", replace(large, file_of(&c.arena, 0, 1)), 0);
	pool_unref(extend(large, c.files, FILES, &again_ms));
	report("the same files again", again_ms, 0);
	printf("%-34s %9.0f ns\n", "look up a message and a field", look_up(large));
	start = cpu_ns();
	pool_unref(more);
	report("let go of the extended one", ms_since(start), 0);
	start = cpu_ns();
	pool_unref(large);
	report("let go of all", ms_since(start), 0);
	pool_unref(empty);
	arena_release(&c.arena);
	return 0;
}
