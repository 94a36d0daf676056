// SPDX-License-Identifier: Apache-2.0
/*
 * A set of numbers as sorted, disjoint, non-touching half-open intervals [lo, hi).
 *
 * Used for the valid and dirty bytes of a block and for sets of chunk numbers. Small sets (up to
 * RANGES_INLINE intervals) need no memory of their own. Not thread-safe: the owner's lock guards it.
 */
#ifndef DOSNA_RANGES_H
#define DOSNA_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANGES_INLINE 2

struct range {
    uint64_t lo, hi;
};

struct ranges {
    size_t count;
    size_t room;               /* of `heap`; 0: the intervals are in `small` */
    struct range small[RANGES_INLINE];
    struct range *heap;
};

/** A zeroed struct is the empty set. Free what it holds; it is empty and usable afterwards. */
void ranges_clear(struct ranges *set);

/** Add [lo, hi). lo >= hi adds nothing. 0 or -ENOMEM, with the set unchanged. */
int ranges_add(struct ranges *set, uint64_t lo, uint64_t hi);

/** Take [lo, hi) out. 0 or -ENOMEM (a cut in the middle may need room), with the set unchanged. */
int ranges_remove(struct ranges *set, uint64_t lo, uint64_t hi);

/** Replace the set by the one interval [lo, hi), or by nothing. Needs no memory: cannot fail. */
void ranges_set(struct ranges *set, uint64_t lo, uint64_t hi);

/** Take out all that is at or above `lo`. Cannot fail. */
void ranges_cut(struct ranges *set, uint64_t lo);

/** Is every number of [lo, hi) in the set? An empty interval is. */
bool ranges_cover(const struct ranges *set, uint64_t lo, uint64_t hi);

/** Is any number of [lo, hi) in the set? */
bool ranges_touch(const struct ranges *set, uint64_t lo, uint64_t hi);

/** The first interval of [lo, hi) that is not in the set. False: all of it is in. */
bool ranges_gap(const struct ranges *set, uint64_t lo, uint64_t hi, struct range *gap);

/** The i-th interval, i < count. */
struct range ranges_at(const struct ranges *set, size_t i);

/** How many numbers are in the set. */
uint64_t ranges_total(const struct ranges *set);

#endif
