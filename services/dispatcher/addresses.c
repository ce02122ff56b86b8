#include "services/dispatcher/addresses.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HOST_BYTES = 253 };

/* "host" of "host:port" or "[v6]:port", without brackets. */
static bool split(const char *address, char *host, size_t size)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon ? (size_t)(colon - address) : 0;
	char *end;
	long port = colon ? strtol(colon + 1, &end, 10) : 0;

	if (!len || port < 1 || port > 65535 || *end || colon[1] < '0' || colon[1] > '9')
		return false;
	if (address[0] == '[' && address[len - 1] == ']') {
		address++;
		len -= 2;
	} else if (memchr(address, ':', len)) {
		return false; /* a bare IPv6 address, or a scheme such as unix: */
	}
	if (!len || len >= size || len > MAX_HOST_BYTES)
		return false;
	memcpy(host, address, len);
	host[len] = '\0';
	return !strpbrk(host, "/@ %");
}

static bool is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	return !strcmp(host, "localhost");
}

static bool is_link_local(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 16) == 0xa9fe;
	if (inet_pton(AF_INET6, host, &v6) != 1)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&v6))
		return v6.s6_addr[12] == 0xa9 && v6.s6_addr[13] == 0xfe;
	return IN6_IS_ADDR_LINKLOCAL(&v6);
}

enum status addresses_check(const char *address, const char *const *allowed, const char *field,
			    struct error *err)
{
	char host[MAX_HOST_BYTES + 1];

	if (!split(address, host, sizeof(host)))
		return error_field(err, field, "'%s' is not host:port", address);
	if (!is_link_local(host)) {
		if (is_loopback(host))
			return STATUS_OK;
		for (; *allowed; allowed++)
			if (!strcmp(*allowed, "*") || !strcmp(*allowed, host) ||
			    !strcmp(*allowed, address))
				return STATUS_OK;
	}
	error_set(err, STATUS_PERMISSION_DENIED,
		  "%s is not on the list of allowed addresses (--allow-address)", address);
	if (err)
		snprintf(err->field, sizeof(err->field), "%s", field);
	return STATUS_PERMISSION_DENIED;
}
