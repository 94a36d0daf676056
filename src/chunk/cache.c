// SPDX-License-Identifier: Apache-2.0
/* Datasets in the cache, and the cache as a whole. */
#include "cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#include "block.h"
#include "checked.h"
#include "clock.h"
#include "dirty.h"
#include "fetch.h"
#include "writeback.h"

/* Blocks that cache_verify() asks about; more would keep an open() too long. */
#define MOST_ASKED 8192

/* ---- datasets ------------------------------------------------------------------------------- */

static int64_t wall_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void cache_touch_locked(struct cache_dataset *dataset)
{
    dataset->mtime_ns = wall_clock_ns();
}

static bool all_zero(const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

/* A sequential writer completes chunks only at the end of a slab: where a slab fits, it may stay dirty. */
static uint64_t dirty_limit(const struct cache *cache, const struct grid *whole)
{
    uint64_t slab = grid_slab_memory(whole), spare = memory_spare_for(whole->chunk_nbytes);
    uint64_t most = cache->limit > spare ? (cache->limit - spare) / 4 * 3 : 0;

    if (slab > most)
        return min_u64(cache->dirty_max, most);
    return max_u64(min_u64(cache->dirty_max, most), min_u64(slab + slab / 8, most));
}

/* What is fetched ahead (three eighths of the cache), the slab that is being read, and the one before it, as readers are
   out of order by a few requests, must fit. A block is at most a few times what the store likes to read at
   once. */
static void choose_blocks(const struct cache *cache, struct grid *grid)
{
    uint64_t largest = max_u64(4 * cache->good_read, 1u << 20);

    grid_cut(grid, cache->limit / 5, min_u64(largest, max_u64(cache->limit / 16, 512)));
}

int cache_add_dataset(struct cache *cache, struct store_dataset *store, const struct dn_desc *desc,
                      struct cache_dataset **out)
{
    struct cache_dataset *dataset = calloc(1, sizeof *dataset);

    if (!dataset || dn_desc_copy(&dataset->desc, desc)) {
        free(dataset);
        return dn_fail(-ENOMEM, "out of memory");
    }
    dataset->cache = cache;
    dataset->store = store;
    dataset->void_from = UINT64_MAX;
    dataset->epoch = 1;
    dataset->fill_is_zero = !desc->fill || all_zero(desc->fill, desc->dtype.itemsize);
    dataset->mtime_ns = wall_clock_ns();
    grid_init(&dataset->whole, desc);
    dataset->grid = dataset->whole;
    choose_blocks(cache, &dataset->grid);
    dataset->dirty_limit = dirty_limit(cache, &dataset->whole);

    pthread_mutex_lock(&cache->lock);
    dataset->id = cache->next_id++;
    /* Pages of an earlier dataset of this name, of which others may have changed anything, have another number. */
    if (cache->mode != CACHE_ALWAYS)
        dataset->generation = dataset->id << 32;
    DL_APPEND(cache->datasets, dataset);
    pthread_mutex_unlock(&cache->lock);
    *out = dataset;
    return 0;
}

int cache_wait_idle_locked(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    int64_t deadline = clock_now() + cache->patience;
    int error = 0;

    dataset->calm++;
    while (dataset->busy && !error)
        error = clock_wait(&cache->room, &cache->lock, deadline);
    if (--dataset->calm == 0)
        pthread_cond_broadcast(&cache->room);
    if (error == -ETIMEDOUT)
        return dn_fail(error, "requests to the store did not end in time");
    return dataset->busy ? error : 0;
}

/* An entry that somebody pins this moment is emptied instead. */
static void block_drop_locked(struct block *block)
{
    uint64_t dirty = ranges_total(&block->dirty);

    flight_dropped_locked(block);
    ranges_set(&block->dirty, 0, 0);
    block_cut_locked(block, 0);
    block->hole = false;
    if (dirty)
        dirty_dropped_locked(block->dataset, block->key.chunk, dirty);
    if (!block->pins)
        block_free_locked(block);
}

static void drop_blocks_locked(struct cache_dataset *dataset)
{
    struct block *block, *next;

    DL_FOREACH_SAFE2(dataset->blocks, block, next, ds_next)
    block_drop_locked(block);
}

void cache_remove_dataset(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;

    pthread_mutex_lock(&cache->lock);
    drop_blocks_locked(dataset);
    DL_DELETE(cache->datasets, dataset);
    pthread_mutex_unlock(&cache->lock);
    store_close_dataset(dataset->store);
    ranges_clear(&dataset->restored);
    dn_desc_clear(&dataset->desc);
    free(dataset);
}

int cache_retire(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    int error;

    pthread_mutex_lock(&cache->lock);
    dataset->stale = true;
    error = cache_wait_idle_locked(dataset);
    if (!error)
        drop_blocks_locked(dataset);
    pthread_mutex_unlock(&cache->lock);
    return error;
}

void cache_new_epoch(struct cache_dataset *dataset)
{
    pthread_mutex_lock(&dataset->cache->lock);
    dataset->epoch++;
    pthread_mutex_unlock(&dataset->cache->lock);
}

/* Parts of chunks would be read by requests of their own, and put together to be stored. */
void cache_use_once(struct cache_dataset *dataset, uint64_t in_use)
{
    struct cache *cache = dataset->cache;
    uint64_t budget = cache->limit / 5;

    pthread_mutex_lock(&cache->lock);
    dataset->once = true;
    if (!dataset->blocks && !dataset->busy) {
        dataset->grid = dataset->whole;
        grid_cut(&dataset->grid, in_use > budget ? budget : UINT64_MAX, max_u64(cache->limit / 16, 512));
    }
    pthread_mutex_unlock(&cache->lock);
}

/* Ask about every clean block at once. False: one could not be asked about. */
static bool ask_all_locked(struct cache_dataset *dataset)
{
    struct block *block;
    struct block_box box;
    bool failed;

again: /* without threads the lock is released by each fetch */
    DL_FOREACH2(dataset->blocks, block, ds_next)
    {
        if (block_current_locked(block) || block->fetch)
            continue;
        grid_chunk_block(&dataset->grid, block->key.chunk, block->key.piece, &box);
        block_hold_locked(block); /* or it makes room for its own buffer */
        failed = !fetch_allowed_locked(block) || fetch_start_locked(block, &box, 0, block->nbytes, false);
        block_unpin_locked(block);
        if (failed)
            return false;
        if (pool_threads(dataset->cache->pool) == 0)
            goto again;
    }
    return true;
}

/* False: it changed, is gone, or nobody knows. */
static bool await_answer_locked(struct block *block, int64_t deadline)
{
    int error = 0;
    bool holds;

    block_hold_locked(block);
    while (block->fetch && !error)
        error = block_wait_locked(block, deadline);
    holds = !block->fetch && block->valid.count && block_current_locked(block);
    block_unpin_locked(block);
    return holds;
}

static bool await_all_locked(struct cache_dataset *dataset)
{
    int64_t deadline = clock_now() + dataset->cache->patience;
    struct block *block;

    DL_FOREACH2(dataset->blocks, block, ds_next)
    if (!await_answer_locked(block, deadline)) /* if not, the block may be gone */
        return false;
    return true;
}

static bool too_many_to_ask_locked(const struct cache_dataset *dataset)
{
    const struct block *block = dataset->blocks;

    for (unsigned n = 0; block && n < MOST_ASKED; n++)
        block = block->ds_next;
    return block;
}

void cache_verify(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    uint64_t generation;

    pthread_mutex_lock(&cache->lock);
    generation = dataset->generation;
    if ((dataset->forgot || !cache->compare_cheap || too_many_to_ask_locked(dataset) || !ask_all_locked(dataset) ||
         !await_all_locked(dataset) || dataset->forgot) && dataset->generation == generation)
        dataset->generation++;
    dataset->forgot = false;
    pthread_mutex_unlock(&cache->lock);
}

bool cache_is_truncated(struct cache_dataset *dataset)
{
    bool truncated;

    pthread_mutex_lock(&dataset->cache->lock);
    truncated = dataset->void_from != UINT64_MAX;
    pthread_mutex_unlock(&dataset->cache->lock);
    return truncated;
}

bool cache_chunk_is_dirty(struct cache_dataset *dataset, uint64_t chunk)
{
    bool dirty;

    pthread_mutex_lock(&dataset->cache->lock);
    dirty = dirty_find_locked(dataset, chunk);
    pthread_mutex_unlock(&dataset->cache->lock);
    return dirty;
}

/* What is known of a chunk, or on its way, may be out of date. */
static void distrust_chunk_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    for (uint64_t piece = 0; piece < dataset->grid.blocks_per_chunk; piece++) {
        struct block *block = block_find_locked(dataset, chunk, piece);

        if (block)
            fetch_distrust_locked(block);
    }
}

