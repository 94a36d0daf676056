// SPDX-License-Identifier: Apache-2.0
#include "box.h"
#include "checked.h"

#include <stdbool.h>
#include <string.h>

struct plan_axis {
    uint64_t count;
    int64_t dst, src; /* strides */
};

/* A box without axes of extent 1, contiguous ones merged; the innermost, a run of bytes, first. */
struct plan {
    int axes;
    struct plan_axis axis[BOX_MAX_AXES];
};

/* False: the box is empty. */
static bool make_plan(int ndim, const uint64_t *count, const uint64_t *dst, const uint64_t *src,
                      struct plan *plan)
{
    struct plan_axis *in = plan->axis;

    *in = (struct plan_axis){count[ndim - 1], 1, 1};
    for (int i = ndim - 2; i >= 0; i--) {
        if (count[i] == 1)
            continue;
        if (dst[i] == in->count * (uint64_t)in->dst && src[i] == in->count * (uint64_t)in->src)
            in->count *= count[i];
        else
            *++in = (struct plan_axis){count[i], (int64_t)dst[i], (int64_t)src[i]};
        if (count[i] == 0)
            return false;
    }
    plan->axes = (int)(in - plan->axis) + 1;
    return count[ndim - 1] > 0;
}

/* A size that the compiler knows makes a move or two of each memcpy. */
#define COPY_ROWS(size)                                                                            \
    for (uint64_t i = 0; i < rows; i++, dst += dst_stride, src += src_stride)                      \
    memcpy(dst, src, size)

static void copy_rows(uint64_t run, uint64_t rows, char *restrict dst, int64_t dst_stride,
                      const char *restrict src, int64_t src_stride)
{
    switch (run) {
    case 1:
        COPY_ROWS(1);
        break;
    case 2:
        COPY_ROWS(2);
        break;
    case 4:
        COPY_ROWS(4);
        break;
    case 8:
        COPY_ROWS(8);
        break;
    case 16:
        COPY_ROWS(16);
        break;
    default:
        COPY_ROWS(run);
    }
}

void box_copy(int ndim, const uint64_t *count, void *dst, const uint64_t *dst_stride,
              const void *src, const uint64_t *src_stride)
{
    struct plan plan;
    uint64_t at[BOX_MAX_AXES];
    char *to = dst;
    const char *from = src;

    if (!make_plan(ndim, count, dst_stride, src_stride, &plan))
        return;
    if (plan.axes == 1) {
        memcpy(to, from, plan.axis[0].count);
        return;
    }
    for (int i = 2; i < plan.axes; i++)
        at[i] = 0;
    for (;;) {
        int i = 2;

        copy_rows(plan.axis[0].count, plan.axis[1].count, to, plan.axis[1].dst, from,
                  plan.axis[1].src);
        for (; i < plan.axes && ++at[i] == plan.axis[i].count; i++) {
            to -= (int64_t)(plan.axis[i].count - 1) * plan.axis[i].dst;
            from -= (int64_t)(plan.axis[i].count - 1) * plan.axis[i].src;
            at[i] = 0;
        }
        if (i == plan.axes)
            return;
        to += plan.axis[i].dst;
        from += plan.axis[i].src;
    }
}

static void copy_rows_beside(uint64_t rows, char *flat, uint64_t flat_stride, const struct box_beside *boxes, int n,
                             uint64_t at, uint64_t box_stride, bool to_boxes)
{
    for (uint64_t i = 0; i < rows; i++, flat += flat_stride, at += box_stride) {
        char *run = flat;

        for (int k = 0; k < n; run += boxes[k].run, k++) {
            char *box = (char *)boxes[k].first + at;

            memcpy(to_boxes ? box : run, to_boxes ? run : box, boxes[k].run);
        }
    }
}

void box_copy_beside(int ndim, const uint64_t *count, void *flat, const uint64_t *flat_stride,
                     const struct box_beside *boxes, int n, const uint64_t *box_stride, bool to_boxes)
{
    uint64_t at[DN_MAX_NDIM] = {0}, in_flat = 0, in_box = 0;
    int inner = ndim - 2, i;

    if (ndim == 1) {
        copy_rows_beside(1, flat, 0, boxes, n, 0, 0, to_boxes);
        return;
    }
    for (i = 0; i <= inner; i++)
        if (count[i] == 0)
            return;
    for (;;) {
        copy_rows_beside(count[inner], (char *)flat + in_flat, flat_stride[inner], boxes, n, in_box,
                         box_stride[inner], to_boxes);
        for (i = inner - 1; i >= 0 && ++at[i] == count[i]; i--) {
            in_flat -= (count[i] - 1) * flat_stride[i];
            in_box -= (count[i] - 1) * box_stride[i];
            at[i] = 0;
        }
        if (i < 0)
            return;
        in_flat += flat_stride[i];
        in_box += box_stride[i];
    }
}

/* Long rows are copied from a stretch that stays in the nearest cache. */
#define FILL_STRETCH 4096

static void fill_row(char *dst, uint64_t length, const char *item, uint64_t itemsize,
                     uint64_t phase)
{
    uint64_t stretch = max_u64(FILL_STRETCH / itemsize, 1) * itemsize;
    uint64_t done = min_u64(itemsize - phase, length);

    memcpy(dst, item + phase, done);
    if (done < length) {
        uint64_t rest = min_u64(phase, length - done);

        memcpy(dst + done, item, rest);
        done += rest;
    }
    while (done < length) {
        uint64_t n = min_u64(min_u64(done, stretch), length - done);

        memcpy(dst + done, dst, n);
        done += n;
    }
}

void box_fill(int ndim, const uint64_t *count, void *dst, const uint64_t *dst_stride,
              const void *item, uint64_t itemsize, uint64_t phase)
{
    uint64_t some[BOX_MAX_AXES], from[BOX_MAX_AXES];

    for (int i = 0; i < ndim; i++) {
        if (count[i] == 0)
            return;
        some[i] = 1;
        from[i] = dst_stride[i];
    }
    if (item)
        fill_row(dst, count[ndim - 1], item, itemsize, phase % itemsize);
    else
        memset(dst, 0, count[ndim - 1]);

    /* What is filled so far is copied along the next axis out: a source that does not advance. */
    some[ndim - 1] = count[ndim - 1];
    for (int i = ndim - 2; i >= 0; i--) {
        some[i] = count[i] - 1;
        from[i] = 0;
        box_copy(ndim, some, (char *)dst + (int64_t)dst_stride[i], dst_stride, dst, from);
        some[i] = count[i];
        from[i] = dst_stride[i];
    }
}

void box_strides(int ndim, const uint64_t *extent, uint64_t *stride)
{
    stride[ndim - 1] = 1;
    for (int i = ndim - 1; i > 0; i--)
        stride[i - 1] = stride[i] * extent[i];
}
