#include "common/base/address.h"

#include <string.h>

#include "common/base/clock.h"
#include "tests/support/suite.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *const none[] = {NULL};
static struct error err;

static enum status check(const char *address, const char *const *allowed)
{
	return address_check(address, allowed, "address", &err);
}

static enum status resolve(const char *address, const char *const *allowed,
			   struct address_list *ret)
{
	struct resolver *r = resolver_new(1);
	enum status status =
		address_resolve(r, address, allowed, "address",
				clock_monotonic_ns() + UINT64_C(60000000000), ret, &err);

	resolver_free(r);
	return status;
}

static void all_are(const char *const *addresses, const char *const *allowed,
		    enum status status)
{
	struct address_list list;

	for (; *addresses; addresses++) {
		ck_assert_msg(check(*addresses, allowed) == status, "'%s': %s", *addresses,
			      err.message);
		if (status != STATUS_OK)
			ck_assert_str_eq(err.field, "address");
		/* Numbers need not be asked for: both ways are the same for them. */
		if (strpbrk(*addresses, "ghijklmnopqrstuvwxyz"))
			continue;
		ck_assert_msg(resolve(*addresses, allowed, &list) == status, "'%s': %s",
			      *addresses, err.message);
		if (status == STATUS_OK) {
			ck_assert_uint_eq(list.count, 1);
			ck_assert_str_eq(list.items[0], *addresses);
		}
	}
}

START_TEST(loopback_is_always_allowed)
{
	all_are(LIST("127.0.0.1:1", "127.200.3.4:65535", "localhost:80", "[::1]:50051",
		     "LocalHost:1"),
		none, STATUS_OK);
}
END_TEST

START_TEST(others_need_the_operator)
{
	const char *const *some =
		LIST("db.example", "10.0.0.5:7000", "[fd00::5]", "[fd00::6]:7");

	all_are(LIST("10.0.0.5:7000", "db.example:1", "DB.Example:2", "[fd00::5]:9",
		     "[fd00::6]:7"),
		some, STATUS_OK);
	all_are(LIST("10.0.0.5:7001", "10.0.0.6:7000", "evil.example:1", "a.db.example:1",
		     "db.example.evil:1", "[fd00::6]:8", "[fd00::7]:7", "0.0.0.0:1", "[::]:1",
		     "localhost.evil:1"),
		some, STATUS_PERMISSION_DENIED);
	all_are(LIST("10.0.0.5:7000", "8.8.8.8:53", "db.example:1"), none,
		STATUS_PERMISSION_DENIED);
	all_are(LIST("8.8.8.8:53", "[2001:db8::1]:1", "db.example:1"), LIST("*"), STATUS_OK);
}
END_TEST

START_TEST(networks)
{
	const char *const *some =
		LIST("10.0.0.0/8", "192.168.4.0/22:50051", "[fd00::]/8", "172.16.0.0/12",
		     "[2001:db8:1:2::]/63:443", "1.2.3.4/32", "5.6.7.8/31");

	all_are(LIST("10.0.0.0:1", "10.255.255.255:9", "192.168.4.1:50051",
		     "192.168.7.255:50051", "[fd12:3456::1]:1", "172.31.0.1:5",
		     "[2001:db8:1:3::1]:443", "1.2.3.4:1", "5.6.7.9:1"),
		some, STATUS_OK);
	all_are(LIST("11.0.0.0:1", "9.255.255.255:1", "192.168.4.1:50052", "192.168.8.1:50051",
		     "[fe00::1]:1", "172.32.0.1:5", "[2001:db8:1:4::1]:443",
		     "[2001:db8:1:2::1]:80", "1.2.3.5:1", "5.6.7.10:1", "10.example:1"),
		some, STATUS_PERMISSION_DENIED);
	all_are(LIST("8.8.8.8:1", "[2001:db8::1]:1"), LIST("0.0.0.0/0", "[::]/0"), STATUS_OK);
	all_are(LIST("[2001:db8::1]:1"), LIST("0.0.0.0/0"), STATUS_PERMISSION_DENIED);
}
END_TEST

