// SPDX-License-Identifier: Apache-2.0
/* Blocks, memory, eviction and fetches. The state table is in cache.h. */
#include "cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <utlist.h>

#include "box.h"
#include "checked.h"
#include "clock.h"
#include "log.h"
#include "writeback.h"

/* Blocks that cache_verify() asks about; more would keep an open() too long. */
#define MOST_ASKED 8192

struct fetch {
    struct pool_job job;
    struct block *block;
    struct block_box box;
    uint64_t epoch;
    bool again; /* the block is whole, but of an older epoch: does it still hold? */
};

/* ---- lists and memory -------------------------------------------------------------------- */

static pthread_cond_t *queue_of(const struct block *block)
{
    uint64_t h = (block->key.chunk * 31 + block->key.piece) * 0x9e3779b97f4a7c15u;

    return &block->dataset->cache->queue[h >> 58];
}

void block_wake_locked(struct block *block)
{
    pthread_cond_broadcast(queue_of(block));
}

int block_wait_locked(struct block *block, int64_t deadline)
{
    return clock_wait(queue_of(block), &block->dataset->cache->lock, deadline);
}

static bool evictable(const struct block *block)
{
    return !block->pins && !block->dirty.count && !block->flight.count;
}

static void list_remove(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    if (block->list == LIST_LRU)
        DL_DELETE(cache->lru, block);
    else if (block->list == LIST_GUESSES)
        DL_DELETE(cache->guesses, block);
    block->list = LIST_NONE;
}

void block_settle_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    list_remove(block);
    if (!evictable(block))
        return;
    if (block->guess) {
        DL_APPEND(cache->guesses, block);
        block->list = LIST_GUESSES;
    } else {
        DL_APPEND(cache->lru, block);
        block->list = LIST_LRU;
    }
    pthread_cond_broadcast(&cache->room);
}

void block_used_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    if (!block->guess)
        return;
    block->guess = false;
    cache->guess_bytes -= block->nbytes;
    stats_add(cache->stats, STAT_PREFETCH_USED, 1);
}

static void guess_lost_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    if (!block->guess)
        return;
    block->guess = false;
    cache->guess_bytes -= block->nbytes;
    stats_add(cache->stats, STAT_PREFETCH_WASTED, 1);
    prefetch_wasted(&block->dataset->prefetch);
}

static void note_memory(struct cache *cache)
{
    atomic_store_explicit(&cache->stats->value[STAT_CACHE_BYTES], arena_used(cache->arena),
                          memory_order_relaxed);
}

static void buffer_drop_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    if (!block->buffer)
        return;
    arena_give(cache->arena, block->buffer, block->nbytes);
    block->buffer = NULL;
    note_memory(cache);
    pthread_cond_broadcast(&cache->room);
}

void block_free_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    assert(!block->pins && !block->fetch);
    guess_lost_locked(block);
    list_remove(block);
    buffer_drop_locked(block);
    HASH_DEL(cache->blocks, block);
    DL_DELETE2(block->dataset->blocks, block, ds_prev, ds_next);
    ranges_clear(&block->valid);
    ranges_clear(&block->dirty);
    ranges_clear(&block->flight);
    free(block->error_text);
    free(block);
    arena_charge(cache->arena, -(int64_t)sizeof *block);
}

static bool evict_one_locked(struct cache *cache, bool guesses_too)
{
    struct block *victim = cache->lru;

    if (!victim && guesses_too)
        victim = cache->guesses;
    if (!victim)
        return false;
    stats_add(cache->stats, STAT_CACHE_EVICTIONS, 1);
    victim->dataset->forgot = true;
    block_free_locked(victim);
    return true;
}

/* A guess may not push out another guess: the reader who needs that one may be here any moment. */
static void *memory_take_locked(struct cache *cache, uint64_t nbytes, uint64_t spare, bool guess)
{
    for (;;) {
        void *memory = arena_take(cache->arena, nbytes, spare);

        if (memory) {
            note_memory(cache);
            return memory;
        }
        if (!evict_one_locked(cache, !guess))
            return NULL;
    }
}

/* Blocks leave room for one chunk, so that only other scratches can be in the way for long. */
int scratch_wait_locked(struct cache *cache, uint64_t nbytes, void **out)
{
    int64_t deadline = clock_now() + cache->patience;
    int error = 0;

    while (!(*out = memory_take_locked(cache, nbytes, 0, false))) {
        if (error || !cache->scratches)
            return dn_fail(error ? error : -ENOMEM,
                           "no room in cache_size to assemble a chunk of %llu bytes",
                           (unsigned long long)nbytes);
        error = clock_wait(&cache->room, &cache->lock, deadline);
    }
    cache->scratches++;
    return 0;
}

