/* What callers may ask of the converters, and what those say of bad input. */
#include <stdlib.h>
#include <string.h>

#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "tests/support/suite.h"
#include "tests/support/types.h"

static struct pool *pool;
static struct error err;

static void setup(void)
{
	pool = types_pool();
}

static void teardown(void)
{
	pool_unref(pool);
}

static const struct pool_message *type_of(const char *name)
{
	const struct pool_message *m = pool_message(pool, name, strlen(name));

	ck_assert_ptr_nonnull(m);
	return m;
}

static void read_text(const char *type, const char *text, unsigned flags, struct strbuf *wire)
{
	ck_assert_msg(json_to_wire(pool, type_of(type), text, strlen(text), flags, wire,
				   &err) == STATUS_OK,
		      "%s: %s", text, err.message);
}

/* @text, read with @in_flags, is printed with @out_flags as @expected. */
static void check(const char *type, const char *text, unsigned in_flags, unsigned out_flags,
		  const char *expected)
{
	AUTO_STRBUF wire = STRBUF_INIT, out = STRBUF_INIT;

	read_text(type, text, in_flags, &wire);
	ck_assert_msg(wire_to_json(pool, type_of(type), bytes_of(wire.buf, wire.len), out_flags,
				   &out, &err) == STATUS_OK,
		      "%s: %s", text, err.message);
	ck_assert_str_eq(out.buf, expected);
}

static void check_refused(const char *type, const char *text, unsigned flags,
			  const char *message, const char *field)
{
	AUTO_STRBUF wire = STRBUF_INIT;

	ck_assert_int_eq(
		json_to_wire(pool, type_of(type), text, strlen(text), flags, &wire, &err),
		STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.message, message);
	ck_assert_str_eq(err.field, field);
}

/* -------------------------------------------------------- ignore unknown */

START_TEST(unknown_fields_are_dropped_where_asked)
{
	static const char text[] =
		"{\"nope\": {\"a\": [1, {\"b\": null}], \"c\": \"\\u00e9\"}, \"name\": \"n\","
		" \"kids\": [{\"more\": true, \"name\": \"k\"}], \"alsoNot\": 1e999}";

	check("types.v3.Tree", text, JSON_IN_IGNORE_UNKNOWN, 0,
	      "{\"name\":\"n\",\"kids\":[{\"name\":\"k\"}]}");
	check_refused("types.v3.Tree", text, 0, "line 1: types.v3.Tree has no field \"nope\"",
		      "");
}
END_TEST

START_TEST(unknown_names_of_enums_are_dropped_where_asked)
{
	check("types.v3.Scalars", "{\"color\":\"PINK\",\"int32Field\":1}",
	      JSON_IN_IGNORE_UNKNOWN, 0, "{\"int32Field\":1}");
	check("types.v3.Lists", "{\"colorList\":[\"PINK\",\"BLUE\",\"PINK\"]}",
	      JSON_IN_IGNORE_UNKNOWN, 0, "{\"colorList\":[\"BLUE\"]}");
	check("types.v3.Lists", "{\"colorList\":[\"PINK\"]}", JSON_IN_IGNORE_UNKNOWN, 0, "{}");
	check("types.v3.Maps", "{\"fixed64Map\":{\"1\":\"PINK\",\"2\":\"RED\"}}",
	      JSON_IN_IGNORE_UNKNOWN, 0, "{\"fixed64Map\":{\"2\":\"RED\"}}");
	check_refused("types.v3.Lists", "{\"colorList\":[\"RED\",\n\"PINK\"]}", 0,
		      "line 2, colorList[1]: the enum has no such value", "colorList[1]");
}
END_TEST

/* What is unknown must still be JSON. */
START_TEST(what_is_dropped_is_json)
{
	check_refused("types.v3.Tree", "{\"nope\": [1,]}", JSON_IN_IGNORE_UNKNOWN,
		      "line 1: a value is expected", "");
	check_refused("types.v3.Tree", "{\"nope\": \"\xff\"}", JSON_IN_IGNORE_UNKNOWN,
		      "line 1: the string is not UTF-8", "");
}
END_TEST

/* ---------------------------------------------------- defaults and names */

