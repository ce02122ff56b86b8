/*
 * The services of the other daemons at the front door: which daemon has which,
 * and whether it is well, asked of each again and again.
 */
#ifndef SERVICES_DISPATCHER_FRONT_H
#define SERVICES_DISPATCHER_FRONT_H

#include <stddef.h>

struct dispatcher;
struct front;
struct rpc_channel;

struct front *front_new(struct dispatcher *d);
void front_start(struct front *f);

/* Waits for the questions under way. */
void front_free(struct front *f);

/* The daemon that owns the service; NULL: none of ours does. */
struct rpc_channel *front_channel(struct front *f, const char *service, size_t len);

#endif
