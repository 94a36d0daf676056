// SPDX-License-Identifier: Apache-2.0
/*
 * What the FUSE requests have in common, and those that are in a file of their own: of files, directories and
 * extended attributes. For ops*.c alone.
 *
 * A request begins with request_begin() and ends with one reply. Each runs on one of FUSE's threads, several at once.
 */
#ifndef DOSNAFS_REQUEST_H
#define DOSNAFS_REQUEST_H

#include "dirs.h"
#include "ops.h"

/** The mount of a request, whose waits end from now on when its program is interrupted. */
struct fs *request_begin(fuse_req_t req);
/** The node of an inode that the kernel was told of, whatever its part; no pin is added. */
struct node *request_node(struct fs *fs, fuse_ino_t ino);

/** The error (negative) is final: log it if it is trouble, and answer the request with it. `what` is the operation's
 *  name for the log; `node`, which may be NULL, what it was about. */
void request_fail(fuse_req_t req, const char *what, const struct node *node, int err);
/** The same, or success if `err` is 0, of a request that is answered with nothing else. */
void request_reply(fuse_req_t req, const char *what, const struct node *node, int err);
/** What the kernel is told of a place; the lookup is the caller's to count (tree_told()). 0 or an error. */
int request_entry(struct fs *fs, const struct place *place, struct fuse_entry_param *out);
/** The calling thread's buffer of OPS_IO_MAX bytes for a reply, kept until the thread ends. NULL: no memory. */
char *request_buffer(void);

/* ---- ops_file.c ----------------------------------------------------------------------------- */

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buffer, size_t size, off_t offset,
              struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* ---- ops_dir.c ------------------------------------------------------------------------------ */

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/** Close the directories that are still open when the session has ended. */
void ops_close_directories(struct fs *fs);

/* ---- ops_xattr.c ---------------------------------------------------------------------------- */

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
