/* What common/rpc/call.h promises to methods. */
#include <errno.h>
#include <grpc/slice.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strbuf.h"
#include "common/base/utf8.h"
#include "common/rpc/details.h"
#include "common/rpc/inbound.h"
#include "common/rpc/payload.h"
#include "common/rpc/stats.h"

bool rpc_call_claim_end(struct rpc_call *c)
{
	bool first;

	pthread_mutex_lock(&c->mutex);
	first = !c->ended;
	c->ended = true;
	c->notify = NULL;
	pthread_mutex_unlock(&c->mutex);
	return first;
}

static bool is_over_locked(struct rpc_call *c)
{
	return c->read_failed || (c->closed && c->core_cancelled);
}

bool rpc_call_is_over(struct rpc_call *c)
{
	bool over;

	pthread_mutex_lock(&c->mutex);
	over = is_over_locked(c);
	pthread_mutex_unlock(&c->mutex);
	return over || clock_monotonic_ns() >= c->deadline_ns;
}

/* ------------------------------------------------------------------- ending */

static void log_call(struct rpc_call *c, enum status status, uint64_t duration_ns)
{
	enum log_level level =
		c->method->server->options.log_calls ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
	char pairs[600];

	if (!log_enabled(level))
		return;
	snprintf(pairs, sizeof(pairs),
		 "call=%s method=%s code=%s duration_us=%llu caller=%s%s%s",
		 c->identity.request_id, rpc_method_path(c), status_name(status),
		 (unsigned long long)(duration_ns / 1000), c->identity.caller_name,
		 c->identity.traceparent[0] ? " traceparent=" : "", c->identity.traceparent);
	log_pairs(level, pairs, "call");
}

void rpc_call_account(struct rpc_call *c, enum status status)
{
	uint64_t now = clock_monotonic_ns(), duration_ns = now - c->start_ns;
	bool cancelled;

	pthread_mutex_lock(&c->mutex);
	cancelled = is_over_locked(c);
	pthread_mutex_unlock(&c->mutex);
	if (cancelled)
		status = now >= c->deadline_ns ? STATUS_DEADLINE_EXCEEDED : STATUS_CANCELLED;
	rpc_stats_record_at(c->stats, status, duration_ns);
	log_call(c, status, duration_ns);
}

static void add_trailer(struct rpc_call *c, const char *key, struct bytes value)
{
	grpc_metadata *t = &c->trailers[c->trailer_count++];

	t->key = grpc_slice_from_static_string(key);
	t->value = grpc_slice_from_copied_buffer((const char *)value.data, value.size);
}

/* gRPC messages and our details are UTF-8: what is not is replaced, not refused. */
static void make_valid(char *text)
{
	if (utf8_valid(text, strlen(text)))
		return;
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			*text = '?';
}

/* How a call is failed, beside with an error. */
struct failure {
	bool not_processed;
	const struct rpc_violation *violations;
	size_t violation_count;
};

static void fail(struct rpc_call *c, struct error *err, const struct failure *how)
{
	AUTO_STRBUF details = STRBUF_INIT;
	grpc_slice message;

	if (!rpc_call_claim_end(c))
		return;
	if (err->status ==
	    STATUS_OK) /* a method's bug; the client must not take it for success */
		err->status = STATUS_INTERNAL;
	make_valid(err->message);
	make_valid(err->field);
	rpc_details_write(err, how->violations, how->violation_count, c->identity.request_id,
			  &details);
	add_trailer(c, RPC_STATUS_DETAILS, bytes_of(details.buf, details.len));
	if (how->not_processed)
		add_trailer(c, RPC_NOT_PROCESSED, bytes_of_string("1"));
	message = grpc_slice_from_copied_string(err->message);
	rpc_call_set_end(c, (grpc_status_code)err->status, message, c->trailers,
			 c->trailer_count);
	grpc_slice_unref(message);
	rpc_call_flush(c);
	if (err->status == STATUS_INTERNAL || err->status == STATUS_DATA_LOSS)
		log_error("call %s of %s failed: %s: %s", c->identity.request_id,
			  rpc_method_path(c), status_name(err->status), err->message);
	rpc_call_account(c, err->status);
	rpc_release(c);
}

static void set_message(struct error *err, enum status status, const char *fmt, va_list args)
{
	int n;

	err->status = status;
	err->field[0] = '\0';
	n = vsnprintf(err->message, sizeof(err->message), fmt, args);
	if (n >= (int)sizeof(err->message))
		err->message[utf8_cut(err->message, sizeof(err->message) - 1)] = '\0';
}

void rpc_fail(void *call, enum status status, const char *fmt, ...)
{
	struct error err;
	va_list args;

	va_start(args, fmt);
	set_message(&err, status, fmt, args);
	va_end(args);
	fail(call, &err, &(struct failure){0});
}

