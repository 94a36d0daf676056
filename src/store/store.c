// SPDX-License-Identifier: Apache-2.0
#include "call.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- connection -------------------------------------------------------------------------------- */

static int connect_backend(struct store *store, const char *connection, const void *options)
{
    dn_error_clear();
    int rc = store->backend->connect(connection, options, &store->conn);
    if (rc > 0)
        rc = dn_fail(-EIO, "backend %s: connect returned %d", store->backend->name, rc);
    if (rc < 0)
        return dn_fail(rc, "connection %.200s: %s", connection, dn_error_text(rc));
    if (store->backend->limits)
        store->backend->limits(store->conn, &store->limits);
    return 0;
}

int store_open(const struct dn_backend *backend, const char *connection, const void *options,
               const struct store_settings *settings, struct stats *stats, struct store **out)
{
    assert(backend && connection && settings && stats && out);
    int rc = registry_load(backend, &backend);
    if (rc < 0)
        return rc;
    assert(backend->connect && backend->disconnect && backend->open_dataset &&
           backend->close_dataset && backend->read_chunk);
    struct store *store = calloc(1, sizeof *store);
    char *name = strdup(connection);
    rc = dn_fail(-ENOMEM, "connection %.200s: out of memory", connection);
    if (!store || !name)
        goto fail;
    store->backend = backend;
    store->name = name;
    store->settings = *settings;
    store->stats = stats;
    rc = call_init_turns(store);
    if (rc < 0)
        goto fail;
    rc = connect_backend(store, connection, options);
    if (rc < 0) {
        call_free_turns(store);
        goto fail;
    }
    *out = store;
    return 0;

fail:
    free(name);
    free(store);
    return rc;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    assert(store->calls == 0);
    store->backend->disconnect(store->conn);
    call_free_turns(store);
    free(store->name);
    free(store);
}

const struct dn_backend *store_backend(const struct store *store)
{
    return store->backend;
}

const struct dn_limits *store_limits(const struct store *store)
{
    return &store->limits;
}

bool store_can(const struct store *store, enum dn_ability ability)
{
    return (store->backend->abilities & ~store->limits.lacks & ability) != 0;
}

int store_thread_enter(void *arg)
{
    struct store *store = arg;
    return store->backend->thread_enter ? store->backend->thread_enter(store->conn) : 0;
}

void store_thread_leave(void *arg)
{
    struct store *store = arg;
    if (store->backend->thread_leave)
        store->backend->thread_leave(store->conn);
}

int store_usage(struct store *store, struct dn_usage *out)
{
    assert(store && out);
    struct call call = call_on_store(store, OP_USAGE, store->name);
    if (!store->backend->usage)
        return dn_fail(-ENOTSUP, "this store does not know its space");
    while (call_attempt(&call)) {
        *out = (struct dn_usage){0};
        call_finish(&call, store->backend->usage(store->conn, out));
    }
    return call.result;
}

/* ---- datasets ---------------------------------------------------------------------------------- */

int store_rescan(struct store *store)
{
    assert(store);
    struct call call = call_on_store(store, OP_RESCAN, store->name);
    if (!store->backend->rescan)
        return 0;
    while (call_attempt(&call))
        call_finish(&call, store->backend->rescan(store->conn));
    return call.result;
}

int store_create(struct store *store, const char *name, const struct dn_desc *desc)
{
    assert(store && name && desc);
    struct call call = call_on_store(store, OP_CREATE, name);
    int rc = dn_desc_check(desc);
    if (rc < 0)
        return rc;
    uint64_t most = store->limits.largest_chunk;
    if (most > 0 && dn_desc_chunk_nbytes(desc) > most)
        return dn_fail(-EFBIG, "%.200s: chunks of %llu bytes; this store takes %llu at most", name,
                       (unsigned long long)dn_desc_chunk_nbytes(desc), (unsigned long long)most);
    if (!store->backend->create_dataset)
        return dn_fail(-EROFS, "%.200s: this store is read-only", name);
    while (call_attempt(&call))
        call_finish(&call, store->backend->create_dataset(store->conn, name, desc));
    return call.result;
}

static void free_dataset(struct store_dataset *dataset)
{
    if (dataset)
        free(dataset->name);
    free(dataset);
}

