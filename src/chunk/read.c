// SPDX-License-Identifier: Apache-2.0
/*
 * Reading: pin what can be had without waiting, start what is missing, copy what is there, then wait for the rest,
 * one at a time, and copy it.
 */
#include <errno.h>
#include <stdlib.h>

#include "ahead.h"
#include "block.h"
#include "clock.h"
#include "fetch.h"
#include "request.h"

/* Latch if the part can be read now; otherwise see to it that it is on its way. */
static int approach_locked(struct item *item)
{
    struct block *block = item->block;
    int error = 0;

    if (block_ready_locked(block, item->lo, item->hi, item->epoch)) {
        if (!block->writer && !block->rewriting) {
            block->readers++;
            item->latched = true;
        }
        return 0;
    }
    if (block->fetch)
        fetch_await_locked(block);
    else if (block->dataset->calm)
        return -EBUSY;
    else if (fetch_allowed_locked(block)) {
        uint64_t lo = item->lo, hi = item->hi;

        if (item->whole) {
            lo = 0;
            hi = block->nbytes;
        } else
            fetch_widen_locked(block, &item->box, &lo, &hi);
        error = fetch_start_locked(block, &item->box, lo, hi, false);
    }
    return error;
}

static enum stat_id kind_of_access(const struct item *item)
{
    const struct block *block = item->block;

    if (block_ready_locked(block, item->lo, item->hi, item->epoch))
        return STAT_CACHE_HITS;
    if (!block->fetch)
        return STAT_CACHE_MISSES;
    return block->guess ? STAT_PREFETCH_LATE : STAT_CACHE_WAITS;
}

/* Fill the window with blocks that need no waiting for memory. */
static int gather_locked(struct request *request, struct window *window)
{
    struct stats *stats = request->dataset->cache->stats;
    int error = 0;

    while (window->count < REQUEST_WINDOW && request_next(request)) {
        struct item *item = &window->item[window->count];
        enum stat_id kind;

        request_item(request, item);
        item->block = block_pin_locked(request->dataset, &item->box);
        if (!item->block)
            return window->count ? 0 : -EAGAIN;
        item->failures = item->block->failures;
        item->epoch = request->epoch;
        item->whole = request->whole;
        kind = kind_of_access(item);
        error = approach_locked(item);
        if (error) {
            block_unpin_locked(item->block);
            return (error == -EAGAIN || error == -EBUSY) && window->count ? 0 : error;
        }
        stats_add(stats, kind, 1);
        block_used_locked(item->block);
        request->have = false;
        window->count++;
    }
    return 0;
}

static void release_locked(struct item *item)
{
    struct block *block = item->block;

    if (item->latched)
        block_unlatch_locked(block);
    item->done = true;
    if (item->latched && item->hi == block->nbytes)
        block_leave_locked(block);
    else
        block_unpin_locked(block);
    item->latched = false;
}

static void copy_latched(struct request *request, struct window *window)
{
    struct cache *cache = request->dataset->cache;

    for (int i = 0; i < window->count;)
        i += window->item[i].latched ? request_copy_beside(request, window, i, false) : 1;
    pthread_mutex_lock(&cache->lock);
    for (int i = 0; i < window->count; i++)
        if (window->item[i].latched)
            release_locked(&window->item[i]);
    pthread_mutex_unlock(&cache->lock);
}

/* Until this item can be read. Nothing is latched meanwhile. -EAGAIN, -EBUSY: not without memory, not now. */
static int await_item_locked(struct item *item, int64_t deadline)
{
    for (;;) {
        int error;

        if (item->block->failures != item->failures)
            return fetch_failure(item->block);
        if (item->block->dataset->stale)
            return dn_fail(-ESTALE, "the dataset was deleted or replaced");
        error = approach_locked(item);
        if (error || item->latched)
            return error;
        if (fetch_allowed_locked(item->block)) /* the fetch is over already (no threads) */
            continue;
        error = block_wait_locked(item->block, deadline);
        if (error == -ETIMEDOUT)
            return dn_fail(error, "the store did not answer in time");
        if (error)
            return error;
    }
}

