/*
 * Inside type_cache.h: what its callers' side (type_cache.c) and the thread that
 * follows the registry (type_follower.c) share.
 */
#ifndef COMMON_CLIENT_TYPE_CACHE_INSIDE_H
#define COMMON_CLIENT_TYPE_CACHE_INSIDE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/client/type_cache.h"

struct registry_watch;

struct type_space {
	pthread_mutex_t asking; /* one question at a time; taken before type_cache.mu */
	/* What follows: type_cache.mu. */
	struct pool *pool;
	int64_t version;   /* -1: never known */
	uint64_t asked_ns; /* when the newest question that was answered began; 0: never */
	uint64_t heard_ns; /* when the follower was told something last */
	uint64_t used_ns;
	unsigned users;   /* who are at it now */
	bool is_followed; /* changes come by themselves, and all that came before are here */
};

/* The thread that watches the registry. */
struct type_follower {
	pthread_t thread;
	struct registry_watch *watch; /* type_cache.mu; NULL: none is open */
	bool is_stale;                /* type_cache.mu: another set of namespaces is wanted */
	bool is_closing;              /* type_cache.mu */
};

struct type_cache {
	struct rpc_channel *registry;
	struct pool *builtins;
	pthread_mutex_t mu;
	pthread_cond_t changed; /* a pool was replaced, or the follower has something to do */
	struct map spaces;      /* namespace -> struct type_space, owned */
	struct type_follower follower;
};

void type_follower_start(struct type_cache *t);
void type_follower_stop(struct type_cache *t);

/* With t->mu: the namespaces that are to be followed are others. */
void type_follower_renew(struct type_cache *t);

/* Wait on @changed with @mu until @deadline_ns on clock_monotonic_ns(). False: it is past. */
bool type_cache_wait(struct type_cache *t, uint64_t deadline_ns);

#endif
