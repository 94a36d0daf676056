// SPDX-License-Identifier: Apache-2.0
/*
 * Entries of the cache and their memory: find, pin, evict. States and rules are in cache.h. The caller holds
 * cache->lock.
 */
#ifndef DOSNA_BLOCK_H
#define DOSNA_BLOCK_H

#include "cache.h"

struct block *block_find_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t piece);
/** Find or make, and pin. NULL: no memory now. */
struct block *block_pin_locked(struct cache_dataset *dataset, const struct block_box *box);
/** Pin an entry that is at hand. */
void block_hold_locked(struct block *block);
void block_unpin_locked(struct block *block);
/** Unpin what was read to its end or stored: where data are used once, the last one forgets the entry. */
void block_leave_locked(struct block *block);
/** Forget an entry that nobody pins. */
void block_free_locked(struct block *block);

/** Give the block a buffer if it has none, evicting others, but no guess for a `guess`. False: no memory now. */
bool block_buffer_locked(struct block *block, bool guess);
/** Take it away. */
void block_buffer_drop_locked(struct block *block);

/** Is [lo, hi) valid, and known to be so since this epoch? */
bool block_ready_locked(const struct block *block, uint64_t lo, uint64_t hi, uint64_t epoch);
/** Is what is valid known to be so since the dataset's epoch? */
bool block_current_locked(const struct block *block);
bool block_evictable_locked(const struct block *block);
/** Does a part of the block lie outside the shape? */
bool block_has_padding(const struct cache_dataset *dataset, const struct block_box *box);

/** The block's bytes from `lo` on are not valid any more. Readers that copy them now go on: until they have ended,
 *  nobody fetches into the block. */
void block_cut_locked(struct block *block, uint64_t lo);
/** A reader's copy has ended. */
void block_unlatch_locked(struct block *block);

/** Put the block on the list that its state asks for, or on none. */
void block_settle_locked(struct block *block);
/** A reader used it: it is no guess any more. */
void block_used_locked(struct block *block);
/** Wake who waits for this block. */
void block_wake_locked(struct block *block);
/** Wait for a change of the block. 0, -ETIMEDOUT, -EINTR. */
int block_wait_locked(struct block *block, int64_t deadline);

/** Memory under the cache's bound, leaving `spare` free; evicts. NULL: not now. Given back with arena_give(). */
void *memory_take_locked(struct cache *cache, uint64_t nbytes, uint64_t spare, bool guess);
/** Tell the counters how much is in use. */
void memory_noted_locked(struct cache *cache);
/** See to it that bookkeeping of so many bytes fits beside what write-back needs, evicting blocks. False: not now. */
bool memory_room_locked(struct cache *cache, uint64_t nbytes);
/** What must stay free of blocks so that a chunk can be assembled. */
uint64_t memory_spare_for(uint64_t chunk_nbytes);

/** Memory that is no block's, for a whole chunk; waits while others have theirs. -ENOMEM, -ETIMEDOUT, -EINTR. */
int scratch_wait_locked(struct cache *cache, uint64_t nbytes, void **out);
void scratch_give_locked(struct cache *cache, void *buffer, uint64_t nbytes);

#endif