static int finish_item(struct request *request, struct item *item, int64_t deadline)
{
    struct cache *cache = request->dataset->cache;
    int error;

    pthread_mutex_lock(&cache->lock);
    error = await_item_locked(item, deadline);
    if (item->latched) {
        pthread_mutex_unlock(&cache->lock);
        request_copy(request, item, false);
        pthread_mutex_lock(&cache->lock);
    }
    release_locked(item);
    pthread_mutex_unlock(&cache->lock);
    item->again = error == -EAGAIN || error == -EBUSY;
    return item->again ? 0 : error;
}

static int run_read(struct request *request, uint64_t a, uint64_t b);

/* An item that gave way, as a request of its own, now that this thread pins nothing. */
static int read_again(const struct request *request, const struct item *item)
{
    struct request *one = malloc(sizeof *one);
    int error;

    if (!one)
        return dn_fail(-ENOMEM, "out of memory");
    *one = *request;
    one->boxes[0] = item->part;
    one->nboxes = 1;
    one->box = 0;
    one->walk.ready = false;
    one->have = false;
    error = run_read(one, 0, 0);
    free(one);
    return error;
}

static int finish_window(struct request *request, struct window *window)
{
    int error = 0;

    for (int i = 0; i < window->count; i++) {
        int64_t deadline;
        int failed;

        if (window->item[i].done)
            continue;
        /* After a failure the others only have to be let go. */
        deadline = error ? 0 : clock_now() + request->dataset->cache->patience;
        failed = finish_item(request, &window->item[i], deadline);
        error = error ? error : failed;
    }
    for (int i = 0; i < window->count && !error; i++)
        if (window->item[i].again)
            error = read_again(request, &window->item[i]);
    return error;
}

/* [a, b): the flat range, if it is one. */
static int run_read(struct request *request, uint64_t a, uint64_t b)
{
    struct cache_dataset *dataset = request->dataset;
    struct cache *cache = dataset->cache;
    int64_t deadline = 0; /* of a wait in which nothing was had; 0: none is on */
    struct window window;
    struct prefetch_plan plan = {0};
    int error = 0;

    while (!error && request_next(request)) {
        window.count = 0;
        pthread_mutex_lock(&cache->lock);
        if (!request->epoch) {
            request->epoch = dataset->epoch;
            if (a < b)
                plan = ahead_plan_locked(dataset, a, b);
            request->whole = a == b || plan.known;
        }
        error = dataset->stale ? dn_fail(-ESTALE, "the dataset was deleted or replaced")
                               : gather_locked(request, &window);
        if ((error == -EAGAIN || error == -EBUSY) && !deadline)
            deadline = clock_now() + cache->patience;
        if (error == -EAGAIN)
            error = request_wait_room_locked(cache, dataset->grid.block_nbytes, deadline);
        else if (error == -EBUSY)
            error = request_wait_calm_locked(cache, deadline);
        else if (!error && plan.stream)
            ahead_fetch_locked(dataset, &plan);
        plan.stream = NULL;
        pthread_mutex_unlock(&cache->lock);
        copy_latched(request, &window);
        if (window.count) {
            int failed = finish_window(request, &window);

            error = error ? error : failed;
            deadline = 0;
        }
    }
    return error;
}

int cache_read_flat(struct cache_dataset *dataset, void *buffer, uint64_t offset, uint64_t length)
{
    struct request request;

    request_flat(&request, dataset, buffer, offset, length);
    return run_read(&request, offset, offset + length);
}

int cache_read_slab(struct cache_dataset *dataset, const uint64_t *start, const uint64_t *count, void *buffer)
{
    struct request request;

    request_slab(&request, dataset, buffer, start, count);
    return run_read(&request, 0, 0);
}

int cache_read_gathered(struct cache_dataset *dataset, const struct gather *gather, void *buffer, uint64_t offset,
                        uint64_t length)
{
    struct request request;

    request_slice(&request, dataset, buffer, gather, offset, length);
    return run_read(&request, 0, 0);
}
