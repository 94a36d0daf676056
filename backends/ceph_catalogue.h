// SPDX-License-Identifier: Apache-2.0
/*
 * The catalogue: the names of a pool's datasets, so that listing them need not look at every chunk.
 *
 * It is the object "catalogue" in the namespace "dosnafs" of the pool: one omap key for each name, whose value is
 * a mark of whoever entered it, different each time. DosNa, which has no listing, looks at neither. What it
 * makes is entered when it is opened here; what it deletes goes out when it is looked for and not found.
 *
 * Several mounts change names at once, and nothing joins the catalogue and a dataset's object in one step.
 * What holds all the same is that no dataset made here is ever missing from the catalogue:
 *   - create enters the name before it makes the object, and once more, under a new mark, after that;
 *   - a name is taken out only if it still has the mark that it had before its object was seen to be absent.
 * So whoever takes a name out, and has not seen an object that was made since, finds a new mark and leaves it.
 * What a crash can leave is a name too many, which goes when somebody looks for it.
 */
#ifndef DOSNA_CEPH_CATALOGUE_H
#define DOSNA_CEPH_CATALOGUE_H

#include "ceph_pool.h"
#include <dosna/backend.h>
#include <stdatomic.h>

#define CEPH_CATALOGUE "catalogue"
#define CEPH_CATALOGUE_SLOTS 16384
#define CEPH_CATALOGUE_BATCH 64

/** Which versions of which datasets' objects were seen to be entered, by hash: a miss only costs a request. */
struct ceph_catalogue {
    const struct ceph_pool *pool;
    _Atomic uint64_t seen[CEPH_CATALOGUE_SLOTS];
    _Atomic uint64_t marks; /* that this connection has made */
};

void ceph_catalogue_init(struct ceph_catalogue *catalogue, const struct ceph_pool *pool);

/** Enter up to CEPH_CATALOGUE_BATCH names under a new mark. -EACCES or -ENOTSUP: this client, or this kind of pool,
 *  keeps no catalogue. */
int ceph_catalogue_enter(struct ceph_catalogue *catalogue, const char *const *names, size_t count);

/** An object of this version was opened: enter it unless it is known to be there. A failure is not one of the open. */
void ceph_catalogue_opened(struct ceph_catalogue *catalogue, const char *name, uint64_t version);
/** It was just entered: no need to ask. */
void ceph_catalogue_note(struct ceph_catalogue *catalogue, const char *name, uint64_t version);

/** Take a name out whose dataset is gone. It may fail: the next one who looks for it tries again. */
void ceph_catalogue_settle(struct ceph_catalogue *catalogue, const char *name);

/** Every name, a page at a time. -ENOTSUP: this kind of pool keeps no catalogue. */
int ceph_catalogue_list(struct ceph_catalogue *catalogue, dn_name_fn fn, void *arg);

/** Look at every object of the pool and enter what is a dataset. (ceph_rescan.c) */
int ceph_catalogue_rescan(struct ceph_catalogue *catalogue);

/** FNV-1a. */
uint64_t ceph_hash(const char *text);

#endif
