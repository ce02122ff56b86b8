#include "services/dispatcher/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/base/random.h"

/* The directory is locked by this daemon: nobody else writes the file. */
static enum status write_id(const char *path, const char *id, struct error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t len = strlen(id);
	bool written;

	if (fd < 0)
		return error_set(err, STATUS_INTERNAL, "cannot make %s: %s", path,
				 strerror(errno));
	written = write(fd, id, len) == (ssize_t)len && !fsync(fd);
	close(fd);
	return written ? STATUS_OK
		       : error_set(err, STATUS_INTERNAL, "cannot write %s: %s", path,
				   strerror(errno));
}

enum status identity_read_id(const char *data_dir, char **ret_id, struct error *err)
{
	char *path AUTO_FREE = xasprintf("%s/collector-id", data_dir);
	char text[UUID_TEXT_BYTES] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum status status = STATUS_OK;
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (n > 0)
		text[n] = '\0';
	if (n <= 0 || names_check_namespace(text, "", err) != STATUS_OK) {
		random_uuid7(clock_unix_ms(), text);
		status = write_id(path, text, err);
	}
	if (status == STATUS_OK)
		*ret_id = xstrdup(text);
	return status;
}
