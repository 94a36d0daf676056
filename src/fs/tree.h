// SPDX-License-Identifier: Apache-2.0
/*
 * The nodes that the kernel or an open file knows, one for each dataset, and what this mount alone
 * remembers of it: a draft that is no dataset yet, hidden files, the POSIX length of a truncated file.
 *
 * Inode ids. A node stands for a directory and its two files: an inode id is the node's address plus
 * the part (enum node_part), so that no table is searched on the way to a read; TREE_ALIAS marks a
 * temporary name (dirs.h), which is an inode of its own to the kernel. The root is FUSE_ROOT_ID.
 *
 * Inode numbers (st_ino) are another thing: they come from the name, so that they are the same after a
 * remount and a listing needs no nodes. In one directory `.meta` has a lower one than `data`, because
 * cp copies in that order and `.meta` has to be first.
 *
 * Life. A node lives while the kernel counts lookups of it, a pin holds it, or it has something to
 * remember (a draft, a hidden file). A node that was removed or replaced loses its name, not its life.
 *
 * Locks. tree.lock guards everything here that is not marked otherwise, and is never held across a
 * call that may reach the store. A stream's `write_lock` is taken before it, never after.
 */
#ifndef DOSNAFS_TREE_H
#define DOSNAFS_TREE_H

#include "push.h"

#include <dosna/dosna.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <time.h>

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION HASH_OAT /* the default falls through cases, of which clang warns */
#include <uthash.h>

enum node_kind {
    NODE_ROOT,
    NODE_CONTROL,    /* .dosnafs */
    NODE_STATS,
    NODE_CONFIG,
    NODE_VIEWS,      /* .dosnafs/views */
    NODE_ROOT_VIEWS, /* the same under its name in the root */
    NODE_DATASET,
    NODE_FIXED = NODE_DATASET, /* how many exist once and for ever */
    NODE_VIEW, /* from here on what views.h makes: a file */
    NODE_ZARR, /* a Zarr directory */
    NODE_ZARR_FILE
};

enum node_part { PART_SELF, PART_META, PART_DATA, PARTS };

#define TREE_ALIAS UINT64_C(4)

struct view_format;

/** What a view's node stands for (views.h). Constant, but for `mtime_ns`. One allocation. */
struct node_view {
    const struct view_format *format; /* NULL: a group's own file */
    const char *dataset;    /* its name in the store */
    const char *expression; /* of the slice; "" is all of it */
    const char *link;       /* where a detached header says that the data are, or "" */
    const char *file;       /* in a Zarr directory, or "" */
    int64_t mtime_ns;       /* of the dataset at the last open: what the kernel's pages are of */
};

/** A `.meta` that is not a dataset yet. */
struct draft {
    char *text; /* what was written so far */
    size_t length;
    char *error;    /* why it is no dataset, or NULL */
    bool present;   /* `.meta` was created */
    bool exclusive; /* ... with O_EXCL, */
    pid_t creator;  /* by this process */
    bool busy;      /* a close is creating the dataset */
};

/** `data` while it is or was open. */
struct stream {
    pthread_rwlock_t write_lock; /* shared: a write inside the length; exclusive: the length changes */
    _Atomic uint64_t length;     /* STREAM_WHOLE, or the POSIX length after a truncation */
    unsigned opens;
    unsigned writers;  /* of these, for writing */
    struct push push;  /* how mmap readers go through it */
    unsigned idle;     /* of these, flushed and not written since: perhaps about to be released */
    bool closing;      /* all are idle: the last close may be on its way (tree_settle()) */
};

#define STREAM_WHOLE UINT64_MAX

/** What attributes are made of, as of `at`. */
struct facts {
    bool known;
    bool damaged; /* the store has it, but it is no readable dataset */
    uint64_t nbytes;
    uint64_t meta_length;
    int64_t mtime_ns;
    struct timespec at; /* monotonic */
};

