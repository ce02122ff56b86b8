/*
 * Every call that the dispatcher's own services do not answer: the other
 * daemons' services are passed on, anything else is the native form of Dispatch.
 *
 * What is known (a daemon's service, a handler in the table) is forwarded on the
 * loop thread, without asking or waiting; the rest is looked into on the pool.
 */
#ifndef SERVICES_DISPATCHER_NATIVE_H
#define SERVICES_DISPATCHER_NATIVE_H

struct dispatcher;
struct native;
struct rpc_fallback;

struct native *native_new(struct dispatcher *d);
void native_free(struct native *n);
const struct rpc_fallback *native_fallback(struct native *n);

#endif
