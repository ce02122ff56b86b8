#include "common/rpc/loop.h"

#include <grpc/support/time.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/rpc/patience.h"
#include "common/rpc/wait.h"

enum {
	TICK_MS = 1000,
	FEW_CALLS = 4, /* more keep a loop busy: to look then takes from who is to send */
	EVENTS_PER_CLOCK = 256, /* a queue that is never empty must tick too */
};

struct rpc_loop {
	atomic_uint refs;
	atomic_int calls; /* that are being served on it */
	grpc_completion_queue *queue;
	pthread_t thread;
	struct patience patience; /* the thread's own */
	pthread_mutex_t mutex;    /* held while it ticks; guards what follows */
	void (*tick)(void *arg);
	void *arg;
};

static _Thread_local bool on_loop;

bool rpc_on_loop(void)
{
	return on_loop;
}

static gpr_timespec in_ms(int ms)
{
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static void run_tick(struct rpc_loop *loop)
{
	pthread_mutex_lock(&loop->mutex);
	if (loop->tick)
		loop->tick(loop->arg);
	pthread_mutex_unlock(&loop->mutex);
}

static grpc_event look_once(struct rpc_loop *loop)
{
	return grpc_completion_queue_next(loop->queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
}

/* Whoever wants the processor gets it meanwhile. */
static grpc_event look(struct rpc_loop *loop)
{
	grpc_event event = look_once(loop);
	uint64_t began_ns, took_ns = 0;

	if (event.type != GRPC_QUEUE_TIMEOUT)
		return event;
	began_ns = clock_monotonic_ns();
	while (event.type == GRPC_QUEUE_TIMEOUT && took_ns < loop->patience.look_ns) {
		(void)sched_yield();
		event = look_once(loop);
		took_ns = clock_monotonic_ns() - began_ns;
	}
	patience_looked(&loop->patience, event.type != GRPC_QUEUE_TIMEOUT, took_ns);
	return event;
}

static bool is_busy(struct rpc_loop *loop)
{
	return atomic_load_explicit(&loop->calls, memory_order_relaxed) > FEW_CALLS;
}

static grpc_event next_event(struct rpc_loop *loop, gpr_timespec until)
{
	grpc_event event = {.type = GRPC_QUEUE_TIMEOUT};
	uint64_t began_ns;

	if (!loop->patience.look_ns || is_busy(loop)) {
		patience_lose(&loop->patience);
		return grpc_completion_queue_next(loop->queue, until, NULL);
	}
	if (patience_has(&loop->patience))
		event = look(loop);
	if (event.type != GRPC_QUEUE_TIMEOUT)
		return event;
	began_ns = clock_monotonic_ns();
	event = grpc_completion_queue_next(loop->queue, until, NULL);
	patience_waited(&loop->patience, clock_monotonic_ns() - began_ns);
	return event;
}

static void *loop_run(void *arg)
{
	struct rpc_loop *loop = arg;
	gpr_timespec next_tick = in_ms(TICK_MS);
	unsigned events = 0;

	on_loop = true;
	for (;;) {
		grpc_event event = next_event(loop, next_tick);
		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type == GRPC_OP_COMPLETE) {
			struct grpc_completion_queue_functor *tag = event.tag;
			tag->functor_run(tag, event.success);
			if (++events % EVENTS_PER_CLOCK ||
			    gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), next_tick) < 0)
				continue;
		}
		run_tick(loop);
		next_tick = in_ms(TICK_MS);
	}
}

struct rpc_loop *rpc_loop_new(unsigned patience_us)
{
	struct rpc_loop *loop = xcalloc(1, sizeof(*loop));
	sigset_t all, old;

	loop->queue = grpc_completion_queue_create_for_next(NULL);
	atomic_init(&loop->refs, 1);
	atomic_init(&loop->calls, 0);
	patience_init(&loop->patience,
		      sysconf(_SC_NPROCESSORS_ONLN) > 1 ? patience_us * UINT64_C(1000) : 0);
	pthread_mutex_init(&loop->mutex, NULL);
	/* Signals belong to the daemon's event thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&loop->thread, NULL, loop_run, loop))
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return loop;
}

struct rpc_loop *rpc_loop_ref(struct rpc_loop *loop)
{
	atomic_fetch_add(&loop->refs, 1);
	return loop;
}

grpc_completion_queue *rpc_loop_queue(struct rpc_loop *loop)
{
	return loop->queue;
}

void rpc_loop_add_calls(struct rpc_loop *loop, int count)
{
	atomic_fetch_add_explicit(&loop->calls, count, memory_order_relaxed);
}

void rpc_loop_set_tick(struct rpc_loop *loop, void (*tick)(void *arg), void *arg)
{
	pthread_mutex_lock(&loop->mutex);
	loop->tick = tick;
	loop->arg = arg;
	pthread_mutex_unlock(&loop->mutex);
}

/*
 * The C API has no alarm, but to watch the state of a lame channel, which never
 * changes, until a deadline is one.
 */
static grpc_channel *alarm_channel;
static pthread_once_t alarm_once = PTHREAD_ONCE_INIT;

static void make_alarm_channel(void)
{
	alarm_channel =
		grpc_lame_client_channel_create("alarm", GRPC_STATUS_UNAVAILABLE, "alarm");
}

void rpc_alarm(grpc_completion_queue *queue, int delay_ms,
	       struct grpc_completion_queue_functor *tag)
{
	pthread_once(&alarm_once, make_alarm_channel);
	grpc_channel_watch_connectivity_state(alarm_channel, GRPC_CHANNEL_TRANSIENT_FAILURE,
					      in_ms(delay_ms), queue, tag);
}

/* --------------------------------------------------------------------- its end */

static void run_what_is_queued(struct rpc_loop *loop)
{
	struct rpc_wait last;

	rpc_wait_init(&last);
	rpc_alarm(loop->queue, 0, rpc_wait_begin(&last));
	(void)rpc_wait_end(&last);
	rpc_wait_release(&last);
}

static void end(struct rpc_loop *loop)
{
	grpc_completion_queue_shutdown(loop->queue);
	pthread_join(loop->thread, NULL);
	grpc_completion_queue_destroy(loop->queue);
	pthread_mutex_destroy(&loop->mutex);
	free(loop);
}

void rpc_loop_free(struct rpc_loop *loop)
{
	if (!loop)
		return;
	run_what_is_queued(loop);
	if (atomic_fetch_sub(&loop->refs, 1) == 1)
		end(loop);
}

/* --------------------------------------------------------------------- batches */

void rpc_batch(grpc_call *call, const grpc_op *ops, size_t count,
	       struct grpc_completion_queue_functor *tag)
{
	grpc_call_error error = grpc_call_start_batch(call, ops, count, tag, NULL);

	if (error != GRPC_CALL_OK) {
		log_error("gRPC refused a batch: %s", grpc_call_error_to_string(error));
		abort();
	}
}