void scratch_give_locked(struct cache *cache, void *buffer, uint64_t nbytes)
{
    if (!buffer)
        return;
    cache->scratches--;
    arena_give(cache->arena, buffer, nbytes);
    note_memory(cache);
    pthread_cond_broadcast(&cache->room);
}

bool room_for_entry_locked(struct cache *cache, uint64_t nbytes)
{
    while (arena_used(cache->arena) + nbytes > cache->limit)
        if (!evict_one_locked(cache, true))
            return false;
    return true;
}

/* ---- blocks --------------------------------------------------------------------------------- */

struct block *block_find_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t piece)
{
    struct block_key key = {dataset->id, chunk, piece};
    struct block *block;

    HASH_FIND(hh, dataset->cache->blocks, &key, sizeof key, block);
    return block;
}

static struct block *block_new_locked(struct cache_dataset *dataset, const struct block_box *box)
{
    struct cache *cache = dataset->cache;
    struct block *block;

    if (!room_for_entry_locked(cache, sizeof *block))
        return NULL;
    block = calloc(1, sizeof *block);
    if (!block)
        return NULL;
    block->key = (struct block_key){dataset->id, box->chunk, box->piece};
    block->dataset = dataset;
    block->nbytes = box->nbytes;
    block->epoch = dataset->epoch;
    HASH_ADD(hh, cache->blocks, key, sizeof block->key, block);
    if (!block->hh.tbl) { /* uthash had no memory */
        free(block);
        return NULL;
    }
    DL_APPEND2(dataset->blocks, block, ds_prev, ds_next);
    arena_charge(cache->arena, sizeof *block);
    return block;
}

struct block *block_pin_locked(struct cache_dataset *dataset, const struct block_box *box)
{
    struct block *block = block_find_locked(dataset, box->chunk, box->piece);

    if (!block)
        block = block_new_locked(dataset, box);
    if (!block)
        return NULL;
    block_hold_locked(block);
    return block;
}

void block_hold_locked(struct block *block)
{
    block->pins++;
    list_remove(block);
}

void block_unpin_locked(struct block *block)
{
    assert(block->pins > 0);
    if (--block->pins)
        return;
    if (!block->valid.count)
        block_free_locked(block);
    else
        block_settle_locked(block);
}

/* Rows of a chunk are whole items, so an item's phase is the offset in the chunk modulo its size. */
void chunk_fill(const struct cache_dataset *dataset, uint64_t offset, unsigned char *buffer, uint64_t length)
{
    uint64_t stride = 1, count = length;

    if (length)
        box_fill(1, &count, buffer, &stride, dataset->desc.fill, dataset->grid.itemsize,
                 offset % dataset->grid.itemsize);
}

bool has_padding(const struct cache_dataset *dataset, const struct block_box *box)
{
    for (int i = 0; i < dataset->grid.ndim; i++)
        if (box->inside[i] != box->extent[i])
            return true;
    return false;
}

static bool buffer_take_locked(struct block *block, bool guess)
{
    struct cache *cache = block->dataset->cache;

    if (!block->buffer)
        block->buffer = memory_take_locked(cache, block->nbytes, cache->spare, guess);
    return block->buffer;
}

bool block_buffer_locked(struct block *block)
{
    return buffer_take_locked(block, false);
}

/* Dirty bytes win over what the store has, so they need no question. */
static bool known_since(const struct block *block, uint64_t epoch)
{
    return block->epoch >= epoch || block->dirty.count || block->flight.count;
}

static bool current(const struct block *block)
{
    return known_since(block, block->dataset->epoch);
}

bool block_ready_locked(const struct block *block, uint64_t lo, uint64_t hi, uint64_t epoch)
{
    return ranges_cover(&block->valid, lo, hi) && known_since(block, epoch);
}

/* ---- fetching ------------------------------------------------------------------------------- */

/* Where in a chunk a truncation begins; the chunk's end if it does not touch it. */
static uint64_t void_offset_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    struct block_box box;

    if (dataset->void_from == UINT64_MAX || ranges_cover(&dataset->restored, chunk, chunk + 1))
        return dataset->grid.chunk_nbytes;
    grid_chunk_block(&dataset->whole, chunk, 0, &box);
    return grid_block_lower(&dataset->whole, &box, dataset->void_from);
}

