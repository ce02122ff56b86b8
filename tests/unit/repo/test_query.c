/* Filters as SQL: what they find, that they use the indexes, and what is refused. */
#include "tests/support/suite.h"
#include "tests/unit/repo/fixture.h"

/* collector.Collection: the type with a list, maps, a sub-message, presence. */
enum { NAMESPACE = 1, NAME = 2, TYPE = 3, INDEXED = 4, METADATA = 6, SCHEMA_VERSION = 103 };
enum { LABELS = 3, CREATED_AT = 1 };

static void add(const char *id, const char *name, int64_t version, const char *indexed,
		const char *label)
{
	AUTO_STRBUF proto = STRBUF_INIT;
	size_t metadata, entry;

	if (name)
		wire_add_string(&proto, NAME, name);
	if (indexed)
		wire_add_string(&proto, INDEXED, indexed);
	if (label) {
		metadata = wire_open(&proto, METADATA);
		entry = wire_open(&proto, CREATED_AT);
		wire_add_uint(&proto, 1, (uint64_t)version * 1000);
		wire_close(&proto, entry);
		entry = wire_open(&proto, LABELS);
		wire_add_string(&proto, 1, "k");
		wire_add_string(&proto, 2, label);
		wire_close(&proto, entry);
		wire_close(&proto, metadata);
	}
	if (version)
		wire_add_uint(&proto, SCHEMA_VERSION, (uint64_t)version);
	struct store_write *const all[] = {fixture_write(id, &proto), NULL};
	fixture_commit(all);
	ck_assert_int_eq(all[0]->status, STATUS_OK);
}

static void setup(void)
{
	static const char *const indexed[] = {"name", "schema_version", "metadata.labels.k",
					      NULL};

	fixture_open("collector.Collection", indexed, true);
	add("a", "apple", 1, "x", "one");
	add("b", "banana", 2, "y", NULL);
	add("c", NULL, 0, NULL, "two");
	add("d", "50%_off", -3, "x", NULL);
}

static const char *where_text(const char *path, enum query_operator op, const char *text)
{
	struct query *q = fixture_query();

	fixture_where_text(q, path, op, text);
	return fixture_find(q);
}

static const char *where_number(const char *path, enum query_operator op, double number)
{
	struct query *q = fixture_query();

	fixture_where_number(q, path, op, number);
	return fixture_find(q);
}

static const char *where(const char *path, enum query_operator op)
{
	struct query *q = fixture_query();
	struct error err;

	ck_assert_int_eq(query_add(q, path, op, NULL, 0, "filter", &err), STATUS_OK);
	return fixture_find(q);
}

START_TEST(comparisons)
{
	ck_assert_str_eq(where_text("name", QUERY_EQUALS, "apple"), "a");
	ck_assert_str_eq(where_text("name", QUERY_NOT_EQUALS, "apple"), "b c d");
	ck_assert_str_eq(where_text("name", QUERY_GREATER, "apple"), "b");
	ck_assert_str_eq(where_text("name", QUERY_EQUALS, ""), "c");
	ck_assert_str_eq(where_text("name", QUERY_CONTAINS, "an"), "b");
	ck_assert_str_eq(where_text("name", QUERY_CONTAINS, "%_"), "d");
	ck_assert_str_eq(where_text("name", QUERY_CONTAINS, "%o"), "");
	ck_assert_str_eq(where_number("schema_version", QUERY_GREATER_EQUAL, 1), "a b");
	ck_assert_str_eq(where_number("schemaVersion", QUERY_LESS, 1.5), "a c d");
	ck_assert_str_eq(where_text("schema_version", QUERY_EQUALS, "-3"), "d");
	ck_assert_str_eq(where_number("schema_version", QUERY_EQUALS, 0), "c");
	ck_assert_str_eq(
		where_text("metadata.created_at", QUERY_LESS_EQUAL, "1970-01-01T00:16:40Z"),
		"a c");
	ck_assert_str_eq(
		where_text("metadata.created_at", QUERY_EQUALS, "1970-01-01T01:16:40+01:00"),
		"a");
}
END_TEST

