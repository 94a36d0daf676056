// SPDX-License-Identifier: Apache-2.0
/* Writing: latch what can be had without waiting, copy, and say what became valid and dirty. */
#include <errno.h>

#include "block.h"
#include "checked.h"
#include "clock.h"
#include "dirty.h"
#include "fetch.h"
#include "request.h"
#include "writeback.h"

/* Must the block's gaps be known before this is written? When the part is no single range of the block, or
   when the block has become a patchwork. */
static bool needs_fetch(const struct item *item)
{
    const struct block *block = item->block;

    if (block->hole)
        return false;
    if (block->dirty.count > BLOCK_MAX_RANGES)
        return !ranges_cover(&block->valid, 0, block->nbytes);
    if (ranges_cover(&block->valid, item->lo, item->hi))
        return false;
    return !item->exact || block->valid.count >= BLOCK_MAX_RANGES;
}

/* Latch for writing. -EAGAIN: not without waiting, for memory or for the block. */
static int seize_locked(struct item *item)
{
    struct block *block = item->block;
    int error;

    if (block->dataset->calm)
        return -EBUSY;
    if (block->fetch || block->writer || block->readers)
        return -EAGAIN;
    if (!block_ready_locked(block, 0, 0, block->dataset->epoch)) { /* must not be stored with what is written */
        ranges_set(&block->valid, 0, 0);
        block->hole = false;
        block->dataset->forgot = true;
    }
    if (needs_fetch(item)) {
        uint64_t failures = block->failures;

        error = fetch_start_locked(block, &item->box, 0, block->nbytes, false);
        if (block->failures != failures)
            return fetch_failure(block);
        if (!error && pool_threads(block->dataset->cache->pool) == 0)
            return seize_locked(item); /* the fetch is over already */
        return error ? error : -EAGAIN;
    }
    item->fill = block->hole || (!block->valid.count && block_has_padding(block->dataset, &item->box));
    if (!block_buffer_locked(block, false))
        return -EAGAIN;
    error = dirty_prepare_locked(block->dataset, block->key.chunk);
    if (error && block->hole)
        block_buffer_drop_locked(block); /* nothing is in it: a hole reads as the fill value */
    if (error)
        return error == -EAGAIN ? error : dn_fail(error, "out of memory");
    block->writer = true;
    block->dataset->busy++;
    block_used_locked(block);
    block->hole = false;
    item->latched = true;
    return 0;
}

static int seize_window_locked(struct request *request, struct window *window)
{
    while (window->count < REQUEST_WINDOW && request_next(request)) {
        struct item *item = &window->item[window->count];
        int error;

        request_item(request, item);
        item->block = block_pin_locked(request->dataset, &item->box);
        if (!item->block)
            return -EAGAIN;
        error = seize_locked(item);
        if (error) {
            block_unpin_locked(item->block);
            return error;
        }
        request->have = false;
        window->count++;
    }
    return 0;
}

/* valid and dirty grow by what was written; the chunk's record hears of it. */
static int written_locked(struct item *item)
{
    struct block *block = item->block;
    struct cache_dataset *dataset = block->dataset;
    uint64_t before = ranges_total(&block->dirty);
    int error = 0;

    if (!ranges_cover(&block->valid, item->lo, item->hi))
        error = ranges_add(&block->valid, item->lo, item->hi);
    if (!error)
        error = ranges_add(&block->dirty, item->lo, item->hi);
    block->epoch = dataset->epoch;
    block->writer = false;
    dataset->busy--;
    pthread_cond_broadcast(&dataset->cache->room);
    dirty_added_locked(dataset, block->key.chunk, ranges_total(&block->dirty) - before);
    if (block->dirty.count > BLOCK_MAX_RANGES && ranges_cover(&block->valid, 0, block->nbytes))
        dirty_merge_locked(block);
    block_wake_locked(block);
    block_unpin_locked(block);
    return error ? dn_fail(error, "out of memory") : 0;
}

