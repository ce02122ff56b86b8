#include "common/store/log_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum {
	BUFFER_BYTES = 127 << 10, /* SQLite's own VFS writes less than 128 KiB at once */
	MAX_SPARE = 4, /* more are rarely in use at once: one for each commit under way */
};

static const char name_of_vfs[] = "collector-log";

static sqlite3_vfs *below;

/* ------------------------------------------------------------ buffers */

struct buffer {
	struct buffer *next; /* among the spare ones */
	uint8_t bytes[BUFFER_BYTES];
};

static pthread_mutex_t spare_mutex = PTHREAD_MUTEX_INITIALIZER; /* the next two */
static struct buffer *first_spare;
static size_t spare_count;

static struct buffer *take_buffer(void)
{
	struct buffer *b;

	pthread_mutex_lock(&spare_mutex);
	b = first_spare;
	if (b) {
		first_spare = b->next;
		spare_count--;
	}
	pthread_mutex_unlock(&spare_mutex);
	return b ? b : xmalloc(sizeof(*b));
}

static void give_buffer(struct buffer *b)
{
	bool is_kept;

	pthread_mutex_lock(&spare_mutex);
	is_kept = spare_count < MAX_SPARE;
	if (is_kept) {
		b->next = first_spare;
		first_spare = b;
		spare_count++;
	}
	pthread_mutex_unlock(&spare_mutex);
	if (!is_kept)
		free(b);
}

/* ------------------------------------------------------------ the log's file */

/* The file of the VFS below follows. */
struct log_file {
	sqlite3_file base;
	struct buffer *buffer; /* NULL: all is written */
	size_t size;           /* of what is in it */
	sqlite3_int64 offset;  /* where that belongs */
	uint64_t sync_ns;      /* of the last sync */
	bool joins;
};

static sqlite3_file *real(sqlite3_file *file)
{
	return (sqlite3_file *)((struct log_file *)file + 1);
}

static void drop(struct log_file *f)
{
	if (f->buffer)
		give_buffer(f->buffer);
	f->buffer = NULL;
	f->size = 0;
}

/* What cannot be written stays, to be tried again before anything follows. */
static int flush(sqlite3_file *file)
{
	struct log_file *f = (struct log_file *)file;
	int code = SQLITE_OK;

	if (f->size)
		code = real(file)->pMethods->xWrite(real(file), f->buffer->bytes, (int)f->size,
						    f->offset);
	if (code == SQLITE_OK)
		drop(f);
	return code;
}

/*
 * When a write or a sync of the log fails, SQLite rolls the whole transaction back. What it wrote
 * must not reach the log later: the commit that was refused may be in it.
 */
static int flush_or_drop(sqlite3_file *file)
{
	int code = flush(file);

	drop((struct log_file *)file);
	return code;
}

/* Frames that were not synced are nobody's. */
static int log_close(sqlite3_file *file)
{
	drop((struct log_file *)file);
	return real(file)->pMethods->xClose(real(file));
}

/*
 * A page that its transaction left in the log early is still in the buffer, or is not. To write
 * for a read could fail it, and of a read that fails SQLite may undo no more than the statement.
 */
static int log_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
	const struct log_file *f = (const struct log_file *)file;
	const sqlite3_int64 end = offset + size, buffer_end = f->offset + (int)f->size;
	int code = SQLITE_OK;

	if (f->size && offset >= f->offset && end <= buffer_end) {
		memcpy(data, f->buffer->bytes + (offset - f->offset), (size_t)size);
		return SQLITE_OK;
	}
	if (f->size && offset < buffer_end && end > f->offset)
		code = flush(file);
	return code == SQLITE_OK ? real(file)->pMethods->xRead(real(file), data, size, offset)
				 : code;
}

static bool fits(const struct log_file *f, int size, sqlite3_int64 offset)
{
	return offset == f->offset + (sqlite3_int64)f->size &&
	       (size_t)size <= BUFFER_BYTES - f->size;
}

