// SPDX-License-Identifier: Apache-2.0
#include "writeback.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "checked.h"
#include "clock.h"
#include "log.h"

#define SECOND INT64_C(1000000000)
#define FIRST_RETRY SECOND
#define LAST_RETRY (30 * SECOND)
#define OLDEST 12 /* times dirty_expire that a chunk may be written to before it is stored all the same */

struct put {
    struct pool_job job;
    struct dirty_chunk *chunk;
    struct block *latched;   /* stored from its own buffer */
    unsigned char *scratch;  /* or from here */
    struct ranges have;      /* bytes of scratch that are right */
};

/* ---- records -------------------------------------------------------------------------------- */

struct dirty_chunk *dirty_find_locked(struct cache_dataset *dataset, uint64_t chunk)
{
    struct block_key key = {dataset->id, chunk, 0};
    struct dirty_chunk *record;

    HASH_FIND(hh, dataset->cache->dirty_chunks, &key, sizeof key, record);
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
    if (!room_for_entry_locked(cache, sizeof *record))
        return -EAGAIN;
    record = calloc(1, sizeof *record);
    if (!record)
        return -ENOMEM;
    record->key = (struct block_key){dataset->id, chunk, 0};
    record->dataset = dataset;
    record->round = cache->flush_round; /* a flush that runs now need not wait for it */
    record->writers = 1;
    HASH_ADD(hh, cache->dirty_chunks, key, sizeof record->key, record);
    if (!record->hh.tbl) {
        free(record);
        return -ENOMEM;
    }
    DL_APPEND(dataset->dirty, record);
    arena_charge(cache->arena, sizeof *record);
    return 0;
}

static bool holds_something(const struct dirty_chunk *record)
{
    return record->bytes || record->flight;
}

/* Nothing is dirty, nobody is about to change that, and no put will look at it. */
static void record_drop_locked(struct dirty_chunk *record)
{
    struct cache *cache = record->dataset->cache;

    if (holds_something(record) || record->writers || record->putting)
        return;
    DL_DELETE(record->dataset->dirty, record);
    HASH_DEL(cache->dirty_chunks, record);
    arena_charge(cache->arena, -(int64_t)sizeof *record);
    free(record->error_text);
    free(record);
}

static void count_dirty(struct cache *cache, int64_t bytes)
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

static void put_start_locked(struct dirty_chunk *record);
static void put_over_locked(struct dirty_chunk *record, bool well);

void dirty_added_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t bytes)
{
    struct dirty_chunk *record = dirty_find_locked(dataset, chunk);

    record->writers--;
    count_dirty(dataset->cache, (int64_t)bytes);
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
    if (bytes && complete(record) && record->retry_at <= record->last)
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
    count_dirty(dataset->cache, -(int64_t)bytes);
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
    count_dirty(block->dataset->cache, -(int64_t)bytes);
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
    count_dirty(block->dataset->cache, (int64_t)(last.hi - first.lo - before));
    if (record->putting)
        block->dataset->cache->putting_bytes += last.hi - first.lo - before;
}

/* ---- one put -------------------------------------------------------------------------------- */

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
        count_dirty(block->dataset->cache, (int64_t)(ranges_total(&block->flight) - before));
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
            count_dirty(cache, (int64_t)added);
            return;
        }
    }
    added = ranges_total(&block->dirty) - before;
    ranges_clear(&block->flight);
    record->flight -= flight;
    record->bytes += added;
    cache->putting_bytes = cache->putting_bytes - flight + added;
    count_dirty(cache, (int64_t)added - (int64_t)flight);
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

static void unlatch_locked(struct block *block)
{
    block->readers--;
    block_wake_locked(block);
    block_unpin_locked(block);
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
    unlatch_locked(block);
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
    count_dirty(cache, -(int64_t)record->flight);
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

/* The chunk is open to the next put. */
static void put_over_locked(struct dirty_chunk *record, bool well)
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
    if (put->latched)
        unlatch_locked(put->latched);
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
    waits = cache_waits_so_far();
    if (!error)
        error = store_chunk(put, &version);
    pool_note(cache->pool, cache_waits_so_far() != waits);
    pthread_mutex_lock(&cache->lock);
    put_end_locked(put, error, &version);
    pthread_mutex_unlock(&cache->lock);
    ranges_clear(&put->have);
    free(put);
}

/* Out of memory is an error of the chunk like any other. */
static void put_start_locked(struct dirty_chunk *record)
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

/* ---- pacing --------------------------------------------------------------------------------- */

static struct dirty_chunk *oldest_due_locked(struct cache *cache, int64_t now)
{
    struct dirty_chunk *oldest = NULL, *record;
    struct cache_dataset *dataset;

    DL_FOREACH(cache->datasets, dataset)
    {
        DL_FOREACH(dataset->dirty, record)
        {
            if (!holds_something(record) || record->retry_at > now)
                continue;
            if (!oldest || record->last < oldest->last)
                oldest = record;
            break;
        }
    }
    return oldest;
}

void writeback_push_locked(struct cache *cache, uint64_t want)
{
    int64_t now = clock_now();
    struct dirty_chunk *record;

    while (cache->putting_bytes < want && (record = oldest_due_locked(cache, now)))
        put_start_locked(record);
}

