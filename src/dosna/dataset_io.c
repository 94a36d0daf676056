// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <errno.h>

#include "checked.h"

static void count_bytes(dn_dataset *dataset, enum stat_id id, uint64_t n)
{
    stats_add(&dataset->conn->stats, id, n);
}

int64_t dn_pread(dn_dataset *dataset, void *buffer, size_t length, uint64_t offset)
{
    uint64_t nbytes = dataset->cached->grid.nbytes, n;
    int error;

    if (offset >= nbytes || !length)
        return 0;
    n = min_u64(length, nbytes - offset);
    if (dataset->conn->settings->cache == CACHE_NEVER)
        cache_new_epoch(dataset->cached);
    error = cache_read_flat(dataset->cached, buffer, offset, n);
    if (error)
        return error;
    count_bytes(dataset, STAT_USER_READ_BYTES, n);
    return (int64_t)n;
}

int64_t dn_pwrite(dn_dataset *dataset, const void *buffer, size_t length, uint64_t offset)
{
    uint64_t nbytes = dataset->cached->grid.nbytes, n;
    int error;

    error = check_writable(dataset->conn);
    if (error || !length)
        return error;
    if (offset >= nbytes)
        return dn_fail(-ENOSPC, "the array ends at byte %llu", (unsigned long long)nbytes);
    n = min_u64(length, nbytes - offset);
    error = cache_write_flat(dataset->cached, buffer, offset, n);
    if (error)
        return error;
    count_bytes(dataset, STAT_USER_WRITTEN_BYTES, n);
    return (int64_t)n;
}

/* Bytes of the slab, or -EINVAL. */
static int64_t check_slab(const dn_dataset *dataset, const uint64_t *start, const uint64_t *count)
{
    const struct dn_desc *desc = &dataset->cached->desc;
    uint64_t bytes = desc->dtype.itemsize;

    for (int i = 0; i < desc->ndim; i++) {
        if (start[i] > desc->shape[i] || count[i] > desc->shape[i] - start[i])
            return dn_fail(-EINVAL, "axis %d: [%llu, %llu) is not inside 0 … %llu", i,
                           (unsigned long long)start[i], (unsigned long long)(start[i] + count[i]),
                           (unsigned long long)desc->shape[i]);
        bytes *= count[i];
    }
    return (int64_t)bytes;
}

int dn_read(dn_dataset *dataset, const uint64_t *start, const uint64_t *count, void *buffer)
{
    int64_t bytes = check_slab(dataset, start, count);
    int error;

    if (bytes <= 0)
        return (int)bytes;
    if (dataset->conn->settings->cache == CACHE_NEVER)
        cache_new_epoch(dataset->cached);
    error = cache_read_slab(dataset->cached, start, count, buffer);
    if (!error)
        count_bytes(dataset, STAT_USER_READ_BYTES, (uint64_t)bytes);
    return error;
}

int dn_write(dn_dataset *dataset, const uint64_t *start, const uint64_t *count, const void *buffer)
{
    int64_t bytes = check_slab(dataset, start, count);
    int error;

    if (bytes <= 0)
        return (int)bytes;
    error = check_writable(dataset->conn);
    if (!error)
        error = cache_write_slab(dataset->cached, start, count, buffer);
    if (!error)
        count_bytes(dataset, STAT_USER_WRITTEN_BYTES, (uint64_t)bytes);
    return error;
}

int dn_truncate(dn_dataset *dataset, uint64_t length)
{
    int error = check_writable(dataset->conn);

    return error ? error : cache_truncate(dataset->cached, length);
}

int dn_flush(dn_dataset *dataset)
{
    return cache_flush(dataset->cached, false);
}

int dn_flush_written(dn_dataset *dataset)
{
    return cache_flush(dataset->cached, true);
}

static int clear(dn_dataset *dataset)
{
    int error = dn_truncate(dataset, 0);

    return error ? error : cache_flush(dataset->cached, false);
}

int dn_clear(dn_dataset *dataset)
{
    int error = dn_agree(dataset->conn, is_first(dataset->conn) ? clear(dataset) : 0, NULL);

    if (!is_first(dataset->conn))
        cache_new_epoch(dataset->cached);
    return error;
}

void dn_verify(dn_dataset *dataset)
{
    cache_verify(dataset->cached);
}

void dn_use_once(dn_dataset *dataset, uint64_t in_use)
{
    cache_use_once(dataset->cached, in_use);
}
