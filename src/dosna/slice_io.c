// SPDX-License-Identifier: Apache-2.0
/* Slices of a dataset as flat files. A range that is none of whole elements is done in up to three parts: the
 * elements at its ends through a buffer, what is between them in place. */
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "gather.h"

struct transfer {
    dn_dataset *dataset;
    const struct gather *gather;
    unsigned char *user; /* of `offset` */
    uint64_t offset, length;
    bool write;
};

static int move_whole(const struct transfer *t, unsigned char *user, uint64_t offset, uint64_t length)
{
    if (!length)
        return 0;
    return t->write ? cache_write_gathered(t->dataset->cached, t->gather, user, offset, length)
                    : cache_read_gathered(t->dataset->cached, t->gather, user, offset, length);
}

/* Bytes [from, to) of the element that begins at `element`. */
static int move_part(const struct transfer *t, uint64_t element, uint64_t from, uint64_t to)
{
    uint64_t size = t->dataset->cached->grid.itemsize;
    unsigned char *item = malloc(size), *user = t->user + (element + from - t->offset);
    int error;

    if (!item)
        return dn_fail(-ENOMEM, "out of memory");
    error = cache_read_gathered(t->dataset->cached, t->gather, item, element, size);
    if (!error && t->write) {
        memcpy(item + from, user, to - from);
        error = cache_write_gathered(t->dataset->cached, t->gather, item, element, size);
    } else if (!error) {
        memcpy(user, item + from, to - from);
    }
    free(item);
    return error;
}

static int move_all(const struct transfer *t)
{
    uint64_t size = t->dataset->cached->grid.itemsize, at = t->offset, end = t->offset + t->length;
    int error = 0;

    if (at % size) {
        uint64_t element = at - at % size, to = min_u64(element + size, end);

        error = move_part(t, element, at - element, to - element);
        at = to;
    }
    if (!error && end - at >= size)
        error = move_whole(t, t->user + (at - t->offset), at, (end - at) / size * size);
    at += (end - at) / size * size;
    return error || at == end ? error : move_part(t, at, 0, end - at);
}

int64_t dn_read_slice(dn_dataset *dataset, const struct dn_slice *slice, void *buffer, size_t length,
                      uint64_t offset)
{
    struct gather gather;
    struct transfer t = {dataset, &gather, buffer, offset, length, false};
    uint64_t first;
    int error;

    gather_init(&gather, &dataset->cached->grid, slice);
    if (offset >= gather.nbytes || !length)
        return 0;
    t.length = min_u64(length, gather.nbytes - offset);
    if (dn_slice_contiguous(slice, dataset->cached->desc.shape, &first))
        return dn_pread(dataset, buffer, t.length, first * dataset->cached->grid.itemsize + offset);
    if (dataset->conn->settings->cache == CACHE_NEVER)
        cache_new_epoch(dataset->cached);
    error = move_all(&t);
    if (error)
        return error;
    stats_add(&dataset->conn->stats, STAT_USER_READ_BYTES, t.length);
    return (int64_t)t.length;
}

int64_t dn_write_slice(dn_dataset *dataset, const struct dn_slice *slice, const void *buffer, size_t length,
                       uint64_t offset)
{
    struct gather gather;
    struct transfer t = {dataset, &gather, (unsigned char *)buffer, offset, length, true};
    uint64_t first;
    int error;

    gather_init(&gather, &dataset->cached->grid, slice);
    if (offset >= gather.nbytes && length)
        return dn_fail(-ENOSPC, "the slice ends at byte %llu", (unsigned long long)gather.nbytes);
    t.length = min_u64(length, gather.nbytes - offset);
    if (dn_slice_contiguous(slice, dataset->cached->desc.shape, &first))
        return dn_pwrite(dataset, buffer, t.length, first * dataset->cached->grid.itemsize + offset);
    error = check_writable(dataset->conn);
    if (!error)
        error = move_all(&t);
    if (error)
        return error;
    stats_add(&dataset->conn->stats, STAT_USER_WRITTEN_BYTES, t.length);
    return (int64_t)t.length;
}