int writeback_stuck_locked(struct cache *cache)
{
    struct dirty_chunk *failed = NULL, *record;
    struct cache_dataset *dataset;

    DL_FOREACH(cache->datasets, dataset)
    {
        if (dataset->puts)
            return 0;
        DL_FOREACH(dataset->dirty, record)
        if (record->error && !failed)
            failed = record;
    }
    if (!failed)
        return 0;
    return dn_fail(failed->error, "written data cannot be stored: %s",
                   failed->error_text ? failed->error_text : strerror(-failed->error));
}

int cache_throttle(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    uint64_t limit = dataset->dirty_limit, dirty;
    int64_t deadline = clock_now() + cache->patience;
    int error = 0;

    pthread_mutex_lock(&cache->lock);
    if (cache->dirty_bytes > limit)
        stats_add(cache->stats, STAT_DIRTY_WAITS, 1);
    while (cache->dirty_bytes > limit) {
        dirty = cache->dirty_bytes;
        writeback_push_locked(cache, dirty - limit / 8 * 7);
        if (cache->dirty_bytes <= limit)
            break;
        error = writeback_stuck_locked(cache);
        if (!error)
            error = clock_wait(&cache->room, &cache->lock, deadline);
        if (error)
            break;
        if (cache->dirty_bytes < dirty)
            deadline = clock_now() + cache->patience;
    }
    pthread_mutex_unlock(&cache->lock);
    if (error == -ETIMEDOUT)
        return dn_fail(error, "written data were not stored in time");
    return error;
}

static void store_expired_locked(struct cache *cache)
{
    int64_t now = clock_now();
    struct cache_dataset *dataset;
    struct dirty_chunk *record;
    bool found;

    do { /* from the start again: without threads the lock is released by each put */
        found = false;
        for (dataset = cache->datasets; dataset && !found; dataset = dataset->next) {
            DL_FOREACH(dataset->dirty, record)
            {
                if (!holds_something(record) || record->retry_at > now || record->last > now)
                    continue;
                if (now - record->last < cache->dirty_expire &&
                    now - record->first < OLDEST * cache->dirty_expire && !record->error)
                    continue;
                put_start_locked(record);
                found = true;
                break;
            }
        }
    } while (found);
}

static void *flusher(void *arg)
{
    struct cache *cache = arg;
    int64_t period = (int64_t)min_u64(max_u64((uint64_t)cache->dirty_expire / 4, SECOND / 20), SECOND);

    pthread_mutex_lock(&cache->lock);
    while (!cache->stopping) {
        clock_wait(&cache->tick, &cache->lock, clock_now() + period);
        if (!cache->stopping)
            store_expired_locked(cache);
    }
    pthread_mutex_unlock(&cache->lock);
    return NULL;
}

int writeback_start(struct cache *cache)
{
    int error = pthread_create(&cache->flusher, NULL, flusher, cache);

    if (error)
        return dn_fail(-error, "no thread for write-back");
    cache->flusher_runs = true;
    return 0;
}

void cache_stop(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    cache->stopping = true;
    pthread_cond_broadcast(&cache->tick);
    pthread_mutex_unlock(&cache->lock);
    if (cache->flusher_runs)
        pthread_join(cache->flusher, NULL);
    cache->flusher_runs = false;
}

/* ---- flush ---------------------------------------------------------------------------------- */

static struct dirty_chunk *unseen_locked(struct cache_dataset *dataset, uint64_t round)
{
    struct dirty_chunk *record;

    DL_FOREACH(dataset->dirty, record)
    if (record->round < round && holds_something(record))
        return record;
    return NULL;
}

/* Every chunk that was dirty at the start is tried once; one whose put was under way then, once more. */
static int store_all_locked(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    uint64_t round = ++cache->flush_round, left;
    int64_t deadline = clock_now() + cache->patience;
    struct dirty_chunk *record;
    int error = 0;

    for (;;) {
        while ((record = unseen_locked(dataset, round))) {
            record->round = round;
            put_start_locked(record);
        }
        if (!dataset->puts || error)
            break;
        left = dataset->busy;
        error = clock_wait(&cache->room, &cache->lock, deadline);
        if (dataset->busy < left)
            deadline = clock_now() + cache->patience;
    }
    if (error == -ETIMEDOUT)
        return dn_fail(error, "the store did not take the data in time");
    DL_FOREACH(dataset->dirty, record)
    if (record->error && record->round >= round)
        return dn_fail(record->error, "%s",
                       record->error_text ? record->error_text : strerror(-record->error));
    return error;
}

/* A truncation after which nothing was written. */
static bool only_truncated_locked(const struct cache_dataset *dataset)
{
    return dataset->void_from != UINT64_MAX && !dataset->restored.count && !dataset->dirty && !dataset->puts;
}

int cache_flush(struct cache_dataset *dataset, bool truncation_may_wait)
{
    struct cache *cache = dataset->cache;
    uint64_t changes;
    bool unflushed, wait;
    int error;

    pthread_mutex_lock(&cache->lock);
    wait = truncation_may_wait && only_truncated_locked(dataset);
    error = dataset->stale ? 0 : store_all_locked(dataset);
    pthread_mutex_unlock(&cache->lock);
    if (!error && !wait)
        error = truncate_settle(dataset);

    pthread_mutex_lock(&cache->lock);
    changes = dataset->changes;
    unflushed = !error && dataset->flushed < changes && !dataset->stale;
    pthread_mutex_unlock(&cache->lock);
    if (!unflushed)
        return error;
    error = store_flush(dataset->store);
    if (!error) {
        pthread_mutex_lock(&cache->lock);
        dataset->flushed = max_u64(dataset->flushed, changes);
        pthread_mutex_unlock(&cache->lock);
    }
    return error;
}
