// SPDX-License-Identifier: Apache-2.0
/*
 * What an open file does. Each kind of file is one constant table; a new kind of file (a view) is a new
 * table, a name that leads to it in dirs.c, and a line in files_type().
 */
#ifndef DOSNAFS_FILES_H
#define DOSNAFS_FILES_H

#include "fs.h"

#include <sys/queue.h>
#include <sys/stat.h>

struct handle;

struct file_type {
    /** handle->node, ->part and ->flags (open(2)'s) are set, and ->created when the name is new. Sets
     *  direct_io and keep_cache as it likes. */
    int (*open)(struct fs *fs, struct handle *handle);
    /** Up to `size` bytes; 0 at the end. */
    int64_t (*read)(struct fs *fs, struct handle *handle, char *buffer, size_t size, uint64_t offset);
    /** NULL: the file cannot be written (-EPERM at open). */
    int64_t (*write)(struct fs *fs, struct handle *handle, const char *buffer, size_t size,
                     uint64_t offset);
    /** `handle` is NULL when it comes by path. NULL: -EPERM. */
    int (*truncate)(struct fs *fs, struct node *node, struct handle *handle, uint64_t length);
    /** A close() by process `pid`: what it returns, close() returns. NULL: nothing to do. */
    int (*flush)(struct fs *fs, struct handle *handle, pid_t pid);
    /** fsync(). NULL: nothing to do. */
    int (*sync)(struct fs *fs, struct handle *handle);
    /** The last use of the handle's own parts; the handle itself is freed by files_close(). */
    void (*release)(struct fs *fs, struct handle *handle);
    /** Size, blocks, mode and times; the rest is filled before. `out` is as for a file of size 0 of
     *  mode 0444. */
    int (*attributes)(struct fs *fs, struct node *node, struct stat *out);
};

struct handle {
    const struct file_type *type;
    struct node *node; /* pinned */
    enum node_part part;
    int flags;
    bool created; /* by create() */
    bool alias;   /* opened by a temporary name: to the kernel another inode, with pages of its own */
    bool direct_io, keep_cache;
    uint64_t pages;       /* node->pages_stale when it was opened */
    atomic_bool dropping; /* the kernel was told to drop its pages, and has not shown yet that it did */
    bool resized; /* the size is another one than the kernel was told */
    LIST_ENTRY(handle) all; /* tree.lock */

    dn_dataset *dataset; /* data */
    uint64_t nbytes;
    atomic_bool idle;    /* flushed, and not written since */
    uint64_t end;        /* created by a temporary name: where the furthest write ended; the stream's write_lock */

    struct view *view;   /* a view's file, */
    struct node *of;     /* and the pinned node of its dataset */
    struct zarr_file *chunk; /* a chunk in a Zarr directory */

    char *text;          /* .meta and generated text: what is read, and for .meta what was written */
    size_t length;
    struct dn_desc desc; /* .meta of a dataset, open for writing */
    bool wrote; /* since it was opened or, for a draft, since its opener closed it */
    pid_t opener;
};

extern const struct file_type file_data;
extern const struct file_type file_meta;
extern const struct file_type file_stats;
extern const struct file_type file_config;
extern const struct file_type file_view;
extern const struct file_type file_zarr;

/** The table of a node's part; NULL: a directory. */
const struct file_type *files_type(const struct node *node, enum node_part part);

/** Open a part of a node for process `pid`. `created`: the name was just made. `alias`: it is a temporary one. */
int files_open(struct fs *fs, struct node *node, enum node_part part, int flags, bool created, bool alias,
               pid_t pid, struct handle **out);
void files_close(struct fs *fs, struct handle *handle);
/** Close what is still open when the session has ended. */
void files_close_all(struct fs *fs);

/** All attributes of a node's part. */
int files_attributes(struct fs *fs, struct node *node, enum node_part part, struct stat *out);

/** For how long the kernel may keep `shown`, in seconds: a size that is about to change, not at all. */
double files_timeout(struct fs *fs, struct node *node, enum node_part part, const struct stat *shown);

/**
 * What a dataset is, from memory if it is recent or in use, else from the store. Damaged metadata are
 * facts too (`damaged`), and logged once.
 */
int files_facts(struct fs *fs, struct node *node, struct facts *out);

/** The facts that are remembered, if they are recent or in use. */
bool files_recent(struct fs *fs, struct node *node, struct facts *out);
/** Remember facts, as of now. */
void files_remember(struct fs *fs, struct node *node, struct facts *facts);

/** Remember facts of an open dataset. */
void files_learn(struct fs *fs, struct node *node, dn_dataset *dataset);

/** Open a node's dataset by its name of this moment. */
int files_dataset(struct fs *fs, struct node *node, dn_dataset **out);

/** Open a dataset by name; trouble is logged. */
int files_open_name(struct fs *fs, const char *name, dn_dataset **out);

/** Open the dataset of a view's node and read its expression. -ENOENT: the dataset that has the name now has no
 *  such slice; -ESTALE: the view was one of another dataset, and the kernel looks its name up again. */
int files_open_slice(struct fs *fs, const struct node *node, dn_dataset **out, struct dn_slice *slice);

/** The size and time that facts tell. */
void files_show_facts(const struct facts *facts, struct stat *out);

/**
 * Ask about what memory has of a handle's dataset, at once, rather than block by block while it is read.
 * @return false: the kernel's pages are not to be kept. Who will not read, or replaces everything, needs no answer.
 */
bool files_verify(struct fs *fs, struct handle *handle);

/**
 * Decide whether the kernel may keep the pages that it has: `verified` is what files_verify() said, `generation` the
 * dataset's. Called with tree.lock.
 *
 * The kernel drops them after the reply to the open, on the opener's thread, and so perhaps after the reply to
 * somebody else's. So until a request through the handle shows that it has, all others are told to drop them too.
 */
void files_keep_pages(struct handle *handle, bool verified, uint64_t generation);
/** A read or a close came through the handle: its open() has returned. */
void files_opened(struct fs *fs, struct handle *handle);

/** dn_close() where nobody waits for its error: a failure is logged, the data stay dirty. */
void files_give_back(dn_dataset *dataset);

/** Does a process or thread belong to the same process as another? */
bool files_same_process(pid_t a, pid_t b);

/** Read from a text of `length` bytes. */
int64_t files_read_text(const char *text, size_t length, char *buffer, size_t size, uint64_t offset);

#endif
