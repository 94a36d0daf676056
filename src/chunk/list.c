// SPDX-License-Identifier: Apache-2.0
/* Which chunks are stored; where the store cannot tell, each is asked about, many at once. */
#include <errno.h>
#include <stdlib.h>

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

/* A listing has any order and any length: when the memory is full, the upper half goes. */
struct lowest {
    const struct grid *grid;
    uint64_t *number;
    size_t count, room;
    uint64_t from, to; /* which are wanted */
};

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* What is listed while it changes may be there twice. */
static void sort_lowest(struct lowest *lowest)
{
    uint64_t *number = lowest->number;
    size_t count = 0;

    qsort(number, lowest->count, sizeof *number, compare_numbers);
    for (size_t i = 0; i < lowest->count; i++)
        if (count == 0 || number[i] != number[count - 1])
            number[count++] = number[i];
    lowest->count = count;
}

static void halve_lowest(struct lowest *lowest)
{
    size_t half = lowest->room / 2;

    sort_lowest(lowest);
    if (lowest->count <= half)
        return;
    lowest->to = lowest->number[half];
    lowest->count = half;
}

static int note_lowest(void *arg, const uint64_t *index, int ndim)
{
    struct lowest *lowest = arg;
    uint64_t number = grid_chunk_number(lowest->grid, index);

    (void)ndim;
    if (number < lowest->from || number >= lowest->to)
        return 0;
    if (lowest->count == lowest->room)
        halve_lowest(lowest);
    if (number < lowest->to)
        lowest->number[lowest->count++] = number;
    return 0;
}

int cache_list_from(struct cache_dataset *dataset, uint64_t from, uint64_t to, uint64_t *numbers, size_t room,
                    size_t *count, uint64_t *next)
{
    struct lowest lowest = {&dataset->whole, numbers, 0, room, from, to};
    int error = store_list_chunks(dataset->store, note_lowest, &lowest);

    sort_lowest(&lowest);
    *count = lowest.count;
    *next = lowest.to;
    return error;
}
