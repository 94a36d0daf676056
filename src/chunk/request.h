// SPDX-License-Identifier: Apache-2.0
/*
 * Requests: between user memory and blocks. A request is a few boxes of the array and a strided place in user
 * memory; read.c and write.c work through the blocks that the boxes touch, a window of them at a time.
 */
#ifndef DOSNA_REQUEST_H
#define DOSNA_REQUEST_H

#include "cache.h"

/** Blocks of a window. Two rows of a wide volume's chunks; more would only hold more pins. */
#define REQUEST_WINDOW 96

struct request {
    struct cache_dataset *dataset;
    unsigned char *user;            /* the byte of array position `origin` */
    uint64_t origin[DN_MAX_NDIM];
    uint64_t stride[DN_MAX_NDIM];   /* of user memory */
    const struct gather *slice;     /* or NULL; else `user` is the byte of the slice's flat offset `origin[0]` */
    struct slab_box boxes[GRID_MAX_BOXES];
    int nboxes, box;                /* the box that is being walked */
    struct grid_walk walk;
    bool have;                      /* walk holds an item that was not dealt with */
    uint64_t epoch;                 /* of the dataset when the request began; 0: it has not */
    bool whole;                     /* the reader goes on to the rest of its blocks */
};

/* A block of the window and the part of it that is asked for. */
struct item {
    struct block *block;
    uint64_t lo, hi; /* the bytes of the block that hold the part */
    bool exact;      /* and nothing else */
    bool whole;      /* all of the block will be wanted */
    bool latched, done;
    bool again;      /* gave way for want of memory: to be asked for anew */
    bool fill;       /* for a writer: the block has the fill value first */
    uint64_t epoch;  /* the block must be known to hold since this one: when the request began */
    uint64_t failures;
    struct block_box box;
    struct slab_box part;
};

struct window {
    struct item item[REQUEST_WINDOW];
    int count;
};

/** Flat bytes [offset, offset + length) of the array, from or to `user`. */
void request_flat(struct request *request, struct cache_dataset *dataset, unsigned char *user, uint64_t offset,
                  uint64_t length);
/** A hyperslab: start and count in elements for each axis; `user` holds it row-major. */
void request_slab(struct request *request, struct cache_dataset *dataset, unsigned char *user,
                  const uint64_t *start, const uint64_t *count);
/** Flat bytes [offset, offset + length) of a slice of the array. `gather` outlives the request. */
void request_slice(struct request *request, struct cache_dataset *dataset, unsigned char *user,
                   const struct gather *gather, uint64_t offset, uint64_t length);

/** Stand at the next block of which something is asked for; false: there is none. It is the same one until the caller
 *  says, by have = false, that it has dealt with it. */
bool request_next(struct request *request);
/** The item of the block where the request stands, without the block itself. */
void request_item(struct request *request, struct item *item);

/** Copy an item's part between user memory and its block, which is latched; a block without a buffer is a hole and
 *  reads as the fill value. Without cache->lock. */
void request_copy(const struct request *request, const struct item *item, bool to_block);
/** The same for the window's item `first` with as many of those behind it as are latched and beside it in the array, row
 *  by row. Returns how many were copied. */
int request_copy_beside(const struct request *request, const struct window *window, int first, bool to_block);

/** Wait, with cache->lock, while somebody waits until nothing of the dataset is in flight. 0 or negative errno. */
int request_wait_calm_locked(struct cache *cache, int64_t deadline);
/** Wait, with cache->lock and nothing pinned, until somebody gives `need` bytes back. -ENOMEM: nobody can. */
int request_wait_room_locked(struct cache *cache, uint64_t need, int64_t deadline);

#endif
