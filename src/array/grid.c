// SPDX-License-Identifier: Apache-2.0
#include "grid.h"
#include "box.h"
#include "checked.h"

/* --- the cut ------------------------------------------------------------------------ */

static void set_cut(struct grid *grid, int axis, uint64_t step)
{
    grid->axis = axis;
    grid->step = step;
    grid->blocks_per_chunk = 1;
    for (int i = 0; i < grid->ndim; i++) {
        uint64_t chunk = grid->chunk[i], width = i < axis ? 1 : i == axis ? step : chunk;

        grid->width[i] = width;
        grid->pieces[i] = ceil_div(chunk, width);
        grid->blocks[i] =
            grid->shape[i] / chunk * grid->pieces[i] + ceil_div(grid->shape[i] % chunk, width);
        grid->blocks_per_chunk *= grid->pieces[i];
    }
    grid->block_nbytes = step * grid->chunk_stride[axis];
}

void grid_init(struct grid *grid, const struct dn_desc *desc)
{
    int last = desc->ndim - 1;

    grid->ndim = desc->ndim;
    grid->itemsize = desc->dtype.itemsize;
    grid->nchunks = 1;
    for (int i = 0; i < desc->ndim; i++) {
        uint64_t size = i == last ? grid->itemsize : 1;

        grid->shape[i] = desc->shape[i] * size;
        grid->chunk[i] = desc->chunk_size[i] * size;
        grid->chunks[i] = ceil_div(desc->shape[i], desc->chunk_size[i]);
        grid->nchunks *= grid->chunks[i];
    }
    box_strides(grid->ndim, grid->shape, grid->stride);
    box_strides(grid->ndim, grid->chunk, grid->chunk_stride);
    grid->nbytes = grid->shape[0] * grid->stride[0];
    grid->chunk_nbytes = grid->chunk[0] * grid->chunk_stride[0];
    set_cut(grid, 0, grid->chunk[0]);
}

/*
 * The first axis along which a block, cut at `axis` in pieces of `step`, has more than one position
 * of the array. All blocks beside it, along the axes behind that one, make its slab.
 */
static int wide_axis(const struct grid *grid, int axis, uint64_t step)
{
    int last = grid->ndim - 1;

    if (axis < last && min_u64(step, grid->shape[axis]) > 1)
        return axis;
    for (axis++; axis < last; axis++)
        if (min_u64(grid->chunk[axis], grid->shape[axis]) > 1)
            return axis;
    return last;
}

static uint64_t slab_blocks(const struct grid *grid, int axis, uint64_t step)
{
    uint64_t n = 1;

    for (int i = wide_axis(grid, axis, step) + 1; i < grid->ndim; i++)
        n *= grid->chunks[i];
    return n;
}

/* The widest step along `axis` that keeps to both bounds; 0: none does. */
static uint64_t widest_step(const struct grid *grid, int axis, uint64_t budget, uint64_t largest)
{
    uint64_t unit = axis == grid->ndim - 1 ? grid->itemsize : 1;
    uint64_t slices = budget / grid->chunk_stride[axis];
    uint64_t step = slices / slab_blocks(grid, axis, 2);

    /* Pieces of 1 may make a smaller slab than their share of one of 2. */
    if (step == 0 && slices >= slab_blocks(grid, axis, 1))
        step = 1;
    step = min_u64(step, largest / grid->chunk_stride[axis]);
    step = min_u64(step, grid->chunk[axis]);
    return step - step % unit;
}

/* As many pieces as `step` gives, of as equal size as can be. */
static uint64_t even_step(const struct grid *grid, int axis, uint64_t step)
{
    uint64_t unit = axis == grid->ndim - 1 ? grid->itemsize : 1;
    uint64_t pieces = ceil_div(grid->chunk[axis], step);

    return ceil_div(grid->chunk[axis] / unit, pieces) * unit;
}

