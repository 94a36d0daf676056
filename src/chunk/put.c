// SPDX-License-Identifier: Apache-2.0
#include "put.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "block.h"
#include "checked.h"
#include "clock.h"
#include "dirty.h"
#include "fetch.h"
#include "log.h"

#define SECOND INT64_C(1000000000)
#define FIRST_RETRY SECOND
#define LAST_RETRY (30 * SECOND)

struct put {
    struct pool_job job;
    struct dirty_chunk *chunk;
    struct block *latched;   /* stored from its own buffer */
    unsigned char *scratch;  /* or from here */
    struct ranges have;      /* bytes of scratch that are right */
};

/* dirty becomes flight: the put answers for it now. */
static int take_over_locked(struct dirty_chunk *record, struct block *block)
{
    uint64_t bytes = ranges_total(&block->dirty);

    if (block->flight.count == 0) {
        block->flight = block->dirty;
        memset(&block->dirty, 0, sizeof block->dirty);
        record->bytes -= bytes;
        record->flight += bytes;
        return 0;
    }
    /* A put failed and there was no memory to give its intervals back. */
    for (size_t i = 0; i < block->dirty.count; i++) {
        struct range range = ranges_at(&block->dirty, i);
        uint64_t before = ranges_total(&block->flight);

        if (ranges_add(&block->flight, range.lo, range.hi))
            return -ENOMEM;
        record->flight += ranges_total(&block->flight) - before;
        dirty_count_locked(block->dataset->cache, (int64_t)(ranges_total(&block->flight) - before));
        block->dataset->cache->putting_bytes += ranges_total(&block->flight) - before;
    }
    dirty_dropped_locked(block->dataset, block->key.chunk, bytes);
    ranges_set(&block->dirty, 0, 0);
    return 0;
}

/* The put failed: what is not dirty anew becomes dirty again. */
static void give_back_locked(struct dirty_chunk *record, struct block *block)
{
    struct cache *cache = block->dataset->cache;
    uint64_t flight = ranges_total(&block->flight), before = ranges_total(&block->dirty), added;

    for (size_t i = 0; i < block->flight.count; i++) {
        struct range range = ranges_at(&block->flight, i);

        if (ranges_add(&block->dirty, range.lo, range.hi)) {
            /* No memory: these stay in flight; the next put takes them along. */
            added = ranges_total(&block->dirty) - before;
            record->bytes += added;
            cache->putting_bytes += added;
            dirty_count_locked(cache, (int64_t)added);
            return;
        }
    }
    added = ranges_total(&block->dirty) - before;
    ranges_clear(&block->flight);
    record->flight -= flight;
    record->bytes += added;
    cache->putting_bytes = cache->putting_bytes - flight + added;
    dirty_count_locked(cache, (int64_t)added - (int64_t)flight);
}

static int latch_locked(struct block *block)
{
    int64_t deadline = clock_now() + block->dataset->cache->patience;
    int error = 0;

    block_hold_locked(block);
    while (block->writer && !error)
        error = block_wait_locked(block, deadline);
    if (error && block->writer) {
        block_unpin_locked(block);
        return error;
    }
    block->readers++;
    return 0;
}

/* Copy what memory has of a block into the scratch buffer. */
static int gather_block_locked(struct put *put, struct block *block, const struct block_box *box)
{
    struct cache *cache = block->dataset->cache;
    struct range valid[BLOCK_MAX_RANGES + 2];
    size_t count = 0;
    int error;

    if (!block_ready_locked(block, 0, 0, block->dataset->epoch))
        return 0;
    error = latch_locked(block);
    if (error)
        return error;
    if (block->dirty.count)
        error = take_over_locked(put->chunk, block);
    for (size_t i = 0; !error && block->buffer && i < block->valid.count; i++) {
        assert(count < BLOCK_MAX_RANGES + 2);
        valid[count++] = ranges_at(&block->valid, i);
    }
    pthread_mutex_unlock(&cache->lock);
    for (size_t i = 0; i < count && !error; i++) {
        uint64_t at = box->chunk_offset + valid[i].lo, n = valid[i].hi - valid[i].lo;

        memcpy(put->scratch + at, block->buffer + valid[i].lo, n);
        error = ranges_add(&put->have, at, at + n);
    }
    pthread_mutex_lock(&cache->lock);
    block_unlatch_locked(block);
    block_unpin_locked(block);
    return error;
}

