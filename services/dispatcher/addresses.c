#include "services/dispatcher/addresses.h"

#include <stdlib.h>

#include "common/base/address.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/rpc/call.h"
#include "common/rpc/client.h"

enum { MAX_LOOKUPS = 64, LOOKUP_TIMEOUT_MS = 3000 };

struct addresses {
	struct rpc_client *client;
	struct resolver *resolver;
	const char **allowed; /* owned; the texts are not */
};

static enum status resolve(void *arg, const char *target, uint64_t deadline_ns,
			   struct address_list *ret, struct error *err)
{
	struct addresses *a = arg;

	return address_resolve(a->resolver, target, a->allowed, "address", deadline_ns, ret,
			       err);
}

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

static const char **join(const char *const *first, const char *const *second)
{
	const size_t n = count(first), m = count(second);
	const char **all = xcalloc(n + m + 1, sizeof(*all));

	for (size_t i = 0; i < n; i++)
		all[i] = first[i];
	for (size_t i = 0; i < m; i++)
		all[n + i] = second[i];
	return all;
}

enum status addresses_open(struct rpc_client *client, const char *const *allowed,
			   const char *const *seeds, struct addresses **ret, struct error *err)
{
	struct addresses *a;
	enum status status = address_check_list(allowed, "allow-address", err);

	if (status == STATUS_OK)
		status = address_check_list(seeds, "seeds", err);
	if (status != STATUS_OK)
		return status;
	a = xcalloc(1, sizeof(*a));
	a->client = client;
	a->resolver = resolver_new(MAX_LOOKUPS);
	a->allowed = join(allowed, seeds);
	rpc_client_set_naming(client, &(struct rpc_naming){resolve, a});
	*ret = a;
	return STATUS_OK;
}

void addresses_close(struct addresses *a)
{
	if (!a)
		return;
	rpc_client_end_lookups(a->client);
	resolver_free(a->resolver);
	free(a->allowed);
	free(a);
}

enum status addresses_check(struct addresses *a, const char *address, const char *field,
			    void *call, struct error *err)
{
	const uint64_t latest = clock_monotonic_ns() + LOOKUP_TIMEOUT_MS * UINT64_C(1000000);
	const uint64_t deadline = call ? rpc_deadline_ns(call) : latest;
	struct address_list ignored; /* it is looked up again when it is dialled */

	return address_resolve(a->resolver, address, a->allowed, field,
			       deadline < latest ? deadline : latest, &ignored, err);
}

enum status addresses_check_text(struct addresses *a, const char *address, const char *field,
				 struct error *err)
{
	return address_check(address, a->allowed, field, err);
}
