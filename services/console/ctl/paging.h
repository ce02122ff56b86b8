/* All pages of a listing as one. */
#ifndef SERVICES_CONSOLE_CTL_PAGING_H
#define SERVICES_CONSOLE_CTL_PAGING_H

#include <stddef.h>

#include "common/base/status.h"

struct json_t;
struct session;

/*
 * Call @path with @request (consumed), page after page, until @limit entries of
 * the repeated field @field are there (0: all). *ret_reply is the first reply
 * with that field extended; owned by the caller.
 */
enum status paging_collect(struct session *s, const char *path, struct json_t *request,
			   const char *field, size_t limit, struct json_t **ret_reply,
			   struct error *err) MUST_CHECK;

#endif
