/*
 * Turns: of one collection no more than so many queries run at once, so that those of
 * others find a thread however slow they are; and the last so many threads are for
 * collections of which nothing runs, so that several slow ones do not take all. What waits
 * for its turn holds no thread; the first that came is the first to go on. Thread-safe.
 */
#ifndef SERVICES_REPO_TURNS_H
#define SERVICES_REPO_TURNS_H

#include <stdbool.h>

#include "common/base/status.h"

struct rpc_pool;
struct turn;
struct turns;

/* What takes turns, such as a collection's queries; embedded, zeroed. The turns' mutex. */
struct turn_queue {
	struct turn *first, *last; /* that wait */
	unsigned waiting, running;
};

/* One call's; in memory that lives until the call ends. The first three are set before. */
struct turn {
	void *call;
	/* Called once, on a thread of the pool: it ends with turns_leave(). */
	void (*run)(struct turn *turn);
	/* Or this instead, on any thread: the call is to be ended with @err. */
	void (*refuse)(struct turn *turn, const struct error *err);
	/* The turns'. */
	struct turns *turns;
	struct turn_queue *queue;
	struct turn *next, *previous;
	bool is_waiting, is_over;
};

/*
 * Of each queue @max_running run and @max_waiting wait; of all together @max_shared, but for
 * one of a queue each. @pool outlives the turns.
 */
struct turns *turns_new(struct rpc_pool *pool, unsigned max_running, unsigned max_shared,
			unsigned max_waiting);

/* Nobody runs or waits any more. NULL is fine. */
void turns_free(struct turns *turns);

/*
 * On a thread of the pool: run @turn here and now, or when its turn has come. It is refused
 * when too many wait (RESOURCE_EXHAUSTED) and when its caller goes while it waits. @turn may be
 * gone when this returns.
 */
void turns_take(struct turns *turns, struct turn_queue *queue, struct turn *turn);

/* What ran is done: the next of its queue goes on. */
void turns_leave(struct turns *turns, struct turn_queue *queue);

#endif
