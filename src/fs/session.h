// SPDX-License-Identifier: Apache-2.0
/*
 * A FUSE session from mount to unmount, and the signals that end it: SIGTERM and SIGINT make the
 * kernel write back what it has, end the session and unmount; SIGHUP reads the log level again.
 */
#ifndef DOSNAFS_SESSION_H
#define DOSNAFS_SESSION_H

#include "fs.h"
#include "options.h"

#define SESSION_TYPE "fuse.dosnafs"

/** Does an error of stat() or realpath() say that a FUSE daemon has died? */
bool session_is_dead(int error);

/** Unmount a mount of ours at `mountpoint` whose daemon has died. 0 also when there is none. */
int session_clear_dead(const char *mountpoint);

/** Block the session's signals, before any thread is started. */
void session_block_signals(void);

/**
 * Mount, serve until unmounted or told to end, unmount. The session takes nothing of `fs` but its own field.
 * @return 0; a negative errno when it could not be mounted
 */
int session_run(struct fs *fs, struct options *options, const char *mountpoint);

#endif