/* Claim a chunk while nothing of the dataset is in flight, when write-back has made room for that. */
static int claim_idle_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    struct cache *cache = dataset->cache;
    int64_t deadline = clock_now() + cache->patience;
    int error;

    for (;;) {
        error = cache_wait_idle_locked(dataset);
        if (!error && dataset->stale)
            error = dn_fail(-ESTALE, "the dataset was deleted or replaced");
        if (error || chunk_claim_locked(dataset, chunk))
            return error;
        if (memory_room_locked(cache, sizeof(struct dirty_chunk)))
            return dn_fail(-ENOMEM, "out of memory");
        error = writeback_wait_room_locked(cache, sizeof(struct dirty_chunk), deadline);
        if (error)
            return error;
    }
}

int cache_delete_chunk(struct cache_dataset *dataset, uint64_t chunk)
{
    struct cache *cache = dataset->cache;
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = {chunk, index, dataset->grid.ndim};
    bool dirty = false;
    int error;

    grid_chunk_index(&dataset->grid, chunk, index);
    pthread_mutex_lock(&cache->lock);
    error = claim_idle_locked(dataset, chunk);
    if (error) {
        pthread_mutex_unlock(&cache->lock);
        return error;
    }
    for (uint64_t piece = 0; piece < dataset->grid.blocks_per_chunk; piece++) {
        struct block *block = block_find_locked(dataset, chunk, piece);

        if (!block)
            continue;
        dirty = dirty || block->dirty.count;
        block_drop_locked(block);
    }
    pthread_mutex_unlock(&cache->lock);
    error = store_delete_chunk(dataset->store, &id);
    pthread_mutex_lock(&cache->lock);
    distrust_chunk_locked(dataset, chunk); /* readers went on meanwhile */
    dataset->changes++;
    dataset->generation++;
    cache_touch_locked(dataset);
    chunk_release_locked(dataset, chunk);
    pthread_mutex_unlock(&cache->lock);
    return error == -ENOENT && dirty ? 0 : error;
}

