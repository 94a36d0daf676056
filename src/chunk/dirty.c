// SPDX-License-Identifier: Apache-2.0
#include "dirty.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "block.h"
#include "clock.h"
#include "put.h"

struct dirty_chunk *dirty_find_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    struct block_key key = {dataset->id, chunk, 0};
    struct dirty_chunk *record;

    HASH_FIND_BYHASHVALUE(hh, dataset->cache->dirty_chunks, &key, sizeof key, block_key_hash(&key), record);
    return record;
}

int dirty_prepare_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    struct cache *cache = dataset->cache;
    struct dirty_chunk *record = dirty_find_locked(dataset, chunk);

    if (record) {
        record->writers++;
        return 0;
    }
    if (!memory_room_locked(cache, sizeof *record))
        return -EAGAIN;
    record = calloc(1, sizeof *record);
    if (!record)
        return -ENOMEM;
    record->key = (struct block_key){dataset->id, chunk, 0};
    record->dataset = dataset;
    record->round = cache->flush_round; /* a flush that runs now need not wait for it */
    record->writers = 1;
    HASH_ADD_BYHASHVALUE(hh, cache->dirty_chunks, key, sizeof record->key, block_key_hash(&record->key),
                         record);
    if (!record->hh.tbl) {
        free(record);
        return -ENOMEM;
    }
    DL_APPEND(dataset->dirty, record);
    arena_charge(cache->arena, sizeof *record);
    return 0;
}

bool dirty_holds(const struct dirty_chunk *record)
{
    return record->bytes || record->flight;
}

/* Nothing is dirty, nobody is about to change that, and no put will look at it. */
static void record_drop_locked(struct dirty_chunk *record)
{
    struct cache *cache = record->dataset->cache;

    if (dirty_holds(record) || record->writers || record->putting)
        return;
    DL_DELETE(record->dataset->dirty, record);
    HASH_DEL(cache->dirty_chunks, record);
    arena_charge(cache->arena, -(int64_t)sizeof *record);
    free(record->error_text);
    free(record);
}

void dirty_count_locked(struct cache *cache, int64_t bytes)
{
    cache->dirty_bytes += (uint64_t)bytes;
    atomic_store_explicit(&cache->stats->value[STAT_CACHE_DIRTY_BYTES], cache->dirty_bytes,
                          memory_order_relaxed);
}

/* What must be dirty for the chunk to need no read: all of its blocks but those in the padding. */
static uint64_t needed_bytes(const struct grid *grid, uint64_t chunk)
{
    uint64_t needed = 0;
    struct block_box box;

    for (uint64_t piece = 0; piece < grid->blocks_per_chunk; piece++)
        if (grid_chunk_block(grid, chunk, piece, &box))
            needed += box.nbytes;
    return needed;
}

static bool complete(const struct dirty_chunk *record)
{
    const struct grid *grid = &record->dataset->grid;

    return record->bytes == grid->chunk_nbytes ||
           (grid->blocks_per_chunk > 1 && record->bytes == needed_bytes(grid, record->key.chunk));
}

void dirty_added_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t bytes)
{
    struct dirty_chunk *record = dirty_find_locked(dataset, chunk);

    record->writers--;
    dirty_count_locked(dataset->cache, (int64_t)bytes);
    record->bytes += bytes;
    record->last = clock_now();
    if (!record->first)
        record->first = record->last;
    if (record->putting) {
        dataset->cache->putting_bytes += bytes;
        return;
    }
    DL_DELETE(dataset->dirty, record);
    DL_APPEND(dataset->dirty, record);
    record_drop_locked(record);
}

void dirty_store_complete_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    struct dirty_chunk *record = dirty_find_locked(dataset, chunk);

    if (record && !record->putting && complete(record) && record->retry_at <= record->last)
        put_start_locked(record);
}

/* The chunk is open to the next put. */
void put_over_locked(struct dirty_chunk *record, bool well)
{
    struct cache_dataset *dataset = record->dataset;
    struct cache *cache = dataset->cache;

    cache->putting_bytes -= record->bytes + record->flight;
    record->putting = false;
    DL_DELETE(dataset->puts, record);
    DL_APPEND(dataset->dirty, record);
    dataset->busy--;
    pthread_cond_broadcast(&cache->room);
    if (well && complete(record))
        put_start_locked(record);
    else
        record_drop_locked(record);
}

bool chunk_claim_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    struct dirty_chunk *record = dirty_find_locked(dataset, chunk);

    if ((record && record->putting) || dirty_prepare_locked(dataset, chunk))
        return false;
    record = dirty_find_locked(dataset, chunk);
    record->putting = true;
    dataset->cache->putting_bytes += record->bytes + record->flight;
    DL_DELETE(dataset->dirty, record);
    DL_APPEND(dataset->puts, record);
    dataset->busy++;
    return true;
}

void chunk_release_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    struct dirty_chunk *record = dirty_find_locked(dataset, chunk);

    record->writers--;
    put_over_locked(record, true);
}

void dirty_dropped_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t bytes)
{
    struct dirty_chunk *record = dirty_find_locked(dataset, chunk);

    if (!record)
        return;
    dirty_count_locked(dataset->cache, -(int64_t)bytes);
    record->bytes -= bytes;
    if (record->putting)
        dataset->cache->putting_bytes -= bytes;
    else
        record_drop_locked(record);
    pthread_cond_broadcast(&dataset->cache->room);
}

void flight_dropped_locked(struct block *block)
{
    struct dirty_chunk *record = dirty_find_locked(block->dataset, block->key.chunk);
    uint64_t bytes = ranges_total(&block->flight);

    if (!bytes)
        return;
    ranges_clear(&block->flight);
    record->flight -= bytes;
    dirty_count_locked(block->dataset->cache, -(int64_t)bytes);
    record_drop_locked(record);
}

void dirty_merge_locked(struct block *block)
{
    uint64_t before = ranges_total(&block->dirty);
    struct range first = ranges_at(&block->dirty, 0);
    struct range last = ranges_at(&block->dirty, block->dirty.count - 1);
    struct dirty_chunk *record = dirty_find_locked(block->dataset, block->key.chunk);

    ranges_set(&block->dirty, first.lo, last.hi);
    record->bytes += last.hi - first.lo - before;
    dirty_count_locked(block->dataset->cache, (int64_t)(last.hi - first.lo - before));
    if (record->putting)
        block->dataset->cache->putting_bytes += last.hi - first.lo - before;
}
