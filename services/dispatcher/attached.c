#include "services/dispatcher/attached.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/rpc/call.h"

/* A call id is a turn of a slot: whoever answers twice, or late, hits nothing. */
enum { SLOT_BITS = 8 };

_Static_assert(ATTACHED_MAX_IN_FLIGHT <= 1 << SLOT_BITS, "a slot must fit its bits");

enum turn { NEW, WAITING, SENT, OVER };

/* A call; in the arena of its parent, which it holds. */
struct attached_turn {
	struct attached_turn *next, *previous; /* while it waits */
	struct attached *at;
	const struct dispatch_request *request;
	void *parent; /* held */
	attached_done *done;
	void *arg;
	enum turn turn; /* at->mu */
	unsigned slot;  /* once sent */
};

struct slot {
	uint64_t id; /* of the call in it; 0: free */
	uint64_t turns;
	struct attached_turn *turn; /* NULL: given up by its caller */
	bool cancel_due;            /* the process is yet to be told so */
};

struct attached {
	atomic_uint refs;
	pthread_mutex_t mu; /* all below */
	struct attached_stream stream;
	struct attached_turn *first, *last; /* that wait */
	unsigned waiting, in_flight, max_in_flight, cancels_due;
	uint64_t heard_ns, pinged_ns;
	bool leaving, ended;
	struct slot slots[];
};

struct attached *attached_new(const struct attached_stream *stream, unsigned max_in_flight)
{
	struct attached *at = xcalloc(1, sizeof(*at) + max_in_flight * sizeof(struct slot));

	atomic_init(&at->refs, 1);
	pthread_mutex_init(&at->mu, NULL);
	at->stream = *stream;
	at->max_in_flight = max_in_flight;
	at->heard_ns = clock_monotonic_ns();
	return at;
}

struct attached *attached_ref(struct attached *at)
{
	atomic_fetch_add(&at->refs, 1);
	return at;
}