void grid_cut(struct grid *grid, uint64_t budget, uint64_t largest)
{
    int axis = 0, last = grid->ndim - 1;
    uint64_t step;

    while ((step = widest_step(grid, axis, budget, largest)) == 0 && axis < last)
        axis++;
    if (step == 0)
        step = max_u64(widest_step(grid, last, UINT64_MAX, largest), grid->itemsize);
    set_cut(grid, axis, even_step(grid, axis, step));
}

uint64_t grid_slab_blocks(const struct grid *grid)
{
    return slab_blocks(grid, grid->axis, grid->step);
}

uint64_t grid_slab_memory(const struct grid *grid)
{
    return grid_slab_blocks(grid) * grid->block_nbytes;
}

uint64_t grid_slab_bytes(const struct grid *grid)
{
    int wide = wide_axis(grid, grid->axis, grid->step);

    return min_u64(grid->width[wide], grid->shape[wide]) * grid->stride[wide];
}

uint64_t grid_block_count(const struct grid *grid)
{
    uint64_t n = 1;

    for (int i = 0; i < grid->ndim; i++)
        n *= grid->blocks[i];
    return n;
}

/* --- blocks and chunks by number ---------------------------------------------------- */

/* A row-major number over `extent` and its coordinates. */
static void unravel(int ndim, const uint64_t *extent, uint64_t number, uint64_t *index)
{
    for (int i = ndim - 1; i >= 0; i--) {
        index[i] = number % extent[i];
        number /= extent[i];
    }
}

static uint64_t ravel(int ndim, const uint64_t *extent, const uint64_t *index)
{
    uint64_t number = 0;

    for (int i = 0; i < ndim; i++)
        number = number * extent[i] + index[i];
    return number;
}

void grid_chunk_index(const struct grid *grid, uint64_t chunk, uint64_t *index)
{
    unravel(grid->ndim, grid->chunks, chunk, index);
}

uint64_t grid_chunk_number(const struct grid *grid, const uint64_t *index)
{
    return ravel(grid->ndim, grid->chunks, index);
}

/* One axis of the block that is the piece-th of the chunk-th there. False: all padding. */
static inline bool place_axis(const struct grid *grid, int i, uint64_t chunk, uint64_t piece,
                              struct block_box *out)
{
    uint64_t within = piece * grid->width[i];

    out->start[i] = chunk * grid->chunk[i] + within;
    if (out->start[i] >= grid->shape[i])
        return false;
    out->extent[i] = min_u64(grid->width[i], grid->chunk[i] - within);
    out->inside[i] = min_u64(out->extent[i], grid->shape[i] - out->start[i]);
    return true;
}

/* What follows from all axes together. */
static inline void place_bytes(const struct grid *grid, const uint64_t *chunk,
                               const uint64_t *piece, struct block_box *out)
{
    out->chunk = ravel(grid->ndim, grid->chunks, chunk);
    out->piece = 0;
    out->chunk_offset = 0;
    for (int i = 0; i <= grid->axis; i++) {
        out->piece = out->piece * grid->pieces[i] + piece[i];
        out->chunk_offset += piece[i] * grid->width[i] * grid->chunk_stride[i];
    }
    out->nbytes = out->extent[grid->axis] * grid->chunk_stride[grid->axis];
}

void grid_block(const struct grid *grid, uint64_t number, struct block_box *out)
{
    uint64_t chunk[DN_MAX_NDIM], piece[DN_MAX_NDIM];

    unravel(grid->ndim, grid->blocks, number, chunk);
    for (int i = 0; i < grid->ndim; i++) {
        piece[i] = chunk[i] % grid->pieces[i];
        chunk[i] /= grid->pieces[i];
        place_axis(grid, i, chunk[i], piece[i], out);
    }
    place_bytes(grid, chunk, piece, out);
}

bool grid_chunk_block(const struct grid *grid, uint64_t chunk, uint64_t piece,
                      struct block_box *out)
{
    uint64_t chunks[DN_MAX_NDIM], pieces[DN_MAX_NDIM];

