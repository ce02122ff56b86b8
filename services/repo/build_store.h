/*
 * What a change of a collection leaves to build; for the *_store.c files alone. What takes
 * long is a row of `builds` each, done in order and in small parts; a kill costs the part
 * that was being done. Until a row is done, searches have what they had.
 */
#ifndef SERVICES_REPO_BUILD_STORE_H
#define SERVICES_REPO_BUILD_STORE_H

#include "services/repo/store_internal.h"

/* Kinds of builds, as `builds.kind` has them. */
enum build_kind {
	BUILD_DOCS = 1,  /* documents anew, with the last version of the type */
	BUILD_INDEX = 2, /* detail: its expression */
	BUILD_DROP = 3,  /* detail: the index's name */
	BUILD_TEXT = 4,  /* text_next is filled, then takes the place of text */
	BUILD_NO_TEXT = 5,
	BUILD_VECTORS = 6,      /* documents anew, and the vectors that they are found by */
	BUILD_DROP_VECTORS = 7, /* detail: of vectors_switch(); those of before */
};

/* The last of what there is to do, for all records that there are. */
enum status add_build(struct store *s, enum build_kind kind, const char *detail,
		      struct error *err) MUST_CHECK;

#endif
