/*
 * Collections as services typed with their message, collections.<namespace>.<Name>: their
 * calls, turned into calls of the repo, and their descriptors, for reflection
 * (common/reflect/typed_collection.h has both forms).
 *
 * Thread-safe. What type a collection has is asked of the repo, at most once a second;
 * a collection that was made anew with another type is noticed by the repo's refusal.
 */
#ifndef SERVICES_DISPATCHER_TYPED_H
#define SERVICES_DISPATCHER_TYPED_H

#include <stdbool.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/reflect/typed_collection.h"

struct arena;
struct dispatcher;
struct pool;
struct pool_method;
struct rpc_call;
struct rpc_options;
struct rpc_outcome;
struct typed;

struct typed *typed_new(struct dispatcher *d);
void typed_free(struct typed *t);

/*
 * Serve a native call of "collections...": it is ended here. @collection is what its
 * service names, @method its method. For a loop thread.
 */
void typed_serve(struct typed *t, struct rpc_call *call,
		 const struct typed_collection *collection, const char *method);

/* Was the repo just asked, and has the collection? Does not wait. */
bool typed_is_known(struct typed *t, const struct typed_collection *collection);

/* Does the repo say that there is no such collection? Asks it, for @call. */
bool typed_is_absent(struct typed *t, const struct typed_collection *collection,
		     struct rpc_call *call);

/* The names of a typed method's messages, in @arena. False: there is no such method. */
bool typed_message_names(struct typed *t, const char *service, const char *method,
			 struct arena *arena, const char **ret_request,
			 const char **ret_response);

/* A call of a typed method; lives until @done. */
struct typed_request {
	struct typed_collection collection;
	const char *method;
	struct bytes request;
};

/* @response is borrowed for the duration of the callback. */
typedef void typed_done(void *arg, enum status status, const struct error *err,
			struct bytes response, const struct rpc_outcome *outcome);

/*
 * The same for a message at hand. @call is the inbound call that this one serves, with
 * whose rights it is made. Blocks on the repo; @done runs once, on any thread.
 * UNIMPLEMENTED: there is no such collection or method.
 */
void typed_start(struct typed *t, const struct typed_request *request, void *call,
		 typed_done *done, void *arg);

/*
 * *ret_pool, a new reference, is @base with the services of the collections of @ns whose
 * type is in it.
 */
enum status typed_extend(struct typed *t, const char *ns, struct pool *base,
			 const struct rpc_options *options, struct pool **ret_pool,
			 struct error *err) MUST_CHECK;

/*
 * Can a collection of @ns be the handler of @m, which lives in @pool? Its name must be a
 * typed method's, and its messages those of the typed method or parts of them.
 * INVALID_ARGUMENT: no. NOT_FOUND: there is no such collection.
 */
enum status typed_check_method(struct typed *t, const char *ns, const char *collection,
			       const struct pool_method *m, struct pool *pool,
			       const struct rpc_options *options, struct error *err) MUST_CHECK;

#endif
