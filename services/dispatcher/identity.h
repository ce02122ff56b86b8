/* Which collector this is, fixed at the start. */
#ifndef SERVICES_DISPATCHER_IDENTITY_H
#define SERVICES_DISPATCHER_IDENTITY_H

#include "common/base/status.h"

enum { IDENTITY_MAX_ID_BYTES = 63 };

struct identity {
	const char *id;                /* [a-z0-9][a-z0-9_-]{0,62}, as namespaces */
	const char *address;           /* where peers may dial it */
	const char *const *namespaces; /* that it serves; ends with NULL */
};

/*
 * The id kept in @data_dir, drawn at the first start. *ret_id is owned by the
 * caller. INTERNAL: what the system said.
 */
enum status identity_read_id(const char *data_dir, char **ret_id, struct error *err) MUST_CHECK;

#endif