START_TEST(defaults_are_printed_where_asked)
{
	check("types.v3.Flat", "{\"meter\":\"m\"}", 0, JSON_OUT_DEFAULTS,
	      "{\"meter\":\"m\",\"sequence\":\"0\",\"value\":0,\"flags\":0,\"valid\":false,"
	      "\"unit\":\"\",\"takenAt\":\"0\",\"place\":\"\"}");
	check("types.v3.Order", "{\"gift\":true}", 0, JSON_OUT_EMPTY_LISTS,
	      "{\"lines\":[],\"labels\":{},\"notes\":[],\"gift\":true}");
	check("types.v3.Order", "{\"billing\":{}}", 0, JSON_OUT_SCALAR_DEFAULTS,
	      "{\"id\":\"\",\"customer\":\"\",\"state\":\"STATE_UNSPECIFIED\",\"billing\":{"
	      "\"street\":\"\",\"city\":\"\",\"postCode\":\"\",\"country\":\"\","
	      "\"latitude\":0,\"longitude\":0},\"signature\":\"\",\"totalCents\":\"0\","
	      "\"gift\":false}");
	/* What has presence is absent, or it would be there when it is read. */
	check("types.v3.Presence", "{}", 0, JSON_OUT_DEFAULTS, "{}");
	check("types.v2.Closed", "{}", 0, JSON_OUT_DEFAULTS,
	      "{\"sizes\":[],\"packedSizes\":[],\"kindMap\":{},\"texts\":[],\"unpacked\":[],"
	      "\"packed\":[],\"textMap\":{},\"children\":[]}");
}
END_TEST

START_TEST(names_of_the_proto_file)
{
	static const char json[] = "{\"id\":\"a\",\"billing\":{\"postCode\":\"1\"},"
				   "\"createdAt\":\"2026-01-02T03:04:05Z\"}";
	static const char proto[] = "{\"id\":\"a\",\"billing\":{\"post_code\":\"1\"},"
				    "\"created_at\":\"2026-01-02T03:04:05Z\"}";

	check("types.v3.Order", json, 0, JSON_OUT_PROTO_NAMES, proto);
	check("types.v3.Order", proto, 0, 0, json);
	/* json_name may be anything; extensions have no other name. */
	check("types.v3.Tree", "{\"kids\":[{}]}", 0, JSON_OUT_PROTO_NAMES,
	      "{\"children\":[{}]}");
	check("types.v2.Extended", "{\"[types.v2.extra_number]\":5}", 0, JSON_OUT_PROTO_NAMES,
	      "{\"[types.v2.extra_number]\":5}");
}
END_TEST

/* ------------------------------------------------------------------- Any */

#define SCALARS "\"@type\":\"type.googleapis.com/types.v3.Scalars\""

START_TEST(any_through_the_pool)
{
	check("types.v3.WellKnown", "{\"any\":{\"int32Field\":1," SCALARS "}}", 0, 0,
	      "{\"any\":{" SCALARS ",\"int32Field\":1}}");
	check("types.v3.WellKnown",
	      "{\"anyList\":[{},{\"value\":\"1.5s\",\"@type\":\"x/google.protobuf.Duration\"},"
	      "{\"@type\":\"x/google.protobuf.Any\",\"value\":{" SCALARS "}}]}",
	      0, 0,
	      "{\"anyList\":[{},{\"@type\":\"x/"
	      "google.protobuf.Duration\",\"value\":\"1.500s\"},"
	      "{\"@type\":\"x/google.protobuf.Any\",\"value\":{" SCALARS "}}]}");
	check("types.v3.WellKnown", "{\"any\":{" SCALARS ",\"nope\":1,\"color\":\"PINK\"}}",
	      JSON_IN_IGNORE_UNKNOWN, 0, "{\"any\":{" SCALARS "}}");
}
END_TEST

START_TEST(errors_inside_of_any)
{
	check_refused("types.v3.WellKnown", "{\"any\":{" SCALARS ",\n\"int32Field\":\"x\"}}", 0,
		      "line 2, any.int32Field: not an integer", "any.int32Field");
	check_refused("types.v3.WellKnown", "{\"any\":{\"@type\":\"x/no.Such\",\"a\":1}}", 0,
		      "line 1, any: the type x/no.Such is not known", "any");
	check_refused("types.v3.WellKnown",
		      "{\"anyList\":[{},{\"@type\":\"x/google.protobuf.Duration\"}]}", 0,
		      "line 1, anyList[1]: an Any of google.protobuf.Duration has a \"value\"",
		      "anyList[1]");
}
END_TEST

