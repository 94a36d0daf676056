// SPDX-License-Identifier: Apache-2.0
/*
 * What to fetch ahead: the decision. A pure function of the accesses seen so far; no I/O, no locks (the
 * owner's guards it), no allocation. Issuing is the cache's.
 *
 * Accesses are flat ranges [a, b) of one dataset, from any number of readers, and out of order as the kernel's
 * readahead delivers them. Each reader is a *stream*, recognised by position:
 *   - forward: begins where the stream ended, give or take the slack;
 *   - backward: ends where the stream began, give or take the slack;
 *   - strided: as far from the last access as that was from the one before (a plane across the
 *     storage order: rows at a fixed distance), or some such distances further, give or take its size.
 *
 * A forward stream at byte b, in slab s of blocks (grid.h), has a use for all blocks of slab s, and for as
 * much of slab s + 1 as it has read of s: so the next slab is there when the reader is, and what is
 * fetched per byte read stays even. Beyond that it looks `lead` blocks ahead, which keeps all
 * jobs busy. The look-ahead of a new stream starts at one block and doubles with each access that
 * continues it; it is halved when blocks fetched ahead were dropped unread. A strided one looks ahead in
 * proportion to what it has read, for most of these end soon: at the edge of a box.
 */
#ifndef DOSNA_PREFETCH_H
#define DOSNA_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "grid.h"

#define PREFETCH_STREAMS 16

enum stream_kind { STREAM_NEW, STREAM_FORWARD, STREAM_BACKWARD, STREAM_STRIDED };

struct stream {
    enum stream_kind kind;
    uint64_t low, high;  /* what the last accesses covered: [low, high) */
    uint64_t last, size; /* the last access */
    int64_t stride;
    uint64_t cursor;     /* forward, backward: the next block to issue; strided: the next flat offset */
    uint64_t ahead;      /* blocks, or strides, that may be looked ahead; 0: not yet */
    uint64_t used;       /* when last continued, in accesses of the dataset; 0: free */
};

struct prefetch {
    struct stream stream[PREFETCH_STREAMS];
    uint64_t accesses;
};

/** What to fetch: blocks [first, last) counting up, or, if `down`, from last − 1 to first; or the blocks of
 *  `count` flat ranges of `size` bytes at offset, offset + stride, … */
struct prefetch_plan {
    struct stream *stream; /* whose cursor moves as blocks are issued; NULL: nothing to do */
    bool known; /* the access is part of a pattern: the rest of its blocks will be wanted, too */
    bool strided, down;
    uint64_t first, last;
    uint64_t offset, size, count;
    int64_t stride;
};

/**
 * Note an access of [a, b), b > a, and say what is worth fetching now.
 *
 * @param lead    blocks beyond what the slab rule asks for: as many as can be in flight
 * @param budget  blocks that may be looked ahead at most
 */
struct prefetch_plan prefetch_decide(struct prefetch *prefetch, const struct grid *grid, uint64_t a,
                                     uint64_t b, uint64_t lead, uint64_t budget);

/** The plan was carried out up to here: block number, or flat offset for a strided one. */
void prefetch_issued(struct prefetch_plan *plan, uint64_t next);

/** Blocks fetched ahead were dropped unread: look less far. */
void prefetch_wasted(struct prefetch *prefetch);

#endif
