// SPDX-License-Identifier: Apache-2.0
/*
 * Geometry: from byte offsets of the flat file to chunks and blocks, and back.
 *
 * An array of shape (…, nx) with items of s bytes is treated as bytes of shape (…, nx·s) in chunks of
 * (…, cx·s): an offset inside an element is then no special case. The cache holds chunks in *blocks*:
 * a block is a chunk cut along one axis (`axis`) into pieces of `step` (the last one of each chunk may
 * be shorter) and along every axis before that one into pieces of 1. A block is a contiguous range
 * of its chunk's bytes. With axis 0 and step = chunk[0], blocks are chunks.
 *
 * The fact that everything here rests on: the flat file and every block are both in row-major order,
 * so the part of a block that a flat range [a, b) covers is one contiguous range of the block's bytes.
 *
 * All values are checked once, in grid_init(); nothing overflows afterwards. No I/O, locks or
 * allocation; every function may be called from any thread.
 */
#ifndef DOSNA_GRID_H
#define DOSNA_GRID_H

#include <dosna/dtype.h>
#include <stdbool.h>
#include <stdint.h>

struct grid {
    int ndim;
    uint64_t itemsize;
    uint64_t shape[DN_MAX_NDIM];       /* last in bytes */
    uint64_t chunk[DN_MAX_NDIM];       /* last in bytes */
    uint64_t stride[DN_MAX_NDIM];      /* of the flat array, in bytes */
    uint64_t chunk_stride[DN_MAX_NDIM]; /* inside a chunk, in bytes */
    uint64_t chunks[DN_MAX_NDIM];      /* chunks along each axis */
    uint64_t nbytes;                   /* of the array */
    uint64_t chunk_nbytes;
    uint64_t nchunks;

    int axis;                          /* where chunks are cut into blocks */
    uint64_t step;                     /* pieces of this extent along `axis`; a multiple of itemsize if last */
    uint64_t width[DN_MAX_NDIM];       /* of a block: 1 before `axis`, step, the chunk's behind it */
    uint64_t pieces[DN_MAX_NDIM];      /* blocks of a chunk along each axis, padding included */
    uint64_t blocks[DN_MAX_NDIM];      /* block positions along each axis, over the whole array's grid */
    uint64_t block_nbytes;             /* of the largest block */
    uint64_t blocks_per_chunk;
};

/** A block: where it is in the array and in its chunk. */
struct block_box {
    uint64_t chunk;                  /* flat chunk number */
    uint64_t piece;                  /* the block's number inside its chunk, 0 … blocks_per_chunk − 1 */
    uint64_t start[DN_MAX_NDIM];     /* in the array; last in bytes */
    uint64_t extent[DN_MAX_NDIM];    /* full extent of the block, padding included */
    uint64_t inside[DN_MAX_NDIM];    /* extent that lies inside the shape; 1 or more */
    uint64_t chunk_offset;           /* first byte of the block in its chunk */
    uint64_t nbytes;                 /* product of extent */
};

/** Blocks are chunks at first. `desc` must have passed dn_desc_check(). */
void grid_init(struct grid *grid, const struct dn_desc *desc);

/**
 * Choose blocks so that one *slab* of them (the fewest blocks whose parts inside the shape are one
 * contiguous range of the flat file) takes at most `budget` bytes, and no block more than `largest`, if
 * any cut achieves it; else the finest cut (one row of a chunk, cut to `largest`). Blocks stay whole
 * chunks where that already holds. `axis` is the first that will do; pieces are as few and as equal as can be.
 * Along an axis before the last, a step of 1 makes a much smaller slab than a step of 2: a row of chunks
 * in one plane, not all chunks of the plane.
 */
void grid_cut(struct grid *grid, uint64_t budget, uint64_t largest);

/** Bytes that one slab of blocks holds in memory. And how much of the flat file one slab covers. */
uint64_t grid_slab_memory(const struct grid *grid);
uint64_t grid_slab_bytes(const struct grid *grid);

/** How many blocks there are in all (blocks that lie in the padding alone are not counted), and in a slab. */
uint64_t grid_block_count(const struct grid *grid);
uint64_t grid_slab_blocks(const struct grid *grid);

/**
 * Blocks are numbered in the order in which a sequential reader first touches them: row-major over
 * their origins. The n-th block, n < grid_block_count().
 */
void grid_block(const struct grid *grid, uint64_t number, struct block_box *out);

/** The number of the block that holds byte `offset` of the flat file, offset < nbytes. */
uint64_t grid_block_at(const struct grid *grid, uint64_t offset);

/** The piece-th block of a chunk. False if it lies wholly in the padding. */
bool grid_chunk_block(const struct grid *grid, uint64_t chunk, uint64_t piece, struct block_box *out);

/** Grid position of a chunk from its number, and back. */
void grid_chunk_index(const struct grid *grid, uint64_t chunk, uint64_t *index);
uint64_t grid_chunk_number(const struct grid *grid, const uint64_t *index);

/**
 * The first byte of the block that is at or after flat offset `offset`, as an offset in the block:
 * 0 … nbytes. Padding behind the last byte inside the shape (of a row, a plane, the block) counts with
 * what precedes it: a range that reaches the last inner byte reaches the block's end, so that
 * [grid_block_lower(a), grid_block_lower(b)) is the part of the block that [a, b) covers.
 */
uint64_t grid_block_lower(const struct grid *grid, const struct block_box *block, uint64_t offset);

/** A box in the array: start and count per axis, last in bytes. */
struct slab_box {
    uint64_t start[DN_MAX_NDIM];
    uint64_t count[DN_MAX_NDIM];
};

/** A flat range [a, b) is at most 2·ndim − 1 boxes. */
#define GRID_MAX_BOXES (2 * DN_MAX_NDIM - 1)

/**
 * Cut the flat range [offset, offset + length), inside the array, into boxes, in flat order.
 * @return how many of `out` were filled
 */
int grid_flat_boxes(const struct grid *grid, uint64_t offset, uint64_t length,
                    struct slab_box out[GRID_MAX_BOXES]);

/**
 * Walk the blocks that a box touches, row-major. Begin with a zeroed walk->ready; each call gives the next
 * block and the common part of box and block (in the array's coordinates).
 * @return false when there are no more
 */
struct grid_walk {
    bool ready;
    struct block_box block;
    struct slab_box part;
    /* the walk's own: along each axis, which chunk and which of its pieces, now and where the box begins */
    uint64_t chunk[DN_MAX_NDIM], piece[DN_MAX_NDIM];
    uint64_t first_chunk[DN_MAX_NDIM], first_piece[DN_MAX_NDIM];
};
bool grid_walk_next(const struct grid *grid, const struct slab_box *box, struct grid_walk *walk);

/** How many blocks a box touches. */
uint64_t grid_box_blocks(const struct grid *grid, const struct slab_box *box);

/**
 * Offset in the block of the array position `start` (inside the block). The strides of a block's bytes are
 * grid->chunk_stride.
 */
uint64_t grid_block_offset(const struct grid *grid, const struct block_box *block, const uint64_t *start);

/**
 * The smallest range of a block's bytes that holds all of `part` (which lies inside the block), padding counted as
 * in grid_block_lower(); *exact says that the range holds nothing else but padding.
 */
void grid_part_range(const struct grid *grid, const struct block_box *block, const struct slab_box *part,
                     uint64_t *lo, uint64_t *hi, bool *exact);

#endif
