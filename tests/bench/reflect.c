/*
 * What common/reflect costs, held against libprotobuf's C++ and SQLite in the same
 * run: three messages, every operation in interleaved rounds, so that whatever
 * else the machine does falls on all of them alike. The best round counts.
 * Environment: BENCH_ROUNDS (15), BENCH_SLICE_MS (20), a measurement's length.
 * Exit code 1: a bar is missed.
 */
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/mask.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "tests/support/protobuf_cpp.h"
#include "tests/support/types.h"

enum { VARIANTS = 8, LARGE_ORDERS = 1000 };

/* One message, in all the forms that are converted. */
struct subject {
	const char *name;
	const struct pool_message *type;
	struct strbuf wire;
	/* Texts that differ in a byte: SQLite remembers what it has parsed. */
	struct strbuf texts[VARIANTS];
	struct cpp_message *parsed, *scratch, *target;
	const char *path; /* of the mask */
	struct strbuf mask;
};

static struct pool *pool;
static sqlite3_stmt *jsonb_statement;
static struct strbuf out;
static struct error err;

static void must(bool done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, err.field, err.message);
	exit(2);
}

/* ------------------------------------------------------------ operations */

static struct bytes wire_of(const struct subject *s)
{
	return bytes_of(s->wire.buf, s->wire.len);
}

static void ours_validate(struct subject *s, size_t i)
{
	(void)i;
	must(wire_validate(pool, s->type, wire_of(s), 0, &err) == STATUS_OK, "validate");
}

static void ours_json(struct subject *s, size_t i)
{
	(void)i;
	must(wire_to_json(pool, s->type, wire_of(s), 0, &out, &err) == STATUS_OK, "to JSON");
}

static void ours_jsonb(struct subject *s, size_t i)
{
	(void)i;
	must(wire_to_jsonb(pool, s->type, wire_of(s), JSON_OUT_SEARCH, &out, &err) == STATUS_OK,
	     "to JSONB");
}

static void ours_from_json(struct subject *s, size_t i)
{
	const struct strbuf *text = &s->texts[i % VARIANTS];

	must(json_to_wire(pool, s->type, text->buf, text->len, 0, &out, &err) == STATUS_OK,
	     "from JSON");
}

static void ours_merge(struct subject *s, size_t i)
{
	(void)i;
	must(mask_merge(pool, s->type, wire_of(s), wire_of(s), &s->path, 1, &out, &err) ==
		     STATUS_OK,
	     "merge");
}

static void cpp_only_parse(struct subject *s, size_t i)
{
	(void)i;
	must(cpp_parse(s->scratch, s->wire.buf, s->wire.len), "C++ parse");
}

static void cpp_to_json(struct subject *s, size_t i)
{
	size_t size;

	(void)i;
	must(cpp_json(s->parsed, false, &size), "C++ to JSON");
}

static void cpp_from_json(struct subject *s, size_t i)
{
	const struct strbuf *text = &s->texts[i % VARIANTS];

	must(cpp_parse_json(s->scratch, text->buf, text->len, false), "C++ from JSON");
}

/* As for us: from bytes, to bytes. */
static void cpp_merge(struct subject *s, size_t i)
{
	size_t size;

	(void)i;
	must(cpp_parse(s->scratch, s->wire.buf, s->wire.len) &&
		     cpp_parse(s->target, s->wire.buf, s->wire.len) &&
		     cpp_merge_masked(s->scratch, s->target, s->mask.buf, s->mask.len) &&
		     cpp_wire(s->target, &size),
	     "C++ merge");
}

static void sqlite_jsonb(struct subject *s, size_t i)
{
	const struct strbuf *text = &s->texts[i % VARIANTS];

	sqlite3_bind_text(jsonb_statement, 1, text->buf, (int)text->len, SQLITE_STATIC);
	must(sqlite3_step(jsonb_statement) == SQLITE_ROW &&
		     sqlite3_column_bytes(jsonb_statement, 0) > 0,
	     "SQLite");
	sqlite3_reset(jsonb_statement);
}

/* Rows, in the order in which they are printed. */
enum row {
	VALIDATE,
	JSON,
	JSONB,
	FROM_JSON,
	MERGE,
	CPP_PARSE,
	CPP_JSON,
	CPP_FROM,
	CPP_MERGE,
	SQLITE,
	ROWS
};

