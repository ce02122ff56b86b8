#include "common/rpc/inbound.h"
#include "common/rpc/inflate.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/rpc/details.h"
#include "common/rpc/payload.h"
#include "common/rpc/stats.h"

/* For streams that brought no deadline: far off, but a number to compute with. */
static const uint64_t far_ns = UINT64_C(10) * 365 * 24 * 3600 * 1000000000;

static rpc_tag_run call_new, call_sent, call_read, call_closed;

static struct rpc_call *call_alloc(struct rpc_method *method, struct rpc_server_loop *home)
{
	struct rpc_call *c = xcalloc(1, sizeof(*c));

	c->on_new = rpc_tag(call_new);
	c->on_read = rpc_tag(call_read);
	c->on_closed = rpc_tag(call_closed);
	c->method = method;
	c->home = home;
	c->stats = method->stats;
	c->ops = method->service ? &rpc_service_ops : &rpc_fallback_ops;
	c->request_slice = grpc_empty_slice();
	atomic_init(&c->refs, 1);
	outbox_init(&c->out, true, call_sent);
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->changed, NULL);
	grpc_metadata_array_init(&c->metadata);
	grpc_call_details_init(&c->details);
	arena_init(&c->arena, method->server->options.max_unpacked_bytes);
	arena_init(&c->message_arena, method->server->options.max_unpacked_bytes);
	return c;
}

/* ----------------------------------------------------------------- lifetime */

static void call_free(struct rpc_call *c)
{
	struct rpc_server *server = c->method->server;
	struct rpc_loop *loop = c->home->loop;
	bool came_in = c->core != NULL;

	if (came_in) {
		if (c->due.was_in)
			rpc_due_remove(c);
		if (c->ops->freed)
			c->ops->freed(c);
	}
	if (c->drop_user)
		c->drop_user(c->user);
	if (c->incoming)
		grpc_byte_buffer_destroy(c->incoming);
	rpc_call_drop_request(c);
	outbox_release(&c->out);
	for (size_t i = 0; i < c->trailer_count; i++)
		grpc_slice_unref(c->trailers[i].value);
	grpc_metadata_array_destroy(&c->metadata);
	grpc_call_details_destroy(&c->details);
	if (came_in)
		grpc_call_unref(c->core);
	arena_release(&c->arena);
	arena_release(&c->message_arena);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->mutex);
	free(c);
	if (!came_in)
		return;
	(void)rpc_stats_add_live(server->stats, -1);
	rpc_loop_add_calls(loop, -1);
	if (atomic_fetch_sub(&server->live_objects, 1) == 1) {
		pthread_mutex_lock(&server->mutex);
		pthread_cond_broadcast(&server->changed);
		pthread_mutex_unlock(&server->mutex);
	}
}

