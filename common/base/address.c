#include "common/base/address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	MAX_HOST_BYTES = 253, /* RFC 1035 */
	ADDRESS_BITS = 128,
	IPV4_BITS = 32,
	IPV4_AT = 12, /* in the sixteen bytes of ::ffff:1.2.3.4 */
};

/* An IP address of either family, IPv4 as ::ffff:1.2.3.4. */
struct ip {
	uint8_t bytes[16];
};

/* The first bits of an address. */
struct network {
	struct ip ip;
	unsigned bits;
};

/* "host:port", or an entry of a list. */
struct endpoint {
	char host[MAX_HOST_BYTES + 1]; /* without brackets */
	int port;                      /* 0: any */
	bool is_ip, is_network;
	struct network network;
};

/* ------------------------------------------------------------------- parsing */

static bool parse_ip(const char *text, struct ip *ret)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*ret = (struct ip){.bytes = {[10] = 0xff, [11] = 0xff}};
		memcpy(ret->bytes + IPV4_AT, &v4, sizeof(v4));
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6) != 1)
		return false;
	memcpy(ret->bytes, &v6, sizeof(v6));
	return true;
}

/* Decimal, from @min to @max, and nothing else. */
static bool parse_number(const char *text, int min, int max, int *ret)
{
	size_t len = strlen(text);
	long value;

	if (!len || len > 5 || strspn(text, "0123456789") != len)
		return false;
	value = strtol(text, NULL, 10);
	if (value < min || value > max)
		return false;
	*ret = (int)value;
	return true;
}

static bool is_ipv4_text(const char *text)
{
	struct in_addr v4;

	return inet_pton(AF_INET, text, &v4) == 1;
}

/* "/8" behind an IP address. */
static bool parse_bits(const char *text, struct endpoint *e)
{
	bool is_v4 = is_ipv4_text(e->host);
	int bits;

	if (!e->is_ip || !parse_number(text, 0, is_v4 ? IPV4_BITS : ADDRESS_BITS, &bits))
		return false;
	e->is_network = true;
	e->network.bits = (unsigned)(is_v4 ? bits + ADDRESS_BITS - IPV4_BITS : bits);
	return true;
}

/* A host, in brackets if it is an IPv6 address; returns what follows it, or NULL. */
static const char *parse_host(const char *text, struct endpoint *e)
{
	bool in_brackets = *text == '[';
	const char *start = text + in_brackets;
	size_t len = strcspn(start, in_brackets ? "]" : ":/");

	*e = (struct endpoint){0};
	if (!len || len > MAX_HOST_BYTES || (in_brackets && start[len] != ']'))
		return NULL;
	memcpy(e->host, start, len);
	if (strpbrk(e->host, "[]/@% \t\r\n"))
		return NULL;
	e->is_ip = parse_ip(e->host, &e->network.ip);
	e->network.bits = ADDRESS_BITS;
	if (!e->is_ip && inet_aton(e->host, &(struct in_addr){0}))
		return NULL; /* an address in disguise, such as 2130706433 or 0x7f.1 */
	if (in_brackets && (!e->is_ip || !strchr(e->host, ':')))
		return NULL;
	return start + len + in_brackets;
}

/* What clients name: a host and a port. */
static bool parse_address(const char *text, struct endpoint *e)
{
	const char *rest = parse_host(text, e);

	return rest && *rest == ':' && parse_number(rest + 1, 1, 65535, &e->port);
}

/* What operators list: a host or a network, with or without a port. */
static bool parse_entry(const char *text, struct endpoint *e)
{
	const char *rest = parse_host(text, e);
	char bits[8] = "";
	size_t len;

	if (rest && *rest == '/') {
		len = strcspn(++rest, ":");
		if (len >= sizeof(bits))
			return false;
		memcpy(bits, rest, len);
		rest += len;
		if (!parse_bits(bits, e))
			return false;
	}
	return rest && (!*rest || (*rest == ':' && parse_number(rest + 1, 1, 65535, &e->port)));
}

/* ------------------------------------------------------------------- judging */

static bool is_in(const struct ip *ip, const struct network *n)
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (memcmp(ip->bytes, n->ip.bytes, whole) != 0)
		return false;
	return !rest || !((ip->bytes[whole] ^ n->ip.bytes[whole]) >> (8 - rest));
}

static bool is_in_text(const struct ip *ip, const char *network)
{
	struct endpoint e;

	return parse_entry(network, &e) && is_in(ip, &e.network);
}

static bool is_in_any(const struct ip *ip, const char *const *networks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_in_text(ip, networks[i]))
			return true;
	return false;
}

static bool is_forbidden_itself(const struct ip *ip)
{
	static const char *const forbidden[] = {
		"169.254.0.0/16",  /* link-local: AWS, Azure, Google, ... */
		"[fe80::]/10",     /* the same */
		"[fd00:ec2::254]", /* AWS */
		"[fd20:ce::254]",  /* Google */
		"100.100.100.200", /* Alibaba */
		"168.63.129.16",   /* Azure's host */
		"192.0.0.192",     /* Oracle */
		"224.0.0.0/4",     /* multicast */
		"[ff00::]/8",      /* the same */
		"255.255.255.255", /* broadcast */
	};

	return is_in_any(ip, forbidden, sizeof(forbidden) / sizeof(forbidden[0]));
}

