#include "services/dispatcher/addresses.h"

#include <string.h>

#include "common/base/arena.h"
#include "services/dispatcher/dispatch.h"
#include "tests/support/suite.h"

static const char *const none[] = {NULL}, *const some[] = {"db.example", "10.0.0.5:7000", NULL},
			 *const all[] = {"*", NULL};
static struct error err;

static enum status check(const char *address, const char *const *allowed)
{
	return addresses_check(address, allowed, "address", &err);
}

START_TEST(loopback_is_always_allowed)
{
	static const char *const good[] = {"127.0.0.1:1", "127.200.3.4:65535", "localhost:80",
					   "[::1]:50051", NULL};

	for (int i = 0; good[i]; i++)
		ck_assert_msg(check(good[i], none) == STATUS_OK, "%s", good[i]);
}
END_TEST

START_TEST(others_need_the_operator)
{
	ck_assert_int_eq(check("10.0.0.5:7000", none), STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(check("10.0.0.5:7000", some), STATUS_OK);
	ck_assert_int_eq(check("10.0.0.5:7001", some), STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(check("db.example:1", some), STATUS_OK);
	ck_assert_int_eq(check("evil.example:1", some), STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(check("8.8.8.8:53", all), STATUS_OK);
}
END_TEST

START_TEST(link_local_is_never_allowed)
{
	static const char *const bad[] = {"169.254.169.254:80", "[fe80::1]:80",
					  "[::ffff:169.254.169.254]:80", NULL};

	for (int i = 0; bad[i]; i++)
		ck_assert_msg(check(bad[i], all) == STATUS_PERMISSION_DENIED, "%s", bad[i]);
}
END_TEST

START_TEST(what_is_not_host_and_port_is_refused)
{
	static const char *const bad[] = {"",
					  ":1",
					  "localhost",
					  "localhost:",
					  "localhost:0",
					  "localhost:65536",
					  "localhost:1x",
					  "localhost: 1",
					  "unix:/tmp/s:1",
					  "::1:80",
					  "dns:///x:1",
					  "a b:1",
					  "user@host:1",
					  "[]:1",
					  NULL};

	for (int i = 0; bad[i]; i++)
		ck_assert_msg(check(bad[i], all) == STATUS_INVALID_ARGUMENT, "'%s': %s", bad[i],
			      err.message);
}
END_TEST

START_TEST(loops_and_long_ways_are_refused)
{
	struct arena arena;
	const char *via;

	arena_init(&arena, 0);
	ck_assert_int_eq(dispatch_via(NULL, "me", &arena, &via, &err), STATUS_OK);
	ck_assert_str_eq(via, "me");
	ck_assert_int_eq(dispatch_via("a,b", "me", &arena, &via, &err), STATUS_OK);
	ck_assert_str_eq(via, "a,b,me");
	ck_assert_int_eq(dispatch_via("a,me,b", "me", &arena, &via, &err),
			 STATUS_FAILED_PRECONDITION);
	ck_assert_int_eq(dispatch_via("a,metoo", "me", &arena, &via, &err), STATUS_OK);
	ck_assert_int_eq(dispatch_via("a,b,c,d,e", "me", &arena, &via, &err),
			 STATUS_FAILED_PRECONDITION);
	arena_release(&arena);
}
END_TEST

int main(void)
{
	return suite_run("addresses", NULL, NULL,
			 (const TTest *const[]){loopback_is_always_allowed,
						others_need_the_operator,
						link_local_is_never_allowed,
						what_is_not_host_and_port_is_refused,
						loops_and_long_ways_are_refused, NULL});
}
