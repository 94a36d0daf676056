// SPDX-License-Identifier: Apache-2.0
/*
 * Truncation without requests: a mark, `void_from`, says that what the store has from there on does not
 * count. Chunks that are stored after that (`restored`) count whole. A flush then deletes the chunks
 * that nobody rewrote and cuts those that the mark goes through; a file that was rewritten to its end
 * needs neither. A writer does the same when the chunks stored since are too many scattered ones to remember.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <utlist.h>

#include "batch.h"
#include "block.h"
#include "cache.h"
#include "checked.h"
#include "clock.h"
#include "fetch.h"
#include "dirty.h"
#include "writeback.h"

/* Chunks that are dealt with at a time when the store can list them. */
#define AT_A_TIME 65536

/* ---- the mark ---------------------------------------------------------------------------------- */

static void cut_block_locked(struct cache_dataset *dataset, struct block *block, uint64_t length)
{
    struct block_box box;
    uint64_t lo, before = ranges_total(&block->dirty);

    grid_chunk_block(&dataset->grid, block->key.chunk, block->key.piece, &box);
    lo = grid_block_lower(&dataset->grid, &box, length);
    if (lo == block->nbytes || block->hole)
        return;
    block_cut_locked(block, lo);
    ranges_cut(&block->dirty, lo);
    dirty_dropped_locked(dataset, block->key.chunk, before - ranges_total(&block->dirty));
    if (block->pins)
        return;
    if (block->valid.count)
        block_settle_locked(block);
    else
        block_free_locked(block);
}

/* One mark at a time: what an earlier one left to do is done first. Then nothing is in flight. */
static int ready_to_cut_locked(struct cache_dataset *dataset, uint64_t length)
{
    struct cache *cache = dataset->cache;
    int error = 0;

    while (!error) {
        error = dataset->stale ? dn_fail(-ESTALE, "the dataset was deleted or replaced")
                               : cache_wait_idle_locked(dataset);
        if (error || dataset->void_from == UINT64_MAX ||
            (dataset->void_from <= length && !dataset->restored.count && !dataset->dirty))
            break;
        pthread_mutex_unlock(&cache->lock);
        error = cache_flush(dataset, false);
        pthread_mutex_lock(&cache->lock);
    }
    return error;
}

int cache_truncate(struct cache_dataset *dataset, uint64_t length)
{
    struct cache *cache = dataset->cache;
    struct block *block, *next;
    int error;

    if (length >= dataset->grid.nbytes)
        return 0;
    pthread_mutex_lock(&cache->lock);
    error = ready_to_cut_locked(dataset, length);
    if (!error) {
        DL_FOREACH_SAFE2(dataset->blocks, block, next, ds_next)
        cut_block_locked(dataset, block, length);
        dataset->void_from = min_u64(dataset->void_from, length);
        dataset->generation++;
        cache_touch_locked(dataset);
    }
    pthread_mutex_unlock(&cache->lock);
    return error;
}

/* ---- deleting and cutting chunks ----------------------------------------------------------------- */

/* What is done to chunk after chunk, by the pool. */
struct sweep {
    struct cache *cache;
    struct cache_dataset *dataset; /* NULL: the dataset is not open, everything goes */
    struct store_dataset *store;
    const struct grid *grid;
    uint64_t mark;                 /* the truncation */
    uint64_t first;                /* no chunk before this one has a byte beyond the mark */
    uint64_t *listed;              /* chunks; NULL: all from `first` on */
    uint64_t count;                /* of either */
    _Atomic bool skipped;          /* a put was in the way */
    _Atomic bool starved;          /* or there was no memory */
};

/* Where in a chunk the mark lies: 0 … chunk_nbytes. */
static uint64_t mark_in(const struct sweep *sweep, uint64_t chunk)
{
    struct block_box box;

    grid_chunk_block(sweep->grid, chunk, 0, &box);
    return grid_block_lower(sweep->grid, &box, sweep->mark);
}

/* Keep write-back away, and say whether the chunk still is as it was when the file was cut. */
static bool claim(struct sweep *sweep, uint64_t chunk)
{
    struct dirty_chunk *record;
    bool mine, restored;

    if (!sweep->dataset)
        return true;
    pthread_mutex_lock(&sweep->cache->lock);
    restored = ranges_cover(&sweep->dataset->restored, chunk, chunk + 1);
    mine = !restored && chunk_claim_locked(sweep->dataset, chunk);
    if (!mine && !restored) {
        record = dirty_find_locked(sweep->dataset, chunk);
        sweep->skipped = true;
        sweep->starved = sweep->starved || !record || !record->putting;
    }
    pthread_mutex_unlock(&sweep->cache->lock);
    return mine;
}

static void release(struct sweep *sweep, uint64_t chunk)
{
    if (!sweep->dataset)
        return;
    pthread_mutex_lock(&sweep->cache->lock);
    sweep->dataset->changes++;
    chunk_release_locked(sweep->dataset, chunk);
    pthread_mutex_unlock(&sweep->cache->lock);
}

