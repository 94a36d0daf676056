// SPDX-License-Identifier: Apache-2.0
#include "writeback.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "checked.h"
#include "clock.h"
#include "dirty.h"
#include "put.h"

#define SECOND INT64_C(1000000000)
#define OLDEST 12 /* times dirty_expire that a chunk may be written to before it is stored all the same */

/* ---- pacing --------------------------------------------------------------------------------- */

static struct dirty_chunk *oldest_due_locked(struct cache *cache, int64_t now)
{
    struct dirty_chunk *oldest = NULL, *record;
    struct cache_dataset *dataset;

    DL_FOREACH(cache->datasets, dataset)
    {
        DL_FOREACH(dataset->dirty, record)
        {
            if (!dirty_holds(record) || record->retry_at > now)
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

/* How long to hope for memory before data that cannot be stored are blamed. */
#define WHILE INT64_C(1000000000)

int writeback_wait_room_locked(struct cache *cache, uint64_t need, int64_t deadline)
{
    int64_t soon = clock_now() + WHILE;
    uint64_t dirty = cache->dirty_bytes;
    int error;

    writeback_push_locked(cache, max_u64(4 * need, cache->dirty_bytes / 8));
    if (cache->dirty_bytes < dirty) /* an engine without threads has stored it, and nobody else would wake us */
        return 0;
    error = clock_wait(&cache->room, &cache->lock, soon < deadline ? soon : deadline);
    if (error != -ETIMEDOUT)
        return error;
    error = writeback_stuck_locked(cache);
    if (!error && clock_now() >= deadline)
        error = dn_fail(-ETIMEDOUT, "no memory came free in the cache");
    return error;
}

/* Until something was stored. */
static int rest_locked(struct cache *cache, int64_t deadline)
{
    int error;

    pool_rest(cache->pool, true);
    error = clock_wait(&cache->room, &cache->lock, deadline);
    pool_rest(cache->pool, false);
    return error;
}

/* Who writes everything once and has nobody waiting need not be further ahead than all jobs are busy for. */
static bool too_much_locked(const struct cache_dataset *dataset)
{
    const struct cache *cache = dataset->cache;

    if (cache->dirty_bytes > dataset->dirty_limit)
        return true;
    return dataset->once && cache->putting_bytes > 2 * pool_threads(cache->pool) * dataset->grid.chunk_nbytes;
}

int cache_throttle(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    uint64_t limit = dataset->dirty_limit, dirty;
    int64_t deadline = clock_now() + cache->patience;
    bool piecemeal;
    int error = 0;

    pthread_mutex_lock(&cache->lock);
    piecemeal = dataset->restored.count > RESTORED_MAX_RANGES;
    if (too_much_locked(dataset))
        stats_add(cache->stats, STAT_DIRTY_WAITS, 1);
    while (too_much_locked(dataset)) {
        dirty = cache->dirty_bytes;
        if (dirty > limit)
            writeback_push_locked(cache, dirty - limit / 8 * 7);
        if (!too_much_locked(dataset))
            break;
        error = writeback_stuck_locked(cache);
        if (!error)
            error = rest_locked(cache, deadline);
        if (error)
            break;
        if (cache->dirty_bytes < dirty)
            deadline = clock_now() + cache->patience;
    }
    pthread_mutex_unlock(&cache->lock);
    if (error == -ETIMEDOUT)
        return dn_fail(error, "written data were not stored in time");
    return error || !piecemeal ? error : truncate_settle(dataset);
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
                if (!dirty_holds(record) || record->retry_at > now || record->last > now)
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
    if (record->round < round && dirty_holds(record))
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
        error = rest_locked(cache, deadline);
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
