/* Is this the same request again? */
#ifndef SERVICES_REPO_FINGERPRINT_H
#define SERVICES_REPO_FINGERPRINT_H

#include <stdint.h>

#include "common/base/bytes.h"

struct pool_message;

/*
 * The same for requests that say the same: entries of a map may come in any order,
 * as serializers write them. @request was validated as @m.
 */
uint64_t fingerprint_of(const struct pool_message *m, struct bytes request);

#endif