    unravel(grid->ndim, grid->chunks, chunk, chunks);
    unravel(grid->ndim, grid->pieces, piece, pieces);
    for (int i = 0; i < grid->ndim; i++)
        if (!place_axis(grid, i, chunks[i], pieces[i], out))
            return false;
    place_bytes(grid, chunks, pieces, out);
    return true;
}

/* Which block of its axis holds array position x. */
static uint64_t block_position(const struct grid *grid, int i, uint64_t x)
{
    return x / grid->chunk[i] * grid->pieces[i] + x % grid->chunk[i] / grid->width[i];
}

/* Array position of a flat offset; nbytes itself lies at shape[0], 0, 0, … */
static void flat_position(const struct grid *grid, uint64_t offset, uint64_t *x)
{
    int last = grid->ndim - 1;

    for (int i = 0; i < last; i++) {
        x[i] = offset / grid->stride[i];
        offset -= x[i] * grid->stride[i];
    }
    x[last] = offset;
}

uint64_t grid_block_at(const struct grid *grid, uint64_t offset)
{
    uint64_t x[DN_MAX_NDIM];

    flat_position(grid, offset, x);
    for (int i = 0; i < grid->ndim; i++)
        x[i] = block_position(grid, i, x[i]);
    return ravel(grid->ndim, grid->blocks, x);
}

/* --- ranges of a block's bytes ------------------------------------------------------ */

uint64_t grid_block_offset(const struct grid *grid, const struct block_box *block,
                           const uint64_t *start)
{
    uint64_t offset = 0;

    for (int i = grid->axis; i < grid->ndim; i++)
        offset += (start[i] - block->start[i]) * grid->chunk_stride[i];
    return offset;
}

/*
 * `offset` is where position x of the block, cut off behind `axis`, begins. The first inner byte
 * behind all that begins so: the padding at the end of rows and planes is skipped.
 */
static uint64_t skip_behind(const struct grid *grid, const struct block_box *block,
                            const uint64_t *x, int axis, uint64_t offset)
{
    for (int i = axis; i >= grid->axis; i--) {
        uint64_t at = x[i] - block->start[i];

        if (at + 1 < block->inside[i])
            return offset + grid->chunk_stride[i];
        offset -= at * grid->chunk_stride[i];
    }
    return block->nbytes;
}

uint64_t grid_block_lower(const struct grid *grid, const struct block_box *block, uint64_t offset)
{
    uint64_t x[DN_MAX_NDIM], lower = 0;

    flat_position(grid, offset, x);
    for (int i = 0; i < grid->ndim; i++) {
        if (x[i] < block->start[i])
            return lower;
        if (x[i] - block->start[i] >= block->inside[i])
            return skip_behind(grid, block, x, i - 1, lower);
        lower += (x[i] - block->start[i]) * grid->chunk_stride[i];
    }
    return lower;
}

void grid_part_range(const struct grid *grid, const struct block_box *block,
                     const struct slab_box *part, uint64_t *lo, uint64_t *hi, bool *exact)
{
    uint64_t end[DN_MAX_NDIM];
    bool wide = false;

    *exact = true;
    for (int i = 0; i < grid->ndim; i++) {
        end[i] = part->start[i] + part->count[i] - 1;
        if (wide && part->count[i] != block->inside[i])
            *exact = false;
        wide = wide || part->count[i] > 1;
    }
    *lo = grid_block_offset(grid, block, part->start);
    *hi = skip_behind(grid, block, end, grid->ndim - 1, grid_block_offset(grid, block, end));
}

/* --- boxes -------------------------------------------------------------------------- */

