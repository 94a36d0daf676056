// SPDX-License-Identifier: Apache-2.0
/*
 * Between user memory and blocks. A request is a few boxes of the array and a strided place in user
 * memory; it works through the blocks that the boxes touch in windows: pin what can be had without
 * waiting, start what is missing, copy what is there, then wait for the rest, one at a time, and copy it.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "box.h"
#include "block.h"
#include "cache.h"
#include "checked.h"
#include "clock.h"
#include "fetch.h"
#include "dirty.h"
#include "writeback.h"

/* Blocks of a window. Two rows of a wide volume's chunks; more would only hold more pins. */
#define WINDOW 96

struct request {
    struct cache_dataset *dataset;
    unsigned char *user;            /* the byte of array position `origin` */
    uint64_t origin[DN_MAX_NDIM];
    uint64_t stride[DN_MAX_NDIM];   /* of user memory */
    const struct gather *slice;     /* or NULL; else `user` is the byte of the slice's flat offset `origin[0]` */
    struct slab_box boxes[GRID_MAX_BOXES];
    int nboxes, box;                /* the box that is being walked */
    struct grid_walk walk;
    bool have;                      /* walk holds an item that was not dealt with */
    uint64_t epoch;                 /* of the dataset when the request began; 0: it has not */
    bool whole;                     /* the reader goes on to the rest of its blocks */
};

/* A block of the window and the part of it that is asked for. */
struct item {
    struct block *block;
    uint64_t lo, hi; /* the bytes of the block that hold the part */
    bool exact;      /* and nothing else */
    bool whole;      /* all of the block will be wanted */
    bool latched, done;
    bool again;      /* gave way for want of memory: to be asked for anew */
    bool fill;       /* for a writer: the block has the fill value first */
    uint64_t epoch;  /* the block must be known to hold since this one: when the request began */
    uint64_t failures;
    struct block_box box;
    struct slab_box part;
};

struct window {
    struct item item[WINDOW];
    int count;
};

/* ---- the walk ------------------------------------------------------------------------------- */

/* Does the walk stand at a block of which something is asked for? One that a slice steps over is not. */
static bool wanted(const struct request *request)
{
    struct gather_part part;

    return !request->slice || request->slice->dense ||
           gather_find(request->slice, &request->dataset->grid, &request->walk.part, &part);
}

static bool next_item(struct request *request)
{
    const struct grid *grid = &request->dataset->grid;

    if (request->have)
        return true;
    while (request->box < request->nboxes) {
        while (grid_walk_next(grid, &request->boxes[request->box], &request->walk)) {
            request->have = wanted(request);
            if (request->have)
                return true;
        }
        request->box++;
        request->walk.ready = false;
    }
    return false;
}

static void set_item(struct request *request, struct item *item)
{
    const struct block_box *box = &request->walk.block;
    const struct slab_box *part = &request->walk.part;
    size_t used = (size_t)request->dataset->grid.ndim * sizeof *box->start;

    /* Of the axes only those in use: this is done for each block of each request. */
    memset(item, 0, offsetof(struct item, box));
    item->box.chunk = box->chunk;
    item->box.piece = box->piece;
    item->box.chunk_offset = box->chunk_offset;
    item->box.nbytes = box->nbytes;
    memcpy(item->box.start, box->start, used);
    memcpy(item->box.extent, box->extent, used);
    memcpy(item->box.inside, box->inside, used);
    memcpy(item->part.start, part->start, used);
    memcpy(item->part.count, part->count, used);
    grid_part_range(&request->dataset->grid, &item->box, &item->part, &item->lo, &item->hi, &item->exact);
    if (request->slice && !request->slice->dense)
        item->exact = false;
}

/* ---- copying ---------------------------------------------------------------------------------- */

static unsigned char *user_place(const struct request *request, const struct item *item)
{
    int64_t offset = 0;

    for (int i = 0; i < request->dataset->grid.ndim; i++)
        offset += (int64_t)(item->part.start[i] - request->origin[i]) * (int64_t)request->stride[i];
    return request->user + offset;
}

static void copy_slice(const struct request *request, const struct item *item, bool to_block)
{
    const struct cache_dataset *dataset = request->dataset;
    const struct grid *grid = &dataset->grid;
    struct gather_part part;
    unsigned char *user;

    if (!gather_find(request->slice, grid, &item->part, &part))
        return;
    user = request->user + (part.flat - request->origin[0]);
    if (item->block->buffer)
        gather_copy(grid, &part, user, item->block->buffer + grid_block_offset(grid, &item->box, part.start),
                    to_block);
    else
        box_fill(grid->ndim + 1, part.count, user, part.flat_stride, dataset->desc.fill, grid->itemsize, 0);
}

