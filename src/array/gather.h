// SPDX-License-Identifier: Apache-2.0
/*
 * Slices in bytes: where the elements of a slice lie in the array and in the slice's own flat bytes.
 *
 * A flat range of a slice is a few boxes of it, as that of an array is (grid_flat_boxes()), and each is a box of
 * the array of which every step-th position along each axis counts. What of these lies in one block is a box of
 * elements at even distances on both sides, so that box_copy() does the rest.
 *
 * Values in, values out: no I/O, no locks, no allocation.
 */
#ifndef DOSNA_GATHER_H
#define DOSNA_GATHER_H

#include "box.h"
#include "grid.h"

#include <dosna/slice.h>

struct gather {
    uint64_t low[DN_MAX_NDIM];   /* the lowest position along each axis of the array, in elements */
    uint64_t step[DN_MAX_NDIM];  /* to the next one up, 1 or more */
    int64_t stride[DN_MAX_NDIM]; /* what that is in the slice's flat bytes; 0 along a dropped axis */
    uint64_t base;               /* flat byte of the element at the lowest positions */
    uint64_t nbytes;             /* of the slice */
    bool dense;                  /* every step is 1 */
    struct dn_slice slice;
    struct grid result;          /* the slice as an array: ndim, shape and stride alone */
};

/** `slice` is one of the grid's array. */
void gather_init(struct gather *gather, const struct grid *grid, const struct dn_slice *slice);

/**
 * Cut the flat range [offset, offset + length) of the slice into boxes of the array, bounds included. Both are
 * multiples of the itemsize, and inside.
 * @return how many of `out` were filled
 */
int gather_boxes(const struct gather *gather, const struct grid *grid, uint64_t offset, uint64_t length,
                 struct slab_box out[GRID_MAX_BOXES]);

/** The elements of the slice in a part of one of these boxes, as box_copy() wants them: one axis more than the
 *  array has, for the bytes of an element. */
struct gather_part {
    uint64_t count[BOX_MAX_AXES];
    uint64_t flat_stride[BOX_MAX_AXES], chunk_stride[BOX_MAX_AXES];
    uint64_t flat;               /* flat byte of the first one */
    uint64_t start[DN_MAX_NDIM]; /* and its place in the array, last in bytes */
};

/** False: there are none. */
bool gather_find(const struct gather *gather, const struct grid *grid, const struct slab_box *part,
                 struct gather_part *out);

/** Copy a part: `flat` and `block` point at its first element. */
void gather_copy(const struct grid *grid, const struct gather_part *part, unsigned char *flat,
                 unsigned char *block, bool to_block);

#endif
