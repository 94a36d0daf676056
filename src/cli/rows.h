// SPDX-License-Identifier: Apache-2.0
/*
 * All of an array in pieces that are long in a flat file and few for each chunk.
 *
 * A piece is one run of bytes of the flat array. A *row* is a row of chunks along the last axes, as short as pieces
 * of a useful length allow; its pieces follow each other, so that its chunks are complete, or done with, long before
 * those of a slab would be in the order of the file. Several rows are under way at once.
 */
#ifndef ROWS_H
#define ROWS_H

#include "cli.h"

struct rows {
    const struct dn_desc *desc;
    int axis;                      /* the last one along which a row is cut */
    uint64_t stride[DN_MAX_NDIM];  /* bytes of the flat array */
    uint64_t lines;                /* of `axis`, in a piece */
    uint64_t count;                /* rows in all */
    uint64_t chunks, nbytes;       /* of one row, with padding */
};

/** `desc` must live on. */
void rows_of(const struct dn_desc *desc, struct rows *out);

/**
 * So many rows that all processors have one, and all jobs a chunk to fetch and one to come where `fetched`: what is
 * written is stored behind the writer. Most of cache_size is left to others. 0: no two at once.
 */
unsigned rows_at_once(const struct rows *rows, const struct cli *cli, bool fetched);

/**
 * Call fn(arg, piece) for each piece, of `at_once` rows at a time, in order within each of them. `number` and `index`
 * of a piece mean nothing.
 *
 * @param done  bytes for which `fn` returned 0
 * @return 0, or the first non-zero that `fn` returned, with its error text; -EINTR: interrupted()
 */
int rows_run(dn_connection *conn, const struct rows *rows, unsigned at_once, dn_part_fn fn, void *arg, uint64_t *done);

#endif
