/*
 * Which namespaces have a Serve wrapper. In memory; the truth is in
 * system/serve_wrappers and loaded from there again and again (bindings.c). Until that was
 * done once nobody knows, and nothing may run: a wrapper is there for safety.
 *
 * Thread-safe.
 */
#ifndef SERVICES_DISPATCHER_WRAPPERS_H
#define SERVICES_DISPATCHER_WRAPPERS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/client/dispatch_records.h"

struct wrappers;

enum { WRAPPERS_MAX = 1024 };

struct wrappers *wrappers_new(void);
void wrappers_free(struct wrappers *w);

/* Make the table hold exactly @records; now it is known. */
void wrappers_replace(struct wrappers *w, const struct wrapper_record *records, size_t count);

/* Set one; with an empty service the namespace has none. False: WRAPPERS_MAX. */
bool wrappers_set(struct wrappers *w, const struct wrapper_record *record);

enum wrappers_answer { WRAPPERS_NONE, WRAPPERS_FOUND, WRAPPERS_UNKNOWN };

/* The wrapper of @ns, in @arena. */
enum wrappers_answer wrappers_find(struct wrappers *w, const char *ns, struct arena *arena,
				   struct wrapper_record *ret);

/* Was the truth read? */
bool wrappers_are_known(struct wrappers *w);

/* Does @ns certainly have none? For a loop thread. */
bool wrappers_are_none(struct wrappers *w, const char *ns);

/* All, ordered by namespace, in @arena. */
size_t wrappers_list(struct wrappers *w, struct arena *arena, struct wrapper_record **ret);

#endif
