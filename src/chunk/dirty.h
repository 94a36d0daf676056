// SPDX-License-Identifier: Apache-2.0
/*
 * Chunks of which something is dirty: the records that write-back works on, and how blocks' dirty bytes are counted
 * in them. The caller holds cache->lock.
 */
#ifndef DOSNA_DIRTY_H
#define DOSNA_DIRTY_H

#include "cache.h"

struct dirty_chunk *dirty_find_locked(struct cache_dataset *dataset, uint64_t chunk);
/** Announce a write to the chunk; dirty_added_locked() follows and cannot fail then. 0; -EAGAIN: no room
 *  in the cache now; -ENOMEM. */
int dirty_prepare_locked(struct cache_dataset *dataset, uint64_t chunk);
/** The write is done: `bytes` more of the chunk are dirty, perhaps none. */
void dirty_added_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t bytes);
/** Store the chunk if all of it is dirty. Nothing of it may be latched by the caller: with an engine without threads
 *  it is stored here, and the lock is released meanwhile. */
void dirty_store_complete_locked(struct cache_dataset *dataset, uint64_t chunk);
/** Dirty bytes went away without being stored (truncated, deleted). */
void dirty_dropped_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t bytes);
/** The same for what a failed put could not give back (no memory). */
void flight_dropped_locked(struct block *block);
/** All of the block is valid: make its dirty intervals one. */
void dirty_merge_locked(struct block *block);
/** Keep write-back off a chunk while the caller works on it in the store. False: a put is queued or under way
 *  (or there is no memory); nothing was claimed. */
bool chunk_claim_locked(struct cache_dataset *dataset, uint64_t chunk);
/** As dirty_store_complete_locked(), the lock may be released meanwhile. */
void chunk_release_locked(struct cache_dataset *dataset, uint64_t chunk);
/** A put, or a claim, is over: the chunk is open to the next one, which begins at once if all of the chunk is dirty
 *  again and it went `well`. */
void put_over_locked(struct dirty_chunk *record, bool well);

/** Does the record stand for any dirty byte? */
bool dirty_holds(const struct dirty_chunk *record);
/** The cache's dirty bytes change by so many. */
void dirty_count_locked(struct cache *cache, int64_t bytes);

#endif
