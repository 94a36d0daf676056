// SPDX-License-Identifier: Apache-2.0
/*
 * The one copy loop: an N-d box of bytes between two strided arrays.
 *
 * Axes are in array order, last axis fastest; the last axis counts bytes (an array of items of s bytes
 * and last extent nx is one of last extent nx·s), so that no code here knows an element type. Values in,
 * values out: no I/O, no locks, no allocation.
 */
#ifndef DOSNA_BOX_H
#define DOSNA_BOX_H

#include <dosna/dtype.h>
#include <stdbool.h>
#include <stdint.h>

/** An array's axes, and one more for the bytes of an element where those of a row lie apart. */
#define BOX_MAX_AXES (DN_MAX_NDIM + 1)

/**
 * Copy a box of `count` from `src` to `dst`. `dst` and `src` point at the box's first byte; strides are
 * in bytes, the last one is 1 on both sides; the others may be negative, as two's complement. Axes that are
 * contiguous on both sides are merged, so that the inner copy is as long as it can be.
 */
void box_copy(int ndim, const uint64_t *count, void *dst, const uint64_t *dst_stride, const void *src,
              const uint64_t *src_stride);

/** A box that stands beside others along the last axis. */
struct box_beside {
    void *first;  /* byte */
    uint64_t run; /* its extent along the last axis */
};

/**
 * Copy `n` boxes that stand side by side along the last axis into `flat`, or out of it into the boxes: row by row
 * through all of them, so that `flat` is gone through from beginning to end. `count` has the extents along the ndim - 1
 * axes before the last; `box_stride` is the same for all. Strides are positive.
 */
void box_copy_beside(int ndim, const uint64_t *count, void *flat, const uint64_t *flat_stride,
                     const struct box_beside *boxes, int n, const uint64_t *box_stride, bool to_boxes);

/**
 * Fill a box with a repeating item of `itemsize` bytes (NULL: zero bytes). The box begins `phase` bytes
 * into an item on every row (rows begin on the same phase).
 */
void box_fill(int ndim, const uint64_t *count, void *dst, const uint64_t *dst_stride, const void *item,
              uint64_t itemsize, uint64_t phase);

/** Row-major strides in bytes of an array with these extents (last one in bytes). */
void box_strides(int ndim, const uint64_t *extent, uint64_t *stride);

#endif