static void copy_item(const struct request *request, const struct item *item, bool to_block)
{
    const struct grid *grid = &request->dataset->grid;
    unsigned char *user, *block = item->block->buffer;

    if (request->slice) {
        copy_slice(request, item, to_block);
        return;
    }
    user = user_place(request, item);
    if (!block) { /* a hole */
        box_fill(grid->ndim, item->part.count, user, request->stride, request->dataset->desc.fill,
                 grid->itemsize, item->part.start[grid->ndim - 1] % grid->itemsize);
        return;
    }
    block += grid_block_offset(grid, &item->box, item->part.start);
    if (to_block)
        box_copy(grid->ndim, item->part.count, block, grid->chunk_stride, user, request->stride);
    else
        box_copy(grid->ndim, item->part.count, user, request->stride, block, grid->chunk_stride);
}

/* The next block along the last axis, of which the same rows are asked for? */
static bool is_beside(const struct request *request, const struct item *item, const struct item *next)
{
    int last = request->dataset->grid.ndim - 1;
    size_t before = (size_t)last * sizeof *item->part.start;

    return next->latched && next->block->buffer &&
           next->part.start[last] == item->part.start[last] + item->part.count[last] &&
           memcmp(next->part.start, item->part.start, before) == 0 &&
           memcmp(next->part.count, item->part.count, before) == 0;
}

/* To the user, with as many of the items behind it as are beside it. Returns how many were copied. */
static int copy_items_out(const struct request *request, const struct window *window, int first)
{
    const struct grid *grid = &request->dataset->grid;
    struct box_beside boxes[WINDOW];
    const struct item *item = &window->item[first];
    int n = 1;

    if (!request->slice && item->block->buffer)
        while (first + n < window->count && is_beside(request, &item[n - 1], &item[n]))
            n++;
    if (n == 1) {
        copy_item(request, item, false);
        return 1;
    }
    for (int i = 0; i < n; i++)
        boxes[i] = (struct box_beside){item[i].block->buffer + grid_block_offset(grid, &item[i].box, item[i].part.start),
                                       item[i].part.count[grid->ndim - 1]};
    box_copy_beside(grid->ndim, item->part.count, user_place(request, item), request->stride, boxes, n,
                    grid->chunk_stride);
    return n;
}

/* ---- waiting ---------------------------------------------------------------------------------- */

/* Somebody waits until nothing is in flight: begin nothing new. */
static int wait_calm_locked(struct cache *cache, int64_t deadline)
{
    int error = clock_wait(&cache->room, &cache->lock, deadline);

    return error == -ETIMEDOUT ? dn_fail(error, "requests to the store did not end in time") : error;
}

/* Nothing is pinned by this request: somebody else will give memory back, or nobody can. */
static int wait_room_locked(struct cache *cache, uint64_t need, int64_t deadline)
{
    if (arena_used(cache->arena) + memory_spare_for(need) + cache->spare <= cache->limit)
        return dn_fail(-ENOMEM, "out of memory"); /* the bound is not what is in the way */
    return writeback_wait_room_locked(cache, need, deadline);
}

static int fetch_failure(const struct block *block)
{
    return dn_fail(block->error, "%s",
                   block->error_text ? block->error_text : strerror(-block->error));
}

/* ---- reading ---------------------------------------------------------------------------------- */

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

    while (window->count < WINDOW && next_item(request)) {
        struct item *item = &window->item[window->count];
        enum stat_id kind;

        set_item(request, item);
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

    if (item->latched) {
        block->readers--;
        if (!block->readers)
            block_wake_locked(block);
    }
    item->latched = false;
    item->done = true;
    block_unpin_locked(block);
}

