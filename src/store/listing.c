// SPDX-License-Identifier: Apache-2.0
#include "call.h"

#include "clock.h"
#include <assert.h>
#include <errno.h>

/* What stands between a backend's listing and the caller's function. */
struct listing {
    struct call *call;
    dn_name_fn name_fn;
    dn_chunk_fn chunk_fn;
    void *arg;
    const struct store_dataset *dataset;
    int stop;     /* what the caller's function stopped with */
    bool ignored; /* the backend went on all the same */
};

/* Before each item. False: the caller has had enough. */
static bool listing_goes_on(struct listing *listing)
{
    listing->call->tries = INT64_MAX; /* a repetition would give items twice */
    listing->ignored = listing->stop != 0;
    return !listing->ignored;
}

static int listing_result(const struct listing *listing, int rc)
{
    if (listing->ignored || (listing->stop && rc != listing->stop))
        return dn_fail(-EIO, "backend %s: %s does not stop when told to",
                       listing->call->store->backend->name, call_what(listing->call));
    return listing->stop ? 0 : rc;
}

static int pass_name(void *arg, const char *name)
{
    struct listing *listing = arg;
    if (!listing_goes_on(listing))
        return listing->stop;
    if (!name || !*name)
        return dn_fail(-EIO, "the store lists something without a name");
    return listing->stop = clock_cancelled() ? dn_fail(-EINTR, "interrupted")
                                             : listing->name_fn(listing->arg, name);
}

int store_list(struct store *store, dn_name_fn fn, void *arg)
{
    assert(store && fn);
    struct call call = call_on_store(store, OP_LIST, store->name);
    struct listing listing = {.call = &call, .name_fn = fn, .arg = arg};
    if (!store->backend->list_datasets)
        return dn_fail(-ENOTSUP, "this store keeps no list of datasets");
    while (call_attempt(&call)) {
        int rc = store->backend->list_datasets(store->conn, pass_name, &listing);
        call_finish(&call, listing_result(&listing, rc));
    }
    return call.result < 0 ? call.result : listing.stop;
}

int store_list_strays(struct store_dataset *dataset, dn_name_fn fn, void *arg)
{
    assert(dataset && fn);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_on_dataset(dataset, OP_LIST_STRAYS, NULL);
    struct listing listing = {.call = &call, .name_fn = fn, .arg = arg};
    if (!backend->list_strays)
        return backend->delete_strays ? dn_fail(-ENOTSUP, "this store does not list stray chunks") : 0;
    while (call_attempt(&call)) {
        int rc = backend->list_strays(dataset->handle, pass_name, &listing);
        call_finish(&call, listing_result(&listing, rc));
    }
    return call.result < 0 ? call.result : listing.stop;
}

static int pass_chunk(void *arg, const uint64_t *index, int ndim)
{
    struct listing *listing = arg;
    if (!listing_goes_on(listing))
        return listing->stop;
    if (!chunk_in_grid(listing->dataset, index, ndim))
        return dn_fail(-EIO, "the store lists a chunk outside the grid");
    return listing->stop = clock_cancelled() ? dn_fail(-EINTR, "interrupted")
                                             : listing->chunk_fn(listing->arg, index, ndim);
}

int store_list_chunks(struct store_dataset *dataset, dn_chunk_fn fn, void *arg)
{
    assert(dataset && fn);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_on_dataset(dataset, OP_LIST_CHUNKS, NULL);
    struct listing listing = {.call = &call, .chunk_fn = fn, .arg = arg, .dataset = dataset};
    if (!backend->list_chunks)
        return dn_fail(-ENOTSUP, "%.200s: this store lists no chunks", dataset->name);
    while (call_attempt(&call)) {
        int rc = backend->list_chunks(dataset->handle, pass_chunk, &listing);
        call_finish(&call, listing_result(&listing, rc));
    }
    return call.result < 0 ? call.result : listing.stop;
}
