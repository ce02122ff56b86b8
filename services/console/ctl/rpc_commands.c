#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/client/dispatcher_client.h"
#include "common/reflect/json_in.h"
#include "common/reflect/pool.h"
#include "services/console/ctl/command.h"
#include "services/console/ctl/describe.h"
#include "services/console/ctl/output.h"
#include "services/console/ctl/session.h"

static void print_rendered(const struct strbuf *text)
{
	json_t *value = json_loadb(text->buf, text->len, JSON_DECODE_ANY, NULL);

	if (value)
		output_json(value);
	else
		puts(strbuf_str(text));
	json_decref(value);
}

static enum status show_message(struct session *s, const char *type, struct bytes message,
				struct error *err)
{
	AUTO_STRBUF text = STRBUF_INIT;
	const struct pool_message *found;
	enum status status = session_message_type(s, type, &found, err);

	if (status == STATUS_OK)
		status = session_render(s, found, message, &text, err);
	if (status == STATUS_OK)
		print_rendered(&text);
	return status;
}

/* The native form: the method's own path, with the target as metadata. */
static enum status call_natively(struct session *s, const struct pool_method *m,
				 const char *target, struct bytes request, struct error *err)
{
	struct rpc_options options = session_options(s);
	struct rpc_header headers[2] = {options.headers[0], {"collector-target", target}};
	const char *path = arena_printf(&s->arena, "/%s/%s", m->service->full_name, m->name);
	const char *output = arena_strdup(&s->arena, m->output->full_name);
	struct bytes reply;
	enum status status;

	options.headers = headers;
	options.header_count = *target ? 2 : 1;
	status = rpc_invoke_raw(s->front_door, path, request, &options, &s->arena, &reply, NULL,
				err);
	return status == STATUS_OK ? show_message(s, output, reply, err) : status;
}

static enum status call_by_dispatch(struct session *s, const struct pool_method *m,
				    const char *target, struct bytes input, struct error *err)
{
	struct rpc_options options = session_options(s);
	struct dispatch_request request = {.ns = s->ns,
					   .service = m->service->full_name,
					   .method = m->name,
					   .target = target,
					   .input_type = m->input->full_name,
					   .input = input};
	struct dispatch_answer answer;
	enum status status = dispatcher_client_dispatch(s->front_door, &request, &options,
							&s->arena, &answer, err);

	if (status != STATUS_OK)
		return status;
	fprintf(stderr, "handled by %s\n", answer.handled_by);
	if (answer.status != STATUS_OK)
		return error_set(err, answer.status, "%s", answer.message);
	return show_message(s, answer.output_type, answer.output, err);
}

static int run_call(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF text = STRBUF_INIT;
	AUTO_STRBUF wire = STRBUF_INIT;
	const char *target = arguments_value(args, "target");
	const struct pool_method *m;
	struct error err;
	enum status status = session_method(s, args->positional[0], &m, &err);

	if (status == STATUS_OK && (m->client_streaming || m->server_streaming))
		status = error_set(&err, STATUS_UNIMPLEMENTED,
				   "%s streams; use a streaming client such as grpcurl",
				   m->full_name);
	if (status == STATUS_OK)
		status = session_read_data(args, &text, &err);
	if (status == STATUS_OK)
		status = json_to_wire(s->types, m->input, strbuf_str(&text), text.len, 0, &wire,
				      &err);
	if (status == STATUS_OK)
		status = (arguments_has(args, "dispatch") ? call_by_dispatch : call_natively)(
			s, m, target ? target : "", bytes_of(wire.buf, wire.len), &err);
	return status == STATUS_OK ? 0 : session_fail(&err);
}

static int run_describe(struct session *s, const struct arguments *args)
{
	AUTO_STRBUF out = STRBUF_INIT;
	const struct pool_method *m;
	struct error err;
	enum status status = session_method(s, args->positional[0], &m, &err);

	if (status == STATUS_OK)
		status = describe_symbol(s, arena_strdup(&s->arena, m->full_name), false, &out,
					 &err);
	if (status == STATUS_OK)
		status = describe_symbol(s, arena_strdup(&s->arena, m->input->full_name), false,
					 &out, &err);
	if (status == STATUS_OK && m->output != m->input)
		status = describe_symbol(s, arena_strdup(&s->arena, m->output->full_name),
					 false, &out, &err);
	if (status != STATUS_OK)
		return session_fail(&err);
	fputs(strbuf_str(&out), stdout);
	return 0;
}

static const struct flag call_flags[] = {
	{"data", 'd', "JSON|@FILE|-", "the request ({})"},
	{"dispatch", 'D', NULL, "by Dispatch instead of natively; tells who handled it"},
	{"target", 0, "COLLECTOR", "only this collector may serve it"},
	{NULL, 0, NULL, NULL},
};

const struct command rpc_commands[] = {
	{"rpc", "call", "SERVICE/METHOD", "call a method with JSON", NULL, call_flags, 1, 1,
	 run_call},
	{"rpc", "describe", "SERVICE/METHOD", "print a method with its messages", NULL, NULL, 1,
	 1, run_describe},
	{NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
