/*
 * Somebody else's server, asked about its types: grpc.reflection.v1 or, where the
 * server lacks it, v1alpha; both are the same on the wire. One question at a time, one
 * answer read for each, on the thread that made it. What an answer says is not to
 * be believed.
 */
#ifndef SERVICES_REGISTRY_REFLECTOR_H
#define SERVICES_REGISTRY_REFLECTOR_H

#include "common/base/bytes.h"
#include "common/base/status.h"

struct reflector;
struct rpc_channel;
struct rpc_options;

/* The field numbers of ServerReflectionRequest. */
enum reflector_question {
	REFLECTOR_FILE = 3,       /* by its name; and what it imports, if the server likes */
	REFLECTOR_SYMBOL = 4,     /* the file that declares it, and so on */
	REFLECTOR_EXTENSION = 5,  /* the same, of an ExtensionRequest */
	REFLECTOR_EXTENSIONS = 6, /* the numbers of a message's */
	REFLECTOR_SERVICES = 7,
};

/* Nothing is sent yet. @channel and @options are borrowed for its life. */
struct reflector *reflector_new(struct rpc_channel *channel, const struct rpc_options *options);
void reflector_free(struct reflector *r);

/*
 * *ret_answer is a FileDescriptorResponse, an ExtensionNumberResponse or a
 * ListServiceResponse, and valid until the next question. NOT_FOUND: the server answered with an error, which is in
 * @err. FAILED_PRECONDITION: it has no reflection, or breaks the protocol.
 * UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, RESOURCE_EXHAUSTED: as of any call;
 * UNAVAILABLE at the first question also when it cannot be connected.
 */
enum status reflector_ask(struct reflector *r, enum reflector_question question,
			  struct bytes about, struct bytes *ret_answer,
			  struct error *err) MUST_CHECK;

enum { REFLECTOR_SHOWN_BYTES = 256 };

/* What a server said, fit for a message to a person: cut, and printable. */
const char *reflector_show(struct bytes told, char out[REFLECTOR_SHOWN_BYTES]);

#endif