static const struct {
	const char *name;
	void (*run)(struct subject *s, size_t i);
	enum row yardstick;
} rows[ROWS] = {
	[VALIDATE] = {"validate", ours_validate, CPP_PARSE},
	[JSON] = {"wire to JSON text", ours_json, CPP_JSON},
	[JSONB] = {"wire to JSONB", ours_jsonb, SQLITE},
	[FROM_JSON] = {"JSON text to wire", ours_from_json, CPP_FROM},
	[MERGE] = {"mask merge", ours_merge, CPP_MERGE},
	[CPP_PARSE] = {"C++ ParseFromArray", cpp_only_parse, CPP_PARSE},
	[CPP_JSON] = {"C++ MessageToJsonString", cpp_to_json, CPP_JSON},
	[CPP_FROM] = {"C++ JsonStringToMessage", cpp_from_json, CPP_FROM},
	[CPP_MERGE] = {"C++ parse, merge, serialize", cpp_merge, CPP_MERGE},
	[SQLITE] = {"SQLite jsonb(text)", sqlite_jsonb, SQLITE},
};

/* ----------------------------------------------------------- measurement */

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 10) : otherwise;
}

/* Of this thread: what others do on the machine is not counted. */
static uint64_t cpu_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Nanoseconds for one, over a slice of time. */
static double measure(struct subject *s, enum row row, uint64_t slice_ns)
{
	const uint64_t start = cpu_now_ns();
	uint64_t now, count = 0;

	do {
		for (int i = 0; i < 4; i++) {
			strbuf_reset(&out);
			rows[row].run(s, count++);
		}
		now = cpu_now_ns();
	} while (now - start < slice_ns);
	return (double)(now - start) / (double)count;
}

static void measure_all(struct subject *s, double best_ns[ROWS])
{
	const uint64_t rounds = setting("BENCH_ROUNDS", 15);
	const uint64_t slice_ns = setting("BENCH_SLICE_MS", 20) * 1000000;

	for (int row = 0; row < ROWS; row++)
		best_ns[row] = INFINITY;
	for (uint64_t round = 0; round < rounds; round++)
		for (int row = 0; row < ROWS; row++)
			best_ns[row] = fmin(best_ns[row], measure(s, (enum row)row, slice_ns));
}

static void print_table(const struct subject *s, const double ns[ROWS])
{
	printf("\n%s: %zu bytes of wire, %zu of JSON\n", s->name, s->wire.len, s->texts[0].len);
	printf("  %-28s %12s %9s  %s\n", "", "ns", "MB/s", "as fast as");
	for (int row = 0; row < ROWS; row++) {
		printf("  %-28s %12.0f %9.0f", rows[row].name, ns[row],
		       (double)s->wire.len * 1e3 / ns[row]);
		if ((int)rows[row].yardstick != row)
			printf("  %.1f times %s", ns[rows[row].yardstick] / ns[row],
			       rows[rows[row].yardstick].name);
		printf("\n");
	}
}

static bool bar(const char *what, double is, bool holds, const char *wanted)
{
	printf("  %-52s %5.1f, %s: %s\n", what, is, wanted, holds ? "holds" : "MISSED");
	return holds;
}

/* The bars are for the 1 KB message. */
static bool check_bars(const double ns[ROWS])
{
	const double jsonb = ns[JSONB] / ns[VALIDATE], json = ns[CPP_JSON] / ns[JSON];
	const double from = ns[CPP_FROM] / ns[FROM_JSON];
	bool good;

	printf("\nbars\n");
	good = bar("wire to JSONB, as multiple of validating", jsonb, jsonb <= 4, "at most 4");
	good &= bar("wire to JSON, times as fast as C++", json, json >= 10, "at least 10");
	good &= bar("JSON to wire, times as fast as C++", from, from >= 8, "at least 8");
	return good;
}

/* ------------------------------------------------------------- subjects */

static const char flat[] =
	"{\"meter\":\"m-%04d-north\",\"sequence\":\"918273645\",\"value\":230.125,\"flags\":5,"
	"\"valid\":true,\"unit\":\"volt\",\"takenAt\":\"1798761600123456789\","
	"\"place\":\"Building 7, second floor, room 214, cabinet 3\"}";

