/*
 * Inside common/reflect: the parts of JSON Schemas that are the same for all
 * messages, as members of an object: "\"type\":\"boolean\"". Static.
 */
#ifndef COMMON_REFLECT_SCHEMA_TYPES_H
#define COMMON_REFLECT_SCHEMA_TYPES_H

#include <stdint.h>

struct pool_message;

/* @type: enum pool_type, a scalar's. */
const char *schema_of_scalar(uint8_t type);

/* What a map's keys of @type must be, with a comma at the end; "" for strings. */
const char *schema_of_key(uint8_t type);

/* A message with a JSON form of its own. "": any JSON. NULL: it is an object of its fields. */
const char *schema_of_known(const struct pool_message *m);

#endif
