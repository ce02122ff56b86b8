/* A shim between SQLite and its unix VFS that records what changes files. */
#include "tests/crash/vfs.h"

#include <libgen.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/crash/journal.h"

enum { WRITTEN_AT_ONCE = 4096 };

static sqlite3_vfs *unix_vfs;

struct shim_file {
	sqlite3_file base;
	uint64_t inode, directory; /* 0: not watched */
	int flags;
	bool syncs_directory; /* its first sync syncs its directory too, as SQLite's does */
			      /* The real file follows. */
};

static sqlite3_file *real(sqlite3_file *file)
{
	return (sqlite3_file *)((struct shim_file *)file + 1);
}

static uint64_t inode_at(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static uint64_t directory_of(const char *path)
{
	char copy[PATH_MAX];

	(void)snprintf(copy, sizeof(copy), "%s", path);
	return inode_at(dirname(copy));
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ------------------------------------------------------------ files */

static int shim_close(sqlite3_file *file)
{
	return real(file)->pMethods ? real(file)->pMethods->xClose(real(file)) : SQLITE_OK;
}

static int shim_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
	return real(file)->pMethods->xRead(real(file), data, size, offset);
}

static int write_part(sqlite3_file *file, const uint8_t *data, int size, sqlite3_int64 offset)
{
	const struct shim_file *f = (struct shim_file *)file;
	int code;

	if (!f->inode)
		return real(file)->pMethods->xWrite(real(file), data, size, offset);
	journal_lock();
	code = real(file)->pMethods->xWrite(real(file), data, size, offset);
	if (code == SQLITE_OK)
		journal_add(&(struct event){.type = EVENT_WRITE,
					    .file = f->inode,
					    .offset = offset,
					    .data = data,
					    .data_size = (uint32_t)size});
	journal_unlock();
	return code;
}

/* A crash may come in the middle of what is written at once. */
static int shim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
	int code = SQLITE_OK;

	for (int at = 0; code == SQLITE_OK && at < size; at += WRITTEN_AT_ONCE) {
		const int left = size - at;

		code = write_part(file, (const uint8_t *)data + at,
				  left < WRITTEN_AT_ONCE ? left : WRITTEN_AT_ONCE, offset + at);
	}
	return code;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	const struct shim_file *f = (struct shim_file *)file;
	int code;

	if (!f->inode)
		return real(file)->pMethods->xTruncate(real(file), size);
	journal_lock();
	code = real(file)->pMethods->xTruncate(real(file), size);
	if (code == SQLITE_OK)
		journal_add(&(struct event){
			.type = EVENT_TRUNCATE, .file = f->inode, .offset = size});
	journal_unlock();
	return code;
}

static const char *kind_of(int flags)
{
	if (flags & SQLITE_OPEN_WAL)
		return "SQLite: log";
	return flags & SQLITE_OPEN_MAIN_DB ? "SQLite: database" : "SQLite: journal";
}

static int shim_sync(sqlite3_file *file, int flags)
{
	struct shim_file *f = (struct shim_file *)file;

	if (!f->inode)
		return real(file)->pMethods->xSync(real(file), flags);
	journal_lock();
	journal_add(&(struct event){.type = EVENT_SYNC,
				    .file = f->inode,
				    .key = journal_named_key(kind_of(f->flags))});
	if (f->syncs_directory)
		journal_add(
			&(struct event){.type = EVENT_SYNC,
					.file = f->directory,
					.key = journal_named_key("SQLite: log's directory")});
	f->syncs_directory = false;
	journal_unlock();
	return SQLITE_OK;
}

static int shim_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return real(file)->pMethods->xFileSize(real(file), size);
}

static int shim_lock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xLock(real(file), level);
}

static int shim_unlock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xUnlock(real(file), level);
}

static int shim_check_reserved(sqlite3_file *file, int *result)
{
	return real(file)->pMethods->xCheckReservedLock(real(file), result);
}