/* ---- the cache ------------------------------------------------------------------------------ */

static uint64_t prefetch_bytes(const struct cache_settings *settings, unsigned threads)
{
    if (threads == 0)
        return 0;
    if (settings->prefetch == DN_SIZE_AUTO)
        return settings->limit / 8 * 3;
    return min_u64((uint64_t)settings->prefetch, settings->limit / 4 * 3);
}

int cache_create(const struct cache_settings *settings, struct pool *pool, struct stats *stats,
                 struct cache **out)
{
    struct cache *cache = calloc(1, sizeof *cache);

    *out = NULL;
    if (!cache || arena_create(settings->limit, &cache->arena)) {
        free(cache);
        return dn_fail(-ENOMEM, "out of memory");
    }
    cache->pool = pool;
    cache->stats = stats;
    cache->limit = settings->limit;
    cache->dirty_max = min_u64(settings->dirty_max, settings->limit / 4 * 3);
    cache->prefetch_max = prefetch_bytes(settings, pool_threads(pool));
    cache->good_read = settings->good_read;
    cache->compare_cheap = settings->compare_cheap;
    cache->patience = clock_ns(settings->patience);
    cache->dirty_expire = (int64_t)min_u64((uint64_t)clock_ns(settings->dirty_expire), INT64_MAX / 64);
    cache->mode = settings->mode;
    cache->next_id = 1;
    pthread_mutex_init(&cache->lock, NULL);
    clock_cond_init(&cache->room);
    clock_cond_init(&cache->tick);
    for (int i = 0; i < CACHE_QUEUES; i++)
        clock_cond_init(&cache->queue[i]);
    *out = cache;
    return writeback_start(cache);
}

void cache_destroy(struct cache *cache)
{
    if (!cache)
        return;
    assert(!cache->blocks && !cache->datasets);
    arena_destroy(cache->arena);
    for (int i = 0; i < CACHE_QUEUES; i++)
        pthread_cond_destroy(&cache->queue[i]);
    pthread_cond_destroy(&cache->tick);
    pthread_cond_destroy(&cache->room);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

#ifndef NDEBUG
static void check_block(const struct block *block)
{
    assert(!block->hole || (!block->buffer && !block->dirty.count) || block->fetch);
    assert(!block->valid.count || block->buffer || block->hole);
    for (size_t i = 0; i < block->dirty.count; i++) {
        struct range dirty = ranges_at(&block->dirty, i);

        assert(ranges_cover(&block->valid, dirty.lo, dirty.hi));
        assert(dirty.hi <= block->nbytes);
    }
    assert(!(block->writer && block->readers));
    assert(!(block->fetch && block->writer));
    assert(!block->cut || block->readers);
    assert(block->pins >= block->readers + block->writer + (block->fetch != NULL));
    assert((block->list != LIST_NONE) == block_evictable_locked(block));
    assert(block->list != LIST_GUESSES || block->guess);
}

/* All of it takes time in proportion to what is cached: of a large cache, now and then. */
void cache_check_locked(struct cache *cache)
{
    static _Atomic unsigned calls;
    uint64_t dirty = 0, guesses = 0, noted = 0, putting = 0;
    struct dirty_chunk *chunk, *next_chunk;
    struct block *block, *next;

    if (HASH_COUNT(cache->blocks) > 64 && atomic_fetch_add(&calls, 1) % 512)
        return;
    HASH_ITER(hh, cache->blocks, block, next)
    {
        check_block(block);
        dirty += ranges_total(&block->dirty) + ranges_total(&block->flight);
        guesses += block->guess ? block->nbytes : 0;
    }
    HASH_ITER(hh, cache->dirty_chunks, chunk, next_chunk)
    {
        noted += chunk->bytes + chunk->flight;
        putting += chunk->putting ? chunk->bytes + chunk->flight : 0;
    }
    assert(putting == cache->putting_bytes);
    assert(guesses == cache->guess_bytes);
    assert(noted == cache->dirty_bytes);
    assert(dirty == noted);
    assert(arena_held(cache->arena) <= cache->limit);
}
#endif