START_TEST(absence)
{
	ck_assert_str_eq(where("metadata", QUERY_EXISTS), "a c");
	ck_assert_str_eq(where("metadata", QUERY_NOT_EXISTS), "b d");
	ck_assert_str_eq(where("metadata.labels.k", QUERY_EXISTS), "a c");
	ck_assert_str_eq(where("metadata.labels.none", QUERY_EXISTS), "");
	/* A field without presence always is. */
	ck_assert_str_eq(where("name", QUERY_EXISTS), "a b c d");
	ck_assert_str_eq(where_text("metadata.labels.k", QUERY_EQUALS, "one"), "a");
	ck_assert_str_eq(where_text("metadata.labels.k", QUERY_NOT_EQUALS, "one"), "b c d");
	ck_assert_str_eq(where_text("metadata.labels.k", QUERY_GREATER, ""), "a c");
}
END_TEST

START_TEST(lists)
{
	ck_assert_str_eq(where_text("indexed_fields", QUERY_EQUALS, "x"), "a d");
	ck_assert_str_eq(where_text("indexed_fields", QUERY_CONTAINS, "y"), "b");
	ck_assert_str_eq(where_text("indexed_fields", QUERY_NOT_EQUALS, "x"), "b c");
	ck_assert_str_eq(where("indexed_fields", QUERY_EXISTS), "a b d");
	ck_assert_str_eq(where("indexed_fields", QUERY_NOT_EXISTS), "c");
	ck_assert_str_eq(where_text("indexed_fields[0]", QUERY_EQUALS, "y"), "b");
}
END_TEST

START_TEST(in_a_list_of_values)
{
	const struct query_operand values[] = {{.type = OPERAND_TEXT, .text = "apple"},
					       {.type = OPERAND_TEXT, .text = "banana"}};
	struct query *q = fixture_query();
	struct error err;

	ck_assert_int_eq(query_add(q, "name", QUERY_IN, values, 2, "filter", &err), STATUS_OK);
	ck_assert_str_eq(fixture_find(q), "a b");
	q = fixture_query();
	ck_assert_int_eq(query_add(q, "name", QUERY_IN, values, 0, "filter", &err), STATUS_OK);
	ck_assert_str_eq(fixture_find(q), "");
}
END_TEST

START_TEST(indexes_are_used)
{
	struct query *q = fixture_query();
	struct error err;

	fixture_where_text(q, "name", QUERY_EQUALS, "apple");
	ck_assert_ptr_nonnull(strstr(fixture_explain(q), "USING INDEX field_0"));
	q = fixture_query();
	fixture_where_number(q, "schemaVersion", QUERY_GREATER, 1);
	ck_assert_ptr_nonnull(strstr(fixture_explain(q), "USING INDEX field_1"));
	q = fixture_query();
	fixture_where_text(q, "metadata.labels[\"k\"]", QUERY_EQUALS, "one");
	ck_assert_ptr_nonnull(strstr(fixture_explain(q), "USING INDEX field_2"));
	q = fixture_query();
	ck_assert_int_eq(query_set_order(q, "schema_version", &err), STATUS_OK);
	ck_assert_ptr_nonnull(strstr(fixture_explain(q), "USING INDEX field_1"));
	ck_assert_ptr_null(strstr(fixture_explain(q), "TEMP B-TREE"));
	/* The next page starts in the middle of the index. */
	q->has_after = true;
	q->after.keys[0] = (struct query_value){.type = VALUE_INT, .integer = 1};
	ck_assert_ptr_nonnull(strstr(fixture_explain(q), "SEARCH r USING INDEX field_1"));
	ck_assert_ptr_null(strstr(fixture_explain(q), "TEMP B-TREE"));
	q = fixture_query();
	ck_assert_int_eq(query_set_order(q, "schema_version desc", &err), STATUS_OK);
	ck_assert_ptr_null(strstr(fixture_explain(q), "TEMP B-TREE"));
}
END_TEST

