#include "services/console/ctl/session.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/names.h"
#include "common/client/registry_client.h"
#include "common/reflect/builtin.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/reflect/wire.h"
#include "services/console/ctl/arguments.h"
#include "services/console/ctl/command.h"

enum {
	DEFAULT_TIMEOUT_MS = 30000,
	MAX_INPUT_BYTES = 64 << 20,
	MAX_TYPES_PER_REPLY = 64, /* fetched for one reply */
};

static const char *setting(const struct arguments *args, const char *flag, const char *variable,
			   const char *fallback)
{
	const char *value = arguments_value(args, flag);

	if (!value)
		value = getenv(variable);
	return value && *value ? value : fallback;
}

/* "30s", "500ms", "2m", or seconds without a unit. */
static bool parse_duration_ms(const char *text, int *ret_ms)
{
	char *end;
	double value = strtod(text, &end);
	double unit = !strcmp(end, "ms")           ? 1
		      : !*end || !strcmp(end, "s") ? 1000
		      : !strcmp(end, "m")          ? 60000
						   : 0;

	if (end == text || unit == 0 || !(value * unit >= 1) || value * unit > 86400000)
		return false;
	*ret_ms = (int)(value * unit);
	return true;
}

static bool parse_output(const char *text, enum output_form *ret_form)
{
	if (strcmp(text, "json") && strcmp(text, "table"))
		return false;
	*ret_form = !strcmp(text, "json") ? OUTPUT_JSON : OUTPUT_TABLE;
	return true;
}

bool session_init(struct session *s, const struct arguments *args, char **ret_problem)
{
	const char *timeout = setting(args, "timeout", "COLLECTOR_TIMEOUT", NULL);
	const char *output = setting(args, "output", "COLLECTOR_OUTPUT", "table");
	struct error err;

	*s = (struct session){
		.address = setting(args, "address", "COLLECTOR_ADDRESS", "127.0.0.1:50051"),
		.ns = setting(args, "namespace", "COLLECTOR_NAMESPACE",
			      NAMES_DEFAULT_NAMESPACE),
		.timeout_ms = DEFAULT_TIMEOUT_MS,
	};
	if (timeout && !parse_duration_ms(timeout, &s->timeout_ms)) {
		*ret_problem = xasprintf("--timeout: '%s' is not a duration such as 500ms, 10s "
					 "or 2m",
					 timeout);
		return false;
	}
	if (!parse_output(output, &s->output)) {
		*ret_problem = xasprintf("--output: '%s' is neither table nor json", output);
		return false;
	}
	if (names_check_namespace(s->ns, "--namespace", &err) != STATUS_OK) {
		*ret_problem = xasprintf("--namespace: %s", err.message);
		return false;
	}
	arena_init(&s->arena, 0);
	s->client = rpc_client_new(&(struct rpc_client_options){.name = "collectorctl"});
	s->front_door = rpc_client_channel(s->client, s->address, RPC_TRUST_FOREIGN);
	if (!s->front_door) {
		*ret_problem = xasprintf("--address: '%s' is not host:port", s->address);
		session_release(s);
		return false;
	}
	struct pool *empty = pool_new();
	if (pool_extend_set(empty, builtin_descriptor_set(), &s->types, &err) != STATUS_OK)
		abort(); /* our own descriptors, checked by the tests */
	pool_unref(empty);
	return true;
}

void session_release(struct session *s)
{
	if (s->client)
		rpc_client_free(s->client);
	if (s->types)
		pool_unref(s->types);
	arena_release(&s->arena);
	*s = (struct session){0};
}

struct rpc_options session_options(const struct session *s)
{
	struct rpc_header *header = arena_alloc((struct arena *)&s->arena, sizeof(*header));

	*header = (struct rpc_header){"collector-namespace", s->ns};
	return (struct rpc_options){
		.timeout_ms = s->timeout_ms, .headers = header, .header_count = 1};
}

int session_fail(const struct error *err)
{
	fprintf(stderr, "error: %s: %s", status_name(err->status), err->message);
	if (err->field[0])
		fprintf(stderr, " (%s)", err->field);
	fputc('\n', stderr);
	return EXIT_CODE_GRPC + (int)err->status;
}

