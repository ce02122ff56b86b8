/*
 * What files are named by from outside: a record and a path, or one text that
 * holds both, "collector://<namespace>/<collection>/<record id>/<path>". In it
 * all but letters, digits and "-._~" is %XX; the path keeps its '/'. A file of the
 * collection itself has an empty record id.
 */
#ifndef SERVICES_REPO_FILE_URI_H
#define SERVICES_REPO_FILE_URI_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/status.h"
#include "common/base/strbuf.h"

enum { FILE_PATH_MAX_PARTS = 32 };

/*
 * @path is fit for a file: relative, no empty, "." or ".." part, at most
 * FILE_PATH_MAX_PARTS of them. INVALID_ARGUMENT blaming @field: it is not.
 */
enum status file_path_check(const char *path, const char *field, struct error *err) MUST_CHECK;

/* Append the name of a file, or with an empty @path of the record's directory. */
void file_uri_write(const char *ns, const char *collection, const char *record_id,
		    const char *path, struct strbuf *out);

struct file_uri {
	const char *ns, *collection, *record_id, *path; /* never NULL */
};

/* INVALID_ARGUMENT blaming @field: it is no such name. Texts are in @arena, unchecked. */
enum status file_uri_read(const char *uri, const char *field, struct arena *arena,
			  struct file_uri *ret, struct error *err) MUST_CHECK;

#endif