static int gather_locked(struct put *put)
{
    struct cache_dataset *dataset = put->chunk->dataset;
    const struct grid *grid = &dataset->grid;
    uint64_t offset = 0;
    int error = 0;

    for (uint64_t piece = 0; piece < grid->blocks_per_chunk && !error; piece++) {
        struct block_box box;
        struct block *block;

        if (!grid_chunk_block(grid, put->chunk->key.chunk, piece, &box))
            continue;
        offset = box.chunk_offset + box.nbytes;
        block = block_find_locked(dataset, put->chunk->key.chunk, piece);
        if (block)
            error = gather_block_locked(put, block, &box);
    }
    if (!error && offset < grid->chunk_nbytes) { /* the rest lies in the padding */
        chunk_fill(dataset, offset, put->scratch + offset, grid->chunk_nbytes - offset);
        error = ranges_add(&put->have, offset, grid->chunk_nbytes);
    }
    return error;
}

/* The bytes of the chunk that memory does not have, from the first to the last one; false: it has all. */
static bool missing_locked(const struct put *put, uint64_t *lo, uint64_t *hi)
{
    struct cache_dataset *dataset = put->chunk->dataset;
    const struct grid *grid = &dataset->grid;
    struct block_box box;
    struct range gap;
    bool missing = false;

    for (uint64_t piece = 0; piece < grid->blocks_per_chunk; piece++) {
        struct block *block = block_find_locked(dataset, put->chunk->key.chunk, piece);
        bool known = block && block_ready_locked(block, 0, 0, dataset->epoch);
        uint64_t from = 0;

        if (!grid_chunk_block(grid, put->chunk->key.chunk, piece, &box))
            continue;
        gap = (struct range){0, box.nbytes};
        while (known ? ranges_gap(&block->valid, from, box.nbytes, &gap) : from == 0) {
            if (!missing)
                *lo = box.chunk_offset + gap.lo;
            *hi = box.chunk_offset + gap.hi;
            missing = true;
            from = gap.hi;
        }
    }
    return missing;
}

/* What memory does not have comes from the store first, in one request; what memory has goes over it. */
static int read_missing_locked(struct put *put)
{
    struct cache_dataset *dataset = put->chunk->dataset;
    struct cache *cache = dataset->cache;
    uint64_t lo, hi;
    int error;

    if (!missing_locked(put, &lo, &hi))
        return 0;
    stats_add(cache->stats, STAT_WRITEBACK_PARTIAL, 1);
    pthread_mutex_unlock(&cache->lock);
    error = chunk_read(dataset, put->chunk->key.chunk, lo, put->scratch + lo, hi - lo, NULL, NULL);
    if (!error)
        error = ranges_add(&put->have, lo, hi);
    pthread_mutex_lock(&cache->lock);
    return error;
}

/* What left memory meanwhile. */
static int complete_scratch(struct put *put)
{
    struct cache_dataset *dataset = put->chunk->dataset;
    uint64_t end = dataset->grid.chunk_nbytes, lo = 0;
    struct range gap;
    int error;

    while (ranges_gap(&put->have, lo, end, &gap)) {
        error = chunk_read(dataset, put->chunk->key.chunk, gap.lo, put->scratch + gap.lo, gap.hi - gap.lo,
                           NULL, NULL);
        if (error)
            return error;
        lo = gap.hi;
    }
    return 0;
}

/* Choose what the put stores from. */
static int prepare_locked(struct put *put)
{
    struct cache_dataset *dataset = put->chunk->dataset;
    struct block *block = block_find_locked(dataset, put->chunk->key.chunk, 0);
    int error;

    if (dataset->grid.blocks_per_chunk == 1 && block &&
        ranges_cover(&block->valid, 0, block->nbytes)) {
        error = latch_locked(block);
        if (error)
            return error;
        put->latched = block;
        return take_over_locked(put->chunk, block);
    }
    error = scratch_wait_locked(dataset->cache, dataset->grid.chunk_nbytes, (void **)&put->scratch);
    if (!error)
        error = read_missing_locked(put);
    return error ? error : gather_locked(put);
}

static int store_chunk(struct put *put, struct dn_version *version)
{
    struct cache_dataset *dataset = put->chunk->dataset;
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = {put->chunk->key.chunk, index, dataset->grid.ndim};
    const void *bytes = put->latched ? put->latched->buffer : put->scratch;
    int error = put->latched ? 0 : complete_scratch(put);

    if (error)
        return error;
    grid_chunk_index(&dataset->grid, id.flat, index);
    return store_write(dataset->store, &id, 0, bytes, dataset->grid.chunk_nbytes, version);
}