/* ------------------------------------------------------------------ types */

static enum status fetch_symbol(struct session *s, const char *symbol, struct error *err)
{
	struct rpc_options options = session_options(s);
	struct registry_descriptors found;
	struct pool *more;
	enum status status = registry_client_descriptors_of_symbol(
		s->front_door, s->ns, symbol, &options, &s->arena, &found, err);

	if (status != STATUS_OK)
		return status;
	status = pool_extend_set(s->types, found.file_descriptor_set, &more, err);
	if (status != STATUS_OK)
		return status;
	pool_unref(s->types);
	s->types = more;
	return STATUS_OK;
}

enum status session_message_type(struct session *s, const char *name,
				 const struct pool_message **ret_type, struct error *err)
{
	const struct pool_message *type = pool_message(s->types, name, strlen(name));

	if (!type) {
		enum status status = fetch_symbol(s, name, err);
		if (status != STATUS_OK)
			return status;
		type = pool_message(s->types, name, strlen(name));
	}
	if (!type)
		return error_set(err, STATUS_NOT_FOUND, "%s is not a message", name);
	*ret_type = type;
	return STATUS_OK;
}

enum status session_method(struct session *s, const char *path,
			   const struct pool_method **ret_method, struct error *err)
{
	const char *service = path + (*path == '/'), *slash = strrchr(service, '/');
	size_t len = slash ? (size_t)(slash - service) : 0;
	const struct pool_service *found;
	const struct pool_method *method;

	if (!slash || !len || !slash[1])
		return error_set(err, STATUS_INVALID_ARGUMENT,
				 "'%s' is not a method: write package.Service/Method", path);
	found = pool_service(s->types, service, len);
	if (!found) {
		enum status status =
			fetch_symbol(s, arena_strndup(&s->arena, service, len), err);
		if (status != STATUS_OK)
			return status;
		found = pool_service(s->types, service, len);
	}
	method = found ? pool_method(found, slash + 1, strlen(slash + 1)) : NULL;
	if (!method)
		return error_set(err, STATUS_UNIMPLEMENTED, "%.*s has no method %s", (int)len,
				 service, slash + 1);
	*ret_method = method;
	return STATUS_OK;
}

/* ----------------------------------------------------------------- output */

/* Fetch the types of all {"@type", "@bytes"} in @value; true if any was new. */
static bool fetch_unknown_types(struct session *s, json_t *value, int *budget)
{
	const char *url = json_string_value(json_object_get(value, "@type")), *key;
	bool fetched = false;
	json_t *item;
	size_t i;

	if (url && json_object_get(value, "@bytes") && strrchr(url, '/') && (*budget)-- > 0) {
		const char *name = strrchr(url, '/') + 1;
		struct error ignored; /* it stays as bytes then */
		if (!pool_message(s->types, name, strlen(name)))
			fetched = fetch_symbol(s, name, &ignored) == STATUS_OK;
	}
	json_object_foreach(value, key, item) fetched |= fetch_unknown_types(s, item, budget);
	json_array_foreach(value, i, item) fetched |= fetch_unknown_types(s, item, budget);
	return fetched;
}

enum status session_render(struct session *s, const struct pool_message *type,
			   struct bytes message, struct strbuf *out, struct error *err)
{
	size_t start = out->len;
	int budget = MAX_TYPES_PER_REPLY;
	const char *name = type->full_name;

	for (;;) {
		enum status status =
			wire_to_json(s->types, type, message, JSON_OUT_LENIENT, out, err);
		json_t *shown;
		bool again;
		if (status != STATUS_OK)
			return status;
		if (!strstr(out->buf + start, "\"@bytes\""))
			return STATUS_OK;
		shown = json_loadb(out->buf + start, out->len - start, JSON_DECODE_ANY, NULL);
		again = shown && fetch_unknown_types(s, shown, &budget);
		json_decref(shown);
		if (!again)
			return STATUS_OK;
		strbuf_truncate(out, start);
		type = pool_message(s->types, name, strlen(name));
	}
}