static bool lies_beyond(const struct sweep *sweep, uint64_t chunk)
{
    return chunk >= sweep->first && (!sweep->dataset || mark_in(sweep, chunk) == 0);
}

/* As many chunks as the store deletes at once: the group with number `group`. */
static int delete_group(void *arg, uint64_t group)
{
    struct sweep *sweep = arg;
    size_t most = store_deletes_at_once(sweep->store), count = 0;
    uint64_t begin = group * most, end = min_u64(begin + most, sweep->count), i;
    struct dn_chunk_id *ids = calloc(end - begin, sizeof *ids);
    uint64_t (*index)[DN_MAX_NDIM] = calloc(end - begin, sizeof *index);
    int error = ids && index ? 0 : dn_fail(-ENOMEM, "out of memory");

    for (i = begin; i < end && !error; i++) {
        uint64_t chunk = sweep->listed ? sweep->listed[i] : sweep->first + i;
        if (!lies_beyond(sweep, chunk) || !claim(sweep, chunk))
            continue;
        grid_chunk_index(sweep->grid, chunk, index[count]);
        ids[count] = (struct dn_chunk_id){chunk, index[count], sweep->grid->ndim};
        count++;
    }
    if (count)
        error = store_delete_chunks(sweep->store, ids, count);
    while (count)
        release(sweep, ids[--count].flat);
    free(index);
    free(ids);
    return error;
}

static int delete_all(struct sweep *sweep)
{
    return batch_run(sweep->cache->pool, ceil_div(sweep->count, store_deletes_at_once(sweep->store)), delete_group,
                     sweep);
}

static int note_listed(void *arg, const uint64_t *index, int ndim)
{
    struct sweep *sweep = arg;
    uint64_t chunk = grid_chunk_number(sweep->grid, index);
    bool restored = false;

    (void)ndim;
    if (sweep->dataset) {
        pthread_mutex_lock(&sweep->cache->lock);
        restored = ranges_cover(&sweep->dataset->restored, chunk, chunk + 1);
        pthread_mutex_unlock(&sweep->cache->lock);
    }
    if (!restored && lies_beyond(sweep, chunk))
        sweep->listed[sweep->count++] = chunk;
    return sweep->count == AT_A_TIME;
}

/* Deleting while a listing runs could confuse it, so: some are listed, those are deleted, and again. */
static int delete_listed(struct sweep *sweep)
{
    int more, error;

    do {
        sweep->count = 0;
        more = store_list_chunks(sweep->store, note_listed, sweep);
        if (more < 0)
            return more;
        error = delete_all(sweep);
    } while (more && !error && !sweep->skipped);
    return error;
}

static int delete_beyond(struct sweep *sweep)
{
    int error;

    sweep->listed = malloc(AT_A_TIME * sizeof *sweep->listed);
    if (!sweep->listed)
        return dn_fail(-ENOMEM, "out of memory");
    error = delete_listed(sweep);
    free(sweep->listed);
    sweep->listed = NULL;
    if (error != -ENOTSUP)
        return error;
    sweep->count = sweep->grid->nchunks - sweep->first;
    return delete_all(sweep);
}

int chunks_delete(struct cache *cache, struct store_dataset *store, const struct grid *grid)
{
    struct sweep sweep = {.cache = cache, .store = store, .grid = grid};

    return delete_beyond(&sweep);
}

/* Store the chunk again with the fill value from the mark on. */
static int cut_stored(struct sweep *sweep, uint64_t chunk)
{
    uint64_t index[DN_MAX_NDIM], nbytes = sweep->grid->chunk_nbytes;
    struct dn_chunk_id id = {chunk, index, sweep->grid->ndim};
    void *buffer;
    bool hole;
    int error;

    pthread_mutex_lock(&sweep->cache->lock);
    error = scratch_wait_locked(sweep->cache, nbytes, &buffer);
    pthread_mutex_unlock(&sweep->cache->lock);
    if (error)
        return error;
    error = chunk_read(sweep->dataset, chunk, 0, buffer, nbytes, NULL, &hole);
    grid_chunk_index(sweep->grid, chunk, index);
    if (!error && !hole)
        error = store_write(sweep->store, &id, 0, buffer, nbytes, NULL);
    pthread_mutex_lock(&sweep->cache->lock);
    scratch_give_locked(sweep->cache, buffer, nbytes);
    pthread_mutex_unlock(&sweep->cache->lock);
    return error;
}

static int cut_one(void *arg, uint64_t i)
{
    struct sweep *sweep = arg;
    uint64_t chunk = sweep->listed ? sweep->listed[i] : sweep->first + i, lo = mark_in(sweep, chunk);
    int error;

    if (lo == 0 || lo == sweep->grid->chunk_nbytes || !claim(sweep, chunk))
        return 0;
    error = cut_stored(sweep, chunk);
    release(sweep, chunk);
    return error;
}