static int log_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
	struct log_file *f = (struct log_file *)file;

	if (!f->joins)
		return real(file)->pMethods->xWrite(real(file), data, size, offset);
	if (!offset)
		drop(f); /* the log begins anew, there is nothing in it */
	if (!f->buffer || !fits(f, size, offset)) {
		int code = flush_or_drop(file);

		if (code != SQLITE_OK)
			return code;
		if (size > BUFFER_BYTES)
			return real(file)->pMethods->xWrite(real(file), data, size, offset);
		f->buffer = take_buffer();
		f->offset = offset;
	}
	memcpy(f->buffer->bytes + f->size, data, (size_t)size);
	f->size += (size_t)size;
	return SQLITE_OK;
}

static int log_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int code = flush(file);

	return code == SQLITE_OK ? real(file)->pMethods->xTruncate(real(file), size) : code;
}

static int log_sync(sqlite3_file *file, int flags)
{
	struct log_file *f = (struct log_file *)file;
	int code = flush_or_drop(file);
	uint64_t begin_ns;

	if (code != SQLITE_OK)
		return code;
	begin_ns = clock_monotonic_ns();
	code = real(file)->pMethods->xSync(real(file), flags);
	f->sync_ns = clock_monotonic_ns() - begin_ns;
	return code;
}

static int log_size(sqlite3_file *file, sqlite3_int64 *size)
{
	int code = flush(file);

	return code == SQLITE_OK ? real(file)->pMethods->xFileSize(real(file), size) : code;
}

static int log_lock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xLock(real(file), level);
}

static int log_unlock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xUnlock(real(file), level);
}

static int log_check_reserved(sqlite3_file *file, int *result)
{
	return real(file)->pMethods->xCheckReservedLock(real(file), result);
}

static int log_control(sqlite3_file *file, int op, void *arg)
{
	return real(file)->pMethods->xFileControl(real(file), op, arg);
}

static int log_sector_size(sqlite3_file *file)
{
	return real(file)->pMethods->xSectorSize(real(file));
}

static int log_characteristics(sqlite3_file *file)
{
	return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

/* A log is neither mapped nor has it shared memory: those are the database's. */
static const sqlite3_io_methods log_methods = {
	.iVersion = 1,
	.xClose = log_close,
	.xRead = log_read,
	.xWrite = log_write,
	.xTruncate = log_truncate,
	.xSync = log_sync,
	.xFileSize = log_size,
	.xLock = log_lock,
	.xUnlock = log_unlock,
	.xCheckReservedLock = log_check_reserved,
	.xFileControl = log_control,
	.xSectorSize = log_sector_size,
	.xDeviceCharacteristics = log_characteristics,
};

/* It has no methods before the log is opened, and others' if it is another kind of journal. */
uint64_t log_vfs_sync_ns(const struct sqlite3_file *file)
{
	return file && file->pMethods == &log_methods ? ((const struct log_file *)file)->sync_ns
						      : 0;
}

/* ------------------------------------------------------------ the VFS */

/*
 * Where a write may damage what is beside it, SQLite fills the disk's sector after a commit, and
 * some of that follows the commit's sync: there each write must reach the file by itself.
 */
static bool may_join(sqlite3_file *log)
{
	return log->pMethods->xDeviceCharacteristics(log) & SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		     int *ret_flags)
{
	int code;

	(void)vfs;
	if (!(flags & SQLITE_OPEN_WAL))
		return below->xOpen(below, name, file, flags, ret_flags);
	memset(file, 0, sizeof(struct log_file));
	code = below->xOpen(below, name, real(file), flags, ret_flags);
	if (code == SQLITE_OK)
		((struct log_file *)file)->joins = may_join(real(file));
	/* Also after a failure, so that SQLite closes it. */
	file->pMethods = real(file)->pMethods ? &log_methods : NULL;
	return code;
}

static void register_vfs(void)
{
	static sqlite3_vfs vfs;

	below = sqlite3_vfs_find(NULL);
	if (!below)
		abort();
	vfs = *below;
	vfs.zName = name_of_vfs;
	vfs.szOsFile = (int)sizeof(struct log_file) + below->szOsFile;
	vfs.xOpen = open_file;
	if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
		abort();
}

const char *log_vfs(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, register_vfs);
	return name_of_vfs;
}
