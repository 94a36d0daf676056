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
 */
#ifndef DOSNA_WRITEBACK_H
#define DOSNA_WRITEBACK_H

#include "cache.h"

/** Start the thread that watches the clock. 0 or a negative errno. */
int writeback_start(struct cache *cache);

/* The caller holds cache->lock. */

/** Have at least `want` dirty bytes of the cache on their way to the store, those written longest ago first.
 *  With an engine without threads they are stored here, and the lock is released meanwhile. */
void writeback_push_locked(struct cache *cache, uint64_t want);
/** Why nothing dirty gets stored: the error of a chunk that waits to be tried again while no put is under way;
 *  0 if there is hope. */
int writeback_stuck_locked(struct cache *cache);
/** Wait for a moment until memory may be free, of which `need` bytes are wanted. 0: try again; what keeps written data
 *  from being stored, if nothing else moves; -ETIMEDOUT at the deadline; -EINTR. */
int writeback_wait_room_locked(struct cache *cache, uint64_t need, int64_t deadline);

#endif