static void hold(struct rpc_call *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void rpc_hold(void *call)
{
	hold(call);
}

bool rpc_try_hold(void *call)
{
	struct rpc_call *c = call;
	unsigned refs = atomic_load(&c->refs);

	while (refs && !atomic_compare_exchange_weak(&c->refs, &refs, refs + 1))
		;
	return refs != 0;
}

void rpc_release(void *call)
{
	struct rpc_call *c = call;

	if (atomic_fetch_sub(&c->refs, 1) == 1)
		call_free(c);
}

void rpc_call_drop_request(struct rpc_call *c)
{
	grpc_slice_unref(c->request_slice);
	c->request_slice = grpc_empty_slice();
	c->request_bytes = bytes_of(NULL, 0);
	if (c->request)
		grpc_byte_buffer_destroy(c->request);
	c->request = NULL;
}

void rpc_call_accept(struct rpc_method *method, struct rpc_server_loop *home)
{
	struct rpc_call *c = call_alloc(method, home);
	grpc_completion_queue *queue = rpc_loop_queue(home->loop);
	grpc_call_error error;

	/* A client-streaming call must be seen before its first message. */
	if (method->service)
		error = grpc_server_request_registered_call(
			method->server->core, method->handle, &c->core, &c->core_deadline,
			&c->metadata, method->kind & RPC_KIND_UP ? NULL : &c->incoming, queue,
			queue, &c->on_new);
	else
		error = grpc_server_request_call(method->server->core, &c->core, &c->details,
						 &c->metadata, queue, queue, &c->on_new);
	if (error != GRPC_CALL_OK)
		abort(); /* a server or queue in a wrong state: our fault */
}

/* ------------------------------------------------------------------ batches */

static void watch_op(struct rpc_call *c, grpc_op *op)
{
	memset(op, 0, sizeof(*op));
	op->op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	op->data.recv_close_on_server.cancelled = &c->core_cancelled;
	c->watched = true;
}

static void flush_locked(struct rpc_call *c)
{
	grpc_op ops[OUTBOX_MAX_OPS + 1];
	size_t count = outbox_take(&c->out, ops);
	bool ends = c->out.end == OUTBOX_SENT;

	if (!count)
		return;
	hold(c);
	if (ends && !c->watched) { /* one batch ends a unary call */
		watch_op(c, &ops[count++]);
		c->closed = true;
	}
	rpc_batch(c->core, ops, count, &c->out.tag);
}

void rpc_call_flush(struct rpc_call *c)
{
	pthread_mutex_lock(&c->mutex);
	flush_locked(c);
	pthread_mutex_unlock(&c->mutex);
}

bool rpc_call_watch(struct rpc_call *c)
{
	grpc_op op;
	bool starts;

	pthread_mutex_lock(&c->mutex);
	starts = !c->watched;
	if (starts) {
		watch_op(c, &op);
		hold(c);
		rpc_batch(c->core, &op, 1, &c->on_closed);
	}
	pthread_mutex_unlock(&c->mutex);
	return starts;
}

void rpc_call_read(struct rpc_call *c)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &c->incoming;
	hold(c);
	rpc_batch(c->core, &op, 1, &c->on_read);
}

void rpc_call_set_headers(struct rpc_call *c, grpc_metadata *metadata, size_t count)
{
	pthread_mutex_lock(&c->mutex);
	if (c->out.headers == OUTBOX_NONE) {
		c->out.headers = OUTBOX_SET;
		c->out.metadata = metadata;
		c->out.metadata_count = count;
	}
	pthread_mutex_unlock(&c->mutex);
}

bool rpc_call_read_failed(struct rpc_call *c)
{
	bool failed;

	pthread_mutex_lock(&c->mutex);
	failed = c->read_failed;
	pthread_mutex_unlock(&c->mutex);
	return failed;
}

bool rpc_call_push(struct rpc_call *c, grpc_byte_buffer *payload)
{
	bool open;

	pthread_mutex_lock(&c->mutex);
	open = c->out.end == OUTBOX_NONE;
	if (open)
		outbox_push(&c->out, payload);
	pthread_mutex_unlock(&c->mutex);
	if (!open)
		grpc_byte_buffer_destroy(payload);
	return open;
}

static void set_end_locked(struct rpc_call *c, grpc_status_code code, grpc_slice details,
			   grpc_metadata *trailers, size_t trailer_count)
{
	if (c->out.end != OUTBOX_NONE)
		return;
	c->out.end = OUTBOX_SET;
	c->out.code = code;
	c->out.details = grpc_slice_ref(details);
	c->out.trailers = trailers;
	c->out.trailer_count = trailer_count;
}

void rpc_call_set_end(struct rpc_call *c, grpc_status_code code, grpc_slice details,
		      grpc_metadata *trailers, size_t trailer_count)
{
	pthread_mutex_lock(&c->mutex);
	set_end_locked(c, code, details, trailers, trailer_count);
	pthread_mutex_unlock(&c->mutex);
}

void rpc_call_reply(struct rpc_call *c, grpc_byte_buffer *payload)
{
	bool open;

	pthread_mutex_lock(&c->mutex);
	open = c->out.end == OUTBOX_NONE;
	if (open) {
		outbox_push(&c->out, payload);
		set_end_locked(c, GRPC_STATUS_OK, grpc_empty_slice(), NULL, 0);
		flush_locked(c);
	}
	pthread_mutex_unlock(&c->mutex);
	if (!open)
		grpc_byte_buffer_destroy(payload);
}

/* ------------------------------------------------------------------- events */