START_TEST(where_metadata_is_kept_nobody_may_go)
{
	const char *const *addresses = LIST(
		"169.254.169.254:80", "169.254.0.0:1", "169.254.255.255:65535", "[fe80::1]:80",
		"[febf::1]:80", "[::ffff:169.254.169.254]:80", "[::169.254.169.254]:80",
		"[64:ff9b::169.254.169.254]:80", "[2002:a9fe:a9fe::1]:80", "[fd00:ec2::254]:80",
		"100.100.100.200:80", "[::ffff:100.100.100.200]:80", "168.63.129.16:80",
		"192.0.0.192:80", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1");

	all_are(addresses, LIST("*"), STATUS_PERMISSION_DENIED);
	all_are(addresses, LIST("0.0.0.0/0", "[::]/0", "169.254.169.254", "[fe80::]/10"),
		STATUS_PERMISSION_DENIED);
}
END_TEST

START_TEST(what_is_not_host_and_port_is_refused)
{
	all_are(LIST("", ":", ":1", "localhost", "localhost:", "localhost:0", "localhost:65536",
		     "localhost:99999999999", "localhost:1x", "localhost: 1", "localhost:+1",
		     "localhost:-1", " localhost:1", "unix:/tmp/s:1", "::1:80", "dns:///x:1",
		     "ipv4:1.2.3.4:5", "a b:1", "user@host:1", "[]:1", "[::1]",
		     "[::1]:", "[::1:1", "::1]:1", "[localhost]:1", "[127.0.0.1]:1",
		     "[fe80::1%eth0]:80", "h/8:1", "127.0.0.1/8:1", "a[b:1",
		     /* Addresses in disguise, which some resolvers know. */
		     "2852039166:80", "0xa9fea9fe:80", "0xa9.0xfe.169.254:80",
		     "169.254.43518:80", "127.1:1", "0251.0376.0251.0376:80"),
		LIST("*"), STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(a_name_as_long_as_names_are)
{
	char address[300];

	memset(address, 'a', sizeof(address));
	memcpy(address + 253, ":1", 3);
	ck_assert_int_eq(check(address, LIST("*")), STATUS_OK);
	memcpy(address + 253, "a:1", 4);
	ck_assert_int_eq(check(address, LIST("*")), STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(the_operators_list_is_checked)
{
	static const char *const bad[] = {"",           "a b",        "10.0.0.0/33",
					  "10.0.0.0/",  "10.0.0.0/x", "[fd00::]/129",
					  "fd00::/8",   "name/8",     "host:0",
					  "host:65536", "host:",      "10.0.0.0/8:",
					  "[fd00::",    "10.0.0/8",   "10.0.0.0/-1",
					  "**:x",       NULL};

	ck_assert_int_eq(address_check_list(none, "allow-address", &err), STATUS_OK);
	ck_assert_int_eq(
		address_check_list(LIST("*", "h", "h:1", "1.2.3.4", "1.2.3.4:5", "1.2.3.0/24",
					"1.2.3.0/24:5", "[::1]", "[::1]:2", "[fd00::]/8",
					"[fd00::]/8:1", "0.0.0.0/0"),
				   "allow-address", &err),
		STATUS_OK);
	for (int i = 0; bad[i]; i++) {
		ck_assert_msg(address_check_list(LIST("h", bad[i]), "allow-address", &err) ==
				      STATUS_INVALID_ARGUMENT,
			      "'%s'", bad[i]);
		ck_assert_str_eq(err.field, "allow-address");
	}
}
END_TEST

START_TEST(a_name_is_judged_by_where_it_leads)
{
	struct address_list list;

	ck_assert_int_eq(resolve("localhost:80", none, &list), STATUS_OK);
	ck_assert_uint_ge(list.count, 1);
	for (size_t i = 0; i < list.count; i++) {
		ck_assert(!strcmp(list.items[i], "127.0.0.1:80") ||
			  !strcmp(list.items[i], "[::1]:80"));
		ck_assert_int_eq(check(list.items[i], none), STATUS_OK);
	}
	/* Nobody is asked for a name that may not be dialled wherever it leads. */
	ck_assert_int_eq(resolve("name.invalid:80", none, &list), STATUS_PERMISSION_DENIED);
	ck_assert_int_eq(resolve("name.invalid:80", LIST("other.invalid"), &list),
			 STATUS_PERMISSION_DENIED);
}
END_TEST

int main(void)
{
	return suite_run("address", NULL, NULL,
			 (const TTest *const[]){
				 loopback_is_always_allowed, others_need_the_operator, networks,
				 where_metadata_is_kept_nobody_may_go,
				 what_is_not_host_and_port_is_refused,
				 a_name_as_long_as_names_are, the_operators_list_is_checked,
				 a_name_is_judged_by_where_it_leads, NULL});
}
