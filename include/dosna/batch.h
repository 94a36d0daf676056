// SPDX-License-Identifier: Apache-2.0
/*
 * "Do this for each chunk", whatever engine the connection has.
 *
 *   engine=cpu       one chunk after the other, in the calling thread
 *   engine=threads   `njobs` chunks at once, on threads of the call's own
 *   a team           chunk i in rank i modulo size, one after the other there; the calls are collective
 *
 * A chunk is handed over as the part of it that lies inside the array: its padding is nobody's business.
 * The first failure stops what has not begun, in every process, and is what all of them return. The calling
 * thread's cancel hook is asked before each chunk and ends the work with -EINTR.
 */
#ifndef DOSNA_EACH_CHUNK_H
#define DOSNA_EACH_CHUNK_H

#include <dosna/dosna.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A chunk, cut to the array. */
struct dn_part {
    uint64_t number;              /* row-major position in the chunk grid */
    int ndim;
    uint64_t index[DN_MAX_NDIM];  /* position in the chunk grid */
    uint64_t start[DN_MAX_NDIM];  /* of its first element in the array */
    uint64_t count[DN_MAX_NDIM];  /* elements along each axis */
    size_t nbytes;
};

/** The part of the chunk of this number, which is inside the grid. */
DN_API void dn_part_of(const struct dn_desc *desc, uint64_t number, struct dn_part *out);

typedef int (*dn_part_fn)(void *arg, const struct dn_part *part);

/**
 * Call fn(arg, part) for each chunk of the grid, stored or not, on several threads at once where the engine
 * has them. What `fn` wrote is durable after a dn_flush() by every rank.
 *
 * @param done  if not NULL: for how many chunks `fn` returned 0, in all ranks together
 * @return 0, or the first non-zero that `fn` returned, with its error text
 */
DN_API int dn_each_chunk(dn_dataset *dataset, dn_part_fn fn, void *arg, uint64_t *done);

/**
 * The same for those chunks alone that are stored when it begins, in about the order of their numbers; where the store
 * cannot list them, for each chunk of the grid, stored or not. What is dirty is flushed first. Its memory is bounded,
 * and the number of requests goes with what is stored where the store can list that.
 *
 * @return as dn_each_chunk()
 */
DN_API int dn_each_stored(dn_dataset *dataset, dn_part_fn fn, void *arg);

/**
 * Call fn(arg, i) for each i below `n`, as dn_each_chunk() does for chunks, but never shared out in a team: for what
 * waits for the store many times, such as opening many datasets.
 *
 * @return 0, or the first non-zero that `fn` returned, with its error text; -EINTR
 */
DN_API int dn_each(dn_connection *conn, uint64_t n, int (*fn)(void *arg, uint64_t i), void *arg);

/** Make `out`, part->nbytes bytes, from `in`, as many. Both are row-major arrays of part->count. */
typedef int (*dn_map_fn)(void *arg, const struct dn_part *part, const void *in, void *out);

/**
 * to[chunk] = fn(from[chunk]) for each chunk, and a flush of `to`. Both have equal descriptions; they may be
 * the same dataset. A chunk for which `fn` fails stays as it was.
 *
 * @return as dn_each_chunk(); -EINVAL: the descriptions differ
 */
DN_API int dn_map(dn_dataset *from, dn_dataset *to, dn_map_fn fn, void *arg, uint64_t *done);

/** dn_map() from a dataset to itself. */
DN_API int dn_apply(dn_dataset *dataset, dn_map_fn fn, void *arg, uint64_t *done);

/**
 * Create `to` with the description of `from`, and with `data` copy every stored chunk, inside the store where
 * it can do that. On failure `to` is deleted again.
 *
 * @param done  if not NULL: how many chunks were copied
 * @return 0; -ENOENT, -EEXIST, …; -EINTR: the cancel hook said so
 */
DN_API int dn_clone(dn_connection *conn, const char *from, const char *to, bool data, uint64_t *done);

#ifdef __cplusplus
}
#endif
#endif