static void copy_latched(struct request *request, struct window *window)
{
    struct cache *cache = request->dataset->cache;

    for (int i = 0; i < window->count;)
        i += window->item[i].latched ? copy_items_out(request, window, i) : 1;
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
        copy_item(request, item, false);
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

static struct prefetch_plan plan_ahead_locked(struct cache_dataset *dataset, uint64_t a, uint64_t b);
static void look_ahead_locked(struct cache_dataset *dataset, struct prefetch_plan *plan);

/* [a, b): the flat range, if it is one. */
static int run_read(struct request *request, uint64_t a, uint64_t b)
{
    struct cache_dataset *dataset = request->dataset;
    struct cache *cache = dataset->cache;
    int64_t deadline = 0; /* of a wait in which nothing was had; 0: none is on */
    struct window window;
    struct prefetch_plan plan = {0};
    int error = 0;

    while (!error && next_item(request)) {
        window.count = 0;
        pthread_mutex_lock(&cache->lock);
        if (!request->epoch) {
            request->epoch = dataset->epoch;
            if (a < b)
                plan = plan_ahead_locked(dataset, a, b);
            request->whole = a == b || plan.known;
        }
        error = dataset->stale ? dn_fail(-ESTALE, "the dataset was deleted or replaced")
                               : gather_locked(request, &window);
        if ((error == -EAGAIN || error == -EBUSY) && !deadline)
            deadline = clock_now() + cache->patience;
        if (error == -EAGAIN)
            error = wait_room_locked(cache, dataset->grid.block_nbytes, deadline);
        else if (error == -EBUSY)
            error = wait_calm_locked(cache, deadline);
        else if (!error && plan.stream)
            look_ahead_locked(dataset, &plan);
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

/* ---- looking ahead -------------------------------------------------------------------------- */

/* False: no room for guesses now. */
static bool guess_locked(struct cache_dataset *dataset, const struct block_box *box)
{
    struct cache *cache = dataset->cache;
    struct block *block = block_find_locked(dataset, box->chunk, box->piece);
    int error = 0;

    if (dataset->calm)
        return false;
    if (block && (block->fetch || block->dirty.count || block->flight.count ||
                  block_ready_locked(block, 0, block->nbytes, dataset->epoch)))
        return true;
    if (cache->guess_bytes + box->nbytes > cache->prefetch_max)
        return false;
    block = block_pin_locked(dataset, box);
    if (!block)
        return false;
    if (fetch_allowed_locked(block))
        error = fetch_start_locked(block, box, 0, block->nbytes, true);
    block_unpin_locked(block);
    return !error;
}

static void guess_range_locked(struct prefetch_plan *plan, struct cache_dataset *dataset)
{
    struct block_box box;

    for (uint64_t n = plan->last - plan->first, i = 0; i < n; i++) {
        uint64_t number = plan->down ? plan->last - 1 - i : plan->first + i;

        grid_block(&dataset->grid, number, &box);
        if (!guess_locked(dataset, &box))
            return;
        prefetch_issued(plan, plan->down ? number : number + 1);
    }
}

static void guess_strides_locked(struct prefetch_plan *plan, struct cache_dataset *dataset)
{
    const struct grid *grid = &dataset->grid;

    for (uint64_t i = 0; i < plan->count; i++) {
        uint64_t offset = plan->offset + i * (uint64_t)plan->stride;
        struct slab_box boxes[GRID_MAX_BOXES];
        int n;

        if (offset >= grid->nbytes)
            return;
        n = grid_flat_boxes(grid, offset, min_u64(plan->size, grid->nbytes - offset), boxes);
        for (int j = 0; j < n; j++) {
            struct grid_walk walk = {0};

            while (grid_walk_next(grid, &boxes[j], &walk))
                if (!guess_locked(dataset, &walk.block))
                    return;
        }
        prefetch_issued(plan, offset + (uint64_t)plan->stride);
    }
}

/* Small blocks are fetched further ahead than jobs alone would ask for: the reader takes many at a time. */
#define LEAD_BYTES (8u << 20)

/* As many blocks as all jobs can fetch at once, twice: one in flight, one waiting. */
static struct prefetch_plan plan_ahead_locked(struct cache_dataset *dataset, uint64_t a, uint64_t b)
{
    struct cache *cache = dataset->cache;
    uint64_t budget = cache->prefetch_max / dataset->grid.block_nbytes;
    uint64_t lead = max_u64(2 * pool_threads(cache->pool), LEAD_BYTES / dataset->grid.block_nbytes);

    return prefetch_decide(&dataset->prefetch, &dataset->grid, a, b, lead, budget);
}

static void look_ahead_locked(struct cache_dataset *dataset, struct prefetch_plan *plan)
{
    if (plan->strided)
        guess_strides_locked(plan, dataset);
    else
        guess_range_locked(plan, dataset);
}

/* ---- writing ---------------------------------------------------------------------------------- */

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
    while (window->count < WINDOW && next_item(request)) {
        struct item *item = &window->item[window->count];
        int error;

        set_item(request, item);
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
        copy_item(request, item, true);
    }
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
        return wait_room_locked(dataset->cache, dataset->grid.block_nbytes, deadline);
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

    while (!error && next_item(request)) {
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
            error = wait_calm_locked(cache, deadline);
        pthread_mutex_unlock(&cache->lock);
        failed = write_window(request, &window);
        error = error ? error : failed;
        if (window.count)
            deadline = clock_now() + cache->patience;
    }
    return error;
}

/* ---- requests --------------------------------------------------------------------------------- */

static void flat_request(struct request *request, struct cache_dataset *dataset, unsigned char *user,
                         uint64_t offset, uint64_t length)
{
    const struct grid *grid = &dataset->grid;
    uint64_t left = offset;

    memset(request, 0, offsetof(struct request, boxes));
    request->dataset = dataset;
    request->user = user;
    for (int i = 0; i < grid->ndim; i++) {
        request->stride[i] = grid->stride[i];
        request->origin[i] = left / grid->stride[i];
        left %= grid->stride[i];
    }
    request->nboxes = grid_flat_boxes(grid, offset, length, request->boxes);
    request->box = 0;
    request->walk.ready = false;
    request->have = false;
    request->epoch = 0;
}

static void slab_request(struct request *request, struct cache_dataset *dataset, unsigned char *user,
                         const uint64_t *start, const uint64_t *count)
{
    int ndim = dataset->grid.ndim, last = ndim - 1;
    struct slab_box *box = &request->boxes[0];

    memset(request, 0, offsetof(struct request, boxes));
    request->dataset = dataset;
    request->user = user;
    memcpy(box->start, start, (size_t)ndim * sizeof *start);
    memcpy(box->count, count, (size_t)ndim * sizeof *count);
    box->start[last] *= dataset->grid.itemsize;
    box->count[last] *= dataset->grid.itemsize;
    memcpy(request->origin, box->start, sizeof request->origin);
    box_strides(ndim, box->count, request->stride);
    request->nboxes = 1;
    request->box = 0;
    request->walk.ready = false;
    request->have = false;
    request->epoch = 0;
}

static void slice_request(struct request *request, struct cache_dataset *dataset, unsigned char *user,
                          const struct gather *gather, uint64_t offset, uint64_t length)
{
    memset(request, 0, offsetof(struct request, boxes));
    request->dataset = dataset;
    request->user = user;
    request->slice = gather;
    request->origin[0] = offset;
    request->nboxes = gather_boxes(gather, &dataset->grid, offset, length, request->boxes);
    request->box = 0;
    request->walk.ready = false;
    request->have = false;
    request->epoch = 0;
}

int cache_read_flat(struct cache_dataset *dataset, void *buffer, uint64_t offset, uint64_t length)
{
    struct request request;

    flat_request(&request, dataset, buffer, offset, length);
    return run_read(&request, offset, offset + length);
}

int cache_write_flat(struct cache_dataset *dataset, const void *buffer, uint64_t offset, uint64_t length)
{
    struct request request;

    flat_request(&request, dataset, (unsigned char *)buffer, offset, length);
    return run_write(&request);
}

int cache_read_slab(struct cache_dataset *dataset, const uint64_t *start, const uint64_t *count, void *buffer)
{
    struct request request;

    slab_request(&request, dataset, buffer, start, count);
    return run_read(&request, 0, 0);
}

int cache_write_slab(struct cache_dataset *dataset, const uint64_t *start, const uint64_t *count,
                     const void *buffer)
{
    struct request request;

    slab_request(&request, dataset, (unsigned char *)buffer, start, count);
    return run_write(&request);
}

int cache_read_gathered(struct cache_dataset *dataset, const struct gather *gather, void *buffer, uint64_t offset,
                        uint64_t length)
{
    struct request request;

    slice_request(&request, dataset, buffer, gather, offset, length);
    return run_read(&request, 0, 0);
}

int cache_write_gathered(struct cache_dataset *dataset, const struct gather *gather, const void *buffer,
                         uint64_t offset, uint64_t length)
{
    struct request request;

    slice_request(&request, dataset, (unsigned char *)buffer, gather, offset, length);
    return run_write(&request);
}
