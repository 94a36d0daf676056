// SPDX-License-Identifier: Apache-2.0
#include "ahead.h"

#include "block.h"
#include "checked.h"
#include "fetch.h"

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
struct prefetch_plan ahead_plan_locked(struct cache_dataset *dataset, uint64_t a, uint64_t b)
{
    struct cache *cache = dataset->cache;
    uint64_t budget = cache->prefetch_max / dataset->grid.block_nbytes;
    uint64_t lead = max_u64(2 * pool_threads(cache->pool), LEAD_BYTES / dataset->grid.block_nbytes);

    return prefetch_decide(&dataset->prefetch, &dataset->grid, a, b, lead, budget);
}

void ahead_fetch_locked(struct cache_dataset *dataset, struct prefetch_plan *plan)
{
    if (plan->strided)
        guess_strides_locked(plan, dataset);
    else
        guess_range_locked(plan, dataset);
}
