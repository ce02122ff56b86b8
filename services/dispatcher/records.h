/*
 * Writing the dispatcher's system collections off the path of calls: a bounded
 * queue and one thread. When the repo is away or slow the queue fills and what
 * comes then is dropped and counted. Thread-safe.
 */
#ifndef SERVICES_DISPATCHER_RECORDS_H
#define SERVICES_DISPATCHER_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct records;
struct rpc_channel;

enum { RECORDS_QUEUE = 4096 };

/* Starts the thread. @repo is borrowed. */
struct records *records_new(struct rpc_channel *repo);

/* Writes for up to a second what is queued, then joins the thread. */
void records_free(struct records *r);

/*
 * Put the record @id into system/@collection (a constant) as @type (a
 * constant); @data and @id are copied.
 */
void records_put(struct records *r, const char *collection, const char *id, const char *type,
		 struct bytes data);
void records_remove(struct records *r, const char *collection, const char *id);

/* How many were dropped since the start. */
uint64_t records_dropped(struct records *r);

#endif