/* Of the chunks [first, end), those that are stored; lists again for each AT_A_TIME / 2 of them, or more. */
static int cut_listed(struct sweep *sweep, uint64_t end)
{
    uint64_t next = sweep->first;
    size_t count;
    int error = 0;

    while (next < end && !error) {
        error = cache_list_from(sweep->dataset, next, end, sweep->listed, AT_A_TIME, &count, &next);
        if (!error)
            error = batch_run(sweep->cache->pool, count, cut_one, sweep);
    }
    return error;
}

/* Chunks of the mark's layer, as many as can be asked for at once, or those that are stored. */
static int cut_layer(struct sweep *sweep, uint64_t layer)
{
    int error = -ENOTSUP;

    if (sweep->mark % (sweep->grid->chunk[0] * sweep->grid->stride[0]) == 0)
        return 0;
    if (layer > max_u64(pool_threads(sweep->cache->pool), 1)) {
        sweep->listed = malloc(AT_A_TIME * sizeof *sweep->listed);
        if (!sweep->listed)
            return dn_fail(-ENOMEM, "out of memory");
        error = cut_listed(sweep, sweep->first + layer);
        free(sweep->listed);
        sweep->listed = NULL;
    }
    return error == -ENOTSUP ? batch_run(sweep->cache->pool, layer, cut_one, sweep) : error;
}

/* ---- settling ----------------------------------------------------------------------------------- */

/* Only chunks of the mark's layer along the first axis can have bytes on both sides of it. */
static uint64_t layer_of(const struct grid *grid, uint64_t mark, uint64_t *first)
{
    uint64_t per_layer = grid->nchunks / grid->chunks[0];

    *first = mark / grid->stride[0] / grid->chunk[0] * per_layer;
    return per_layer;
}

static int sweep_once(struct sweep *sweep)
{
    uint64_t layer = layer_of(sweep->grid, sweep->mark, &sweep->first);
    int error;

    sweep->skipped = false;
    error = cut_layer(sweep, layer);
    return error ? error : delete_beyond(sweep);
}

static bool all_rewritten_locked(struct cache_dataset *dataset)
{
    uint64_t first;

    layer_of(&dataset->grid, dataset->void_from, &first);
    return ranges_cover(&dataset->restored, first, dataset->grid.nchunks);
}

/* Another thread settles: it may take as long as it gets on. */
static int await_settled_locked(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    int64_t deadline = clock_now() + cache->patience;
    uint64_t changes = dataset->changes;
    int error = 0;

    while (dataset->settling && !error) {
        error = clock_wait(&cache->room, &cache->lock, deadline);
        if (dataset->changes != changes)
            deadline = clock_now() + cache->patience;
        changes = dataset->changes;
    }
    return error == -ETIMEDOUT ? dn_fail(error, "a truncation was not applied in time") : error;
}

/* Take the right to settle; false if there is nothing to settle (any more). */
static bool begin_locked(struct cache_dataset *dataset, int *error)
{
    *error = await_settled_locked(dataset);
    if (*error || dataset->void_from == UINT64_MAX || dataset->stale)
        return false;
    dataset->settling = true;
    dataset->busy++;
    return true;
}

static void end_locked(struct cache_dataset *dataset, bool done)
{
    dataset->settling = false;
    dataset->busy--;
    if (done) {
        dataset->void_from = UINT64_MAX;
        ranges_clear(&dataset->restored);
    }
    pthread_cond_broadcast(&dataset->cache->room);
}

/* What was in the way of a sweep has been stored, or has failed and is an error of its own. */
static int await_puts_locked(struct cache_dataset *dataset)
{
    int64_t deadline = clock_now() + dataset->cache->patience;
    int error = 0;

    while (dataset->puts && !error)
        error = clock_wait(&dataset->cache->room, &dataset->cache->lock, deadline);
    return error;
}

int truncate_settle(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    int64_t deadline = clock_now() + cache->patience;
    struct sweep sweep = {.cache = cache, .dataset = dataset, .store = dataset->store, .grid = &dataset->whole};
    bool done = false;
    int error = 0;

    pthread_mutex_lock(&cache->lock);
    if (!begin_locked(dataset, &error))
        goto out;
    sweep.mark = dataset->void_from;
    while (!done && !error) {
        done = all_rewritten_locked(dataset);
        if (done)
            break;
        sweep.starved = false;
        pthread_mutex_unlock(&cache->lock);
        error = sweep_once(&sweep);
        pthread_mutex_lock(&cache->lock);
        done = !sweep.skipped;
        if (!error && sweep.starved && !memory_room_locked(cache, sizeof(struct dirty_chunk)))
            error = writeback_wait_room_locked(cache, sizeof(struct dirty_chunk), deadline);
        else if (!error && sweep.starved && clock_now() >= deadline)
            error = dn_fail(-ENOMEM, "out of memory");
        if (!error && !done)
            error = await_puts_locked(dataset);
    }
    end_locked(dataset, done && !error);
out:
    pthread_mutex_unlock(&cache->lock);
    return error;
}
