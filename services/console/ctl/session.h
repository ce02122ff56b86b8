/*
 * What a command works with: the front door, the namespace, the output form,
 * and the types known so far. Calls are made with JSON, which is turned into
 * and from protobuf by reflection; types that the program was not built with
 * are fetched from the registry when they are met.
 */
#ifndef SERVICES_CONSOLE_CTL_SESSION_H
#define SERVICES_CONSOLE_CTL_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "common/rpc/client.h"

struct arguments;
struct json_t;
struct pool;
struct pool_message;
struct pool_method;

enum output_form { OUTPUT_TABLE, OUTPUT_JSON };

struct session {
	struct rpc_client *client;
	struct rpc_channel *front_door;
	const char *address;
	const char *ns;
	int timeout_ms;
	enum output_form output;
	struct pool *types; /* built-ins and all that was fetched */
	struct arena arena; /* for the whole run of the program */
};

/* False: @args were wrong, *ret_problem (owned) says how. */
bool session_init(struct session *s, const struct arguments *args, char **ret_problem);
void session_release(struct session *s);

/* The options of every call: timeout, and the namespace as metadata. */
struct rpc_options session_options(const struct session *s);

/* "error: ..." on stderr; the exit code for @err. */
int session_fail(const struct error *err);

/* A message's type, from the built-ins or the registry. NOT_FOUND: neither knows it. */
enum status session_message_type(struct session *s, const char *name,
				 const struct pool_message **ret_type,
				 struct error *err) MUST_CHECK;

/* The same for "/pkg.Service/Method" or "pkg.Service/Method". */
enum status session_method(struct session *s, const char *path,
			   const struct pool_method **ret_method, struct error *err) MUST_CHECK;

/*
 * Call a method of the built-in services. @request is consumed. *ret_reply is
 * the reply as JSON, owned by the caller; it may be NULL when only success counts.
 */
enum status session_call(struct session *s, const char *path, struct json_t *request,
			 struct json_t **ret_reply, struct error *err) MUST_CHECK;

/* The same with a request that is packed already. */
enum status session_call_bytes(struct session *s, const char *path, struct bytes request,
			       struct json_t **ret_reply, struct error *err) MUST_CHECK;

/*
 * @message as JSON text. Any values whose type is not known yet are looked up;
 * those that the registry does not know show as {"@type", "@bytes"}.
 */
enum status session_render(struct session *s, const struct pool_message *type,
			   struct bytes message, struct strbuf *out,
			   struct error *err) MUST_CHECK;

/*
 * What -d/--data gives: JSON as it stands, @FILE, or - for standard input; "{}"
 * without it. At most 64 MiB.
 */
enum status session_read_data(const struct arguments *args, struct strbuf *out,
			      struct error *err) MUST_CHECK;

/* A file's contents, "-" is standard input. */
enum status session_read_file(const char *path, struct strbuf *out,
			      struct error *err) MUST_CHECK;

/* Append field @number of @out: an Any of @type with @value. */
void session_put_any(struct strbuf *out, unsigned number, const char *type, struct bytes value);

#endif
