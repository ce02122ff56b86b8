#include "common/reflect/typed_collection.h"

#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"
#include "common/reflect/builtin.h"
#include "common/reflect/descriptor.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "tests/support/suite.h"

static struct typed_collections *typed;
static struct pool *pool;

static void setup(void)
{
	struct pool *empty = pool_new();
	struct error err;

	typed = typed_collections_new();
	ck_assert_int_eq(pool_extend_set(empty, builtin_descriptor_set(), &pool, &err), 0);
	pool_unref(empty);
}

static void teardown(void)
{
	typed_collections_free(typed);
	pool_unref(pool);
}

/* -------------------------------------------------------------------- names */

START_TEST(names_become_identifiers)
{
	static const char *const cases[][3] = {
		{"shop", "orders", "collections.shop.Orders"},
		{"shop", "order-lines", "collections.shop.OrderLines"},
		{"shop", "order_lines", "collections.shop.Order__lines"},
		{"my-shop", "2019", "collections.my_hshop._2019"},
		{"0", "a-1", "collections._0.A_h1"},
		{"a_b", "a--b", "collections.a__b.A_hB"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO_STRBUF name = STRBUF_INIT;
		struct typed_collection back;
		typed_collection_service(cases[i][0], cases[i][1], &name);
		ck_assert_str_eq(name.buf, cases[i][2]);
		ck_assert(typed_collection_of(name.buf, &back));
		ck_assert_str_eq(back.ns, cases[i][0]);
		ck_assert_str_eq(back.name, cases[i][1]);
	}
}
END_TEST

/* Every name of up to four of the characters that matter. */
START_TEST(no_two_names_are_one_identifier)
{
	static const char letters[] = "ah1_-";
	struct map seen = {0};
	char name[5];

	for (int n = 0; n < 5 * 6 * 6 * 6; n++) {
		AUTO_STRBUF service = STRBUF_INIT;
		struct typed_collection back;
		int digits = n, len = 0;
		for (int i = 0; i < 4; i++, digits /= 6)
			if (digits % 6 && len == i)
				name[len++] = letters[digits % 6 - 1];
		name[len] = '\0';
		if (!len || name[0] == '_' || name[0] == '-')
			continue;
		typed_collection_service("a", name, &service);
		ck_assert(typed_collection_of(service.buf, &back));
		ck_assert_str_eq(back.name, name);
		char *before = map_put(&seen, service.buf, xstrdup(name));
		ck_assert_msg(!before || !strcmp(before, name), "%s: %s, %s", service.buf,
			      before, name);
		free(before);
	}
	ck_assert_uint_gt(seen.count, 200);
	map_release(&seen, free);
}
END_TEST

START_TEST(what_is_no_name_is_none)
{
	static const char *const none[] = {
		"collections",
		"collections.",
		"collections.shop",
		"collections.shop.",
		"collections..Orders",
		"collections.shop.orders",
		"collections.Shop.Orders",
		"collections.shop.Orders.X",
		"collections.shop.Or_ders",
		"collections.shop.Orders_",
		"collections.shop.Order_hlines",
		"shop.Orders",
		"collections.shop._a",
		"collections.shop.__a",
		"collections.shop.A_",
	};
	struct typed_collection c;

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_msg(!typed_collection_of(none[i], &c), "%s", none[i]);
}
END_TEST

/* -------------------------------------------------------------------- files */

static struct pool *with_collection(const char *ns, const char *name, const char *message,
				    const char *import)
{
	AUTO_STRBUF file = STRBUF_INIT;
	struct pool *made;
	struct error err;
	struct bytes bytes;

	typed_collection_file(typed, ns, name, message, import, &file);
	bytes = bytes_of(file.buf, file.len);
	if (pool_extend(pool, &bytes, 1, &made, &err) != STATUS_OK)
		ck_abort_msg("%s: %s", err.field, err.message);
	return made;
}

START_TEST(a_collection_is_a_service)
{
	static const char name[] = "collections.my_hshop.OrderLines";
	struct pool *made = with_collection("my-shop", "order-lines", "collector.Dispatch",
					    "collector/dispatcher.proto");
	const struct pool_service *s = pool_service(made, name, strlen(name));
	const struct pool_method *search;
	const struct pool_message *result;

	ck_assert_ptr_nonnull(s);
	search = pool_method(s, "Search", 6);
	ck_assert_ptr_nonnull(search);
	ck_assert_str_eq(search->input->full_name,
			 "collections.my_hshop.OrderLines_SearchRequest");
	ck_assert_ptr_null(pool_field_by_name(search->input, "namespace", 9));
	ck_assert_ptr_nonnull(pool_field_by_name(search->input, "full_text", 9));
	ck_assert(pool_field_by_name(search->input, "filters", 7)->is_map);
	result = pool_field_by_name(search->output, "results", 7)->type_message;
	ck_assert_str_eq(result->full_name, "collections.my_hshop.OrderLines_SearchResult");
	ck_assert_str_eq(pool_field_by_name(result, "item", 4)->type_message->full_name,
			 "collector.Dispatch");
	ck_assert_str_eq(pool_field_by_name(result, "info", 4)->type_message->full_name,
			 "collector.RecordInfo");
	pool_unref(made);
}
END_TEST

START_TEST(a_collection_of_what_the_service_uses_itself)
{
	pool_unref(with_collection("system", "filters", "collector.Filter",
				   "collector/collection_server.proto"));
	pool_unref(with_collection("system", "anys", "google.protobuf.Any",
				   "google/protobuf/any.proto"));
}
END_TEST

/* -------------------------------------------------------------- translation */

START_TEST(requests_and_responses_are_turned_into_each_other)
{
	const struct typed_collection c = {"shop", "orders"};
	const struct typed_method *create = typed_collection_method(typed, "Create"),
				  *search = typed_collection_method(typed, "Search");
	AUTO_STRBUF in = STRBUF_INIT;
	AUTO_STRBUF out = STRBUF_INIT;
	AUTO_STRBUF wanted = STRBUF_INIT;
	struct error err;
	size_t item, url;

	ck_assert(create->takes_item && !search->takes_item);
	wire_add_string(&in, 1, "another namespace");
	wire_add_bytes(&in, 3, bytes_of("\x08\x01", 2));
	wire_add_string(&in, 4, "the id");
	wire_add_string(&in, 2, "another collection");
	wire_add_bytes(&in, 3, bytes_of("\x10\x02", 2)); /* the rest of the item */
	wire_add_string(&in, 999, "unknown");
	ck_assert_int_eq(typed_collection_request(create, &c, "shop.v1.Order",
						  bytes_of(in.buf, in.len), &out, &err),
			 STATUS_OK);
	wire_add_string(&wanted, 1, "shop");
	wire_add_string(&wanted, 2, "orders");
	item = wire_open(&wanted, 3);
	url = wire_open(&wanted, 1);
	strbuf_addstr(&wanted, "type.googleapis.com/shop.v1.Order");
	wire_close(&wanted, url);
	wire_add_bytes(&wanted, 2, bytes_of("\x08\x01\x10\x02", 4));
	wire_close(&wanted, item);
	wire_add_string(&wanted, 4, "the id");
	wire_add_string(&wanted, 999, "unknown");
	ck_assert_uint_eq(out.len, wanted.len);
	ck_assert_mem_eq(out.buf, wanted.buf, wanted.len);

	/* results { item { type_url, value } score } */
	strbuf_reset(&in);
	strbuf_reset(&out);
	strbuf_reset(&wanted);
	item = wire_open(&in, 2);
	url = wire_open(&in, 1);
	wire_add_string(&in, 1, "type.googleapis.com/shop.v1.Order");
	wire_add_bytes(&in, 2, bytes_of("\x08\x07", 2));
	wire_close(&in, url);
	wire_add_string(&in, 101, "snippet");
	wire_close(&in, item);
	ck_assert_int_eq(
		typed_collection_response(search, bytes_of(in.buf, in.len), &out, &err),
		STATUS_OK);
	item = wire_open(&wanted, 2);
	wire_add_bytes(&wanted, 1, bytes_of("\x08\x07", 2));
	wire_add_string(&wanted, 101, "snippet");
	wire_close(&wanted, item);
	ck_assert_uint_eq(out.len, wanted.len);
	ck_assert_mem_eq(out.buf, wanted.buf, wanted.len);
}
END_TEST

START_TEST(what_is_malformed_is_told)
{
	const struct typed_collection c = {"shop", "orders"};
	const struct typed_method *get = typed_collection_method(typed, "Get");
	struct bytes cut = bytes_of("\x1a\x05x", 3);
	AUTO_STRBUF out = STRBUF_INIT;
	struct error err;

	ck_assert_int_eq(typed_collection_request(get, &c, "a.B", cut, &out, &err),
			 STATUS_INVALID_ARGUMENT);
	ck_assert_int_eq(typed_collection_response(get, cut, &out, &err), STATUS_INTERNAL);
	ck_assert_ptr_null(typed_collection_method(typed, "Batch"));
}
END_TEST

int main(void)
{
	return suite_run("typed_collection", setup, teardown,
			 (const TTest *const[]){
				 names_become_identifiers,
				 no_two_names_are_one_identifier,
				 what_is_no_name_is_none,
				 a_collection_is_a_service,
				 a_collection_of_what_the_service_uses_itself,
				 requests_and_responses_are_turned_into_each_other,
				 what_is_malformed_is_told,
				 NULL,
			 });
}
