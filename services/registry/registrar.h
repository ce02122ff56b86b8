/*
 * Changes what is registered: checks a change against the language, the
 * namespace's policy and whoever uses the types (reality.h), then commits it.
 * Thread-safe; blocks on disk and on whom it asks.
 */
#ifndef SERVICES_REGISTRY_REGISTRAR_H
#define SERVICES_REGISTRY_REGISTRAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "services/registry/breakage.h"
#include "services/registry/snapshot.h"

struct catalog;
struct pool;
struct users;

struct registrar {
	struct catalog *catalog; /* borrowed */
	/*
	 * Who uses what is registered in @ns, as users_ask() finds out; NULL: nobody
	 * does. It is asked only before changes that somebody may be hit by, and while
	 * no lock is held: others may become users meanwhile. They are not harmed, for
	 * a collection keeps the types that it was made with, and the next change is
	 * held against those too.
	 */
	enum status (*ask_users)(void *arg, const char *ns, uint64_t deadline_ns,
				 struct arena *arena, struct users *ret, struct error *err);
	void *arg;
};

enum registrar_flags {
	REGISTRAR_VALIDATE_ONLY = 1, /* change nothing */
	REGISTRAR_FORCE = 2,         /* what breaks is no reason to refuse, IMPORT apart */
	REGISTRAR_GENERATED = 4,     /* files of collections' services, by the registry itself:
					collection_services.h */
};

struct registrar_request {
	const char *ns;
	const struct bytes *files; /* serialized FileDescriptorProtos, in any order */
	size_t count;
	const char *service; /* that must be declared then, by its full name; NULL: none */
	unsigned flags;
	uint64_t deadline_ns;
};

struct registrar_file {
	const char *name;
	int64_t version; /* after it */
	bool unchanged;
};

struct registrar_result {
	struct snapshot
		*snapshot; /* after it, owned by the caller; as before if only validated */
	struct pool *pool; /* as it is or would be, owned by the caller */
	struct registrar_file *files; /* of the request, in its order; in the arena */
	size_t file_count;
	bool unchanged; /* all of them */
};

/*
 * Register files, all or nothing; on disk when it returns OK. Files named like
 * built-ins are taken as imports of those and left out; a file that is there
 * with the same bytes, or lacks nothing but comments, is unchanged. Generated files that
 * do not link with the new ones are removed with the same step: they stand in nobody's way.
 * @breakages, initialised, is what it broke or would break, whatever the status.
 * INVALID_ARGUMENT: they do not link, or declare reserved symbols; err->field
 * tells where. FAILED_PRECONDITION: it was refused for the breakages.
 * ALREADY_EXISTS: a symbol is defined elsewhere. RESOURCE_EXHAUSTED: a limit, or
 * the disk. UNAVAILABLE, DEADLINE_EXCEEDED: the checks could not be done.
 */
enum status registrar_register(struct registrar *r, const struct registrar_request *request,
			       struct arena *arena, struct breakages *breakages,
			       struct registrar_result *ret, struct error *err) MUST_CHECK;
void registrar_result_release(struct registrar_result *result);

struct registrar_removal {
	const char *ns, *file_name;
	unsigned flags;
	uint64_t deadline_ns;
};

/*
 * Remove a file, with the generated ones that import it; their versions stay on disk.
 * *ret_version is the namespace's after it. @hit as @breakages above: who uses it. NOT_FOUND: it is not registered.
 * FAILED_PRECONDITION: it is used.
 */
enum status registrar_unregister(struct registrar *r, const struct registrar_removal *removal,
				 struct arena *arena, struct breakages *hit,
				 int64_t *ret_version, struct error *err) MUST_CHECK;

/* @policy is not UNSPECIFIED. */
enum status registrar_set_policy(struct registrar *r, const char *ns, enum policy policy,
				 uint64_t deadline_ns, struct error *err) MUST_CHECK;

#endif