/* The description comes from anybody: nothing computes with it before it was checked. */
static int adopt_desc(struct store_dataset *dataset, const struct dn_desc *desc)
{
    int rc = dn_desc_check(desc);
    if (rc < 0)
        return dn_fail(-EPROTO, "%.200s: bad metadata: %s", dataset->name, dn_error_text(rc));
    dataset->ndim = desc->ndim;
    dataset->chunk_nbytes = dn_desc_chunk_nbytes(desc);
    for (int axis = 0; axis < desc->ndim; axis++)
        dataset->grid[axis] = dn_desc_grid(desc, axis);
    return 0;
}

int store_open_dataset(struct store *store, const char *name, struct store_dataset **out,
                       struct dn_desc *desc)
{
    assert(store && name && out && desc);
    struct call call = call_on_store(store, OP_OPEN, name);
    struct store_dataset *dataset = calloc(1, sizeof *dataset);
    *desc = (struct dn_desc){0};
    int rc = dn_fail(-ENOMEM, "%.200s: out of memory", name);
    if (!dataset || !(dataset->name = strdup(name)))
        goto fail;
    dataset->store = store;
    while (call_attempt(&call)) {
        dn_desc_clear(desc); /* of what a failed try may have left */
        call_finish(&call, store->backend->open_dataset(store->conn, name, &dataset->handle, desc));
    }
    rc = call.result;
    if (rc < 0)
        goto fail;
    rc = adopt_desc(dataset, desc);
    if (rc < 0) {
        store->backend->close_dataset(dataset->handle);
        goto fail;
    }
    *out = dataset;
    return 0;

fail:
    dn_desc_clear(desc);
    free_dataset(dataset);
    return rc;
}

bool store_same_dataset(const struct store_dataset *dataset, const struct store_dataset *fresh)
{
    const struct dn_backend *backend = dataset->store->backend;
    return !backend->same_dataset || backend->same_dataset(dataset->handle, fresh->handle);
}

static int has_by_opening(struct store *store, const char *name)
{
    struct store_dataset *dataset;
    struct dn_desc desc;
    int rc = store_open_dataset(store, name, &dataset, &desc);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    store_close_dataset(dataset);
    dn_desc_clear(&desc);
    return 1;
}

int store_has(struct store *store, const char *name)
{
    assert(store && name);
    struct call call = call_on_store(store, OP_HAS, name);
    if (!store->backend->has_dataset)
        return has_by_opening(store, name);
    while (call_attempt(&call))
        call_finish(&call, store->backend->has_dataset(store->conn, name));
    return call.result == -ENOTSUP ? has_by_opening(store, name) : call.result;
}

void store_close_dataset(struct store_dataset *dataset)
{
    if (!dataset)
        return;
    dataset->store->backend->close_dataset(dataset->handle);
    free_dataset(dataset);
}

int store_delete(struct store *store, const char *name)
{
    assert(store && name);
    struct call call = call_on_store(store, OP_DELETE, name);
    if (!store->backend->delete_dataset)
        return dn_fail(-EROFS, "%.200s: this store deletes no datasets", name);
    while (call_attempt(&call))
        call_finish(&call, store->backend->delete_dataset(store->conn, name));
    return call.result;
}

int store_rename(struct store *store, const char *from, const char *to)
{
    assert(store && from && to);
    struct call call = call_on_store(store, OP_RENAME, from);
    if (!store->backend->rename_dataset)
        return dn_fail(-EXDEV, "%.200s: this store renames nothing in one step", from);
    while (call_attempt(&call))
        call_finish(&call, store->backend->rename_dataset(store->conn, from, to));
    return call.result;
}

int store_delete_strays(struct store_dataset *dataset)
{
    assert(dataset);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_on_dataset(dataset, OP_STRAYS, NULL);
    if (!backend->delete_strays)
        return 0;
    while (call_attempt(&call))
        call_finish(&call, backend->delete_strays(dataset->handle));
    return call.result;
}

int store_flush(struct store_dataset *dataset)
{
    assert(dataset);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_on_dataset(dataset, OP_FLUSH, NULL);
    if (!backend->flush)
        return 0;
    while (call_attempt(&call))
        call_finish(&call, backend->flush(dataset->handle));
    return call.result;
}
