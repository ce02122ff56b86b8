/*
 * What a change of files breaks: the rules of `buf breaking`, by their names,
 * between two versions of a file or of all the files of a pool.
 *
 * A message, enum, service or method of the old files is compared with what has
 * its full name in the new ones, in whatever file; a field with the one of its
 * number, an extension with the one of its number and extendee. So at WIRE and
 * WIRE_JSON symbols may move between files. Nor does it matter there that a
 * message, enum, service or method is gone as a whole: nobody can misread what is
 * not there. Who still uses it is for the caller to know.
 *
 * SOURCE is buf's category FILE, not its PACKAGE: it promises that generated code
 * still compiles, in any language, and in C, C++ and Python it is by the file
 * that generated code is included. Files of a registry may well be rearranged:
 * under the other levels. For the same reason options for one language
 * (java_package, go_package, ctype and the like) count at SOURCE, as with buf.
 *
 * Differences from buf 1.75, on purpose: MESSAGE_SAME_MESSAGE_SET_WIRE_FORMAT,
 * which buf has no category for since it reads no message sets, is a rule of all
 * levels, for with this option everything in the message is encoded differently.
 */
#ifndef COMMON_REFLECT_COMPAT_H
#define COMMON_REFLECT_COMPAT_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct pool;
struct pool_file;
struct pool_message;

/*
 * The weakest first. What breaks at a level breaks, by the same rule or a
 * stricter one, at those after it. They are bits, to be asked for together.
 */
enum compat_level {
	COMPAT_WIRE = 1,      /* what was written in binary can be read */
	COMPAT_WIRE_JSON = 2, /* ... in binary or as JSON */
	COMPAT_SOURCE = 4,    /* ... and generated code still compiles */
	/*
	 * Weaker than WIRE, to be asked for alone: every value that was written is
	 * read as what it was, or kept as unknown. That a number is free to be used
	 * again breaks nothing yet, nor does another default.
	 */
	COMPAT_RECORDS = 8,
};
enum { COMPAT_ANY_LEVEL = COMPAT_WIRE | COMPAT_WIRE_JSON | COMPAT_SOURCE };

enum { COMPAT_TEXT_MAX_BYTES = 1000 };

/* Texts are NUL-terminated; all but the rule are in the caller's arena. */
struct compat_finding {
	const char *rule;        /* "FIELD_SAME_TYPE"; static */
	enum compat_level level; /* the weakest that has the rule */
	/*
	 * "shop.v1.Order.customer": by the new name, if it is still there. For rules
	 * about a file as a whole, the file's name.
	 */
	const char *path;
	const char *file_name; /* that declares it, or did */
	const char *text;      /* a sentence; cut at COMPAT_TEXT_MAX_BYTES */
};

struct compat_report {
	const struct compat_finding *findings;
	size_t count;
	bool truncated; /* there are more: the old files were not looked at to their end */
};

/*
 * What breaks at @levels (of enum compat_level; 0: nothing is looked for) when the
 * files of @before become those of @after. At most @max findings, in an order
 * that depends on nothing but the files' content: files by name; of each, what is
 * wrong with the file itself, then with its symbols as declared, with fields by
 * number. Files that both pools share are not looked at, so after a
 * pool_replace() it costs what depends on the change.
 */
struct compat_report compat_check(const struct pool *before, const struct pool *after,
				  unsigned levels, size_t max, struct arena *arena);

/*
 * The same for one message, apart from those in it, and the message of its full
 * name in @after; nothing is found where there is none.
 */
struct compat_report compat_check_message(const struct pool_message *before,
					  const struct pool *after, unsigned levels, size_t max,
					  struct arena *arena);

/* The same for what @before, a file of another pool, declares. */
struct compat_report compat_check_file(const struct pool_file *before, const struct pool *after,
				       unsigned levels, size_t max, struct arena *arena);

#endif
