/* SQLite's files, recorded in the journal. */
#ifndef TESTS_CRASH_VFS_H
#define TESTS_CRASH_VFS_H

/* Put the recording VFS in front of SQLite's own; every database uses it then. */
void vfs_register(void);

#endif
