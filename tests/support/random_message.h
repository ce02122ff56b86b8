/*
 * Messages of any type, of random fields. The same seed gives the same message.
 */
#ifndef TESTS_SUPPORT_RANDOM_MESSAGE_H
#define TESTS_SUPPORT_RANDOM_MESSAGE_H

#include <stdint.h>

struct pool_message;
struct strbuf;

/*
 * Append the wire bytes of an @m that has a JSON form. *seed changes. Required
 * fields are there, unless messages would be nested too deep.
 */
void random_message(const struct pool_message *m, uint64_t *seed, struct strbuf *out);

#endif
