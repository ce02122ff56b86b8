/*
 * Calling the registry. Every function blocks, takes its deadline and caller
 * from @options, and puts what it returns into @arena. UNAVAILABLE: no registry.
 */
#ifndef COMMON_CLIENT_REGISTRY_CLIENT_H
#define COMMON_CLIENT_REGISTRY_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/rpc/client.h"

/* The transitive closure of one file, as the registry has it now. */
struct registry_descriptors {
	struct bytes file_descriptor_set; /* dependencies first */
	const char *file_name;            /* the file that holds what was asked for */
	int64_t version;                  /* of the namespace; grows with every change */
};

/*
 * The file that declares @symbol (a message, enum, service or "pkg.Svc.Method")
 * in @ns, with all its imports. NOT_FOUND: no such symbol.
 */
enum status registry_client_descriptors_of_symbol(struct rpc_channel *registry, const char *ns,
						  const char *symbol,
						  const struct rpc_options *options,
						  struct arena *arena,
						  struct registry_descriptors *ret,
						  struct error *err) MUST_CHECK;

/*
 * Every file registered in @ns with its imports, built-ins excluded unless
 * imported. *ret_changed is false, and nothing else set, when the version still
 * is @known_version (pass -1 to get all).
 */
enum status registry_client_descriptors_of_namespace(struct rpc_channel *registry,
						     const char *ns, int64_t known_version,
						     const struct rpc_options *options,
						     struct arena *arena, bool *ret_changed,
						     struct registry_descriptors *ret,
						     struct error *err) MUST_CHECK;

/* The version of @ns: 0 when nothing ever was registered in it. */
enum status registry_client_version(struct rpc_channel *registry, const char *ns,
				    const struct rpc_options *options, int64_t *ret_version,
				    struct error *err) MUST_CHECK;

/* Is service/method registered in @ns? *ret_reason says why not (""). */
enum status registry_client_validate_method(struct rpc_channel *registry, const char *ns,
					    const char *service, const char *method,
					    const struct rpc_options *options,
					    struct arena *arena, bool *ret_valid,
					    const char **ret_reason,
					    struct error *err) MUST_CHECK;

#endif
