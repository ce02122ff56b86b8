#include "services/worker/template.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "tests/support/suite.h"
#include "tests/unit/reflect/fixture.h"

static const char source[] =
	"syntax = \"proto3\";\n"
	"package t;\n"
	"message Order { string id = 1; int64 total_cents = 2; repeated Line lines = 3;\n"
	"                map<string, string> notes = 4; bool paid = 5; }\n"
	"message Line { string sku = 1; int32 count = 2; }\n"
	"message Receipt { string number = 1; Order order = 2; }\n";

static struct pool *pool;
static struct arena arena;
static struct template_scope scope;
static struct workflow_task_state charged;
static struct error err;

static const struct pool_message *type(const char *name)
{
	return pool_message(pool, name, strlen(name));
}

static struct bytes wire_of(const char *type_name, const char *json)
{
	AUTO_STRBUF wire = STRBUF_INIT;

	ck_assert_msg(json_to_wire(pool, type(type_name), json, strlen(json), 0, &wire, &err) ==
			      STATUS_OK,
		      "%s", err.message);
	return bytes_of(arena_memdup(&arena, wire.buf, wire.len), wire.len);
}

static void setup(void)
{
	pool = fixture_pool(source);
	arena_init(&arena, 0);
	charged = (struct workflow_task_state){
		.task_id = "charge",
		.state = EXECUTION_SUCCEEDED,
		.output = {"t.Receipt", wire_of("t.Receipt", "{\"number\": \"R-1\"}")},
	};
	scope = (struct template_scope){
		.pool = pool,
		.input = {"t.Order",
			  wire_of("t.Order",
				  "{\"id\": \"o\\\"1\", \"totalCents\": 1234, \"lines\": "
				  "[{\"sku\": \"a\"}, {\"sku\": \"b\", \"count\": 2}],"
				  "\"notes\": {\"x\": \"y\"}, \"paid\": true}")},
		.tasks = &charged,
		.task_count = 1,
	};
}

static void teardown(void)
{
	pool_unref(pool);
	arena_release(&arena);
}

static enum status fill(const char *template_json, const char *type_name, struct strbuf *json)
{
	AUTO_STRBUF wire = STRBUF_INIT;
	enum status status =
		template_fill(&scope, wire_of("google.protobuf.Struct", template_json),
			      type(type_name), &wire, &err);

	if (status != STATUS_OK)
		return status;
	return wire_to_json(pool, type(type_name), bytes_of(wire.buf, wire.len), 0, json, &err);
}

static void check(const char *template_json, const char *type_name, const char *expected)
{
	AUTO_STRBUF json = STRBUF_INIT;

	ck_assert_msg(fill(template_json, type_name, &json) == STATUS_OK, "%s: %s",
		      template_json, err.message);
	ck_assert_str_eq(json.buf, expected);
}

START_TEST(a_whole_expression_keeps_its_type)
{
	check("{\"id\": \"{{input.id}}\", \"totalCents\": \"{{ input.total_cents }}\"}",
	      "t.Order", "{\"id\":\"o\\\"1\",\"totalCents\":\"1234\"}");
	check("{\"lines\": \"{{input.lines}}\", \"paid\": \"{{input.paid}}\"}", "t.Order",
	      "{\"lines\":[{\"sku\":\"a\"},{\"sku\":\"b\",\"count\":2}],\"paid\":true}");
	check("{\"order\": \"{{input}}\", \"number\": \"{{tasks.charge.output.number}}\"}",
	      "t.Receipt",
	      "{\"number\":\"R-1\",\"order\":{\"id\":\"o\\\"1\",\"totalCents\":\"1234\","
	      "\"lines\":[{"
	      "\"sku\":\"a\"},{\"sku\":\"b\",\"count\":2}],\"notes\":{\"x\":\"y\"},\"paid\":"
	      "true}}");
}
END_TEST

START_TEST(in_a_text_it_becomes_text)
{
	check("{\"id\": \"{{input.lines[1].sku}}-{{input.lines.1.count}} of {{input.paid}}\"}",
	      "t.Order", "{\"id\":\"b-2 of true\"}");
	check("{\"id\": \"{{input.notes.x}}{{input.lines[0].count}}\"}", "t.Order",
	      "{\"id\":\"y0\"}");
	check("{\"id\": \"no {{{{input.id}} here\"}", "t.Order",
	      "{\"id\":\"no {{input.id}} here\"}");
	check("{\"id\": \"open {{ only\"}", "t.Order", "{\"id\":\"open {{ only\"}");
}
END_TEST

START_TEST(references_that_lead_nowhere_are_named)
{
	static const char *const bad[] = {"{{input.nope}}",          "{{input.lines[9].sku}}",
					  "{{tasks.nobody.output}}", "{{output.id}}",
					  "{{tasks.charge.number}}", "{{}}"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		AUTO_STRBUF template_json = STRBUF_INIT;
		AUTO_STRBUF json = STRBUF_INIT;
		strbuf_addf(&template_json, "{\"id\": \"%s\"}", bad[i]);
		ck_assert_msg(fill(template_json.buf, "t.Order", &json) ==
				      STATUS_INVALID_ARGUMENT,
			      "%s was taken", bad[i]);
	}
	/* What does not fit the method's type is told, too. */
	AUTO_STRBUF json = STRBUF_INIT;
	ck_assert_int_eq(fill("{\"totalCents\": \"{{input.id}}\"}", "t.Order", &json),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(err.message, "totalCents"));
}
END_TEST

static bool output_of(void *arg, const char *id, const struct pool_message **ret_type)
{
	(void)arg;
	*ret_type = type("t.Receipt");
	return !strcmp(id, "charge");
}

START_TEST(a_definition_is_checked_without_values)
{
	struct template_types types = {pool, type("t.Order"), output_of, NULL};
	static const char *const good[] = {("{\"a\": \"{{input.total_cents}}\", \"b\": "
					    "[\"{{tasks.charge.output.order.id}}\"]}"),
					   "{\"a\": \"{{input.lines[0].sku}} {{input}}\"}",
					   "{}"};
	static const char *const bad[] = {"{\"a\": \"{{input.nope}}\"}",
					  "{\"a\": [{\"b\": \"x {{input.lines.sku.x}}\"}]}",
					  "{\"a\": \"{{tasks.charge.output.nope}}\"}",
					  "{\"a\": \"{{tasks.other.output}}\"}",
					  "{\"a\": \"{{whatever}}\"}"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(template_check(&types, wire_of("google.protobuf.Struct", good[i]),
					     NULL, &err) == STATUS_OK,
			      "%s: %s", good[i], err.message);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(template_check(&types, wire_of("google.protobuf.Struct", bad[i]),
					     NULL, &err) == STATUS_INVALID_ARGUMENT,
			      "%s", bad[i]);
}
END_TEST

int main(void)
{
	return suite_run("template", setup, teardown,
			 (const TTest *const[]){a_whole_expression_keeps_its_type,
						in_a_text_it_becomes_text,
						references_that_lead_nowhere_are_named,
						a_definition_is_checked_without_values, NULL});
}
