// SPDX-License-Identifier: Apache-2.0
#include "fetch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "checked.h"
#include "dirty.h"

struct fetch {
    struct pool_job job;
    struct block *block;
    struct block_box box;
    uint64_t lo, hi; /* of the block: what will be valid */
    uint64_t epoch;
    bool again; /* [lo, hi) is valid, but of an older epoch: does it still hold? */
};

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

/* Read every gap into the block's buffer: nobody else writes there, as writers wait for a fetch. */
static int fetch_each_gap(struct fetch *fetch, struct dn_version *version, bool *hole)
{
    struct block *block = fetch->block;
    struct range gap;
    uint64_t lo = fetch->lo;

    *hole = true;
    while (ranges_gap(&block->valid, lo, fetch->hi, &gap)) {
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
    uint64_t lo = fetch->lo;
    int error;

    version->size = 0;
    error = chunk_read(block->dataset, fetch->box.chunk, fetch->box.chunk_offset + lo, aside + lo,
                       fetch->hi - lo, version, hole);
    while (!error && ranges_gap(&block->valid, lo, fetch->hi, &gap)) {
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
    memory_noted_locked(cache);
    pthread_mutex_unlock(&cache->lock);
    return error;
}

static void fetch_failed_locked(struct fetch *fetch, int error)
{
    struct block *block = fetch->block;

    if (fetch->again) {
        ranges_set(&block->valid, 0, 0);
        block->hole = false;
        block->dataset->forgot = true;
    }
    free(block->error_text);
    block->error_text = strdup(dn_error_text(error));
    block->error = error;
    block->failures++;
}

/* The part that was fetched now is of another state of the chunk than those that were fetched before. */
static bool parts_differ_locked(const struct block *block, const struct dn_version *version, bool hole)
{
    const struct dn_version *before = &block->version;

    if (!block->valid.count || block->dirty.count || block->flight.count || !before->size)
        return false;
    if (!version->size)
        return hole && block->dataset->void_from == UINT64_MAX;
    return version->size != before->size || memcmp(version->bytes, before->bytes, before->size) != 0;
}

/* `hole`: nothing is stored there. Below a truncation that tells nothing of the block's other bytes. */
static int fetch_done_locked(struct fetch *fetch, const struct dn_version *version, bool hole)
{
    struct block *block = fetch->block;
    bool whole = fetch->lo == 0 && fetch->hi == block->nbytes;
    int error = 0;

    if (fetch->again && !(hole && block->hole))
        block->dataset->generation++;
    if (!fetch->again && parts_differ_locked(block, version, hole)) {
        block->dataset->generation++;
        block_cut_locked(block, 0); /* who waits asks anew, for all of it */
        return 0;
    }
    hole = hole && (whole || block->dataset->void_from == UINT64_MAX);
    block->hole = hole && (fetch->again || !block->valid.count);
    if (block->hole)
        block_buffer_drop_locked(block);
    if (block->hole || whole)
        ranges_set(&block->valid, 0, block->nbytes);
    else if (fetch->again)
        ranges_set(&block->valid, fetch->lo, fetch->hi);
    else
        error = ranges_add(&block->valid, fetch->lo, fetch->hi);
    if (block->dirty.count > BLOCK_MAX_RANGES && whole) /* the gaps may be stored too */
        dirty_merge_locked(block);
    block->version = *version;
    block->epoch = fetch->epoch;
    return error ? dn_fail(error, "out of memory") : 0;
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

/* While block->fetch is set nobody else changes valid, buffer or version. */
static void fetch_run(struct pool_job *job)
{
    struct fetch *fetch = (struct fetch *)job;
    struct block *block = fetch->block;
    struct cache *cache = block->dataset->cache;
    struct dn_version version = block->version;
    bool hole = false;
    long waits = pool_waits_so_far();
    int result;

    if (fetch->again)
        result = chunk_read(block->dataset, fetch->box.chunk, fetch->box.chunk_offset + fetch->lo,
                            block->buffer + fetch->lo, fetch->hi - fetch->lo, &version, &hole);
    else
        result = fetch_gaps(fetch, &version, &hole);
    pool_note(cache->pool, pool_waits_so_far() != waits);

    pthread_mutex_lock(&cache->lock);
    if (result == DN_UNCHANGED)
        block->epoch = fetch->epoch;
    else if (!result)
        result = fetch_done_locked(fetch, &version, hole);
    if (result < 0)
        fetch_failed_locked(fetch, result);
    fetch_end_locked(fetch);
    pthread_mutex_unlock(&cache->lock);
    free(fetch);
}

bool fetch_allowed_locked(const struct block *block)
{
    return !block->fetch && !block->writer && !block->cut && (block_current_locked(block) || !block->readers);
}

/* Not where a piece would have to be told from its surroundings later: padding gets the fill value only in a
   block of which nothing is valid, and what a truncation left is not all one thing. */
void fetch_widen_locked(const struct block *block, const struct block_box *box, uint64_t *lo, uint64_t *hi)
{
    const struct cache_dataset *dataset = block->dataset;
    uint64_t unit = dataset->cache->good_read;

    if (unit) {
        *lo = *lo / unit * unit;
        *hi = min_u64((*hi + unit - 1) / unit * unit, block->nbytes);
    }
    if (!unit || *hi - *lo > block->nbytes / 2 || block->valid.count >= BLOCK_MAX_RANGES / 2 ||
        dataset->void_from != UINT64_MAX || block_has_padding(dataset, box)) {
        *lo = 0;
        *hi = block->nbytes;
    }
}

int fetch_start_locked(struct block *block, const struct block_box *box, uint64_t lo, uint64_t hi, bool ahead)
{
    struct cache *cache = block->dataset->cache;
    struct fetch *fetch;

    assert(fetch_allowed_locked(block));
    fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return -ENOMEM;
    if (!block_buffer_locked(block, ahead)) {
        free(fetch);
        return -EAGAIN;
    }
    fetch->job.run = fetch_run;
    fetch->block = block;
    fetch->box = *box;
    fetch->epoch = block->dataset->epoch;
    fetch->lo = lo;
    fetch->hi = hi;
    if (!block_current_locked(block) && block->valid.count) { /* an answer about a part is one about all */
        struct range first = ranges_at(&block->valid, 0);

        fetch->again = true;
        fetch->lo = first.lo;
        fetch->hi = first.hi;
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

int fetch_failure(const struct block *block)
{
    return dn_fail(block->error, "%s",
                   block->error_text ? block->error_text : strerror(-block->error));
}

void fetch_await_locked(struct block *block)
{
    pool_promote(block->dataset->cache->pool, &block->fetch->job);
}

/* Epoch 0 is older than all others. */
void fetch_distrust_locked(struct block *block)
{
    if (block->fetch)
        block->fetch->epoch = 0;
    block->epoch = 0;
}