int chunk_read(struct cache_dataset *dataset, uint64_t chunk, uint64_t offset, unsigned char *buffer,
               uint64_t length, struct dn_version *version, bool *hole)
{
    struct cache *cache = dataset->cache;
    uint64_t index[DN_MAX_NDIM], kept, end, stored;
    struct dn_chunk_id id = {.flat = chunk, .index = index, .ndim = dataset->grid.ndim};
    int error;

    pthread_mutex_lock(&cache->lock);
    end = void_offset_locked(dataset, chunk);
    pthread_mutex_unlock(&cache->lock);

    kept = offset < end ? min_u64(length, end - offset) : 0;
    stored = kept;
    if (kept) {
        grid_chunk_index(&dataset->grid, chunk, index);
        error = store_read(dataset->store, &id, offset, buffer, kept, version);
        if (error == -ENOENT)
            stored = 0;
        else if (error)
            return error;
    }
    if (version && !stored)
        version->size = 0;
    chunk_fill(dataset, offset + stored, buffer + stored, length - stored);
    if (hole)
        *hole = stored == 0;
    return 0;
}

/* Read every gap of the block into its buffer: nobody else writes there, as writers wait for a fetch. */
static int fetch_each_gap(struct fetch *fetch, struct dn_version *version, bool *hole)
{
    struct block *block = fetch->block;
    struct range gap;
    uint64_t lo = 0;

    *hole = true;
    while (ranges_gap(&block->valid, lo, block->nbytes, &gap)) {
        bool nothing;
        int error;

        version->size = 0;
        error = chunk_read(block->dataset, fetch->box.chunk, fetch->box.chunk_offset + gap.lo,
                           block->buffer + gap.lo, gap.hi - gap.lo, version, &nothing);
        if (error)
            return error;
        *hole = *hole && nothing;
        lo = gap.hi;
    }
    return 0;
}

/* Several gaps in one request, by way of `aside`. */
static int fetch_all_gaps(struct fetch *fetch, unsigned char *aside, struct dn_version *version, bool *hole)
{
    struct block *block = fetch->block;
    struct range gap;
    uint64_t lo = 0;
    int error;

    version->size = 0;
    error = chunk_read(block->dataset, fetch->box.chunk, fetch->box.chunk_offset, aside, block->nbytes,
                       version, hole);
    while (!error && ranges_gap(&block->valid, lo, block->nbytes, &gap)) {
        memcpy(block->buffer + gap.lo, aside + gap.lo, gap.hi - gap.lo);
        lo = gap.hi;
    }
    return error;
}

static int fetch_gaps(struct fetch *fetch, struct dn_version *version, bool *hole)
{
    struct block *block = fetch->block;
    struct cache *cache = block->dataset->cache;
    unsigned char *aside = NULL;
    int error;

    if (block->valid.count > 1) {
        pthread_mutex_lock(&cache->lock);
        aside = memory_take_locked(cache, block->nbytes, cache->spare, false);
        pthread_mutex_unlock(&cache->lock);
    }
    if (!aside)
        return fetch_each_gap(fetch, version, hole);
    error = fetch_all_gaps(fetch, aside, version, hole);
    pthread_mutex_lock(&cache->lock);
    arena_give(cache->arena, aside, block->nbytes);
    note_memory(cache);
    pthread_mutex_unlock(&cache->lock);
    return error;
}

static void fetch_failed_locked(struct fetch *fetch, int error)
{
    struct block *block = fetch->block;

    if (fetch->again) {
        ranges_set(&block->valid, 0, 0);
        block->hole = false;
    }
    free(block->error_text);
    block->error_text = strdup(dn_error_text(error));
    block->error = error;
    block->failures++;
}

static void fetch_done_locked(struct fetch *fetch, const struct dn_version *version, bool hole)
{
    struct block *block = fetch->block;

    if (fetch->again && !(hole && block->hole))
        block->dataset->generation++;
    block->hole = hole && (fetch->again || !block->valid.count);
    if (block->hole)
        buffer_drop_locked(block);
    ranges_set(&block->valid, 0, block->nbytes);
    if (block->dirty.count > BLOCK_MAX_RANGES) /* all is valid now, so the gaps may be stored too */
        dirty_merge_locked(block);
    block->version = *version;
    block->epoch = fetch->epoch;
}

static void fetch_end_locked(struct fetch *fetch)
{
    struct block *block = fetch->block;
    struct cache *cache = block->dataset->cache;

    block->fetch = NULL;
    block->rewriting = false;
    block->dataset->busy--;
    block_wake_locked(block);
    block_unpin_locked(block);
    pthread_cond_broadcast(&cache->room);
    cache_check_locked(cache);
}