static uint64_t deadline_of(struct rpc_call *c, bool *ret_undated)
{
	gpr_timespec t = c->method->service ? c->core_deadline : c->details.deadline;

	*ret_undated = gpr_time_cmp(t, gpr_inf_future(t.clock_type)) == 0;
	if (*ret_undated) {
		*ret_undated = c->method->kind == RPC_KIND_UNARY;
		return c->start_ns +
		       (*ret_undated
				? (uint64_t)c->method->server->options.default_deadline_ms *
					  1000000
				: far_ns);
	}
	t = gpr_convert_clock_type(t, GPR_CLOCK_MONOTONIC);
	if (t.tv_sec < 0)
		return 0;
	if ((uint64_t)t.tv_sec > (c->start_ns + far_ns) / 1000000000)
		return c->start_ns + far_ns;
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void call_new(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_call *c = rpc_container(tag, struct rpc_call, on_new);
	struct rpc_server *server = c->method->server;
	bool undated;

	if (!ok) { /* the server is going away */
		c->core = NULL;
		call_free(c);
		return;
	}
	atomic_fetch_add(&server->live_objects, 1);
	rpc_loop_add_calls(c->home->loop, 1);
	rpc_call_accept(c->method, c->home);
	c->start_ns = clock_monotonic_ns();
	c->deadline_ns = deadline_of(c, &undated);
	rpc_identity_read(&c->metadata, server->options.daemon_key,
			  server->id_seed + atomic_fetch_add(&server->id_count, 1),
			  &c->identity);
	hold(c); /* for the method, until it ends the call */
	hold(c);
	if (rpc_stats_add_live(server->stats, 1) > server->options.max_calls)
		rpc_call_reject(c, STATUS_RESOURCE_EXHAUSTED,
				"%u calls are being served already", server->options.max_calls);
	else if (c->method->service)
		rpc_service_open(c);
	else
		rpc_fallback_open(c);
	/* Unless it ended already, in one batch with its reply. */
	if (rpc_call_watch(c) && undated)
		rpc_due_put(c, &c->home->undated, c->deadline_ns);
	rpc_release(c);
}

static void call_sent(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_call *c = rpc_container(tag, struct rpc_call, out.tag);
	bool ended, message;

	(void)ok; /* a failure is seen as the call's close */
	pthread_mutex_lock(&c->mutex);
	message = c->out.flight != NULL;
	outbox_sent(&c->out);
	ended = c->out.end == OUTBOX_SENT;
	if (!ended)
		flush_locked(c);
	if (message)
		pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->mutex);
	if (message && c->ops->sent)
		c->ops->sent(c);
	if (ended)
		rpc_release(c); /* the call's own reference */
	rpc_release(c);
}

static size_t max_message_bytes(const struct rpc_call *c)
{
	return c->method->server->options.max_message_bytes;
}

static void call_read(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_call *c = rpc_container(tag, struct rpc_call, on_read);
	grpc_byte_buffer *payload = c->incoming;
	bool failed = false;

	(void)ok; /* there is no payload then */
	c->incoming = NULL;
	if (rpc_is_compressed(payload))
		failed = !rpc_inflate_of_call(c->core, &payload, max_message_bytes(c));
	if (!payload) {
		/* A read that was cut off is not a half-close. */
		failed = failed || grpc_call_failed_before_recv_message(c->core);
		pthread_mutex_lock(&c->mutex);
		c->read_failed = failed;
		c->half_closed = !failed;
		pthread_mutex_unlock(&c->mutex);
	}
	c->ops->message(c, payload);
	rpc_release(c);
}

static void notify_cancel(struct rpc_call *c)
{
	void (*notify)(void *);
	void *arg;

	pthread_mutex_lock(&c->mutex);
	notify = c->ended ? NULL : c->notify;
	arg = c->notify_arg;
	c->notify = NULL;
	c->notifying = notify != NULL;
	c->notifier = pthread_self();
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->mutex);
	if (!notify)
		return;
	notify(arg);
	pthread_mutex_lock(&c->mutex);
	c->notifying = false;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->mutex);
}

static void call_closed(struct grpc_completion_queue_functor *tag, int ok)
{
	struct rpc_call *c = rpc_container(tag, struct rpc_call, on_closed);
	const struct rpc_call_ops *ops;
	bool cancelled;

	(void)ok;
	pthread_mutex_lock(&c->mutex);
	c->closed = true;
	cancelled = c->core_cancelled;
	ops = c->ops; /* from here on rpc_forward() sees that it is too late */
	pthread_mutex_unlock(&c->mutex);
	if (cancelled)
		notify_cancel(c);
	ops->closed(c, cancelled);
	rpc_release(c);
}