void rpc_call_reject(struct rpc_call *c, enum status status, const char *fmt, ...)
{
	struct error err;
	va_list args;

	va_start(args, fmt);
	set_message(&err, status, fmt, args);
	va_end(args);
	fail(c, &err, &(struct failure){.not_processed = true});
}

void rpc_fail_error(void *call, const struct error *err)
{
	struct error copy = *err;

	fail(call, &copy, &(struct failure){0});
}

void rpc_fail_violations(void *call, const struct error *err,
			 const struct rpc_violation *violations, size_t count)
{
	struct error copy = *err;

	fail(call, &copy,
	     &(struct failure){.violations = violations, .violation_count = count});
}

void rpc_fail_not_processed(void *call, const struct error *err)
{
	struct error copy = *err;

	fail(call, &copy, &(struct failure){.not_processed = true});
}

void rpc_finish(void *call)
{
	struct rpc_call *c = call;

	if (!rpc_call_claim_end(c))
		return;
	rpc_call_set_end(c, GRPC_STATUS_OK, grpc_empty_slice(), NULL, 0);
	rpc_call_flush(c);
	rpc_call_account(c, STATUS_OK);
	rpc_release(c);
}

/* ------------------------------------------------------------- cancellation */

void rpc_cut(void *call, enum status status, const char *why)
{
	struct rpc_call *c = call;

	grpc_call_cancel_with_status(c->core, (grpc_status_code)status, why, NULL);
}

bool rpc_is_cancelled(void *call)
{
	return rpc_call_is_over(call);
}

void rpc_on_cancel(void *call, void (*notify)(void *arg), void *arg)
{
	struct rpc_call *c = call;
	bool at_once = false;

	pthread_mutex_lock(&c->mutex);
	c->notify = NULL;
	if (!notify) {
		while (c->notifying && !pthread_equal(c->notifier, pthread_self()))
			pthread_cond_wait(&c->changed, &c->mutex);
	} else if (!c->ended) {
		at_once = is_over_locked(c);
		if (!at_once) {
			c->notify = notify;
			c->notify_arg = arg;
		}
	}
	pthread_mutex_unlock(&c->mutex);
	if (at_once)
		notify(arg);
}

uint64_t rpc_deadline_ns(void *call)
{
	return ((struct rpc_call *)call)->deadline_ns;
}

int rpc_time_left_ms(void *call)
{
	uint64_t deadline = rpc_deadline_ns(call), now = clock_monotonic_ns();

	if (now >= deadline)
		return 0;
	return (deadline - now) / 1000000 > INT_MAX ? INT_MAX
						    : (int)((deadline - now) / 1000000);
}

/* ------------------------------------------------------------------ answers */

struct arena *rpc_arena(void *call)
{
	return &((struct rpc_call *)call)->arena;
}

struct bytes rpc_request_bytes(void *call)
{
	return ((struct rpc_call *)call)->request_bytes;
}

const char *rpc_method_path(void *call)
{
	struct rpc_call *c = call;

	return c->method->service ? c->method->path : c->path_text;
}

unsigned rpc_backlog(void *call)
{
	struct rpc_call *c = call;
	unsigned queued;

	pthread_mutex_lock(&c->mutex);
	queued = c->out.queued;
	pthread_mutex_unlock(&c->mutex);
	return queued;
}

void rpc_on_sent(void *call, void (*notify)(void *arg), void *arg)
{
	struct rpc_call *c = call;

	pthread_mutex_lock(&c->mutex);
	c->sent = notify;
	c->sent_arg = arg;
	pthread_mutex_unlock(&c->mutex);
}

void rpc_set_user(void *call, void *user, void (*drop)(void *))
{
	struct rpc_call *c = call;

	c->user = user;
	c->drop_user = drop;
}

void *rpc_user(void *call)
{
	return ((struct rpc_call *)call)->user;
}

const char *rpc_metadata(void *call, const char *key)
{
	struct rpc_call *c = call;

	if (!strncmp(key, RPC_INTERNAL_PREFIX, strlen(RPC_INTERNAL_PREFIX)))
		return NULL;
	for (size_t i = 0; i < c->metadata.count; i++) {
		const grpc_metadata *m = &c->metadata.metadata[i];
		if (rpc_slice_is(&m->key, key)) {
			struct bytes value = rpc_slice_bytes(&m->value);
			return arena_strndup(&c->arena, (const char *)value.data, value.size);
		}
	}
	return NULL;
}

const char *rpc_request_id(void *call)
{
	return ((struct rpc_call *)call)->identity.request_id;
}

const struct rpc_caller *rpc_caller(void *call)
{
	return &((struct rpc_call *)call)->identity.caller;
}
