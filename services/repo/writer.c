#include "services/repo/writer.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/hash.h"

struct writer_thread {
	pthread_t thread;
	const struct writer *writer;
	pthread_mutex_t mu; /* everything below, and the queues bound to it */
	pthread_cond_t work;
	pthread_cond_t returned; /* a queue is not busy any more, for its borrowers */
	struct writer_queue *first_ready, *last_ready;
	bool closing;
};

struct writer {
	void (*notify)(void *arg, const char *name); /* may be NULL */
	void *notify_arg;
	unsigned count;
	struct writer_thread threads[];
};

/* What a batch counts for in bounds. */
struct weight {
	size_t writes, bytes;
};

static struct weight weight_of(const struct store_batch *b)
{
	struct weight weight = {0, 0};

	for (const struct store_write *w = b->writes; w; w = w->next) {
		weight.writes++;
		weight.bytes += w->proto.size + w->doc.size + 64;
	}
	return weight;
}

static void make_ready(struct writer_thread *t, struct writer_queue *q)
{
	q->is_ready = true;
	q->next_ready = NULL;
	if (t->last_ready)
		t->last_ready->next_ready = q;
	else
		t->first_ready = q;
	t->last_ready = q;
}

/* The next group of @q, which is not empty, taken off it. */
static struct store_batch *take_group(struct writer_queue *q)
{
	struct store_batch *first = q->first, *last = NULL;
	struct weight all = {0, 0};

	assert(first);
	for (struct store_batch *b = first;
	     b && all.writes < WRITER_GROUP_MAX && all.bytes < WRITER_GROUP_MAX_BYTES;
	     b = b->next) {
		const struct weight one = weight_of(b);

		all.writes += one.writes;
		all.bytes += one.bytes;
		last = b;
	}
	q->first = last->next;
	if (!q->first)
		q->last = NULL;
	last->next = NULL;
	q->count -= all.writes;
	q->bytes -= all.bytes;
	return first;
}

static void fail_all(struct store_batch *group, enum status status, const struct error *err)
{
	for (struct store_batch *b = group; b; b = b->next) {
		/* One that failed by itself keeps its own reason. */
		if (b->status != STATUS_OK)
			continue;
		b->status = status;
		b->error = *err;
	}
}

/* ------------------------------------------------------------ gathering */

/* As many writes wait as make it worth to begin. */
static bool has_enough(const struct writer_queue *q)
{
	return q->count >= q->expected || q->count >= WRITER_GROUP_MAX ||
	       q->bytes >= WRITER_GROUP_MAX_BYTES;
}

/*
 * How many of those @under_way make a group, after one of @writes. Half of them: while these are
 * written, the others are answered, sent again and prepared. But a sync more must be worth
 * that: it is not where it takes longer than calls do, about as long as their writing.
 */
static size_t worth_writing(size_t under_way, size_t writes, uint64_t took_ns, uint64_t sync_ns)
{
	const uint64_t rest_ns = took_ns > sync_ns ? took_ns - sync_ns : 0;
	const bool is_slow = !writes || sync_ns > rest_ns / writes * under_way;

	return is_slow ? under_way : (under_way + 1) / 2;
}

/* A group of @writes, which began at @begin_ns, is on disk and about to be answered. */
static void give_back(struct writer_thread *t, struct writer_queue *q, size_t writes,
		      uint64_t begin_ns)
{
	const uint64_t now_ns = clock_monotonic_ns();
	const uint64_t max_ns = WRITER_GATHER_MAX_US * UINT64_C(1000);
	const uint64_t took_ns = now_ns - begin_ns;

	pthread_mutex_lock(&t->mu);
	q->expected =
		worth_writing(writes + q->count, writes, took_ns, store_sync_ns(q->store));
	q->gather_until_ns = now_ns + (took_ns < max_ns ? took_ns : max_ns);
	q->is_busy = false;
	if (q->is_lent) {
		q->is_lent = false;
		q->is_owed = q->first != NULL;
		if (q->first && !q->is_ready) {
			make_ready(t, q);
			pthread_cond_signal(&t->work);
		}
	}
	if (q->borrowers)
		pthread_cond_broadcast(&t->returned);
	pthread_mutex_unlock(&t->mu);
}

/* With the mutex: should the thread, which has nothing to do but @q, let more come in? */
static bool is_gathering(const struct writer_thread *t, const struct writer_queue *q)
{
	return !t->closing && t->last_ready == q && !has_enough(q) &&
	       clock_monotonic_ns() < q->gather_until_ns;
}

