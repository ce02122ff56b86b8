/*
 * What fuzz targets share. A target is a function that libFuzzer calls with
 * bytes (`make fuzz`), or replay.c with those of the corpus (`make test`). What
 * must hold is checked with FUZZ_CHECK, which ends the program.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/strbuf.h"

struct error;
struct pool;
struct pool_message;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The built-in types and those of tests/support/types; lives as long as the program. */
const struct pool *fuzz_pool(void);

/* One of the types that targets convert, by any byte. */
const struct pool_message *fuzz_type(uint8_t choice);

/* Take up to @size bytes from the front of @in. */
struct bytes fuzz_take(struct bytes *in, size_t size);
uint8_t fuzz_take_byte(struct bytes *in);

static inline struct bytes fuzz_written(const struct strbuf *sb)
{
	return bytes_of(strbuf_str(sb), sb->len);
}

/* @err and @shown may be NULL. */
void fuzz_fail(const char *file, int line, const char *what, const struct error *err,
	       const struct strbuf *shown) __attribute__((noreturn));

#define FUZZ_CHECK(condition, err, shown)                                                      \
	do {                                                                                   \
		if (!(condition))                                                              \
			fuzz_fail(__FILE__, __LINE__, #condition, err, shown);                 \
	} while (0)

#endif