/* The positions that agree with x before `axis`, have [lo, hi) there and all behind. */
static int add_box(const struct grid *grid, const uint64_t *x, int axis, uint64_t lo, uint64_t hi,
                   struct slab_box *out)
{
    if (lo >= hi)
        return 0;
    for (int i = 0; i < grid->ndim; i++) {
        out->start[i] = i < axis ? x[i] : i == axis ? lo : 0;
        out->count[i] = i < axis ? 1 : i == axis ? hi - lo : grid->shape[i];
    }
    return 1;
}

int grid_flat_boxes(const struct grid *grid, uint64_t offset, uint64_t length,
                    struct slab_box out[GRID_MAX_BOXES])
{
    uint64_t a[DN_MAX_NDIM], b[DN_MAX_NDIM], begun = 0;
    int n = 0, axis = 0;

    if (length == 0)
        return 0;
    flat_position(grid, offset, a);
    flat_position(grid, offset + length, b);
    while (a[axis] == b[axis])
        axis++;

    /* The head: what is left of the row, the plane, … that a lies in. */
    for (int i = grid->ndim - 1; i > axis; i--) {
        if (a[i] + begun == 0)
            continue;
        n += add_box(grid, a, i, a[i] + begun, grid->shape[i], &out[n]);
        begun = 1;
    }
    n += add_box(grid, a, axis, a[axis] + begun, b[axis], &out[n]);
    for (int i = axis + 1; i < grid->ndim; i++)
        n += add_box(grid, b, i, 0, b[i], &out[n]);
    return n;
}

uint64_t grid_box_blocks(const struct grid *grid, const struct slab_box *box)
{
    uint64_t n = 1;

    for (int i = 0; i < grid->ndim; i++) {
        uint64_t end = box->start[i] + box->count[i];

        if (box->count[i] == 0)
            return 0;
        n *= block_position(grid, i, end - 1) - block_position(grid, i, box->start[i]) + 1;
    }
    return n;
}

/* Bring one axis of walk->block and walk->part to where walk->chunk and walk->piece say. */
static inline void walk_axis(const struct grid *grid, const struct slab_box *box,
                             struct grid_walk *walk, int i)
{
    uint64_t box_end = box->start[i] + box->count[i], start;

    place_axis(grid, i, walk->chunk[i], walk->piece[i], &walk->block);
    start = walk->block.start[i];
    walk->part.start[i] = max_u64(start, box->start[i]);
    walk->part.count[i] = min_u64(start + walk->block.extent[i], box_end) - walk->part.start[i];
}

static bool walk_begin(const struct grid *grid, const struct slab_box *box, struct grid_walk *walk)
{
    for (int i = 0; i < grid->ndim; i++) {
        if (box->count[i] == 0)
            return false;
        walk->chunk[i] = walk->first_chunk[i] = box->start[i] / grid->chunk[i];
        walk->piece[i] = walk->first_piece[i] = box->start[i] % grid->chunk[i] / grid->width[i];
        walk_axis(grid, box, walk, i);
    }
    walk->ready = true;
    return true;
}

/* One block further, the last axis first. */
static bool walk_step(const struct grid *grid, const struct slab_box *box, struct grid_walk *walk)
{
    for (int i = grid->ndim - 1; i >= 0; i--) {
        uint64_t done = walk->part.start[i] + walk->part.count[i] - box->start[i];
        bool more = done < box->count[i];

        if (!more) {
            walk->chunk[i] = walk->first_chunk[i];
            walk->piece[i] = walk->first_piece[i];
        } else if (++walk->piece[i] == grid->pieces[i]) {
            walk->piece[i] = 0;
            walk->chunk[i]++;
        }
        walk_axis(grid, box, walk, i);
        if (more)
            return true;
    }
    return false;
}

bool grid_walk_next(const struct grid *grid, const struct slab_box *box, struct grid_walk *walk)
{
    if (!(walk->ready ? walk_step(grid, box, walk) : walk_begin(grid, box, walk)))
        return false;
    place_bytes(grid, walk->chunk, walk->piece, &walk->block);
    return true;
}
