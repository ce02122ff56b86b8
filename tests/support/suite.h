/*
 * What the main() of every Check binary is: one suite, one case, a list of
 * tests.
 */
#ifndef TESTS_SUPPORT_SUITE_H
#define TESTS_SUPPORT_SUITE_H

#include <check.h>
#include <stddef.h>

/*
 * Run @tests (ends with NULL) as suite @name; the exit code for main().
 * @setup and @teardown (may be NULL) run in the forked child around each test.
 */
int suite_run(const char *name, void (*setup)(void), void (*teardown)(void),
	      const TTest *const *tests);

#endif
