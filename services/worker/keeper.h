/*
 * Readiness: waits for repo and dispatcher, makes the system collections, takes
 * up the runs that are not over, then keeps watching; the daemon is SERVING while
 * both answer. One thread.
 */
#ifndef SERVICES_WORKER_KEEPER_H
#define SERVICES_WORKER_KEEPER_H

#include <stdbool.h>

struct daemon;
struct engine;
struct keeper;

/* Starts the thread. @e is borrowed. */
struct keeper *keeper_new(struct daemon *d, struct engine *e);
void keeper_free(struct keeper *k);

/* Have the runs of before been taken up? Until then nothing may be started. */
bool keeper_has_recovered(struct keeper *k);

#endif
