// SPDX-License-Identifier: Apache-2.0
/*
 * One mount: what all of src/fs shares.
 *
 *   main      -> options, session      the program: command line, background, signals
 *   session   -> ops                   the FUSE session's life
 *   ops       -> dirs, files           one function for each FUSE request; the only place that replies: ops.c,
 *                                      ops_file.c, ops_dir.c, ops_xattr.c, and request.c, which they share
 *   dirs      -> tree                  names: look up, list, mkdir, rename, remove
 *   files     == file_type ==> file_data, file_meta, file_text, file_view, file_zarr     what an open file does
 *   views     the views directory's names
 *   push      rows stored into the kernel's pages ahead of an mmap reader
 *   tree      nodes: names <-> inodes, what is hidden, drafts
 *   meta, names, report                text; no state
 *
 * An arrow only goes down. Everything below `ops` returns 0, a count or a negative errno.
 */
#ifndef DOSNAFS_FS_H
#define DOSNAFS_FS_H

#include "tree.h"

#include <dosna/dosna.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

enum cache_mode { CACHE_AUTO, CACHE_ALWAYS, CACHE_NEVER };

struct fuse_session;

struct fs {
    dn_connection *conn;
    const dn_config *config;
    struct fuse_session *session;
    uid_t uid;
    gid_t gid;
    mode_t umask;
    enum cache_mode cache;
    double timeout;          /* seconds for which the kernel may keep names and attributes */
    const char *views;       /* name in the root, or NULL */
    struct timespec started; /* the time of everything that has none */
    struct tree tree;
    struct pusher pusher;
    LIST_HEAD(, directory) directories; /* open ones; tree.lock */
    void (*answers)(void *arg); /* called once, when the kernel's first request was answered */
    void *answers_arg;
};

/** The view name, owner, times and cache mode from the configuration; the tree is made. 0 or -ENOMEM. */
int fs_init(struct fs *fs, const dn_config *config);
void fs_clear(struct fs *fs);

#endif