static void put_any(struct strbuf *wire, const char *url, const char *content, size_t size)
{
	const size_t mark = wire_open(wire, 1);

	wire_add_string(wire, 1, url);
	wire_add_bytes(wire, 2, bytes_of(content, size));
	wire_close(wire, mark);
}

START_TEST(an_any_that_cannot_be_shown)
{
	const struct pool_message *m = type_of("types.v3.WellKnown");
	AUTO_STRBUF unknown = STRBUF_INIT, malformed = STRBUF_INIT, out = STRBUF_INIT;

	put_any(&unknown, "x/no.Such", "abc", 3);
	put_any(&malformed, "x/types.v3.Scalars", "\x18", 1);
	ck_assert_int_eq(
		wire_to_json(pool, m, bytes_of(unknown.buf, unknown.len), 0, &out, &err),
		STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "any");
	ck_assert_int_eq(
		wire_to_json(pool, m, bytes_of(malformed.buf, malformed.len), 0, &out, &err),
		STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "any");
	ck_assert_int_eq(wire_to_json(pool, m, bytes_of(unknown.buf, unknown.len),
				      JSON_OUT_LENIENT, &out, &err),
			 STATUS_OK);
	ck_assert_str_eq(out.buf, "{\"any\":{\"@type\":\"x/no.Such\",\"@bytes\":\"YWJj\"}}");
	strbuf_reset(&out);
	ck_assert_int_eq(wire_to_json(pool, m, bytes_of(malformed.buf, malformed.len),
				      JSON_OUT_LENIENT, &out, &err),
			 STATUS_OK);
	ck_assert_str_eq(out.buf,
			 "{\"any\":{\"@type\":\"x/types.v3.Scalars\",\"@bytes\":\"GA==\"}}");
}
END_TEST

/* ------------------------------------------------------------- positions */

START_TEST(positions_of_what_is_wrong)
{
	check_refused(
		"types.v3.Orders",
		"{\n \"orders\": [\n  {}, {},\n  {\"lines\": [{\"quantity\": \"x\"}]}\n ]\n}",
		0, "line 4, orders[2].lines[0].quantity: not an integer",
		"orders[2].lines[0].quantity");
	check_refused("types.v3.Maps", "{\"nestedMap\":{\"a.b\":{\"int32Map\":{\"x\":1}}}}", 0,
		      "line 1, nestedMap[\"a.b\"].int32Map[\"x\"]: not an integer",
		      "nestedMap[\"a.b\"].int32Map[\"x\"]");
	check_refused("types.v3.Presence", "{\"number\":1,\n\n\"text\":\"a\"}", 0,
		      "line 3, text: another field of the oneof choice is there", "text");
	check_refused("types.v3.Order", "{\"post_code\":1}", 0,
		      "line 1: types.v3.Order has no field \"post_code\"", "");
	check_refused("types.v3.Order",
		      "{\"billing\":{\"postCode\":\"1\",\"post_code\":\"2\"}}", 0,
		      "line 1, billing.postCode: the field is there twice", "billing.postCode");
}
END_TEST

/* The same of wire bytes. */
START_TEST(positions_of_what_has_no_form)
{
	AUTO_STRBUF wire = STRBUF_INIT, out = STRBUF_INIT;
	const struct pool_message *m = type_of("types.v3.WellKnown");

	wire_add_bytes(&wire, 20, bytes_of("", 0));
	wire_add_bytes(&wire, 20, bytes_of("\x10\xff\xff\xff\xff\x07", 6)); /* nanos */
	ck_assert_int_eq(wire_to_json(pool, m, bytes_of(wire.buf, wire.len), 0, &out, &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "timestamp_list[1]");
	ck_assert_int_eq(wire_to_jsonb(pool, m, bytes_of(wire.buf, wire.len), 0, &out, &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_str_eq(err.field, "timestamp_list[1]");
	ck_assert_uint_eq(out.len, 0);
}
END_TEST

int main(void)
{
	return suite_run("json_options", setup, teardown,
			 (const TTest *const[]){
				 unknown_fields_are_dropped_where_asked,
				 unknown_names_of_enums_are_dropped_where_asked,
				 what_is_dropped_is_json,
				 defaults_are_printed_where_asked,
				 names_of_the_proto_file,
				 any_through_the_pool,
				 errors_inside_of_any,
				 an_any_that_cannot_be_shown,
				 positions_of_what_is_wrong,
				 positions_of_what_has_no_form,
				 NULL,
			 });
}
