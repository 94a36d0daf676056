// SPDX-License-Identifier: Apache-2.0
/*
 * What the public functions share. A connection is put together, and taken apart, in connection.c alone:
 * configuration → store → pool → cache → datasets. dataset.c has the names and lives of datasets; their bytes
 * are in dataset_io.c, slice_io.c and chunk_io.c.
 *
 * The connection's lock guards the table of datasets and their counts of openers; it is never held
 * across I/O. Lock order: connection, cache, pool.
 */
#ifndef DOSNA_CONNECTION_H
#define DOSNA_CONNECTION_H

#include <dosna/dosna.h>
#include <dosna/team.h>
#include <errno.h>
#include <pthread.h>

#include "cache.h"
#include "settings.h"
#include "stats.h"
#include "store.h"

struct dn_connection {
    dn_config *config;
    const struct settings *settings; /* in config */
    const struct dn_team *team;      /* of more than one process; else NULL */
    struct stats stats;
    struct store *store;
    struct pool *pool;
    struct cache *cache;
    pthread_mutex_t lock;
    struct dn_dataset *datasets; /* hash by name: open ones, and idle ones whose chunks are kept */
    struct dn_dataset *retired;  /* list: deleted or replaced while open */
    struct name_use *name_uses;  /* list */
    unsigned idle;
    uint64_t uses;               /* a clock for `used` */
};

/* A dn_open() or a dn_delete() under way. What an opener finds in the store does not count when a deletion of that name
   was under way meanwhile: what would be written to it could be left behind. */
struct name_use {
    struct name_use *prev, *next;
    const char *name;
    bool deletes;
    bool gone; /* of an opener: the name was, or is being, deleted */
};

/* A name that a dataset has or had: its users may still look at that one. */
struct dataset_name {
    struct dataset_name *older;
    char text[];
};

struct dn_dataset {
    dn_connection *conn;
    struct dataset_name *name;
    UT_hash_handle hh;
    struct dn_dataset *prev, *next; /* in `retired` */
    struct cache_dataset *cached;
    unsigned openers;
    bool retired;
    bool moving; /* dn_rename() is at it */
    uint64_t used;
};

/** Is this the process that creates and deletes for all of its team? */
static inline bool is_first(const dn_connection *conn)
{
    return !conn->team || conn->team->rank == 0;
}

/** 0, or -EROFS with a text where nothing may be written. */
static inline int check_writable(const dn_connection *conn)
{
    return conn->settings->ro ? dn_fail(-EROFS, "mounted read-only") : 0;
}

/** Nobody has it open, and it is in no table. */
void dataset_free(dn_dataset *dataset);

#endif
