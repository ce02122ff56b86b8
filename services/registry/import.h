/*
 * The services of somebody else's server and every file that they need, collected by
 * asking it. All of it is bounded: the server may be slow, wrong, or out for harm.
 */
#ifndef SERVICES_REGISTRY_IMPORT_H
#define SERVICES_REGISTRY_IMPORT_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"

struct pool;
struct reflector;

/* As of a RegisterFiles request: what is collected is registered as one. */
enum {
	IMPORT_MAX_SERVICES = 20000,
	IMPORT_MAX_BYTES = 16 << 20,
	IMPORT_MAX_EXTENSIONS = 20000,
};

/* In the arena. */
struct imported {
	const char **services; /* full names, in the server's order or the caller's */
	size_t service_count;
	struct bytes *files; /* serialized FileDescriptorProtos, in no order */
	size_t file_count;
};

/*
 * Collect the services @names, or without any all that could be registered, then with
 * the extensions of their messages that the server knows. Files of @builtins are not
 * asked for, nor are files returned that neither needs.
 * NOT_FOUND, blaming service_names: the server has no such service.
 * FAILED_PRECONDITION: it cannot describe what it has. RESOURCE_EXHAUSTED: there is
 * more than can be imported. Others as reflector_ask().
 */
enum status import_collect(struct reflector *from, const struct pool *builtins,
			   const char *const *names, size_t count, struct arena *arena,
			   struct imported *ret, struct error *err) MUST_CHECK;

#endif
