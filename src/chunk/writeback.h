// SPDX-License-Identifier: Apache-2.0
/*
 * Write-back: which chunk is stored, and when.
 *
 *   - A chunk that is dirty from end to end is stored at once: nothing more is to come for it.
 *   - A chunk of which a part is dirty is stored when nothing was written to it for dirty_expire, when its
 *     first unstored write is 12 · dirty_expire old, when its dataset has more dirty than its limit (the chunk
 *     written longest ago first), or at a flush. What was not written is read first.
 *   - A chunk that could not be stored stays dirty and is tried again after 1 s, doubling up to 30 s, and at
 *     each flush.
 *
 * A whole chunk in one block is stored from the block's buffer, latched as by a reader meanwhile (a writer waits).
 * Anything else is assembled in a buffer of its own; writers go on, and what they write then makes
 * the chunk dirty again.
 */
#ifndef DOSNA_WRITEBACK_H
#define DOSNA_WRITEBACK_H

#include "cache.h"

/** Start the thread that watches the clock. 0 or a negative errno. */
int writeback_start(struct cache *cache);

/* The caller holds cache->lock. */

struct dirty_chunk *dirty_find_locked(struct cache_dataset *dataset, uint64_t chunk);
/** Announce a write to the chunk; dirty_added_locked() follows and cannot fail then. 0; -EAGAIN: no room
 *  in the cache now; -ENOMEM. */
int dirty_prepare_locked(struct cache_dataset *dataset, uint64_t chunk);
/** The write is done: `bytes` more of the chunk are dirty, perhaps none. Stores the chunk if it is complete;
 *  with an engine without threads the lock is released meanwhile. */
void dirty_added_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t bytes);
/** Dirty bytes went away without being stored (truncated, deleted). */
void dirty_dropped_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t bytes);
/** The same for what a failed put could not give back (no memory). */
void flight_dropped_locked(struct block *block);
/** All of the block is valid: make its dirty intervals one. */
void dirty_merge_locked(struct block *block);
/** Keep write-back off a chunk while the caller works on it in the store. False: a put is queued or under way
 *  (or there is no memory); nothing was claimed. */
bool chunk_claim_locked(struct cache_dataset *dataset, uint64_t chunk);
/** As dirty_added_locked(), the lock may be released meanwhile. */
void chunk_release_locked(struct cache_dataset *dataset, uint64_t chunk);
/** Have at least `want` dirty bytes of the cache on their way to the store, those written longest ago first.
 *  With an engine without threads they are stored here, and the lock is released meanwhile. */
void writeback_push_locked(struct cache *cache, uint64_t want);
/** Why nothing dirty gets stored: the error of a chunk that waits to be tried again while no put is under way;
 *  0 if there is hope. */
int writeback_stuck_locked(struct cache *cache);

#endif
