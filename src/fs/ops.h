// SPDX-License-Identifier: Apache-2.0
/*
 * The FUSE requests. Each function here takes one apart, calls dirs or files, and replies; nothing
 * below replies or knows FUSE. Requests run on several threads at once.
 *
 * A program that is interrupted while its request waits for the store gets EINTR: every request tells
 * the library, through the cancel hook of its thread, to ask FUSE whether it was.
 */
#ifndef DOSNAFS_OPS_H
#define DOSNAFS_OPS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

/** The largest write request, and the buffer of one reply. */
#define OPS_IO_MAX (1u << 20)
/**
 * The largest read request. The kernel asks for the parts of a larger direct read at once, so that several
 * threads answer it, each from a buffer that stays in its processor's cache.
 */
#define OPS_READ_MAX (256u << 10)
/** Requests that may wait for the store at once while others go on, */
#define OPS_THREADS_MAX 48
/** and how many of these the kernel may make of reading ahead and of large direct reads: its own default is 12, of all
 *  programs together, which is few for a store far away. */
#define OPS_BACKGROUND_MAX 32

struct fs;

/** Close the files and directories that are still open when the session has ended. */
void ops_close_all(struct fs *fs);

/** The table for fuse_session_new(); the session's user data is a struct fs. */
extern const struct fuse_lowlevel_ops ops_table;

#endif
