/*
 * A namespace's manifest: what was registered, removed and set, line by line in
 * the order in which it happened, so that a change appends and rewrites nothing.
 *
 *	collector-manifest 2
 *	<sum> file <at> <version> <unix us> <size> <checksum> <name>
 *	<sum> bytes <at> <version> <hexadecimal> <name>
 *	<sum> gone <at> <unix us> <name>
 *	<sum> policy <at> <policy>
 *	<sum> forgotten <at>
 *	<sum> commit <at> <lines>
 *
 * <at> is the version of the namespace that a line belongs to, <sum> the
 * checksum of the rest of its line. Lines count when their commit follows: a
 * change whose commit did not reach the disk never happened. A line whose sum is
 * wrong is damage and loses itself alone. Bytes stand behind the line of their
 * file, for as long as nothing else is certain to hold them.
 *
 * Format 1, which is still read, was written whole with every change and knew
 * the latest version of each file only:
 *
 *	collector-manifest 1 <at>
 *	<version> <created us> <updated us> <size> <checksum> <name>
 *	end <checksum of all lines above>
 */
#ifndef SERVICES_REGISTRY_MANIFEST_H
#define SERVICES_REGISTRY_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"
#include "services/registry/policy.h"

enum manifest_kind {
	MANIFEST_FILE,      /* has a new version */
	MANIFEST_BYTES,     /* of a version: its content */
	MANIFEST_GONE,      /* is removed */
	MANIFEST_POLICY,    /* is set */
	MANIFEST_FORGOTTEN, /* removals up to there are not in the manifest any more */
};

struct manifest_line {
	enum manifest_kind kind;
	int64_t at;         /* the namespace's version */
	int64_t version;    /* FILE, BYTES */
	int64_t created_us; /* FILE of format 1: when version 1 was registered; else 0 */
	int64_t unix_us;    /* FILE, GONE: when */
	size_t size;        /* FILE */
	uint64_t checksum;  /* FILE: disk_checksum() of its bytes */
	enum policy policy; /* POLICY */
	struct bytes bytes; /* BYTES */
	const char *name;   /* FILE, BYTES, GONE */
};

void manifest_begin(struct strbuf *out);
void manifest_add(struct strbuf *out, const struct manifest_line *line);
/* The @lines since the commit before happened. */
void manifest_commit(struct strbuf *out, int64_t at, size_t lines);

struct manifest {
	int format;       /* 1 or 2 */
	int64_t at;       /* the namespace's version */
	size_t lines;     /* in the text, commits too */
	size_t bad_lines; /* damaged ones */
	bool is_torn;     /* it ends with lines that were never committed */
};

/*
 * Call @take, in order, with every line that counts; it and what it points to are
 * borrowed. @text is the reader's to write in. DATA_LOSS: format 1, and damaged. FAILED_PRECONDITION: a format that
 * this program does not know.
 */
enum status manifest_read(struct strbuf *text,
			  void (*take)(void *arg, const struct manifest_line *line), void *arg,
			  struct manifest *ret, struct error *err) MUST_CHECK;

#endif