/* Nothing that changes the file behind our back, such as growing it in chunks. */
static int shim_control(sqlite3_file *file, int op, void *arg)
{
	if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE)
		return SQLITE_OK;
	return real(file)->pMethods->xFileControl(real(file), op, arg);
}

/* A careful disk: nothing is atomic, nothing in order. Only what is beside a write stays. */
static int shim_sector_size(sqlite3_file *file)
{
	return real(file)->pMethods->xSectorSize(real(file));
}

static int shim_characteristics(sqlite3_file *file)
{
	(void)file;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **ret)
{
	return real(file)->pMethods->xShmMap(real(file), page, size, extend, ret);
}

static int shim_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	return real(file)->pMethods->xShmLock(real(file), offset, n, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
	real(file)->pMethods->xShmBarrier(real(file));
}

static int shim_shm_unmap(sqlite3_file *file, int remove)
{
	return real(file)->pMethods->xShmUnmap(real(file), remove);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = shim_close,
	.xRead = shim_read,
	.xWrite = shim_write,
	.xTruncate = shim_truncate,
	.xSync = shim_sync,
	.xFileSize = shim_file_size,
	.xLock = shim_lock,
	.xUnlock = shim_unlock,
	.xCheckReservedLock = shim_check_reserved,
	.xFileControl = shim_control,
	.xSectorSize = shim_sector_size,
	.xDeviceCharacteristics = shim_characteristics,
	.xShmMap = shim_shm_map,
	.xShmLock = shim_shm_lock,
	.xShmBarrier = shim_shm_barrier,
	.xShmUnmap = shim_shm_unmap,
};

/* ------------------------------------------------------------ names */

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		     int *ret_flags)
{
	struct shim_file *f = (struct shim_file *)file;
	const bool watched = name && journal_covers(name);
	uint64_t before = 0;
	int code;

	(void)vfs;
	memset(f, 0, sizeof(*f));
	journal_lock();
	if (watched)
		before = inode_at(name);
	code = unix_vfs->xOpen(unix_vfs, name, real(file), flags, ret_flags);
	if (code == SQLITE_OK && watched) {
		f->inode = inode_at(name);
		f->directory = directory_of(name);
		f->flags = flags;
		f->syncs_directory = (flags & SQLITE_OPEN_CREATE) &&
				     (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL));
		if (f->inode != before)
			journal_add(&(struct event){.type = EVENT_CREATE,
						    .file = f->inode,
						    .directory = f->directory,
						    .name = name_of(name)});
	}
	journal_unlock();
	/* Also after a failure, so that SQLite closes it. */
	file->pMethods = real(file)->pMethods ? &methods : NULL;
	return code;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
	int code;

	(void)vfs;
	if (!journal_covers(name))
		return unix_vfs->xDelete(unix_vfs, name, sync_directory);
	journal_lock();
	code = unix_vfs->xDelete(unix_vfs, name, 0);
	if (code == SQLITE_OK)
		journal_add(&(struct event){.type = EVENT_REMOVE,
					    .directory = directory_of(name),
					    .name = name_of(name)});
	if (code == SQLITE_OK && sync_directory)
		journal_add(&(struct event){.type = EVENT_SYNC,
					    .file = directory_of(name),
					    .key = journal_named_key("SQLite: removal")});
	journal_unlock();
	return code;
}

void vfs_register(void)
{
	static sqlite3_vfs shim;

	unix_vfs = sqlite3_vfs_find(NULL);
	if (!unix_vfs)
		abort();
	shim = *unix_vfs;
	shim.zName = "recording";
	shim.szOsFile = (int)sizeof(struct shim_file) + unix_vfs->szOsFile;
	shim.xOpen = shim_open;
	shim.xDelete = shim_delete;
	if (sqlite3_vfs_register(&shim, 1) != SQLITE_OK)
		abort();
}
