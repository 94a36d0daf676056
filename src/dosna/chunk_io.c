// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "box.h"
#include "checked.h"

static int check_index(const dn_dataset *dataset, const uint64_t *index)
{
    const struct dn_desc *desc = &dataset->cached->desc;

    for (int i = 0; i < desc->ndim; i++)
        if (index[i] >= dn_desc_grid(desc, i))
            return dn_fail(-EINVAL, "axis %d: chunk %llu is not in the grid of %llu", i,
                           (unsigned long long)index[i], (unsigned long long)dn_desc_grid(desc, i));
    return 0;
}

int dn_chunk_has(dn_dataset *dataset, const uint64_t *index)
{
    struct dn_chunk_id id = {.index = index, .ndim = dataset->cached->desc.ndim};
    int error = check_index(dataset, index);

    if (error)
        return error;
    id.flat = grid_chunk_number(&dataset->cached->grid, index);
    error = cache_is_truncated(dataset->cached) ? cache_flush(dataset->cached, false) : 0;
    if (error)
        return error;
    if (cache_chunk_is_dirty(dataset->cached, id.flat))
        return 1;
    return store_has_chunk(dataset->cached->store, &id);
}

/* A chunk's place in the array, in elements, and the part of it that lies inside the shape. 1: that is all of it; 0;
   -EINVAL: no such chunk. */
static int chunk_slab(const dn_dataset *dataset, const uint64_t *index, uint64_t *start, uint64_t *count)
{
    const struct dn_desc *desc = &dataset->cached->desc;
    int error = check_index(dataset, index), whole = 1;

    for (int i = 0; i < desc->ndim && !error; i++) {
        start[i] = index[i] * desc->chunk_size[i];
        count[i] = min_u64(desc->chunk_size[i], desc->shape[i] - start[i]);
        whole = whole && count[i] == desc->chunk_size[i];
    }
    return error ? error : whole;
}

int dn_chunk_get(dn_dataset *dataset, const uint64_t *index, void *buffer)
{
    const struct dn_desc *desc = &dataset->cached->desc;
    const struct grid *grid = &dataset->cached->grid;
    uint64_t start[DN_MAX_NDIM], count[DN_MAX_NDIM], stride[DN_MAX_NDIM];
    unsigned char *inside;
    int error, last = desc->ndim - 1, whole = chunk_slab(dataset, index, start, count);

    if (whole)
        return whole < 0 ? whole : dn_read(dataset, start, count, buffer);

    chunk_fill(dataset->cached, 0, buffer, grid->chunk_nbytes);
    inside = malloc(grid->chunk_nbytes);
    if (!inside)
        return dn_fail(-ENOMEM, "out of memory");
    error = dn_read(dataset, start, count, inside);
    if (!error) {
        count[last] *= desc->dtype.itemsize;
        box_strides(desc->ndim, count, stride);
        box_copy(desc->ndim, count, buffer, grid->chunk_stride, inside, stride);
    }
    free(inside);
    return error;
}

int dn_chunk_set(dn_dataset *dataset, const uint64_t *index, const void *buffer)
{
    const struct dn_desc *desc = &dataset->cached->desc;
    const struct grid *grid = &dataset->cached->grid;
    uint64_t start[DN_MAX_NDIM], count[DN_MAX_NDIM], bytes[DN_MAX_NDIM], stride[DN_MAX_NDIM];
    unsigned char *inside;
    int error, last = desc->ndim - 1, whole = chunk_slab(dataset, index, start, count);

    if (whole)
        return whole < 0 ? whole : dn_write(dataset, start, count, buffer);

    inside = malloc(grid->chunk_nbytes);
    if (!inside)
        return dn_fail(-ENOMEM, "out of memory");
    memcpy(bytes, count, sizeof bytes);
    bytes[last] *= desc->dtype.itemsize;
    box_strides(desc->ndim, bytes, stride);
    box_copy(desc->ndim, bytes, inside, stride, buffer, grid->chunk_stride);
    error = dn_write(dataset, start, count, inside);
    free(inside);
    return error;
}

/* Have the store know what is known here of a chunk, and name it. */
static int settle_chunk(dn_dataset *dataset, const uint64_t *index, struct dn_chunk_id *id)
{
    struct cache_dataset *cached = dataset->cached;
    int error = check_index(dataset, index);

    if (error)
        return error;
    *id = (struct dn_chunk_id){grid_chunk_number(&cached->grid, index), index, cached->desc.ndim};
    if (cache_is_truncated(cached) || cache_chunk_is_dirty(cached, id->flat))
        error = cache_flush(cached, false);
    return error;
}

int dn_chunk_stored(dn_dataset *dataset, const uint64_t *index, uint64_t offset, void *buffer, size_t length)
{
    struct cache_dataset *cached = dataset->cached;
    struct dn_chunk_id id;
    int error;

    if (offset > cached->grid.chunk_nbytes || length > cached->grid.chunk_nbytes - offset)
        return dn_fail(-EINVAL, "a chunk has %llu bytes", (unsigned long long)cached->grid.chunk_nbytes);
    error = settle_chunk(dataset, index, &id);
    return error || !length ? error : store_read(cached->store, &id, offset, buffer, length, NULL);
}

int dn_chunk_length(dn_dataset *dataset, const uint64_t *index, uint64_t *nbytes)
{
    struct dn_chunk_id id;
    int error = settle_chunk(dataset, index, &id);

    return error ? error : store_chunk_length(dataset->cached->store, &id, nbytes);
}

int dn_chunk_del(dn_dataset *dataset, const uint64_t *index)
{
    int error = check_index(dataset, index);

    if (!error)
        error = check_writable(dataset->conn);
    if (error)
        return error;
    return cache_delete_chunk(dataset->cached, grid_chunk_number(&dataset->cached->grid, index));
}

int dn_chunk_list(dn_dataset *dataset, dn_chunk_fn fn, void *arg)
{
    int error = cache_flush(dataset->cached, false);

    return error ? error : cache_list_chunks(dataset->cached, fn, arg);
}

int dn_strays(dn_dataset *dataset, dn_name_fn fn, void *arg)
{
    return store_list_strays(dataset->cached->store, fn, arg);
}

int dn_delete_strays(dn_dataset *dataset)
{
    int error = check_writable(dataset->conn);

    return error ? error : store_delete_strays(dataset->cached->store);
}