/* All pages of one row each, one after the other. */
static const char *pages(const char *order)
{
	AUTO_STRBUF all = STRBUF_INIT;
	struct query_position after;
	struct error err;

	for (int i = 0; i < 10; i++) {
		struct query *q = fixture_query();

		ck_assert_int_eq(query_set_order(q, order, &err), STATUS_OK);
		q->limit = 1;
		q->has_after = i > 0;
		if (i > 0)
			q->after = after;
		const char *found = fixture_find(q);
		if (!*found)
			return arena_strdup(&f.arena, strbuf_str(&all));
		strbuf_addf(&all, "%s ", found);
		after = q->last;
	}
	ck_abort_msg("pages without end");
	return NULL;
}

START_TEST(pages_in_every_order)
{
	ck_assert_str_eq(pages(""), "a b c d ");
	ck_assert_str_eq(pages("schema_version"), "d c a b ");
	ck_assert_str_eq(pages("schema_version desc"), "b a c d ");
	ck_assert_str_eq(pages("name"), "c d a b ");
	/* Absent comes first, or last when descending; ties in the order of creation. */
	ck_assert_str_eq(pages("metadata.labels.k"), "b d a c ");
	ck_assert_str_eq(pages("metadata.labels.k desc"), "c a d b ");
	ck_assert_str_eq(pages("metadata.labels.k, name desc"), "b d a c ");
	ck_assert_str_eq(pages("server_endpoint, schema_version desc"), "b a c d ");
}
END_TEST

static void refused_order(const char *order)
{
	struct query *q = fixture_query();
	struct error err;

	ck_assert_int_eq(query_set_order(q, order, &err), STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "order_by");
}

START_TEST(orders_that_are_none)
{
	refused_order("nothing");
	refused_order("name down");
	refused_order("name asc desc");
	refused_order(",");
	refused_order("name,");
	refused_order("name; DROP TABLE records");
	refused_order("metadata");
	refused_order("indexed_fields");
	refused_order("metadata.labels");
	refused_order("name,name,name,name,name,name,name,name,name");
}
END_TEST