static void stored_locked(struct dirty_chunk *record, const struct dn_version *version)
{
    struct cache_dataset *dataset = record->dataset;
    struct cache *cache = dataset->cache;

    for (uint64_t piece = 0; piece < dataset->grid.blocks_per_chunk; piece++) {
        struct block *block = block_find_locked(dataset, record->key.chunk, piece);

        if (!block)
            continue;
        /* A block of an older epoch was no part of what was stored. */
        if (block->buffer && !block->fetch && block_ready_locked(block, 0, 0, dataset->epoch))
            block->version = *version;
        ranges_clear(&block->flight);
        block_settle_locked(block);
    }
    cache->putting_bytes -= record->flight;
    dirty_count_locked(cache, -(int64_t)record->flight);
    record->flight = 0;
    record->first = record->bytes ? record->last : 0;
    record->error = 0;
    record->tries = 0;
    record->retry_at = 0;
    dataset->changes++;
    dataset->failing = false;
}

static void failed_locked(struct dirty_chunk *record, int error)
{
    struct cache_dataset *dataset = record->dataset;

    for (uint64_t piece = 0; piece < dataset->grid.blocks_per_chunk; piece++) {
        struct block *block = block_find_locked(dataset, record->key.chunk, piece);

        if (block && block->flight.count)
            give_back_locked(record, block);
    }
    stats_add(dataset->cache->stats, STAT_WRITEBACK_ERRORS, 1);
    if (!dataset->failing)
        log_error("%s; the data stay in memory and are tried again", dn_error_text(error));
    dataset->failing = true;
    free(record->error_text);
    record->error_text = strdup(dn_error_text(error));
    record->error = error;
    record->retry_at = clock_now() + min_u64(FIRST_RETRY << record->tries, LAST_RETRY);
    if (record->tries < 5)
        record->tries++;
}

static void put_end_locked(struct put *put, int error, const struct dn_version *version)
{
    struct dirty_chunk *record = put->chunk;
    struct cache_dataset *dataset = record->dataset;
    struct cache *cache = dataset->cache;

    /* Without this note a truncation would take the new chunk for an old one. */
    if (!error && dataset->void_from != UINT64_MAX)
        error = ranges_add(&dataset->restored, record->key.chunk, record->key.chunk + 1);
    if (error)
        failed_locked(record, error);
    else
        stored_locked(record, version);
    if (put->latched) {
        block_unlatch_locked(put->latched);
        block_leave_locked(put->latched);
    }
    scratch_give_locked(cache, put->scratch, dataset->grid.chunk_nbytes);
    put_over_locked(record, !error);
    cache_check_locked(cache);
}

static void put_run(struct pool_job *job)
{
    struct put *put = (struct put *)job;
    struct cache *cache = put->chunk->dataset->cache;
    struct dn_version version = {0};
    long waits;
    int error;

    pthread_mutex_lock(&cache->lock);
    error = prepare_locked(put);
    pthread_mutex_unlock(&cache->lock);
    waits = pool_waits_so_far();
    if (!error)
        error = store_chunk(put, &version);
    pool_note(cache->pool, pool_waits_so_far() != waits);
    pthread_mutex_lock(&cache->lock);
    put_end_locked(put, error, &version);
    pthread_mutex_unlock(&cache->lock);
    ranges_clear(&put->have);
    free(put);
}

/* Out of memory is an error of the chunk like any other. */
void put_start_locked(struct dirty_chunk *record)
{
    struct cache_dataset *dataset = record->dataset;
    struct cache *cache = dataset->cache;
    bool threads = pool_threads(cache->pool) > 0;
    struct put *put = calloc(1, sizeof *put);

    if (!put) {
        failed_locked(record, -ENOMEM);
        return;
    }
    put->job.run = put_run;
    put->chunk = record;
    record->putting = true;
    cache->putting_bytes += record->bytes + record->flight;
    DL_DELETE(dataset->dirty, record);
    DL_APPEND(dataset->puts, record);
    dataset->busy++;
    if (!threads)
        pthread_mutex_unlock(&cache->lock);
    pool_submit(cache->pool, &put->job, LANE_WRITEBACK);
    if (!threads)
        pthread_mutex_lock(&cache->lock);
}
