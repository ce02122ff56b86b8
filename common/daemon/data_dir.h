/*
 * A daemon's directory below the data directory, and the key that the daemons
 * of one collector share. Blocking; used once, at the start.
 */
#ifndef COMMON_DAEMON_DATA_DIR_H
#define COMMON_DAEMON_DATA_DIR_H

#include "common/base/random.h"
#include "common/base/status.h"

/*
 * Make @data and @data/@name (0700), and lock the latter until the process
 * ends. *ret_lock is the descriptor that holds the lock.
 * FAILED_PRECONDITION: another process has it. INTERNAL: what the system said.
 */
enum status data_dir_open(const char *data, const char *name, int *ret_lock,
			  struct error *err) MUST_CHECK;

/*
 * Read @data/daemon.key, made (0600) if it is not there. Daemons that start at
 * the same time agree on one key. FAILED_PRECONDITION: others may read it, or it
 * is damaged.
 */
enum status data_dir_read_key(const char *data, char ret_key[HEX_KEY_BYTES],
			      struct error *err) MUST_CHECK;

#endif
