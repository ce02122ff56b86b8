#include "services/console/gather.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/strbuf.h"
#include "common/reflect/json_in.h"
#include "common/reflect/json_out.h"
#include "common/reflect/pool.h"
#include "common/rpc/client.h"

struct one_call {
	struct gather *gather;
	struct rpc_channel *channel;
	char *path;
	const struct pool_method *method;
	struct strbuf request;
	json_t *reply;
	struct error err;
	bool started, failed;
};

struct gather {
	const struct pool *types;
	struct one_call *calls[GATHER_MAX_CALLS];
	size_t count;
	struct one_call overflow;
	pthread_mutex_t mu; /* under_way */
	pthread_cond_t all_done;
	size_t under_way;
};

struct gather *gather_new(const struct pool *types)
{
	struct gather *g = xcalloc(1, sizeof(*g));

	g->types = types;
	g->overflow.failed = true;
	error_set(&g->overflow.err, STATUS_RESOURCE_EXHAUSTED,
		  "more than %d calls for one view", GATHER_MAX_CALLS);
	pthread_mutex_init(&g->mu, NULL);
	pthread_cond_init(&g->all_done, NULL);
	return g;
}

void gather_free(struct gather *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->count; i++) {
		free(g->calls[i]->path);
		strbuf_release(&g->calls[i]->request);
		json_decref(g->calls[i]->reply);
		free(g->calls[i]);
	}
	pthread_mutex_destroy(&g->mu);
	pthread_cond_destroy(&g->all_done);
	free(g);
}

static const struct pool_method *find_method(const struct pool *types, const char *path)
{
	const char *slash = strrchr(path, '/');
	const struct pool_service *service =
		pool_service(types, path + 1, (size_t)(slash - path - 1));

	return service ? pool_method(service, slash + 1, strlen(slash + 1)) : NULL;
}

static enum status pack_request(struct one_call *c, const struct pool *types,
				const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	enum status status;

	if (!c->method || !text)
		status = error_set(&c->err, STATUS_INTERNAL, "%s cannot be called", c->path);
	else
		status = json_to_wire(types, c->method->input, text, strlen(text), 0,
				      &c->request, &c->err);
	free(text);
	return status;
}

size_t gather_add(struct gather *g, struct rpc_channel *channel, const char *path,
		  json_t *request)
{
	struct one_call *c;

	if (g->count == GATHER_MAX_CALLS) {
		json_decref(request);
		return GATHER_MAX_CALLS;
	}
	c = xcalloc(1, sizeof(*c));
	c->gather = g;
	c->channel = channel;
	c->path = xstrdup(path);
	c->method = find_method(g->types, path);
	c->failed = pack_request(c, g->types, request) != STATUS_OK;
	json_decref(request);
	g->calls[g->count] = c;
	return g->count++;
}

/* Lenient: a console shows what it can of types that it does not know. */
static void take_reply(struct one_call *c, struct bytes reply)
{
	AUTO_STRBUF text = STRBUF_INIT;

	c->failed = wire_to_json(c->gather->types, c->method->output, reply, JSON_OUT_LENIENT,
				 &text, &c->err) != STATUS_OK;
	if (!c->failed)
		c->reply = json_loadb(text.buf, text.len, 0, NULL);
	if (!c->reply && !c->failed) {
		c->failed = true;
		error_set(&c->err, STATUS_INTERNAL, "%s: the reply cannot be shown", c->path);
	}
}

static void call_done(void *arg, enum status status, const struct error *err,
		      struct bytes reply, const struct rpc_outcome *outcome)
{
	struct one_call *c = arg;
	struct gather *g = c->gather;

	(void)outcome;
	if (status == STATUS_OK) {
		take_reply(c, reply);
	} else {
		c->failed = true;
		c->err = *err;
	}
	pthread_mutex_lock(&g->mu);
	if (!--g->under_way)
		pthread_cond_signal(&g->all_done);
	pthread_mutex_unlock(&g->mu);
}

void gather_run(struct gather *g, const struct rpc_options *options)
{
	for (size_t i = 0; i < g->count; i++) {
		struct one_call *c = g->calls[i];
		if (c->started || c->failed)
			continue;
		c->started = true;
		pthread_mutex_lock(&g->mu);
		g->under_way++;
		pthread_mutex_unlock(&g->mu);
		rpc_start_raw(c->channel, c->path, bytes_of(c->request.buf, c->request.len),
			      options, call_done, c, NULL);
	}
	pthread_mutex_lock(&g->mu);
	while (g->under_way)
		pthread_cond_wait(&g->all_done, &g->mu);
	pthread_mutex_unlock(&g->mu);
}

const json_t *gather_reply(const struct gather *g, size_t number, const struct error **ret_err)
{
	const struct one_call *c = number < g->count ? g->calls[number] : &g->overflow;

	if (ret_err)
		*ret_err = c->failed ? &c->err : NULL;
	return c->failed ? NULL : c->reply;
}
