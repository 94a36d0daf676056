// SPDX-License-Identifier: Apache-2.0
/* Which chunks are stored; where the store cannot tell, each is asked about, many at once. */
#include <errno.h>

#include "batch.h"
#include "cache.h"
#include "checked.h"

#define AT_A_TIME 1024

struct asking {
    struct store_dataset *store;
    const struct grid *grid;
    uint64_t first; /* of this round */
    bool stored[AT_A_TIME];
};

static int ask_one(void *arg, uint64_t i)
{
    struct asking *asking = arg;
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = {asking->first + i, index, asking->grid->ndim};
    int found;

    grid_chunk_index(asking->grid, id.flat, index);
    found = store_has_chunk(asking->store, &id);
    asking->stored[i] = found > 0;
    return found < 0 ? found : 0;
}

static int list_by_asking(struct cache_dataset *dataset, dn_chunk_fn fn, void *arg)
{
    struct asking asking = {.store = dataset->store, .grid = &dataset->whole};
    uint64_t index[DN_MAX_NDIM], nchunks = dataset->whole.nchunks, n;
    int result = 0;

    for (; asking.first < nchunks && !result; asking.first += n) {
        n = min_u64(nchunks - asking.first, AT_A_TIME);
        result = batch_run(dataset->cache->pool, n, ask_one, &asking);
        for (uint64_t i = 0; i < n && !result; i++) {
            if (!asking.stored[i])
                continue;
            grid_chunk_index(asking.grid, asking.first + i, index);
            result = fn(arg, index, asking.grid->ndim);
        }
    }
    return result;
}

struct listing {
    dn_chunk_fn fn;
    void *arg;
    bool begun;
};

static int pass_on(void *arg, const uint64_t *index, int ndim)
{
    struct listing *listing = arg;

    listing->begun = true;
    return listing->fn(listing->arg, index, ndim);
}

int cache_list_chunks(struct cache_dataset *dataset, dn_chunk_fn fn, void *arg)
{
    struct listing listing = {.fn = fn, .arg = arg};
    int result = store_list_chunks(dataset->store, pass_on, &listing);

    return result == -ENOTSUP && !listing.begun ? list_by_asking(dataset, fn, arg) : result;
}
