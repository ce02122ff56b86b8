/*
 * Group commit. A fixed number of threads write all collections; each is bound
 * to one of them. What is queued for a collection while its last group was
 * synced is the next group: one transaction, one sync, then all are answered.
 *
 * Who was just answered often writes again at once. So after a group its
 * thread, if it has nothing else to do, waits for some of those, at most as long as the group
 * took (WRITER_GATHER_...). Half of as many as were under way before are enough, so that two
 * groups are under way in turn: one is written while the other's calls are answered and come
 * again. Where the sync takes longer than that, all are waited for: it costs the same for one
 * write as for many.
 *
 * Any thread may submit. A batch's done() runs on the writer's thread.
 */
#ifndef SERVICES_REPO_WRITER_H
#define SERVICES_REPO_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/repo/store.h"

struct writer;

enum {
	WRITER_GROUP_MAX = 256, /* writes; a batch is not divided */
	WRITER_GROUP_MAX_BYTES = 1 << 20,
	WRITER_QUEUE_MAX = 4096, /* of one collection, writes */
	WRITER_QUEUE_MAX_BYTES = 64 << 20,
	WRITER_NAME_BYTES = 64,
	WRITER_GATHER_MAX_US = 10000,
};

/* One store's place in a writer: all that write to the store share it. See writer_bind(). */
struct writer_queue {
	struct store *store;
	char name[WRITER_NAME_BYTES];
	unsigned thread;
	/* The rest is guarded by the thread's mutex. */
	struct store_batch *first, *last;
	size_t count, bytes;
	bool is_ready;            /* among the thread's ready queues */
	bool is_busy;             /* its store is in use */
	bool is_lent;             /* by writer_run_apart() */
	bool is_owed;             /* a group is next, then it may be lent again */
	unsigned borrowers;       /* who wait for it */
	size_t expected;          /* writes that are worth a group, as the last one ended */
	uint64_t gather_until_ns; /* on clock_monotonic_ns() */
	struct writer_queue *next_ready;
};

struct writer *writer_new(unsigned threads);

/*
 * Have @notify(@arg) called with a queue's name, on its writer's thread, after a group
 * changed something and was answered. Before the first write.
 */
void writer_on_commit(struct writer *writer, void (*notify)(void *arg, const char *name),
		      void *arg);

/* Write what is queued, then end the threads. Nobody may submit any more. */
void writer_free(struct writer *writer);

/* Before first use. @name, cut to WRITER_NAME_BYTES, spreads stores over threads. */
void writer_bind(struct writer *writer, struct writer_queue *queue, struct store *store,
		 const char *name);

/*
 * @b lives until its done() was called. False: the queue is full, done() will not
 * be called.
 */
bool writer_submit(struct writer *writer, struct writer_queue *queue, struct store_batch *b)
	__attribute__((warn_unused_result));

/* Submit and wait for the outcome; @b->done and @b->arg are the writer's. */
enum status writer_run_batch(struct writer *writer, struct writer_queue *queue,
			     struct store_batch *b, struct error *err) MUST_CHECK;

/* The same for one write, with its own status. */
enum status writer_run(struct writer *writer, struct writer_queue *queue, struct store_write *w,
		       struct error *err) MUST_CHECK;

/*
 * The same on the calling thread, for what takes long: the collection's other writes wait for it,
 * those of other collections do not. Between two of them the thread writes a group that waits.
 */
enum status writer_run_apart(struct writer *writer, struct writer_queue *queue,
			     struct store_write *w, struct error *err) MUST_CHECK;

#endif
