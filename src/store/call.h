// SPDX-License-Identifier: Apache-2.0
/*
 * One call to a backend: its turn, its tries with the pauses between them, its outcome. With the two objects of
 * the door, for store.c, listing.c and chunks.c alone: others know them by store.h.
 *
 * Every request goes the same way, on the caller's thread:
 *
 *     struct call call = call_on_store(store, OP_RESCAN, store->name);
 *     while (call_attempt(&call))
 *         call_finish(&call, store->backend->rescan(store->conn));
 *     return call.result;
 *
 * An operation that the backend lacks (NULL) is the caller's affair, before the loop.
 */
#ifndef DOSNA_CALL_H
#define DOSNA_CALL_H

#include "store.h"
#include <pthread.h>

struct store {
    const struct dn_backend *backend;
    void *conn;
    char *name;
    struct store_settings settings;
    struct stats *stats;
    struct dn_limits limits;

    pthread_mutex_t mutex; /* guards `calls` */
    pthread_cond_t turn;
    unsigned calls; /* in the backend now; counted only when limits.max_calls is set */
};

struct store_dataset {
    struct store *store;
    void *handle;
    char *name;
    int ndim;
    uint64_t grid[DN_MAX_NDIM]; /* chunks along each axis */
    uint64_t chunk_nbytes;
};

/** One for each operation of a backend; call.c has its rules: name, counter, flags. */
enum op {
    OP_LIST, OP_RESCAN, OP_CREATE, OP_OPEN, OP_HAS, OP_DELETE, OP_RENAME, OP_USAGE,
    OP_READ, OP_WRITE, OP_DELETE_CHUNK, OP_DELETE_CHUNKS, OP_HAS_CHUNK, OP_LENGTH, OP_LIST_CHUNKS, OP_COPY,
    OP_LIST_STRAYS, OP_STRAYS, OP_FLUSH,
};

/** What a backend may answer to a call, and whether it may be asked twice. */
enum {
    MAY_BE_ABSENT = 1 << 0, /* -ENOENT is an answer */
    MAY_BE_ONE = 1 << 1,    /* 1 is an answer */
    GONE_IS_DONE = 1 << 2,  /* a repeated removal that finds nothing has succeeded before */
    NOT_TWICE = 1 << 3,     /* a repetition would stumble over the success of the first try */
};

struct call {
    struct store *store;
    enum op op;
    unsigned flags;               /* the operation's; the caller may add to them before the first try */
    const char *name;             /* for the error text */
    const struct dn_chunk_id *id; /* NULL: not about one chunk */
    int64_t tries;
    bool unsure; /* an earlier try failed, but may have had its effect */
    int result;
};

/** A call that is about a connection or, by name, about a dataset. What is given must outlive it. */
struct call call_on_store(struct store *store, enum op op, const char *name);
/** A call that is about an open dataset and, unless `id` is NULL, about one chunk of it. */
struct call call_on_dataset(struct store_dataset *dataset, enum op op, const struct dn_chunk_id *id);

/**
 * Wait: for the pause before another try, then for a turn. True: the turn is taken and the request counted; make it, and
 * call call_finish(). False: it is over, and call.result is the outcome, with a text if it is an error.
 */
bool call_attempt(struct call *call);
/** What the backend returned; gives the turn back. An answer that its operation may not give becomes -EIO. */
void call_finish(struct call *call, int rc);
/** The operation's name in struct dn_backend, for texts. */
const char *call_what(const struct call *call);

/** For store_open() and store_close(): what the turns of a connection need. 0 or an error without a text. */
int call_init_turns(struct store *store);
void call_free_turns(struct store *store);

/** `index` is not NULL, has the dataset's number of axes, and is inside its grid. */
bool chunk_in_grid(const struct store_dataset *dataset, const uint64_t *index, int ndim);

#endif
