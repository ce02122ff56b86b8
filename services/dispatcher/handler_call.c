#include "services/dispatcher/handler_call.h"

#include <string.h>

#include "common/base/utf8.h"
#include "common/reflect/descriptor.h"
#include "common/rpc/call.h"
#include "services/dispatcher/dispatch.h"
#include "services/dispatcher/dispatcher.h"
#include "services/dispatcher/handlers.h"
#include "services/dispatcher/wrappers.h"

static void refuse(struct handler_call *c, enum status status, const char *why)
{
	const struct attached_outcome outcome = {
		.not_processed = true, .status = status, .message = why, .output_type = ""};

	c->done(c->arg, &outcome);
}

/* ------------------------------------------------------------------- backends */

static void answered(struct handler_call *c, enum status status, const struct error *err,
		     struct bytes reply, const struct rpc_outcome *how)
{
	const struct attached_outcome outcome = {
		.not_processed = status != STATUS_OK && how->not_processed,
		.status = status,
		.message = status == STATUS_OK ? "" : err->message,
		.output_type = c->registered ? c->registered->output->full_name : "",
		.output = reply,
	};

	c->done(c->arg, &outcome);
}

static void backend_answered(void *arg, enum status status, const struct error *err,
			     struct bytes reply, const struct rpc_outcome *how)
{
	answered(arg, status, err, reply, how);
}

/* Whoever repeats a call under one key is told apart from who calls twice. */
static void call_backend(struct handler_call *c)
{
	const char *key = rpc_metadata(c->call, DISPATCH_IDEMPOTENCY_HEADER);
	const struct rpc_header headers[] = {{DISPATCH_NAMESPACE_HEADER, c->ns},
					     {DISPATCH_IDEMPOTENCY_HEADER, key}};
	struct rpc_options options = {.parent = c->call,
				      .timeout_ms = rpc_time_left_ms(c->call),
				      .headers = headers,
				      .header_count = key ? 2 : 1};

	rpc_start_raw(handler_channel(c->handler),
		      arena_printf(rpc_arena(c->call), "/%s/%s", c->service, c->method),
		      c->input, &options, backend_answered, c, NULL);
}

/* ---------------------------------------------------------- attached processes */

static void add_context(struct handler_call *c, const char *key, const char *value)
{
	c->context[c->request.context_count++] = (struct rpc_header){key, value};
}

/* What the caller's metadata tells whoever runs the call. */
static void fill_request(struct handler_call *c)
{
	static const char *const keys[] = {"traceparent", DISPATCH_IDEMPOTENCY_HEADER};

	c->request = (struct dispatch_request){
		.ns = c->ns,
		.service = c->service,
		.method = c->method,
		.input_type = c->input_type,
		.input = c->input,
		.context = c->context,
	};
	add_context(c, "request-id", rpc_request_id(c->call));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = rpc_metadata(c->call, keys[i]);
		if (value && utf8_valid(value, strlen(value)))
			add_context(c, keys[i], value);
	}
}

static void call_attached(struct handler_call *c)
{
	fill_request(c);
	attached_call(handler_attached(c->handler), &c->request, c->call, c->done, c->arg);
}

/* --------------------------------------------------------------- collections */

static void collection_answered(void *arg, enum status status, const struct error *err,
				struct bytes reply, const struct rpc_outcome *how)
{
	answered(arg, status, err, reply, how);
}

static void call_collection(struct handler_call *c)
{
	c->typed = (struct typed_request){.method = c->method, .request = c->input};
	memcpy(c->typed.collection.ns, c->ns, strlen(c->ns) + 1);
	memcpy(c->typed.collection.name, handler_collection(c->handler),
	       strlen(handler_collection(c->handler)) + 1);
	typed_start(c->d->typed, &c->typed, c->call, collection_answered, c);
}

static void call_unwrapped(struct handler_call *c)
{
	switch (handler_kind(c->handler)) {
	case HANDLER_BACKEND:
		call_backend(c);
		break;
	case HANDLER_ATTACHED:
		call_attached(c);
		break;
	case HANDLER_COLLECTION:
		call_collection(c);
		break;
	default:
		refuse(c, STATUS_UNIMPLEMENTED, "a handler of a kind that is not known here");
	}
}

/* ------------------------------------------------------------------ wrappers */

/* The wrapper's answer is the handler's, in a ServeResponse. */
static void wrapper_answered(void *arg, const struct attached_outcome *outcome)
{
	struct handler_call *w = arg, *c = w->wrapped;
	struct attached_outcome unwrapped = *outcome;
	struct dispatch_answer answer;
	struct error err;

	handlers_done(w->handler);
	if (outcome->status == STATUS_OK) {
		unwrapped = (struct attached_outcome){
			.status = STATUS_INTERNAL, .message = err.message, .output_type = ""};
		if (serve_response_unpack(outcome->output, rpc_arena(c->call), &answer, &err) ==
		    STATUS_OK)
			unwrapped = (struct attached_outcome){
				.status = answer.status,
				.message = answer.message,
				.output_type = answer.output_type,
				.output = answer.output,
			};
	}
	c->done(c->arg, &unwrapped);
}

static const char *kind_name(enum handler_kind kind)
{
	return kind == HANDLER_ATTACHED     ? "attached"
	       : kind == HANDLER_COLLECTION ? "collection"
					    : "backend";
}

/* All of the call, and which handler it would have gone to. */
static struct bytes wrapped_input(struct handler_call *c)
{
	fill_request(c);
	add_context(c, "handler-id", handler_id(c->handler));
	add_context(c, "handler-kind", kind_name(handler_kind(c->handler)));
	add_context(c, "handler-address", handler_address(c->handler));
	return serve_request_pack(&c->request, rpc_arena(c->call));
}

static void call_wrapper(struct handler_call *c, const struct wrapper_record *wrapper)
{
	struct handler_call *w = arena_zalloc(rpc_arena(c->call), sizeof(*w));
	const struct handler_wanted wanted = {.ns = wrapper->wrapper_ns,
					      .service = wrapper->service,
					      .method = wrapper->method};

	*w = (struct handler_call){
		.d = c->d,
		.call = c->call,
		.handler = handlers_take(c->d->handlers, &wanted),
		.ns = wrapper->wrapper_ns,
		.service = wrapper->service,
		.method = wrapper->method,
		.input_type = "collector.ServeRequest",
		.input = wrapped_input(c),
		.done = wrapper_answered,
		.arg = w,
		.wrapped = c,
	};
	if (w->handler && handler_kind(w->handler) != HANDLER_COLLECTION)
		call_unwrapped(w);
	else
		refuse(c, STATUS_UNAVAILABLE,
		       "the namespace's Serve wrapper has no live handler, and nothing runs "
		       "without it");
}

void handler_call_start(struct handler_call *c)
{
	struct wrapper_record wrapper;

	switch (wrappers_find(c->d->wrappers, c->ns, rpc_arena(c->call), &wrapper)) {
	case WRAPPERS_NONE:
		call_unwrapped(c);
		break;
	case WRAPPERS_FOUND:
		call_wrapper(c, &wrapper);
		break;
	case WRAPPERS_UNKNOWN:
	default:
		refuse(c, STATUS_UNAVAILABLE,
		       "the repo cannot be asked whether the namespace has a Serve wrapper");
	}
}