void attached_unref(struct attached *at)
{
	if (!at || atomic_fetch_sub(&at->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&at->mu);
	free(at);
}

/* ------------------------------------------------------------------- turns */

/* Tell the caller. The turn is in no list and no slot any more. Without the lock. */
static void tell(struct attached_turn *t, const struct attached_outcome *outcome)
{
	struct attached *at = t->at;
	void *parent = t->parent;

	rpc_on_cancel(parent, NULL, NULL);
	t->done(t->arg, outcome);
	attached_unref(at);
	rpc_release(parent); /* and the turn with it */
}

/* Holds at->mu. */
static void unlink_turn(struct attached_turn *t)
{
	struct attached *at = t->at;

	if (t->previous)
		t->previous->next = t->next;
	else
		at->first = t->next;
	if (t->next)
		t->next->previous = t->previous;
	else
		at->last = t->previous;
	t->next = t->previous = NULL;
	at->waiting--;
}

/* Holds at->mu. */
static void append_turn(struct attached_turn *t)
{
	struct attached *at = t->at;

	t->previous = at->last;
	if (at->last)
		at->last->next = t;
	else
		at->first = t;
	at->last = t;
	at->waiting++;
}

/* Holds at->mu; there is a free one. */
static struct slot *free_slot(struct attached *at)
{
	struct slot *s = at->slots;

	while (s->id)
		s++;
	return s;
}

/* Holds at->mu. */
static void send_turn(struct attached *at)
{
	struct attached_turn *t = at->first;
	struct slot *s = free_slot(at);

	unlink_turn(t);
	t->turn = SENT;
	t->slot = (unsigned)(s - at->slots);
	*s = (struct slot){++s->turns << SLOT_BITS | t->slot, s->turns, t, false};
	at->in_flight++;
	attached_send_call(&at->stream, s->id, t->request, rpc_time_left_ms(t->parent));
}

/* Holds at->mu. */
static void send_cancels(struct attached *at)
{
	for (struct slot *s = at->slots; at->cancels_due; s++) {
		if (!s->cancel_due)
			continue;
		if (!rpc_has_room(at->stream.call))
			return;
		s->cancel_due = false;
		at->cancels_due--;
		attached_send_cancel(&at->stream, s->id);
	}
}

/* Holds at->mu. */
static void pump(struct attached *at)
{
	if (at->ended)
		return;
	send_cancels(at);
	while (at->first && at->in_flight < at->max_in_flight && rpc_has_room(at->stream.call))
		send_turn(at);
}

void attached_pump(struct attached *at)
{
	pthread_mutex_lock(&at->mu);
	pump(at);
	pthread_mutex_unlock(&at->mu);
}

/* ----------------------------------------------------------------- calling */

/* The caller is gone, or its deadline has passed. */
static void give_up(void *arg)
{
	struct attached_turn *t = arg;
	struct attached *at = t->at;
	bool late = !rpc_time_left_ms(t->parent), was_sent, over;
	struct attached_outcome outcome = {
		.status = late ? STATUS_DEADLINE_EXCEEDED : STATUS_CANCELLED,
		.message = late ? "the handler did not answer before the deadline"
				: "the call was cancelled",
		.output_type = "",
	};

	pthread_mutex_lock(&at->mu);
	over = t->turn == OVER;
	was_sent = t->turn == SENT;
	if (t->turn == WAITING)
		unlink_turn(t);
	if (was_sent) {
		at->slots[t->slot].turn = NULL;
		at->slots[t->slot].cancel_due = true;
		at->cancels_due++;
		pump(at);
	}
	t->turn = OVER;
	pthread_mutex_unlock(&at->mu);
	outcome.not_processed = !was_sent;
	if (!over)
		tell(t, &outcome);
}

/* Holds at->mu. NULL: it may wait here. */
static const char *refusal(const struct attached *at, enum status *ret_status)
{
	*ret_status = STATUS_UNAVAILABLE;
	if (at->ended)
		return "the handler's stream has ended";
	if (at->leaving)
		return "the handler is leaving";
	*ret_status = STATUS_RESOURCE_EXHAUSTED;
	return at->waiting < ATTACHED_MAX_WAITING ? NULL
						  : "too many calls wait for the handler";
}

void attached_call(struct attached *at, const struct dispatch_request *request, void *parent,
		   attached_done *done, void *arg)
{
	struct attached_turn *t = arena_zalloc(rpc_arena(parent), sizeof(*t));
	struct attached_outcome refused = {.not_processed = true, .output_type = ""};

	*t = (struct attached_turn){.at = attached_ref(at),
				    .request = request,
				    .parent = parent,
				    .done = done,
				    .arg = arg};
	rpc_hold(parent); /* until it is over */
	rpc_hold(parent); /* until this returns */
	/* First of all: later it could be somebody else's turn to be told. */
	rpc_on_cancel(parent, give_up, t);
	pthread_mutex_lock(&at->mu);
	if (t->turn == NEW) {
		refused.message = refusal(at, &refused.status);
		t->turn = refused.message ? OVER : WAITING;
	}
	if (t->turn == WAITING) {
		append_turn(t);
		pump(at);
	}
	pthread_mutex_unlock(&at->mu);
	if (refused.message)
		tell(t, &refused);
	rpc_release(parent);
}

bool attached_answered(struct attached *at, uint64_t call_id,
		       const struct attached_outcome *outcome)
{
	struct slot *s = &at->slots[call_id & ((1 << SLOT_BITS) - 1)];
	struct attached_turn *t = NULL;
	bool known;

	pthread_mutex_lock(&at->mu);
	known = call_id && s < at->slots + at->max_in_flight && s->id == call_id;
	if (known) {
		t = s->turn;
		at->cancels_due -= s->cancel_due;
		*s = (struct slot){.turns = s->turns};
		at->in_flight--;
		if (t)
			t->turn = OVER;
		pump(at);
	}
	pthread_mutex_unlock(&at->mu);
	if (t)
		tell(t, outcome);
	return known;
}

/* ------------------------------------------------------------------ leaving */

bool attached_is_open(struct attached *at)
{
	bool open;

	pthread_mutex_lock(&at->mu);
	open = !at->leaving && !at->ended;
	pthread_mutex_unlock(&at->mu);
	return open;
}

bool attached_is_idle(struct attached *at)
{
	bool idle;

	pthread_mutex_lock(&at->mu);
	idle = at->leaving && !at->in_flight;
	pthread_mutex_unlock(&at->mu);
	return idle;
}

/* Take one of those that wait; NULL: there is none. */
static struct attached_turn *take_waiting(struct attached *at)
{
	struct attached_turn *t;

	pthread_mutex_lock(&at->mu);
	t = at->first;
	if (t) {
		unlink_turn(t);
		t->turn = OVER;
	}
	pthread_mutex_unlock(&at->mu);
	return t;
}

static void turn_away(struct attached *at, const char *why)
{
	const struct attached_outcome outcome = {.not_processed = true,
						 .status = STATUS_UNAVAILABLE,
						 .message = why,
						 .output_type = ""};
	struct attached_turn *t;

	while ((t = take_waiting(at)))
		tell(t, &outcome);
}

bool attached_leave(struct attached *at)
{
	pthread_mutex_lock(&at->mu);
	at->leaving = true;
	pthread_mutex_unlock(&at->mu);
	turn_away(at, "the handler is leaving");
	return attached_is_idle(at);
}

void attached_end(struct attached *at, const char *why)
{
	const struct attached_outcome outcome = {
		.status = STATUS_UNAVAILABLE, .message = why, .output_type = ""};

	pthread_mutex_lock(&at->mu);
	at->ended = at->leaving = true;
	pthread_mutex_unlock(&at->mu);
	turn_away(at, why);
	for (unsigned i = 0; i < at->max_in_flight; i++) {
		struct attached_turn *t;
		pthread_mutex_lock(&at->mu);
		t = at->slots[i].turn;
		at->slots[i] = (struct slot){.turns = at->slots[i].turns};
		if (t)
			t->turn = OVER;
		pthread_mutex_unlock(&at->mu);
		if (t)
			tell(t, &outcome);
	}
}

/* ------------------------------------------------------------------- pings */

void attached_heard(struct attached *at)
{
	pthread_mutex_lock(&at->mu);
	at->heard_ns = clock_monotonic_ns();
	pthread_mutex_unlock(&at->mu);
}

bool attached_check(struct attached *at, uint64_t now_ns)
{
	const uint64_t ms = 1000000;
	bool alive;

	pthread_mutex_lock(&at->mu);
	alive = at->ended || now_ns < at->heard_ns + ATTACHED_DEAD_AFTER_MS * ms;
	if (!at->ended && now_ns >= at->heard_ns + ATTACHED_PING_AFTER_MS * ms &&
	    now_ns >= at->pinged_ns + ATTACHED_PING_AFTER_MS * ms &&
	    rpc_has_room(at->stream.call)) {
		at->pinged_ns = now_ns;
		attached_send_ping(&at->stream);
	}
	pthread_mutex_unlock(&at->mu);
	return alive;
}
