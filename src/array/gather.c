// SPDX-License-Identifier: Apache-2.0
#include "gather.h"
#include "checked.h"

#include <string.h>

/* Elements of a row of the array that are copied before the next row is: as many lines of memory as the nearest
   cache holds. */
#define TILE 64

void gather_init(struct gather *gather, const struct grid *grid, const struct dn_slice *slice)
{
    struct grid *result = &gather->result;

    memset(gather, 0, sizeof *gather);
    gather->slice = *slice;
    gather->dense = true;
    result->ndim = slice->out_ndim ? slice->out_ndim : 1;
    result->shape[0] = 1;
    for (int k = 0; k < slice->out_ndim; k++)
        result->shape[k] = dn_slice_extent(slice, k);
    result->shape[result->ndim - 1] *= grid->itemsize;
    box_strides(result->ndim, result->shape, result->stride);
    gather->nbytes = result->shape[0] * result->stride[0];
    for (int k = 0; k < slice->out_ndim; k++)
        gather->stride[slice->axis[k]] =
            (int64_t)result->stride[k] * (k == slice->out_ndim - 1 ? (int64_t)grid->itemsize : 1);
    for (int i = 0; i < slice->ndim; i++) {
        bool down = slice->step[i] < 0;
        uint64_t step = (uint64_t)(down ? -slice->step[i] : slice->step[i]);
        uint64_t last = slice->count[i] ? slice->count[i] - 1 : 0;

        gather->low[i] = down ? slice->start[i] - last * step : slice->start[i];
        gather->step[i] = step;
        gather->dense = gather->dense && step == 1;
        if (down) {
            gather->base += last * (uint64_t)gather->stride[i];
            gather->stride[i] = -gather->stride[i];
        }
    }
}

/* The array's positions from `first` on, `count` of them along axis i, as an interval. */
static void source_axis(const struct gather *gather, const struct grid *grid, int i, uint64_t first, uint64_t count,
                        struct slab_box *out)
{
    uint64_t size = i == grid->ndim - 1 ? grid->itemsize : 1;

    if (gather->slice.step[i] < 0)
        first = gather->slice.count[i] - first - count;
    out->start[i] = (gather->low[i] + first * gather->step[i]) * size;
    out->count[i] = ((count - 1) * gather->step[i] + 1) * size;
}

int gather_boxes(const struct gather *gather, const struct grid *grid, uint64_t offset, uint64_t length,
                 struct slab_box out[GRID_MAX_BOXES])
{
    const struct dn_slice *slice = &gather->slice;
    int n = grid_flat_boxes(&gather->result, offset, length, out), last = slice->out_ndim - 1;

    for (int b = 0; b < n; b++) {
        struct slab_box box = out[b];

        for (int i = 0; i < slice->ndim; i++)
            source_axis(gather, grid, i, 0, 1, &out[b]);
        for (int k = 0; k <= last; k++) {
            uint64_t size = k == last ? grid->itemsize : 1;

            source_axis(gather, grid, slice->axis[k], box.start[k] / size, box.count[k] / size, &out[b]);
        }
    }
    return n;
}

bool gather_find(const struct gather *gather, const struct grid *grid, const struct slab_box *part,
                 struct gather_part *out)
{
    int last = grid->ndim - 1;

    out->flat = gather->base;
    for (int i = 0; i <= last; i++) {
        uint64_t size = i == last ? grid->itemsize : 1, step = gather->step[i];
        uint64_t from = part->start[i] / size - gather->low[i];
        uint64_t first = ceil_div(from, step);

        out->count[i] = ceil_div(from + part->count[i] / size, step) - first;
        if (out->count[i] == 0)
            return false;
        out->start[i] = (gather->low[i] + first * step) * size;
        out->flat += first * (uint64_t)gather->stride[i];
        out->flat_stride[i] = (uint64_t)gather->stride[i];
        out->chunk_stride[i] = step * size * grid->chunk_stride[i];
    }
    out->count[last + 1] = grid->itemsize;
    out->flat_stride[last + 1] = out->chunk_stride[last + 1] = 1;
    return true;
}

void gather_copy(const struct grid *grid, const struct gather_part *part, unsigned char *flat,
                 unsigned char *block, bool to_block)
{
    int last = grid->ndim - 1;
    uint64_t count[BOX_MAX_AXES], whole = part->count[last];
    uint64_t tile = part->flat_stride[last] == grid->itemsize ? whole : TILE;

    memcpy(count, part->count, sizeof(*count) * (size_t)(last + 2));
    for (uint64_t done = 0; done < whole; done += tile) {
        unsigned char *to = flat + (int64_t)(done * part->flat_stride[last]);
        unsigned char *from = block + done * part->chunk_stride[last];

        count[last] = min_u64(tile, whole - done);
        if (to_block)
            box_copy(last + 2, count, from, part->chunk_stride, to, part->flat_stride);
        else
            box_copy(last + 2, count, to, part->flat_stride, from, part->chunk_stride);
    }
}