static int write_window(struct request *request, struct window *window)
{
    struct cache *cache = request->dataset->cache;
    int error = 0;

    for (int i = 0; i < window->count; i++) {
        struct item *item = &window->item[i];

        if (item->fill)
            chunk_fill(request->dataset, item->box.chunk_offset, item->block->buffer, item->box.nbytes);
    }
    for (int i = 0; i < window->count;)
        i += request_copy_beside(request, window, i, true);
    pthread_mutex_lock(&cache->lock);
    for (int i = 0; i < window->count; i++) {
        int failed = written_locked(&window->item[i]);

        error = error ? error : failed;
    }
    /* Only now that nothing is latched any more. */
    for (int i = 0; i < window->count; i++)
        dirty_store_complete_locked(request->dataset, window->item[i].box.chunk);
    if (window->count)
        cache_touch_locked(request->dataset);
    cache_check_locked(cache);
    pthread_mutex_unlock(&cache->lock);
    return error;
}

/* Write-back assembles whole chunks: one must fit beside the blocks. */
static int reserve_spare(struct cache_dataset *dataset)
{
    struct cache *cache = dataset->cache;
    uint64_t need = memory_spare_for(dataset->grid.chunk_nbytes);
    int error = 0;

    pthread_mutex_lock(&cache->lock);
    if (need > cache->limit / 4 * 3)
        error = dn_fail(-ENOBUFS, "a chunk of %llu bytes needs a cache_size of at least %llu to be written",
                        (unsigned long long)dataset->grid.chunk_nbytes, (unsigned long long)(need / 3 * 4));
    else
        cache->spare = max_u64(cache->spare, need);
    pthread_mutex_unlock(&cache->lock);
    return error;
}

/* Whatever keeps the first block of a window from being seized: another user of it, or memory. */
static int wait_block_or_room_locked(struct request *request, int64_t deadline)
{
    struct cache_dataset *dataset = request->dataset;
    const struct block_box *box = &request->walk.block;
    struct block *block = block_find_locked(dataset, box->chunk, box->piece);
    uint64_t failures;
    int error;

    if (!block || !(block->fetch || block->writer || block->readers))
        return request_wait_room_locked(dataset->cache, dataset->grid.block_nbytes, deadline);
    if (block->fetch)
        fetch_await_locked(block);
    block = block_pin_locked(dataset, box);
    failures = block->failures;
    error = block_wait_locked(block, deadline);
    if (block->failures != failures)
        error = fetch_failure(block);
    block_unpin_locked(block);
    return error == -ETIMEDOUT ? dn_fail(error, "the store did not answer in time") : error;
}

static int run_write(struct request *request)
{
    struct cache_dataset *dataset = request->dataset;
    struct cache *cache = dataset->cache;
    int64_t deadline = clock_now() + cache->patience;
    struct window window;
    int error = reserve_spare(dataset), failed;

    while (!error && request_next(request)) {
        window.count = 0;
        error = cache_throttle(dataset);
        if (error)
            return error;
        pthread_mutex_lock(&cache->lock);
        error = dataset->stale ? dn_fail(-ESTALE, "the dataset was deleted or replaced")
                               : seize_window_locked(request, &window);
        if (window.count && (error == -EAGAIN || error == -EBUSY))
            error = 0;
        else if (error == -EAGAIN)
            error = wait_block_or_room_locked(request, deadline);
        else if (error == -EBUSY)
            error = request_wait_calm_locked(cache, deadline);
        pthread_mutex_unlock(&cache->lock);
        failed = write_window(request, &window);
        error = error ? error : failed;
        if (window.count)
            deadline = clock_now() + cache->patience;
    }
    return error;
}

int cache_write_flat(struct cache_dataset *dataset, const void *buffer, uint64_t offset, uint64_t length)
{
    struct request request;

    request_flat(&request, dataset, (unsigned char *)buffer, offset, length);
    return run_write(&request);
}

int cache_write_slab(struct cache_dataset *dataset, const uint64_t *start, const uint64_t *count,
                     const void *buffer)
{
    struct request request;

    request_slab(&request, dataset, (unsigned char *)buffer, start, count);
    return run_write(&request);
}

int cache_write_gathered(struct cache_dataset *dataset, const struct gather *gather, const void *buffer,
                         uint64_t offset, uint64_t length)
{
    struct request request;

    request_slice(&request, dataset, (unsigned char *)buffer, gather, offset, length);
    return run_write(&request);
}
