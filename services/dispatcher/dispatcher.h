/* The parts of a dispatcher, made and taken apart in main.c. */
#ifndef SERVICES_DISPATCHER_DISPATCHER_H
#define SERVICES_DISPATCHER_DISPATCHER_H

#include "services/dispatcher/identity.h"

struct addresses;
struct attachments;
struct daemon;
struct handlers;
struct history;
struct peers;
struct records;
struct type_cache;

struct dispatcher {
	struct daemon *daemon;
	struct identity self;
	struct addresses *addresses;
	const char *const *seeds; /* ends with NULL */
	struct handlers *handlers;
	struct peers *peers;
	struct type_cache *types;
	struct records *records;
	struct history *history;
	struct attachments *attachments;
	struct bindings *bindings;
	struct mesh *mesh;
	struct front *front;
	struct typed *typed;
	struct wrappers *wrappers;
	struct native *native;
	struct dispatcher_rpc *rpc;
};

#endif