struct node {
    enum node_kind kind; /* constant */
    char *name;          /* the dataset's name in the store; a view's path */
    struct node_view *view; /* or NULL */
    uint64_t lookups;    /* by the kernel, all parts together */
    unsigned pins;
    bool named; /* found by its name */
    bool hidden[PARTS]; /* removed in this mount until it is created again */
    char *alias[PARTS]; /* a temporary name of the part (dirs.c), or NULL */
    struct draft *draft;
    pid_t clone_pid;       /* of the process to which `data` is absent once (dirs.c); 0: nobody */
    bool clone_told;       /* ... and which was told so: it may create `data` */
    struct facts facts;
    struct stream *stream; /* set once; NULL: never opened */
    uint64_t generation;   /* dn_generation() at the last open */
    uint64_t pages_stale;  /* how many times the kernel's pages became wrong, */
    uint64_t pages_fresh;  /* and as of which of these it is known to have dropped them (files_keep_pages()) */
    UT_hash_handle hh;     /* in by_name or by_path, if named */
    LIST_ENTRY(node) all;
};

struct tree {
    pthread_mutex_t lock;
    pthread_cond_t released; /* a stream's last open handle went, or became busy again */
    struct node fixed[NODE_FIXED];
    struct node *by_name;
    struct node *by_path; /* views */
    LIST_HEAD(, node) nodes;     /* all but the fixed ones */
    LIST_HEAD(, handle) handles; /* all open files; files.c */
    struct timespec changed;     /* the root directory's mtime */
};

int tree_init(struct tree *tree);
void tree_clear(struct tree *tree);

/* ---- inode ids ------------------------------------------------------------------------------ */

struct node *tree_node(struct tree *tree, uint64_t id, enum node_part *part);
uint64_t tree_id(const struct tree *tree, const struct node *node, enum node_part part);
/** The inode number of a part of dataset `name`, or (PARTS) of the view at path `name`. */
uint64_t tree_inode(const char *name, enum node_part part);

/* ---- nodes ---------------------------------------------------------------------------------- */

/** The node called `name`, pinned, or NULL. */
struct node *tree_find(struct tree *tree, const char *name);
/** The same, made if there is none. NULL: no memory. */
struct node *tree_get(struct tree *tree, const char *name);
/** The view at `path`, pinned; made if there is none that stands for the same. Takes over `view`. NULL: no memory. */
struct node *tree_view(struct tree *tree, const char *path, enum node_kind kind, struct node_view *view);
/** Pinned once more, for an open file. */
void tree_pin(struct tree *tree, struct node *node);
/** Take a pin away. */
void tree_put(struct tree *tree, struct node *node);
/** The kernel was told an id of this node: a lookup more. Called with a pin. */
void tree_told(struct tree *tree, struct node *node);
/** The kernel forgot `count` lookups. */
void tree_forget(struct tree *tree, struct node *node, uint64_t count);
/** The dataset or draft is gone: the name is free, hidden files and the draft are forgotten. Its views lose their
 *  names too, here and at a rename, so that views of what has the name next are other inodes. */
void tree_drop(struct tree *tree, struct node *node);
/** The same for a draft alone. -EBUSY while a close makes a dataset of it; 1: it is none. */
int tree_drop_draft(struct tree *tree, struct node *node);
/** The node is called `name` from now on; a node that had the name loses it. `draft`: it is one, and else has to be
 *  renamed in the store first. 0; -EBUSY: a draft that a close makes, or has made, a dataset of; -ENOMEM. */
int tree_rename(struct tree *tree, struct node *node, const char *name, bool draft);
/** Something was created, removed or renamed in the root. */
void tree_changed(struct tree *tree);

/* ---- drafts --------------------------------------------------------------------------------- */

/** A new node with an empty draft, pinned. NULL: no memory. */
struct node *tree_draft(struct tree *tree, const char *name);
bool tree_is_draft(struct tree *tree, const struct node *node);
/** The draft became a dataset; called with tree.lock. */
void tree_undraft(struct node *node);

/* ---- streams -------------------------------------------------------------------------------- */

/** The node's stream, made if there is none; called with tree.lock. NULL: no memory. */
struct stream *tree_stream(struct node *node);

/**
 * Wait a moment for a release that is probably on its way. The kernel tells of a close in two steps:
 * FLUSH, for which close() waits, and RELEASE, for which nobody does. A truncated file gets its full
 * size back at the release, so a stat() that follows the close() at once may overtake it on another
 * thread. When every open handle has been flushed and not written since, it waits up to a second.
 */
void tree_settle(struct tree *tree, struct node *node);

#endif
