// SPDX-License-Identifier: Apache-2.0
#include "call.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool chunk_in_grid(const struct store_dataset *dataset, const uint64_t *index, int ndim)
{
    if (!index || ndim != dataset->ndim)
        return false;
    for (int axis = 0; axis < ndim; axis++) {
        if (index[axis] >= dataset->grid[axis])
            return false;
    }
    return true;
}

static __attribute__((unused)) bool chunk_is_valid(const struct store_dataset *dataset, const struct dn_chunk_id *id)
{
    if (!dataset || !id || !chunk_in_grid(dataset, id->index, id->ndim))
        return false;
    uint64_t flat = 0;
    for (int axis = 0; axis < id->ndim; axis++)
        flat = flat * dataset->grid[axis] + id->index[axis];
    return flat == id->flat;
}

static __attribute__((unused)) bool range_is_valid(const struct store_dataset *dataset, uint64_t offset, size_t length)
{
    return length > 0 && length <= dataset->chunk_nbytes && offset <= dataset->chunk_nbytes - length;
}

/* A mark longer than its field would be read past its end by whoever copies it. */
static int checked_mark(const struct call *call, int rc, const struct dn_version *mark)
{
    if (rc == 0 && mark->size > sizeof mark->bytes)
        return dn_fail(-EIO, "backend %s: %s returned a version of %u bytes",
                       call->store->backend->name, call_what(call), mark->size);
    return rc;
}

/* Each try begins with the caller's mark, whatever a failed one left in it. */
static int read_as_is(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset,
                      void *buffer, size_t length, struct dn_version *version)
{
    struct store *store = dataset->store;
    struct call call = call_on_dataset(dataset, OP_READ, id);
    bool compare = version && store_can(store, DN_CAN_COMPARE);
    struct dn_version mark = {0};
    if (compare && version->size > 0)
        call.flags |= MAY_BE_ONE;
    while (call_attempt(&call)) {
        if (compare)
            mark = *version;
        int rc = store->backend->read_chunk(dataset->handle, id, offset, buffer, length,
                                            compare ? &mark : NULL);
        call_finish(&call, checked_mark(&call, rc, &mark));
    }
    if (call.result == 0) {
        stats_add(store->stats, STAT_CHUNK_GET_BYTES, length);
        if (version)
            *version = mark;
    }
    stats_add(store->stats, STAT_CHUNK_ABSENT, call.result == -ENOENT);
    stats_add(store->stats, STAT_CHUNK_UNCHANGED, call.result == DN_UNCHANGED);
    return call.result;
}

static int read_and_cut(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset,
                        void *buffer, size_t length, struct dn_version *version)
{
    unsigned char *whole = malloc(dataset->chunk_nbytes);
    if (!whole)
        return dn_fail(-ENOMEM, "%.200s: no memory for a chunk of %llu bytes", dataset->name,
                       (unsigned long long)dataset->chunk_nbytes);
    int rc = read_as_is(dataset, id, 0, whole, dataset->chunk_nbytes, version);
    if (rc == 0)
        memcpy(buffer, whole + offset, length);
    free(whole);
    return rc;
}

int store_read(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
               size_t length, struct dn_version *version)
{
    assert(chunk_is_valid(dataset, id) && range_is_valid(dataset, offset, length) && buffer);
    if (length < dataset->chunk_nbytes && !store_can(dataset->store, DN_CAN_READ_RANGE))
        return read_and_cut(dataset, id, offset, buffer, length, version);
    return read_as_is(dataset, id, offset, buffer, length, version);
}

int store_write(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset,
                const void *buffer, size_t length, struct dn_version *version)
{
    assert(chunk_is_valid(dataset, id) && range_is_valid(dataset, offset, length) && buffer);
    struct store *store = dataset->store;
    bool part = length < dataset->chunk_nbytes;
    assert(!part || store_can(store, DN_CAN_WRITE_RANGE));
    struct call call = call_on_dataset(dataset, OP_WRITE, id);
    bool marked = version && store_can(store, DN_CAN_COMPARE);
    struct dn_version mark = {0};
    if (!store->backend->write_chunk)
        return dn_fail(-EROFS, "%.200s: this store is read-only", dataset->name);
    if (part)
        call.flags |= MAY_BE_ABSENT;
    while (call_attempt(&call)) {
        mark.size = 0;
        int rc = store->backend->write_chunk(dataset->handle, id, offset, buffer, length,
                                             marked ? &mark : NULL);
        call_finish(&call, checked_mark(&call, rc, &mark));
    }
    if (call.result == 0) {
        stats_add(store->stats, STAT_CHUNK_PUT_BYTES, length);
        if (version)
            *version = mark;
    }
    return call.result;
}

