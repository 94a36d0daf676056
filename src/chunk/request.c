// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include <errno.h>
#include <string.h>

#include "block.h"
#include "box.h"
#include "checked.h"
#include "clock.h"
#include "writeback.h"

/* ---- what is asked for ------------------------------------------------------------------------ */

static void begin(struct request *request, struct cache_dataset *dataset, unsigned char *user)
{
    memset(request, 0, offsetof(struct request, boxes)); /* these are large, and set by who calls */
    request->dataset = dataset;
    request->user = user;
    request->box = 0;
    request->walk.ready = false;
    request->have = false;
    request->epoch = 0;
}

void request_flat(struct request *request, struct cache_dataset *dataset, unsigned char *user,
                  uint64_t offset, uint64_t length)
{
    const struct grid *grid = &dataset->grid;
    uint64_t left = offset;

    begin(request, dataset, user);
    for (int i = 0; i < grid->ndim; i++) {
        request->stride[i] = grid->stride[i];
        request->origin[i] = left / grid->stride[i];
        left %= grid->stride[i];
    }
    request->nboxes = grid_flat_boxes(grid, offset, length, request->boxes);
}

void request_slab(struct request *request, struct cache_dataset *dataset, unsigned char *user,
                  const uint64_t *start, const uint64_t *count)
{
    int ndim = dataset->grid.ndim, last = ndim - 1;
    struct slab_box *box = &request->boxes[0];

    begin(request, dataset, user);
    memcpy(box->start, start, (size_t)ndim * sizeof *start);
    memcpy(box->count, count, (size_t)ndim * sizeof *count);
    box->start[last] *= dataset->grid.itemsize;
    box->count[last] *= dataset->grid.itemsize;
    memcpy(request->origin, box->start, sizeof request->origin);
    box_strides(ndim, box->count, request->stride);
    request->nboxes = 1;
}

void request_slice(struct request *request, struct cache_dataset *dataset, unsigned char *user,
                   const struct gather *gather, uint64_t offset, uint64_t length)
{
    begin(request, dataset, user);
    request->slice = gather;
    request->origin[0] = offset;
    request->nboxes = gather_boxes(gather, &dataset->grid, offset, length, request->boxes);
}

/* ---- the walk ------------------------------------------------------------------------------- */

/* Does the walk stand at a block of which something is asked for? One that a slice steps over is not. */
static bool wanted(const struct request *request)
{
    struct gather_part part;

    return !request->slice || request->slice->dense ||
           gather_find(request->slice, &request->dataset->grid, &request->walk.part, &part);
}

bool request_next(struct request *request)
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

void request_item(struct request *request, struct item *item)
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

void request_copy(const struct request *request, const struct item *item, bool to_block)
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

int request_copy_beside(const struct request *request, const struct window *window, int first, bool to_block)
{
    const struct grid *grid = &request->dataset->grid;
    struct box_beside boxes[REQUEST_WINDOW];
    const struct item *item = &window->item[first];
    int n = 1;

    if (!request->slice && item->block->buffer)
        while (first + n < window->count && is_beside(request, &item[n - 1], &item[n]))
            n++;
    if (n == 1) {
        request_copy(request, item, to_block);
        return 1;
    }
    for (int i = 0; i < n; i++)
        boxes[i] = (struct box_beside){item[i].block->buffer + grid_block_offset(grid, &item[i].box, item[i].part.start),
                                       item[i].part.count[grid->ndim - 1]};
    box_copy_beside(grid->ndim, item->part.count, user_place(request, item), request->stride, boxes, n,
                    grid->chunk_stride, to_block);
    return n;
}

/* ---- waiting ---------------------------------------------------------------------------------- */

/* Somebody waits until nothing is in flight: begin nothing new. */
int request_wait_calm_locked(struct cache *cache, int64_t deadline)
{
    int error = clock_wait(&cache->room, &cache->lock, deadline);

    return error == -ETIMEDOUT ? dn_fail(error, "requests to the store did not end in time") : error;
}

/* Nothing is pinned by this request: somebody else will give memory back, or nobody can. */
int request_wait_room_locked(struct cache *cache, uint64_t need, int64_t deadline)
{
    if (need + cache->spare > cache->limit)
        return dn_fail(-ENOBUFS, "%llu bytes do not fit into a cache_size of %llu", (unsigned long long)need,
                       (unsigned long long)cache->limit);
    if (arena_used(cache->arena) + memory_spare_for(need) + cache->spare <= cache->limit)
        return dn_fail(-ENOMEM, "out of memory"); /* the bound is not what is in the way */
    return writeback_wait_room_locked(cache, need, deadline);
}