static const char order[] =
	"{\"id\":\"order-%04d-7f3a\",\"customer\":\"customers/5d41402abc4b2a76\","
	"\"state\":\"STATE_PAID\",\"billing\":{\"street\":\"Marktgasse 12\",\"city\":\"Bern\","
	"\"postCode\":\"3011\",\"country\":\"CH\",\"latitude\":46.947974,\"longitude\":7."
	"447447},"
	"\"shipping\":{\"street\":\"Rue de la Gare 3\",\"city\":\"Neuch\xc3\xa2tel\","
	"\"postCode\":\"2000\",\"country\":\"CH\",\"latitude\":46.99,\"longitude\":6.9293},"
	"\"lines\":["
	"{\"sku\":\"SKU-000184\",\"title\":\"Ceramic mug, 300 ml, dishwasher "
	"safe\",\"quantity\":6,"
	"\"priceCents\":\"1290\",\"attributes\":{\"colour\":\"blue\",\"size\":\"300 ml\"},"
	"\"discountIds\":[17,204]},"
	"{\"sku\":\"SKU-002931\",\"title\":\"Linen tea towel, set of two\",\"quantity\":2,"
	"\"priceCents\":\"2450\",\"attributes\":{\"colour\":\"natural\"}},"
	"{\"sku\":\"SKU-010077\",\"title\":\"Gift card with \\\"thank you\\\" "
	"print\",\"quantity\":1,"
	"\"priceCents\":\"500\",\"discountIds\":[3,17,204,1031]},"
	"{\"sku\":\"SKU-000530\",\"title\":\"Cherry wood cutting board, oiled, with handle\","
	"\"quantity\":1,\"priceCents\":\"6890\",\"attributes\":{\"wood\":\"cherry\","
	"\"size\":\"40 x 25 cm\",\"finish\":\"linseed oil\"}},"
	"{\"sku\":\"SKU-007716\",\"title\":\"Espresso beans, dark roast\",\"quantity\":4,"
	"\"priceCents\":\"1150\",\"attributes\":{\"weight\":\"500 g\",\"grind\":\"whole\"},"
	"\"discountIds\":[17]}],"
	"\"createdAt\":\"2026-11-30T14:02:11.482Z\",\"promisedWithin\":\"172800s\","
	"\"signature\":"
	"\"MEUCIQDkq7p1c0d3Yw9z0s8rTn1bq0c5b8k2V7lZk0oYxQIgQm5hY2VmZ2hpamtsbW5vcA==\","
	"\"labels\":{\"channel\":\"web\",\"campaign\":\"advent-2026\",\"warehouse\":\"zrh-2\"},"
	"\"totalCents\":\"13140\",\"notes\":[\"Leave it with the neighbour at number 14 if "
	"nobody "
	"answers.\",\"Wrap the mugs one by one, please; the last parcel arrived with two of "
	"them "
	"broken.\",\"The invoice goes to the office in Bern, with the "
	"cost centre 4711 on it, and a copy of it by mail to the accountant before the end of "
	"the year.\"],\"gift\":true}";

/* @count of @format, each with a number of its own, in "orders" if there are several. */
static void put_text(struct strbuf *text, const char *format, int first, int count)
{
	if (count > 1)
		strbuf_addstr(text, "{\"orders\":[");
	for (int i = 0; i < count; i++) {
		if (i)
			strbuf_addch(text, ',');
		strbuf_addf(text, format, first + i);
	}
	if (count > 1)
		strbuf_addstr(text, "]}");
}

static void prepare(struct subject *s, const char *format, int count)
{
	s->type = pool_message(pool, s->name, strlen(s->name));
	for (int i = 0; i < VARIANTS; i++)
		put_text(&s->texts[i], format, i + 1, count);
	must(json_to_wire(pool, s->type, s->texts[0].buf, s->texts[0].len, 0, &s->wire, &err) ==
		     STATUS_OK,
	     s->name);
	s->parsed = cpp_message_new(s->name);
	s->scratch = cpp_message_new(s->name);
	s->target = cpp_message_new(s->name);
	must(cpp_parse(s->parsed, s->wire.buf, s->wire.len), s->name);
	wire_add_string(&s->mask, 1, s->path);
}

static void release(struct subject *s)
{
	strbuf_release(&s->wire);
	strbuf_release(&s->mask);
	for (int i = 0; i < VARIANTS; i++)
		strbuf_release(&s->texts[i]);
	cpp_message_free(s->parsed);
	cpp_message_free(s->scratch);
	cpp_message_free(s->target);
}

int main(void)
{
	static const struct {
		const char *name, *path, *format;
		int count;
	} kinds[] = {{"types.v3.Flat", "place", flat, 1},
		     {"types.v3.Order", "billing.city", order, 1},
		     {"types.v3.Orders", "orders", order, LARGE_ORDERS}};
	double bar_ns[ROWS] = {0};
	sqlite3 *db;
	bool good;

	pool = types_pool();
	must(sqlite3_open(":memory:", &db) == SQLITE_OK &&
		     sqlite3_prepare_v2(db, "SELECT jsonb(?1)", -1, &jsonb_statement, NULL) ==
			     SQLITE_OK,
	     "SQLite");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct subject s = {.name = kinds[i].name, .path = kinds[i].path};
		double ns[ROWS];

		prepare(&s, kinds[i].format, kinds[i].count);
		measure_all(&s, ns);
		print_table(&s, ns);
		if (i == 1)
			memcpy(bar_ns, ns, sizeof(ns));
		release(&s);
	}
	good = check_bars(bar_ns);
	sqlite3_finalize(jsonb_statement);
	sqlite3_close(db);
	strbuf_release(&out);
	pool_unref(pool);
	return good ? 0 : 1;
}