/* Voluntary switches of this thread: it gave up the processor to wait. */
long cache_waits_so_far(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

/* While block->fetch is set nobody else changes valid, buffer or version. */
static void fetch_run(struct pool_job *job)
{
    struct fetch *fetch = (struct fetch *)job;
    struct block *block = fetch->block;
    struct cache *cache = block->dataset->cache;
    struct dn_version version = block->version;
    bool hole = false;
    long waits = cache_waits_so_far();
    int result;

    if (fetch->again)
        result = chunk_read(block->dataset, fetch->box.chunk, fetch->box.chunk_offset, block->buffer,
                            block->nbytes, &version, &hole);
    else
        result = fetch_gaps(fetch, &version, &hole);
    pool_note(cache->pool, cache_waits_so_far() != waits);

    pthread_mutex_lock(&cache->lock);
    if (result < 0)
        fetch_failed_locked(fetch, result);
    else if (result == DN_UNCHANGED)
        block->epoch = fetch->epoch;
    else
        fetch_done_locked(fetch, &version, hole);
    fetch_end_locked(fetch);
    pthread_mutex_unlock(&cache->lock);
    free(fetch);
}

bool fetch_allowed_locked(const struct block *block)
{
    return !block->fetch && !block->writer && (current(block) || !block->readers);
}

int fetch_start_locked(struct block *block, const struct block_box *box, bool ahead)
{
    struct cache *cache = block->dataset->cache;
    struct fetch *fetch;

    assert(fetch_allowed_locked(block));
    if (!buffer_take_locked(block, ahead))
        return -EAGAIN;
    fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return -ENOMEM;
    fetch->job.run = fetch_run;
    fetch->block = block;
    fetch->box = *box;
    fetch->epoch = block->dataset->epoch;
    if (!current(block)) {
        fetch->again = ranges_cover(&block->valid, 0, block->nbytes);
        if (!fetch->again)
            ranges_set(&block->valid, 0, 0);
    }
    block->fetch = fetch;
    block->rewriting = fetch->again;
    block_hold_locked(block);
    block->dataset->busy++;
    if (ahead && !block->guess) {
        block->guess = true;
        cache->guess_bytes += block->nbytes;
        stats_add(cache->stats, STAT_PREFETCH_ISSUED, 1);
    }
    if (pool_threads(cache->pool) == 0)
        pthread_mutex_unlock(&cache->lock);
    pool_submit(cache->pool, &fetch->job, ahead ? LANE_PREFETCH : LANE_DEMAND);
    if (pool_threads(cache->pool) == 0)
        pthread_mutex_lock(&cache->lock);
    return 0;
}

void fetch_await_locked(struct block *block)
{
    pool_promote(block->dataset->cache->pool, &block->fetch->job);
}

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

uint64_t cache_spare_for(uint64_t chunk_nbytes)
{
    return chunk_nbytes + chunk_nbytes / 8 + 4096; /* as the arena may round it up */
}

/* A sequential writer completes chunks only at the end of a slab: where a slab fits, it may stay dirty. */
static uint64_t dirty_limit(const struct cache *cache, const struct grid *whole)
{
    uint64_t slab = grid_slab_memory(whole), spare = cache_spare_for(whole->chunk_nbytes);
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
    ranges_set(&block->valid, 0, 0);
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

/* Ask about every clean block at once. False: one could not be asked about. */
static bool ask_all_locked(struct cache_dataset *dataset)
{
    struct block *block;
    struct block_box box;

again: /* without threads the lock is released by each fetch */
    DL_FOREACH2(dataset->blocks, block, ds_next)
    {
        if (current(block) || block->fetch)
            continue;
        grid_chunk_block(&dataset->grid, block->key.chunk, block->key.piece, &box);
        if (!fetch_allowed_locked(block) || fetch_start_locked(block, &box, false))
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
    holds = !block->fetch && block->valid.count && current(block);
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

void cache_verify(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    uint64_t generation, blocks = 0;
    struct block *block;

    pthread_mutex_lock(&cache->lock);
    generation = dataset->generation;
    DL_COUNT2(dataset->blocks, block, blocks, ds_next);
    if (dataset->forgot || !cache->compare_cheap || blocks > MOST_ASKED || !ask_all_locked(dataset) ||
        !await_all_locked(dataset) || dataset->forgot || dataset->generation != generation)
        dataset->generation = generation + 1;
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

/* What is known of a chunk, or on its way, may be out of date: epoch 0 is older than all others. */
static void distrust_chunk_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    for (uint64_t piece = 0; piece < dataset->grid.blocks_per_chunk; piece++) {
        struct block *block = block_find_locked(dataset, chunk, piece);

        if (block && block->fetch)
            block->fetch->epoch = 0;
        if (block)
            block->epoch = 0;
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
    error = cache_wait_idle_locked(dataset);
    if (!error && !chunk_claim_locked(dataset, chunk))
        error = dn_fail(-ENOMEM, "out of memory");
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
    assert(block->pins >= block->readers + block->writer + (block->fetch != NULL));
    assert((block->list != LIST_NONE) == evictable(block));
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
