/* Keys of maps as text: how paths name an entry, and JSON documents write its key. */
#ifndef COMMON_REFLECT_MAP_KEY_H
#define COMMON_REFLECT_MAP_KEY_H

#include <stdbool.h>

#include "common/base/bytes.h"

struct arena;
struct pool_field;

/*
 * @text as a key of a map whose entries have the field @key: numbers within their
 * type's bounds and in the one way that they are written ("007" is "7"). *ret_text
 * is in @arena. False: it cannot be a key.
 */
bool map_key_read(const struct pool_field *key, struct bytes text, struct arena *arena,
		  struct bytes *ret_text);

#endif
