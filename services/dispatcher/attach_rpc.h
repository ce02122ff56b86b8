/* The Attach method: from streams to attached handlers and back. */
#ifndef SERVICES_DISPATCHER_ATTACH_RPC_H
#define SERVICES_DISPATCHER_ATTACH_RPC_H

struct attachments;
struct dispatcher;
struct dispatcher_rpc;

enum { ATTACHMENTS_MAX = 1024, ATTACHMENT_MAX_METHODS = 256 };

/* All streams of a dispatcher. @d is borrowed. */
struct attachments *attachments_new(struct dispatcher *d);

/* Ping those that are quiet, and end those that stay so. */
void attachments_start(struct attachments *all);

/* No more calls to any; each stream ends once its calls are answered. */
void attachments_leave(struct attachments *all);

/* After all streams have ended. */
void attachments_free(struct attachments *all);

void dispatcher_rpc_set_attach_method(struct dispatcher_rpc *r);

#endif