/* An IPv4 address that hides in an IPv6 one. */
static bool embedded(const struct ip *ip, struct ip *ret)
{
	static const struct {
		const char *network;
		size_t at;
	} forms[] = {
		{"[::]/96", IPV4_AT},        /* IPv4-compatible */
		{"[64:ff9b::]/96", IPV4_AT}, /* NAT64 */
		{"[2002::]/16", 2},          /* 6to4 */
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (!is_in_text(ip, forms[i].network))
			continue;
		*ret = (struct ip){.bytes = {[10] = 0xff, [11] = 0xff}};
		memcpy(ret->bytes + IPV4_AT, ip->bytes + forms[i].at, 4);
		return true;
	}
	return false;
}

static bool is_forbidden(const struct ip *ip)
{
	struct ip inner;

	return is_forbidden_itself(ip) || (embedded(ip, &inner) && is_forbidden_itself(&inner));
}

static bool is_loopback(const struct ip *ip)
{
	static const char *const loopback[] = {"127.0.0.0/8", "[::1]"};

	return is_in_any(ip, loopback, sizeof(loopback) / sizeof(loopback[0]));
}

static bool is_all(const char *entry)
{
	return !strcmp(entry, "*");
}

static bool allows_ip(const char *const *allowed, const struct ip *ip, int port)
{
	struct endpoint e;

	if (is_forbidden(ip))
		return false;
	if (is_loopback(ip))
		return true;
	for (; *allowed; allowed++)
		if (is_all(*allowed) || (parse_entry(*allowed, &e) && e.is_ip &&
					 (!e.port || e.port == port) && is_in(ip, &e.network)))
			return true;
	return false;
}

static bool lists_name(const char *const *allowed, const struct endpoint *name)
{
	struct endpoint e;

	for (; *allowed; allowed++)
		if (is_all(*allowed) ||
		    (parse_entry(*allowed, &e) && !e.is_ip &&
		     (!e.port || e.port == name->port) && !strcasecmp(e.host, name->host)))
			return true;
	return false;
}

static bool is_localhost(const struct endpoint *name)
{
	return !strcasecmp(name->host, "localhost");
}

/* Could a name that is not listed be in a listed network? Else nobody need be asked. */
static bool lists_networks(const char *const *allowed)
{
	struct endpoint e;

	for (; *allowed; allowed++)
		if (parse_entry(*allowed, &e) && e.is_ip)
			return true;
	return false;
}

/* ------------------------------------------------------------------ verdicts */

static enum status refuse(const char *address, const char *field, struct error *err)
{
	error_field(err, field, "%s is not on the list of allowed addresses (--allow-address)",
		    address);
	if (err)
		err->status = STATUS_PERMISSION_DENIED;
	return STATUS_PERMISSION_DENIED;
}

static enum status parse_or_blame(const char *address, const char *field, struct endpoint *e,
				  struct error *err)
{
	return parse_address(address, e)
		       ? STATUS_OK
		       : error_field(err, field, "'%s' is not host:port", address);
}

enum status address_check_list(const char *const *allowed, const char *field, struct error *err)
{
	struct endpoint e;

	for (; *allowed; allowed++)
		if (!is_all(*allowed) && !parse_entry(*allowed, &e))
			return error_field(err, field,
					   "'%s' is no host or network, with or without a port",
					   *allowed);
	return STATUS_OK;
}

enum status address_check(const char *address, const char *const *allowed, const char *field,
			  struct error *err)
{
	struct endpoint e;
	enum status status = parse_or_blame(address, field, &e, err);
	bool is_allowed;

	if (status != STATUS_OK)
		return status;
	is_allowed = e.is_ip ? allows_ip(allowed, &e.network.ip, e.port)
			     : is_localhost(&e) || lists_name(allowed, &e);
	return is_allowed ? STATUS_OK : refuse(address, field, err);
}

static void add(struct address_list *list, const char *ip, int port)
{
	snprintf(list->items[list->count++], ADDRESS_TEXT_BYTES,
		 strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, port);
}

static enum status check_answer(const struct endpoint *name,
				const struct resolver_answer *answer,
				const char *const *allowed, bool is_listed, const char *address,
				const char *field, struct address_list *ret, struct error *err)
{
	struct address_list list = {.count = 0};

	for (size_t i = 0; i < answer->count; i++) {
		struct ip ip;
		/* A zone ("fe80::1%eth0") is link-local, and parses as nothing. */
		if (!parse_ip(answer->addresses[i], &ip) || is_forbidden(&ip) ||
		    (!is_listed && !allows_ip(allowed, &ip, name->port)))
			return refuse(address, field, err);
		add(&list, answer->addresses[i], name->port);
	}
	*ret = list;
	return STATUS_OK;
}

enum status address_resolve(struct resolver *r, const char *address, const char *const *allowed,
			    const char *field, uint64_t deadline_ns, struct address_list *ret,
			    struct error *err)
{
	struct endpoint e;
	struct resolver_answer answer;
	enum status status = parse_or_blame(address, field, &e, err);
	bool is_listed;

	if (status != STATUS_OK)
		return status;
	if (e.is_ip) {
		if (!allows_ip(allowed, &e.network.ip, e.port))
			return refuse(address, field, err);
		*ret = (struct address_list){.count = 0};
		add(ret, e.host, e.port);
		return STATUS_OK;
	}
	is_listed = lists_name(allowed, &e);
	if (!is_listed && !is_localhost(&e) && !lists_networks(allowed))
		return refuse(address, field, err);
	status = resolver_lookup(r, e.host, deadline_ns, &answer, err);
	return status == STATUS_OK
		       ? check_answer(&e, &answer, allowed, is_listed, address, field, ret, err)
		       : status;
}