static void gather(struct writer_thread *t, const struct writer_queue *q)
{
	const struct timespec until = {(time_t)(q->gather_until_ns / 1000000000),
				       (long)(q->gather_until_ns % 1000000000)};

	(void)pthread_cond_timedwait(&t->work, &t->mu, &until);
}

/* ------------------------------------------------------------ writing */

static size_t count_writes(const struct store_batch *group)
{
	size_t writes = 0;

	for (const struct store_batch *b = group; b; b = b->next)
		writes += weight_of(b).writes;
	return writes;
}

static void write_group(struct writer_thread *t, struct writer_queue *q,
			struct store_batch *group)
{
	const struct writer *writer = t->writer;
	const uint64_t begin_ns = clock_monotonic_ns();
	struct store *store = q->store;
	struct error err;
	enum status status = store_write(store, group, &err);
	struct store_batch *next;
	char name[WRITER_NAME_BYTES];
	bool changed;

	if (status != STATUS_OK)
		fail_all(group, status, &err);
	changed = status == STATUS_OK && store_has_changed(store);
	give_back(t, q, count_writes(group), begin_ns);
	/* The queue may be gone once done() ran. */
	(void)snprintf(name, sizeof(name), "%s", q->name);
	for (struct store_batch *b = group; b; b = next) {
		next = b->next;
		b->done(b);
	}
	if (changed && writer->notify)
		writer->notify(writer->notify_arg, name);
}

/* With the mutex: off the ready queues, of which it is the first. */
static void unready(struct writer_thread *t, struct writer_queue *q)
{
	t->first_ready = q->next_ready;
	if (!t->first_ready)
		t->last_ready = NULL;
	q->is_ready = false;
}

/* With the mutex, which is let go meanwhile. Those who write next are on their way. */
static void checkpoint(struct writer_thread *t, struct writer_queue *q)
{
	q->is_busy = true;
	pthread_mutex_unlock(&t->mu);
	store_checkpoint(q->store);
	pthread_mutex_lock(&t->mu);
	q->is_busy = false;
	if (q->borrowers)
		pthread_cond_broadcast(&t->returned);
}

/* With the mutex, which is let go meanwhile: one thing to do for @q, the first ready one. */
static void serve(struct writer_thread *t, struct writer_queue *q)
{
	struct store_batch *group;

	if (q->is_lent || (q->borrowers && !q->is_owed)) {
		unready(t, q); /* it is made ready again when it comes back */
	} else if (store_wants_checkpoint(q->store)) {
		checkpoint(t, q);
	} else if (is_gathering(t, q)) {
		gather(t, q);
	} else {
		unready(t, q);
		group = take_group(q);
		q->is_busy = true;
		q->is_owed = false;
		/* Others take their turn first; and it may be gone once it is written. */
		if (q->first)
			make_ready(t, q);
		pthread_mutex_unlock(&t->mu);
		write_group(t, q, group);
		pthread_mutex_lock(&t->mu);
	}
}

static void *run(void *arg)
{
	struct writer_thread *t = arg;

	pthread_mutex_lock(&t->mu);
	while (t->first_ready || !t->closing) {
		if (t->first_ready)
			serve(t, t->first_ready);
		else
			pthread_cond_wait(&t->work, &t->mu);
	}
	pthread_mutex_unlock(&t->mu);
	return NULL;
}

static void init_work(struct writer_thread *t)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&t->work, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_cond_init(&t->returned, NULL);
}

struct writer *writer_new(unsigned threads)
{
	struct writer *writer =
		xcalloc(1, sizeof(*writer) + threads * sizeof(writer->threads[0]));

	for (; writer->count < threads; writer->count++) {
		struct writer_thread *t = &writer->threads[writer->count];

		t->writer = writer;
		pthread_mutex_init(&t->mu, NULL);
		init_work(t);
		if (pthread_create(&t->thread, NULL, run, t) != 0)
			abort(); /* at start-up, without threads there is no repo */
	}
	return writer;
}

void writer_on_commit(struct writer *writer, void (*notify)(void *arg, const char *name),
		      void *arg)
{
	writer->notify = notify;
	writer->notify_arg = arg;
}