/* ------------------------------------------------------------------ calls */

static enum status parse_reply(struct session *s, const struct pool_message *type,
			       struct bytes reply, json_t **ret_reply, struct error *err)
{
	AUTO_STRBUF text = STRBUF_INIT;
	enum status status = session_render(s, type, reply, &text, err);
	json_error_t problem;

	if (status != STATUS_OK)
		return status;
	*ret_reply = json_loadb(text.buf, text.len, 0, &problem);
	if (!*ret_reply)
		return error_set(err, STATUS_INTERNAL, "the reply cannot be shown: %s",
				 problem.text);
	return STATUS_OK;
}

enum status session_call_bytes(struct session *s, const char *path, struct bytes request,
			       json_t **ret_reply, struct error *err)
{
	struct rpc_options options = session_options(s);
	const struct pool_method *method;
	struct bytes reply;
	enum status status = session_method(s, path, &method, err);

	if (status != STATUS_OK)
		return status;
	const char *output = method->output->full_name; /* fetching types may move on */
	status = rpc_invoke_raw(s->front_door, path, request, &options, &s->arena, &reply, NULL,
				err);
	if (status != STATUS_OK || !ret_reply)
		return status;
	return parse_reply(s, pool_message(s->types, output, strlen(output)), reply, ret_reply,
			   err);
}

enum status session_call(struct session *s, const char *path, json_t *request,
			 json_t **ret_reply, struct error *err)
{
	AUTO_STRBUF wire = STRBUF_INIT;
	const struct pool_method *method;
	char *text = json_dumps(request, JSON_COMPACT);
	enum status status = session_method(s, path, &method, err);

	json_decref(request);
	if (status == STATUS_OK && !text)
		status = error_set(err, STATUS_INVALID_ARGUMENT,
				   "an argument is not valid UTF-8");
	if (status == STATUS_OK)
		status = json_to_wire(s->types, method->input, text, strlen(text), 0, &wire,
				      err);
	free(text);
	if (status != STATUS_OK)
		return status;
	return session_call_bytes(s, path, bytes_of(wire.buf, wire.len), ret_reply, err);
}

/* ------------------------------------------------------------------ input */

enum status session_read_file(const char *path, struct strbuf *out, struct error *err)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	enum status status = STATUS_OK;
	ssize_t got;

	if (fd < 0)
		return error_set(err, STATUS_INVALID_ARGUMENT, "cannot open %s: %s", path,
				 strerror(errno));
	do {
		strbuf_grow(out, 1 << 16);
		got = read(fd, out->buf + out->len, 1 << 16);
		if (got > 0) {
			out->len += (size_t)got;
			out->buf[out->len] = '\0';
		}
	} while (out->len <= MAX_INPUT_BYTES && (got > 0 || (got < 0 && errno == EINTR)));
	if (got < 0)
		status = error_set(err, STATUS_INVALID_ARGUMENT, "cannot read %s: %s", path,
				   strerror(errno));
	else if (out->len > MAX_INPUT_BYTES)
		status = error_set(err, STATUS_RESOURCE_EXHAUSTED, "%s is larger than 64 MiB",
				   path);
	if (fd != STDIN_FILENO)
		close(fd);
	return status;
}

enum status session_read_data(const struct arguments *args, struct strbuf *out,
			      struct error *err)
{
	const char *data = arguments_value(args, "data");

	if (data && !strcmp(data, "-"))
		return session_read_file("-", out, err);
	if (data && data[0] == '@')
		return session_read_file(data + 1, out, err);
	strbuf_addstr(out, data ? data : "{}");
	return STATUS_OK;
}

void session_put_any(struct strbuf *out, unsigned number, const char *type, struct bytes value)
{
	size_t mark = wire_open(out, number);
	size_t url = wire_open(out, 1);

	strbuf_addf(out, "type.googleapis.com/%s", type);
	wire_close(out, url);
	if (value.size)
		wire_add_bytes(out, 2, value);
	wire_close(out, mark);
}
