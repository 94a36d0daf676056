// SPDX-License-Identifier: Apache-2.0
/*
 * Slices: numpy's basic indexing and transposition of an array, as text and as numbers.
 *
 * A slice picks positions along each axis of a source array and says in which order the axes that are left
 * stand in the result. It is a view: it holds no data. Everything is counted in elements.
 *
 * Nothing here does I/O, allocates or takes a lock. Every function may be called from any thread.
 */
#ifndef DOSNA_SLICE_H
#define DOSNA_SLICE_H

#include <dosna/dtype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Along source axis i the positions start[i], start[i] + step[i], …, count[i] of them, all inside the shape.
 * A step is 1 where there are less than two positions; never 0. An axis that an integer took is dropped: its
 * count is 1 and the result lacks it. Result axis k is source axis axis[k].
 */
struct dn_slice {
    int ndim; /* of the source */
    uint64_t start[DN_MAX_NDIM];
    int64_t step[DN_MAX_NDIM];
    uint64_t count[DN_MAX_NDIM]; /* 0: the result is empty */
    bool dropped[DN_MAX_NDIM];
    int out_ndim; /* of the result; 0 when every axis was dropped */
    int axis[DN_MAX_NDIM];
};

/** The whole array. */
DN_API void dn_slice_whole(int ndim, const uint64_t *shape, struct dn_slice *out);

/**
 * Read an expression on an array of this shape: what stands behind the array's name in numpy.
 *   "36:80, 89:, :56"  "[36:80,89:,:56]"  "[..., ::-2]"  "[-1]"      basic indexing; alone, it needs no brackets
 *   ".T"  ".transpose()"  ".transpose(2,0,1)"                        the order of the axes
 * and any number of these after one another, each applied to the result of those before it:
 * ".T[0]", "[5:][::2].transpose(1,0)". Blanks do not count. "" is the whole array.
 *
 * @return 0; -ERANGE: an index or axis out of bounds; -EINVAL: what numpy would refuse otherwise (too many
 *         indices, a step of 0, two ellipses, axes that don't match) or what is no basic indexing
 */
DN_API int dn_slice_parse(const char *text, int ndim, const uint64_t *shape, struct dn_slice *out);

/**
 * Reorder the result's axes: new axis k is the old axis order[k], where negative ones count from the end.
 * `order` has out_ndim entries, each axis once; NULL reverses them.
 *
 * @return 0; -ERANGE: no such axis; -EINVAL: one comes twice
 */
DN_API int dn_slice_transpose(struct dn_slice *slice, const int *order);

/**
 * Take a part of the result along its axis k: positions first, first + 1, …, `count` of them. They must lie
 * inside: a caller's error otherwise.
 */
DN_API void dn_slice_narrow(struct dn_slice *slice, int k, uint64_t first, uint64_t count);

/** Keep every step-th position of the result's axis k, the first one included; step is 1 or more. */
DN_API void dn_slice_thin(struct dn_slice *slice, int k, uint64_t step);

/** Extent of the result along its axis k. */
static inline uint64_t dn_slice_extent(const struct dn_slice *slice, int k)
{
    return slice->count[slice->axis[k]];
}

/** Elements of the result. */
DN_API uint64_t dn_slice_elements(const struct dn_slice *slice);

/** Is the result one contiguous range of the flat source array? Then *first is its first element. An empty one is. */
DN_API bool dn_slice_contiguous(const struct dn_slice *slice, const uint64_t *shape, uint64_t *first);

#ifdef __cplusplus
}
#endif
#endif