int store_delete_chunk(struct store_dataset *dataset, const struct dn_chunk_id *id)
{
    assert(chunk_is_valid(dataset, id));
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_on_dataset(dataset, OP_DELETE_CHUNK, id);
    if (!backend->delete_chunk)
        return dn_fail(-EROFS, "%.200s: this store deletes no chunks", dataset->name);
    while (call_attempt(&call))
        call_finish(&call, backend->delete_chunk(dataset->handle, id));
    return call.result;
}

size_t store_deletes_at_once(const struct store_dataset *dataset)
{
    return dataset->store->backend->delete_chunks ? DN_DELETE_MOST : 1;
}

int store_delete_chunks(struct store_dataset *dataset, const struct dn_chunk_id *ids, size_t count)
{
    assert(dataset && ids && count > 0 && count <= store_deletes_at_once(dataset));
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_on_dataset(dataset, OP_DELETE_CHUNKS, NULL);
    if (!backend->delete_chunks) {
        int rc = store_delete_chunk(dataset, ids);
        return rc == -ENOENT ? 0 : rc;
    }
    while (call_attempt(&call))
        call_finish(&call, backend->delete_chunks(dataset->handle, ids, count));
    return call.result;
}

static int copy_by_reading(struct store_dataset *from, struct store_dataset *to, const struct dn_chunk_id *id)
{
    void *buffer = malloc(from->chunk_nbytes);
    if (!buffer)
        return dn_fail(-ENOMEM, "%.200s: no memory for a chunk of %llu bytes", from->name,
                       (unsigned long long)from->chunk_nbytes);
    int rc = store_read(from, id, 0, buffer, from->chunk_nbytes, NULL);
    if (rc == 0)
        rc = store_write(to, id, 0, buffer, to->chunk_nbytes, NULL);
    free(buffer);
    return rc;
}

int store_copy_chunk(struct store_dataset *from, struct store_dataset *to, const struct dn_chunk_id *id)
{
    assert(chunk_is_valid(from, id) && chunk_is_valid(to, id));
    assert(from->store == to->store && from->chunk_nbytes == to->chunk_nbytes);
    const struct dn_backend *backend = to->store->backend;
    struct call call = call_on_dataset(to, OP_COPY, id);
    if (!backend->copy_chunk)
        return copy_by_reading(from, to, id);
    while (call_attempt(&call))
        call_finish(&call, backend->copy_chunk(from->handle, to->handle, id));
    return call.result == -ENOTSUP ? copy_by_reading(from, to, id) : call.result;
}

static int has_by_reading(struct store_dataset *dataset, const struct dn_chunk_id *id)
{
    unsigned char byte;
    int rc = store_read(dataset, id, 0, &byte, 1, NULL);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    return 1;
}

int store_has_chunk(struct store_dataset *dataset, const struct dn_chunk_id *id)
{
    assert(chunk_is_valid(dataset, id));
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_on_dataset(dataset, OP_HAS_CHUNK, id);
    if (!backend->has_chunk)
        return has_by_reading(dataset, id);
    while (call_attempt(&call))
        call_finish(&call, backend->has_chunk(dataset->handle, id));
    return call.result == -ENOTSUP ? has_by_reading(dataset, id) : call.result;
}

static int length_by_asking(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t *nbytes)
{
    int rc = store_has_chunk(dataset, id);
    *nbytes = dataset->chunk_nbytes;
    return rc > 0 ? 0 : rc < 0 ? rc : dn_fail(-ENOENT, "not stored");
}

int store_chunk_length(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t *nbytes)
{
    assert(chunk_is_valid(dataset, id) && nbytes);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_on_dataset(dataset, OP_LENGTH, id);
    if (!backend->chunk_length)
        return length_by_asking(dataset, id, nbytes);
    while (call_attempt(&call))
        call_finish(&call, backend->chunk_length(dataset->handle, id, nbytes));
    return call.result == -ENOTSUP ? length_by_asking(dataset, id, nbytes) : call.result;
}
