// SPDX-License-Identifier: Apache-2.0
/*
 * A dataset, or any slice of it, as a directory of Zarr version 2 (zarr-specs: docs/v2/v2.0.rst): `.zarray` and
 * `.zattrs`, and each chunk a file named by its place in the grid, "0.3.1". Chunks are uncompressed, row-major,
 * always whole, and an absent one is fill value: a stored chunk of a whole dataset is a Zarr chunk, byte for byte.
 *
 * A slice that is not the whole has chunks of the same extents, cut anew and computed; all of them are there.
 */
#ifndef DOSNA_VIEW_ZARR_H
#define DOSNA_VIEW_ZARR_H

#include "view.h"

struct zarr {
    struct dn_slice slice;
    struct view_array array;
    bool whole;                      /* the slice is the dataset itself */
    uint64_t chunk[DN_MAX_NDIM];     /* extents */
    uint64_t grid[DN_MAX_NDIM];      /* chunks along each axis */
    uint64_t nbytes;                 /* of a chunk */
};

/** -ENOENT: Zarr cannot show such an array (no axes, or empty). */
int zarr_init(struct zarr *zarr, const struct dn_desc *desc, const struct dn_slice *slice);

/** `.zarray`; "{}" for `.zattrs`; `.zgroup` of the directory around. For free(). NULL: no memory. */
char *zarr_array_text(const struct zarr *zarr, const struct dn_desc *desc);
#define ZARR_ATTRIBUTES_TEXT "{}\n"
#define ZARR_GROUP_TEXT "{\"zarr_format\": 2}\n"

/** Room for a chunk's name, with its NUL. */
#define ZARR_NAME_TEXT DN_VECTOR_TEXT

/** How many chunks the grid has. A chunk's row-major number in it, and back. */
uint64_t zarr_chunks(const struct zarr *zarr);
uint64_t zarr_chunk_number(const struct zarr *zarr, const uint64_t *index);
void zarr_chunk_index(const struct zarr *zarr, uint64_t number, uint64_t *index);

/** A chunk's name, and back. zarr_index(): false: no chunk of the grid, or not as zarr_name() writes it. */
void zarr_name(const struct zarr *zarr, const uint64_t *index, char *name);
bool zarr_index(const struct zarr *zarr, const char *name, uint64_t *index);

/** 1: the chunk is there; 0; negative. */
int zarr_has(const struct zarr *zarr, dn_dataset *dataset, const uint64_t *index);

/** Bytes [offset, offset + length), inside the chunk. -ENOENT: it is not there. */
int zarr_read(const struct zarr *zarr, dn_dataset *dataset, const uint64_t *index, uint64_t offset, void *buffer,
              size_t length);

#endif
