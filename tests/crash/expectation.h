/*
 * What must be found after a crash, by what the scenario said until then: "begin"
 * before it asks for something, "done" once it was told that it is done. What is
 * done is there; what was only begun may be there or not, whole in either case.
 */
#ifndef TESTS_CRASH_EXPECTATION_H
#define TESTS_CRASH_EXPECTATION_H

#include <stdbool.h>
#include <stddef.h>

enum { EXPECTED_MAX = 256, EXPECTED_PENDING_MAX = 8, EXPECTED_TEXT_MAX = 40 };

/* A record's value, or "yes" of a collection itself (id ""); "" is absent. */
struct expected {
	char collection[EXPECTED_TEXT_MAX], id[EXPECTED_TEXT_MAX];
	char done[EXPECTED_TEXT_MAX];
	char pending[EXPECTED_PENDING_MAX][EXPECTED_TEXT_MAX];
	size_t pending_count;
	bool is_batch; /* not a record: those whose id begins with this get @done together */
};

struct expectations {
	struct expected all[EXPECTED_MAX];
	size_t count;
};

/* What the scenario says goes to the journal. @value "" is a removal. */
void expectation_begin(const char *collection, const char *id, const char *value);
void expectation_done(const char *collection, const char *id, const char *value);

/* Before an atomic batch: it gives all records "<prefix>..." the value, or none. */
void expectation_atomic(const char *collection, const char *prefix, const char *value);

/* In the replay: take what it said. */
void expectations_take(struct expectations *e, const char *mark);

/* Is it a record's? What else there is has a space in its id: "<what> <which>". */
bool expected_is_record(const struct expected *e);

/* "<which>", if it is one of these; else NULL. */
const char *expected_which(const struct expected *e, const char *what);

/* May @value have been found? */
bool expected_allows(const struct expected *e, const char *value);

#endif
