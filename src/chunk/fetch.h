// SPDX-License-Identifier: Apache-2.0
/*
 * Fetches: from the store into a block, once for all who wait. The caller holds cache->lock, but for
 * chunk_read().
 */
#ifndef DOSNA_FETCH_H
#define DOSNA_FETCH_H

#include "cache.h"

/** May a fetch of the block begin? Not while one is on its way, it is being written, or read from
 *  an older epoch or from what does not count any more. */
bool fetch_allowed_locked(const struct block *block);
/**
 * Begin a fetch of what is not valid of the block's bytes [lo, hi), or, if it is of an older epoch, of whether
 * it still holds. The fetch has its own pin. With an engine without threads the lock is released meanwhile.
 * @param ahead  nobody asked for it yet
 * @return 0; -EAGAIN: no memory in the cache now; -ENOMEM
 */
int fetch_start_locked(struct block *block, const struct block_box *box, uint64_t lo, uint64_t hi,
                       bool ahead);
/** Widen [*lo, *hi), which a reader without a pattern wants of the block, to what costs the store about the same:
 *  all of the block where that is not much more. */
void fetch_widen_locked(const struct block *block, const struct block_box *box, uint64_t *lo, uint64_t *hi);
/** What the block's last fetch failed with, told to the calling thread. */
int fetch_failure(const struct block *block);
/** A user waits for the fetch that is on its way. */
void fetch_await_locked(struct block *block);

/** What the block holds, or a fetch brings, may be out of date: it is asked about before it is used. */
void fetch_distrust_locked(struct block *block);

/** Read bytes of a chunk as they count now: from the store below a truncation, the fill value above. `hole` (may be
 *  NULL): nothing is stored. */
int chunk_read(struct cache_dataset *dataset, uint64_t chunk, uint64_t offset, unsigned char *buffer,
               uint64_t length, struct dn_version *version, bool *hole);

#endif
