/*
 * The two numberings of outcomes: gRPC's, which enum status has, and that of
 * collector.Status.Code, which differs from 4 on.
 */
#ifndef COMMON_RPC_STATUS_CODE_H
#define COMMON_RPC_STATUS_CODE_H

#include "common/base/status.h"

/* As a value of collector.Status.Code. */
int status_to_collector_code(enum status status);

/*
 * From a peer's answer: 0 and 200 are both OK; unknown values are
 * STATUS_UNKNOWN.
 */
enum status status_from_collector_code(int code);

#endif