void writer_free(struct writer *writer)
{
	if (!writer)
		return;
	for (unsigned i = 0; i < writer->count; i++) {
		struct writer_thread *t = &writer->threads[i];

		pthread_mutex_lock(&t->mu);
		t->closing = true;
		pthread_cond_signal(&t->work);
		pthread_mutex_unlock(&t->mu);
		pthread_join(t->thread, NULL);
		pthread_cond_destroy(&t->work);
		pthread_cond_destroy(&t->returned);
		pthread_mutex_destroy(&t->mu);
	}
	free(writer);
}

void writer_bind(struct writer *writer, struct writer_queue *queue, struct store *store,
		 const char *name)
{
	const uint64_t hash = hash_bytes(name, strlen(name));

	*queue = (struct writer_queue){.store = store,
				       .thread = (unsigned)(hash % writer->count)};
	(void)snprintf(queue->name, sizeof(queue->name), "%s", name);
}

bool writer_submit(struct writer *writer, struct writer_queue *q, struct store_batch *b)
{
	struct writer_thread *t = &writer->threads[q->thread];
	const struct weight weight = weight_of(b);
	bool taken;

	b->next = NULL;
	b->status = STATUS_OK;
	pthread_mutex_lock(&t->mu);
	taken = q->count < WRITER_QUEUE_MAX && q->bytes < WRITER_QUEUE_MAX_BYTES;
	if (taken) {
		if (q->last)
			q->last->next = b;
		else
			q->first = b;
		q->last = b;
		q->count += weight.writes;
		q->bytes += weight.bytes;
		if (!q->is_ready && !q->is_lent) {
			make_ready(t, q);
			pthread_cond_signal(&t->work);
		} else if (has_enough(q)) {
			pthread_cond_signal(&t->work); /* it may be gathering */
		}
	}
	pthread_mutex_unlock(&t->mu);
	return taken;
}

struct waiting {
	pthread_mutex_t mu;
	pthread_cond_t done;
	bool is_done;
};

static void wake(struct store_batch *b)
{
	struct waiting *waiting = b->arg;

	pthread_mutex_lock(&waiting->mu);
	waiting->is_done = true;
	pthread_cond_signal(&waiting->done);
	pthread_mutex_unlock(&waiting->mu);
}

enum status writer_run_batch(struct writer *writer, struct writer_queue *queue,
			     struct store_batch *b, struct error *err)
{
	struct waiting waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

	b->done = wake;
	b->arg = &waiting;
	if (!writer_submit(writer, queue, b)) {
		b->arg = NULL;
		return error_set(err, STATUS_RESOURCE_EXHAUSTED, "too many writes are waiting");
	}
	pthread_mutex_lock(&waiting.mu);
	while (!waiting.is_done)
		pthread_cond_wait(&waiting.done, &waiting.mu);
	pthread_mutex_unlock(&waiting.mu);
	b->arg = NULL;
	if (b->status != STATUS_OK && err)
		*err = b->error;
	return b->status;
}

/* Of a batch of one write. */
static enum status outcome(const struct store_batch *b, struct error *err)
{
	const struct store_write *w = b->writes;
	enum status status = b->status == STATUS_OK ? w->status : b->status;

	if (status != STATUS_OK && err)
		*err = b->status == STATUS_OK ? w->error : b->error;
	return status;
}

enum status writer_run(struct writer *writer, struct writer_queue *queue, struct store_write *w,
		       struct error *err)
{
	struct store_batch b = {.writes = w};
	enum status status;

	w->next = NULL;
	status = writer_run_batch(writer, queue, &b, err);
	return status == STATUS_OK ? outcome(&b, err) : status;
}

/* ------------------------------------------------------------ apart */

static void borrow(struct writer_thread *t, struct writer_queue *q)
{
	pthread_mutex_lock(&t->mu);
	q->borrowers++;
	while (q->is_busy || q->is_owed)
		pthread_cond_wait(&t->returned, &t->mu);
	q->borrowers--;
	q->is_busy = q->is_lent = true;
	pthread_mutex_unlock(&t->mu);
}

static void nobody_waits(struct store_batch *b)
{
	(void)b;
}

enum status writer_run_apart(struct writer *writer, struct writer_queue *queue,
			     struct store_write *w, struct error *err)
{
	struct writer_thread *t = &writer->threads[queue->thread];
	struct store_batch b = {.writes = w, .done = nobody_waits};

	w->next = NULL;
	borrow(t, queue);
	write_group(t, queue, &b);
	return outcome(&b, err);
}