static void refused(const char *path, enum query_operator op, struct query_operand o)
{
	struct query *q = fixture_query();
	struct error err;

	ck_assert_int_eq(query_add(q, path, op, &o, 1, "filter", &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(strncmp(err.field, "filter[", 7), 0);
	ck_assert_uint_eq(q->condition_count, 0);
}

START_TEST(conditions_that_are_none)
{
	const struct query_operand text = {.type = OPERAND_TEXT, .text = "x"};
	const struct query_operand number = {.type = OPERAND_NUMBER, .number = 1, .text = ""};
	const struct query_operand null = {.type = OPERAND_NULL, .text = ""};

	refused("nothing", QUERY_EQUALS, text);
	refused("name.inner", QUERY_EQUALS, text);
	refused("", QUERY_EQUALS, text);
	refused("name", QUERY_EQUALS, number);
	refused("name", QUERY_EQUALS, null);
	refused("schema_version", QUERY_EQUALS, text);
	refused("schema_version", QUERY_CONTAINS, number);
	refused("metadata", QUERY_EQUALS, text);
	refused("metadata.labels", QUERY_EQUALS, text);
	refused("metadata.created_at", QUERY_EQUALS, text);
	refused("full_text_disabled", QUERY_EQUALS, text);
	refused("full_text_disabled", QUERY_GREATER,
		(struct query_operand){.type = OPERAND_BOOL, .number = 1, .text = ""});
}
END_TEST

static void begin(struct query *q, enum query_join join)
{
	struct error err;

	ck_assert_int_eq(query_begin_group(q, join, "filter", &err), STATUS_OK);
}

START_TEST(groups)
{
	struct query *q = fixture_query();

	begin(q, QUERY_ANY);
	fixture_where_text(q, "name", QUERY_EQUALS, "apple");
	begin(q, QUERY_ALL);
	fixture_where_number(q, "schema_version", QUERY_LESS, 0);
	fixture_where_text(q, "indexed_fields", QUERY_EQUALS, "x");
	query_end_group(q);
	query_end_group(q);
	ck_assert_str_eq(fixture_find(q), "a d");
	/* What is absent makes a comparison false, never unknown. */
	q = fixture_query();
	begin(q, QUERY_NOT);
	fixture_where_text(q, "metadata.labels.k", QUERY_GREATER, "one");
	query_end_group(q);
	ck_assert_str_eq(fixture_find(q), "a b d");
	q = fixture_query();
	begin(q, QUERY_NOT);
	begin(q, QUERY_NOT);
	fixture_where_text(q, "metadata.labels.k", QUERY_NOT_EQUALS, "one");
	query_end_group(q);
	query_end_group(q);
	ck_assert_str_eq(fixture_find(q), "b c d");
	q = fixture_query();
	begin(q, QUERY_ANY);
	query_end_group(q);
	ck_assert_str_eq(fixture_find(q), "");
}
END_TEST

START_TEST(an_or_of_indexed_fields_uses_their_indexes)
{
	struct query *q = fixture_query();
	struct store_cost cost;

	begin(q, QUERY_ANY);
	fixture_where_text(q, "name", QUERY_EQUALS, "apple");
	fixture_where_number(q, "schema_version", QUERY_EQUALS, 2);
	query_end_group(q);
	cost = fixture_cost(q, STORE_STEP_COUNT, 100);
	ck_assert_uint_eq(cost.index_count, 2);
	ck_assert(!cost.scans_all);
	ck_assert_int_eq(cost.estimated, 2);
	ck_assert_int_eq(cost.scanned, 2);
	ck_assert_int_eq(cost.matched, 2);
}
END_TEST

START_TEST(groups_are_bounded)
{
	struct query *q = fixture_query();
	struct error err;

	for (int i = 0; i < QUERY_MAX_DEPTH; i++)
		begin(q, i % 2 ? QUERY_NOT : QUERY_ANY);
	ck_assert_int_eq(query_begin_group(q, QUERY_ALL, "filter", &err),
			 STATUS_INVALID_ARGUMENT);
	q = fixture_query();
	for (int i = 0; i < QUERY_MAX_CONDITIONS; i++) {
		begin(q, QUERY_ALL);
		query_end_group(q);
	}
	ck_assert_str_eq(fixture_find(q), "a b c d");
	ck_assert_int_eq(query_begin_group(q, QUERY_ALL, "filter", &err),
			 STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(costs)
{
	struct query *q = fixture_query();
	struct store_cost cost;
	struct error err;

	fixture_where_text(q, "indexed_fields", QUERY_EQUALS, "y");
	cost = fixture_cost(q, STORE_STEP_COUNT, 100);
	ck_assert(cost.scans_all);
	ck_assert_uint_eq(cost.index_count, 0);
	ck_assert_int_eq(cost.estimated, 4);
	ck_assert_int_eq(cost.scanned, 4);
	ck_assert_int_eq(cost.matched, 1);
	ck_assert(!cost.is_cut_off);
	cost = fixture_cost(q, STORE_STEP_COUNT, 2);
	ck_assert(cost.is_cut_off);
	ck_assert_int_eq(cost.scanned, 2);
	cost = fixture_cost(q, STORE_STEP_COUNT, 0);
	ck_assert_int_eq(cost.scanned, 0);
	/* The query itself goes on working on the same connection. */
	ck_assert_str_eq(fixture_find(q), "b");

	q = fixture_query();
	fixture_where_text(q, "name", QUERY_EQUALS, "apple");
	fixture_where_text(q, "indexed_fields", QUERY_EQUALS, "y");
	ck_assert_int_eq(query_set_order(q, "server_endpoint", &err), STATUS_OK);
	cost = fixture_cost(q, STORE_STEP_PAGE, 100);
	ck_assert_str_eq(cost.indexes[0], "name");
	ck_assert(cost.sorts);
	ck_assert_int_eq(cost.estimated, 1);
	ck_assert_int_eq(cost.scanned, 1);
	ck_assert_int_eq(cost.matched, 0);

	/* A page that is full ends the work. */
	q = fixture_query();
	q->limit = 2;
	cost = fixture_cost(q, STORE_STEP_PAGE, 100);
	ck_assert_int_eq(cost.estimated, 2);
	ck_assert_int_eq(cost.scanned, 2);
	q = fixture_query();
	query_set_text(q, "banana", false);
	cost = fixture_cost(q, STORE_STEP_PAGE, 100);
	ck_assert(cost.uses_text);
	ck_assert_int_eq(cost.estimated, 1);
	ck_assert_int_eq(cost.scanned, 1);
}
END_TEST

START_TEST(hostile_text_is_only_text)
{
	static const char *const texts[] = {
		"'",          "''",   "\"",  "'; DROP TABLE records; --",
		"\\",         "%",    "\n",  "$.name",
		"') OR 1 --", "a\"b", "[0]", "*"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct query *q = fixture_query();
		struct error err;

		ck_assert_str_eq(where_text("name", QUERY_EQUALS, texts[i]), "");
		ck_assert_int_eq(query_add_label(q, texts[i], texts[i], &err), STATUS_OK);
		ck_assert_str_eq(fixture_find(q), "");
		q = fixture_query();
		query_set_text(q, texts[i], false);
		(void)fixture_find(q);
		/* As a map's key it is a key that nobody has. */
		char path[64];
		(void)snprintf(path, sizeof(path), "metadata.labels[\"%s\"]", texts[i]);
		q = fixture_query();
		if (query_add(q, path, QUERY_EXISTS, NULL, 0, "filter", &err) == STATUS_OK)
			ck_assert_str_eq(fixture_find(q), "");
	}
	ck_assert_str_eq(where("name", QUERY_EXISTS), "a b c d");
}
END_TEST

/* By the product of the lengths this would take minutes, which nothing could interrupt. */
START_TEST(long_texts_are_found_in_long_texts)
{
	enum { MIB = 1 << 20 };
	AUTO_STRBUF text = STRBUF_INIT;
	AUTO_STRBUF part = STRBUF_INIT;

	for (int i = 0; i < 4 * MIB; i++)
		strbuf_addch(&text, 'n');
	strbuf_add(&part, text.buf, 2 * MIB);
	add("long", strbuf_str(&text), 1, NULL, NULL);
	ck_assert_str_eq(where_text("name", QUERY_CONTAINS, strbuf_str(&part)), "long");
	strbuf_addch(&part, 'x');
	ck_assert_str_eq(where_text("name", QUERY_CONTAINS, strbuf_str(&part)), "");
	ck_assert_str_eq(where_text("name", QUERY_CONTAINS, ""), "a b c d long");
	ck_assert_str_eq(where_text("name", QUERY_CONTAINS, "an"), "b");
}
END_TEST

START_TEST(the_order_of_conditions_does_not_matter)
{
	AUTO_STRBUF one = STRBUF_INIT;
	AUTO_STRBUF two = STRBUF_INIT;
	struct query *q = fixture_query(), *p = fixture_query();

	fixture_where_text(q, "name", QUERY_EQUALS, "x");
	fixture_where_number(q, "schema_version", QUERY_GREATER, 1);
	fixture_where_number(p, "schemaVersion", QUERY_GREATER, 1);
	fixture_where_text(p, "name", QUERY_EQUALS, "x");
	query_finish(q);
	query_finish(p);
	query_fingerprint(q, &one);
	query_fingerprint(p, &two);
	ck_assert_str_eq(strbuf_str(&one), strbuf_str(&two));
	strbuf_reset(&two);
	p = fixture_query();
	fixture_where_text(p, "name", QUERY_NOT_EQUALS, "x");
	query_finish(p);
	query_fingerprint(p, &two);
	ck_assert_str_ne(strbuf_str(&one), strbuf_str(&two));
}
END_TEST

int main(void)
{
	return suite_run(
		"repo/query", setup, fixture_close,
		(const TTest *const[]){
			comparisons, absence, lists, in_a_list_of_values, indexes_are_used,
			pages_in_every_order, orders_that_are_none, conditions_that_are_none,
			groups, an_or_of_indexed_fields_uses_their_indexes, groups_are_bounded,
			costs, hostile_text_is_only_text, long_texts_are_found_in_long_texts,
			the_order_of_conditions_does_not_matter, NULL});
}
