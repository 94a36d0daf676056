// SPDX-License-Identifier: Apache-2.0
/*
 * The entries of a Zarr directory: `.zarray`, `.zattrs`, and the chunks that are there in the order of the grid. The
 * number of a chunk's entry is its place in the grid, so that there is a gap where one is absent.
 *
 * Of a slice all chunks are there, and nothing is asked. Those of a whole dataset the store lists, in an order of its
 * own. Of one part of the grid at a time a bit for each chunk is kept, 16 MiB at most (10^8 chunks take 12), and the
 * store lists once for each such part that has any.
 */
#ifndef DOSNAFS_LIST_ZARR_H
#define DOSNAFS_LIST_ZARR_H

#include "dirs.h"

/** Begin the listing of out->node, a Zarr directory. */
int list_zarr_begin(struct fs *fs, struct listing *out);
/** As dirs_entry(), without "." and "..". */
bool list_zarr_entry(struct fs *fs, struct listing *listing, size_t *i, struct entry *out);
/** NULL is fine. */
void list_zarr_end(struct chunk_listing *chunks);

#endif
