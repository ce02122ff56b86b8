/* What the record commands and import share. */
#ifndef SERVICES_CONSOLE_CTL_RECORD_H
#define SERVICES_CONSOLE_CTL_RECORD_H

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

struct pool_message;
struct session;

/* The type of a collection's records. FAILED_PRECONDITION: it has none. */
enum status record_type_of(struct session *s, const char *collection,
			   const struct pool_message **ret_type, struct error *err) MUST_CHECK;

/* Append a collector.CreateRequest; @id "" lets the repo choose. */
void record_put_create(struct strbuf *out, const char *ns, const char *collection,
		       const char *id, const char *type, struct bytes item);

#endif
