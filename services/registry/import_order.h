/* Files put behind what they import. */
#ifndef SERVICES_REGISTRY_IMPORT_ORDER_H
#define SERVICES_REGISTRY_IMPORT_ORDER_H

#include <stddef.h>

#include "common/base/bytes.h"

/*
 * Order serialized FileDescriptorProtos so that each comes after those of them
 * that it imports. Circles and names that are not among them are left as they are.
 */
void import_order(struct bytes *files, size_t count);

#endif
