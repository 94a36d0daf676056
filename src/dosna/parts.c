// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <dosna/batch.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "batch.h"
#include "checked.h"
#include "clock.h"
#include "pool.h"

#define A_LIFETIME 1e9 /* seconds */

void dn_part_of(const struct dn_desc *desc, uint64_t number, struct dn_part *out)
{
    out->number = number;
    out->ndim = desc->ndim;
    out->nbytes = desc->dtype.itemsize;
    for (int i = desc->ndim - 1; i >= 0; i--) {
        uint64_t grid = dn_desc_grid(desc, i);
        out->index[i] = number % grid;
        out->start[i] = out->index[i] * desc->chunk_size[i];
        out->count[i] = min_u64(desc->chunk_size[i], desc->shape[i] - out->start[i]);
        out->nbytes *= out->count[i];
        number /= grid;
    }
}

/* ---- items, shared out --------------------------------------------------------------------------- */

/* A rank's share of a number of items: every size-th, beginning with its rank. */
struct share {
    const dn_connection *conn;
    uint64_t first, step;
    int (*fn)(void *arg, uint64_t item);
    void *arg;
    _Atomic uint64_t done;
    _Atomic bool stopped; /* by another rank: whose error counts */
};

static bool is_stopped(struct share *share)
{
    const struct dn_team *team = share->conn->team;

    if (team && team->stopped && !atomic_load(&share->stopped) && team->stopped(team->arg))
        atomic_store(&share->stopped, true);
    return atomic_load(&share->stopped);
}

static int do_item(void *arg, uint64_t i)
{
    struct share *share = arg;
    int result;

    if (is_stopped(share))
        return 0;
    result = share->fn(share->arg, share->first + i * share->step);
    if (!result)
        atomic_fetch_add(&share->done, 1);
    return result;
}

/* One thread more than items at once, as the pool leaves one to demand. */
static int run_share(struct share *share, uint64_t n, unsigned at_once)
{
    unsigned threads = (unsigned)min_u64(n, at_once);
    struct pool_hooks hooks = {store_thread_enter, store_thread_leave, share->conn->store};
    struct clock_hook hook = clock_get_hook();
    struct pool *pool;
    int error = pool_create(threads > 1 ? threads + 1 : 0, &hooks, &pool);

    if (error)
        return dn_fail(error, "cannot start %u threads", threads);
    error = batch_run(pool, n, do_item, share);
    dn_cancel_hook(NULL, NULL);
    pool_destroy(pool, A_LIFETIME); /* nothing runs any more */
    dn_cancel_hook(hook.cancelled, hook.arg);
    return error;
}

/*
 * Collective: fn(arg, i) for each i below n, `at_once` of a rank's share at a time. `finish` ends each rank's
 * share before they agree.
 */
static int share_out(dn_connection *conn, uint64_t n, unsigned at_once, int (*fn)(void *arg, uint64_t item),
                     int (*finish)(void *arg), void *arg, uint64_t *done)
{
    const struct dn_team *team = conn->team;
    struct share share = {.conn = conn, .step = team ? team->size : 1, .first = team ? team->rank : 0,
                          .fn = fn, .arg = arg};
    uint64_t mine = n > share.first ? ceil_div(n - share.first, share.step) : 0, sum;
    int error = run_share(&share, mine, at_once);

    if (!error && finish)
        error = finish(arg);
    if (error && team && team->stop)
        team->stop(team->arg);
    sum = atomic_load(&share.done);
    error = dn_agree(conn, error, &sum);
    if (done)
        *done = sum;
    return error;
}

static unsigned jobs_at_once(const dn_connection *conn)
{
    if (conn->team || conn->settings->engine == ENGINE_CPU)
        return 1;
    return (unsigned)conn->settings->njobs;
}

int dn_each(dn_connection *conn, uint64_t n, int (*fn)(void *arg, uint64_t i), void *arg)
{
    struct share share = {.conn = conn, .step = 1, .fn = fn, .arg = arg};

    return run_share(&share, n, jobs_at_once(conn));
}

/* ---- parts ---------------------------------------------------------------------------------------- */

struct each {
    dn_dataset *dataset, *to; /* `to` of a map */
    dn_part_fn part_fn;
    dn_map_fn map_fn;
    void *arg;
};

static int each_part(void *arg, uint64_t number)
{
    const struct each *each = arg;
    struct dn_part part;

    dn_part_of(dn_describe(each->dataset), number, &part);
    return each->part_fn(each->arg, &part);
}

int dn_each_chunk(dn_dataset *dataset, dn_part_fn fn, void *arg, uint64_t *done)
{
    struct each each = {.dataset = dataset, .part_fn = fn, .arg = arg};

    return share_out(dataset->conn, dn_desc_chunks(dn_describe(dataset)), jobs_at_once(dataset->conn), each_part,
                     NULL, &each, done);
}

/* What is used once is in nobody's memory: a chunk without padding comes straight from the store. */
static int read_part(dn_dataset *dataset, const struct dn_part *part, void *buffer)
{
    int error = -ENOENT;

    if (dataset->cached->once && part->nbytes == dataset->cached->grid.chunk_nbytes)
        error = dn_chunk_stored(dataset, part->index, 0, buffer, part->nbytes);
    return error == -ENOENT ? dn_read(dataset, part->start, part->count, buffer) : error;
}

static int map_part(void *arg, uint64_t number)
{
    const struct each *each = arg;
    struct dn_part part;
    unsigned char *in, *out;
    int result;

    dn_part_of(dn_describe(each->dataset), number, &part);
    in = malloc(part.nbytes);
    out = malloc(part.nbytes);
    result = in && out ? read_part(each->dataset, &part, in)
                       : dn_fail(-ENOMEM, "no memory for two chunks of %zu bytes", part.nbytes);
    if (!result)
        result = each->map_fn(each->arg, &part, in, out);
    if (!result)
        result = dn_write(each->to, part.start, part.count, out);
    free(in);
    free(out);
    return result;
}

static int flush_target(void *arg)
{
    return dn_flush(((struct each *)arg)->to);
}

int dn_map(dn_dataset *from, dn_dataset *to, dn_map_fn fn, void *arg, uint64_t *done)
{
    struct each each = {.dataset = from, .to = to, .map_fn = fn, .arg = arg};

    if (from != to && !dn_desc_equal(dn_describe(from), dn_describe(to)))
        return dn_fail(-EINVAL, "%s and %s do not have the same shape, type and chunks", dn_name(from), dn_name(to));
    return share_out(from->conn, dn_desc_chunks(dn_describe(from)), jobs_at_once(from->conn), map_part,
                     flush_target, &each, done);
}

int dn_apply(dn_dataset *dataset, dn_map_fn fn, void *arg, uint64_t *done)
{
    return dn_map(dataset, dataset, fn, arg, done);
}

/* ---- stored chunks --------------------------------------------------------------------------------- */

/* Numbers of chunks that are in memory at a time: 64 MiB. */
#define LISTED_MAX ((size_t)8 << 20)

struct listed {
    uint64_t *number;
    size_t count, room;
    uint64_t from, next; /* of this pass and the one after it */
    int (*fn)(void *arg, uint64_t number);
    void *arg;
};

static int do_listed(void *arg, uint64_t i)
{
    const struct listed *listed = arg;

    return listed->fn(listed->arg, listed->number[i]);
}

static int do_unlisted(void *arg, uint64_t i)
{
    const struct listed *listed = arg;

    return listed->fn(listed->arg, listed->from + i);
}

/* Collective. Every rank lists for itself: the same chunks in the same order, as nobody may write meanwhile. */
static int do_pass(dn_dataset *dataset, struct listed *listed, int error)
{
    dn_connection *conn = dataset->conn;
    uint64_t unlisted, n;

    if (!error)
        error = cache_list_from(dataset->cached, listed->from, UINT64_MAX, listed->number, listed->room,
                                &listed->count, &listed->next);
    unlisted = error == -ENOTSUP;
    error = dn_agree(conn, unlisted ? 0 : error, &unlisted);
    if (error)
        return error;
    if (unlisted)
        listed->next = UINT64_MAX;
    n = unlisted ? dataset->cached->whole.nchunks - listed->from : listed->count;
    return share_out(conn, n, jobs_at_once(conn), unlisted ? do_unlisted : do_listed, NULL, listed, NULL);
}

/* Collective: fn(arg, number) for each stored chunk, or for each of the grid where the store has no listing. */
static int each_stored(dn_dataset *dataset, int (*fn)(void *arg, uint64_t number), void *arg)
{
    struct listed listed = {.room = min_u64(dataset->cached->whole.nchunks, LISTED_MAX) + 1, .fn = fn, .arg = arg};
    uint64_t more;
    int error = dn_flush(dataset);

    listed.number = malloc(listed.room * sizeof *listed.number);
    if (!listed.number && !error)
        error = dn_fail(-ENOMEM, "no memory for a list of chunks");
    do {
        listed.next = UINT64_MAX;
        error = do_pass(dataset, &listed, error);
        listed.from = listed.next;
        more = listed.from != UINT64_MAX;
        error = dn_agree(dataset->conn, error, &more);
    } while (!error && more);
    free(listed.number);
    return error;
}

int dn_each_stored(dn_dataset *dataset, dn_part_fn fn, void *arg)
{
    struct each each = {.dataset = dataset, .part_fn = fn, .arg = arg};

    return each_stored(dataset, each_part, &each);
}

/* ---- clone ------------------------------------------------------------------------------------------ */

struct clone {
    dn_dataset *from, *to;
    _Atomic uint64_t copied;
};

/* A chunk that is not there was never stored, or deleted by somebody meanwhile. */
static int copy_chunk(void *arg, uint64_t number)
{
    struct clone *clone = arg;
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = {number, index, clone->from->cached->grid.ndim};
    int error;

    grid_chunk_index(&clone->from->cached->grid, number, index);
    error = store_copy_chunk(clone->from->cached->store, clone->to->cached->store, &id);
    if (!error)
        atomic_fetch_add(&clone->copied, 1);
    return error == -ENOENT ? 0 : error;
}

static int copy_chunks(struct clone *clone, uint64_t *done)
{
    int error = each_stored(clone->from, copy_chunk, clone);
    uint64_t copied = atomic_load(&clone->copied);

    if (!error)
        error = store_flush(clone->to->cached->store);
    error = dn_agree(clone->from->conn, error, &copied);
    if (done)
        *done = copied;
    return error;
}

/* Whatever made the clone fail, be it the cancel hook. */
static int take_back(dn_connection *conn, const char *name, int error)
{
    struct clock_hook hook = clock_get_hook();
    char text[DN_ERROR_MAX];

    snprintf(text, sizeof text, "%s", dn_error_text(error));
    dn_cancel_hook(NULL, NULL);
    dn_delete(conn, name);
    dn_cancel_hook(hook.cancelled, hook.arg);
    return dn_fail(error, "%s", text);
}

int dn_clone(dn_connection *conn, const char *from, const char *to, bool data, uint64_t *done)
{
    struct clone clone = {0};
    int error = dn_agree(conn, dn_open(conn, from, &clone.from), NULL), failed;
    bool created = false;

    if (done)
        *done = 0;
    if (!error)
        error = dn_create(conn, to, dn_describe(clone.from), NULL);
    created = !error;
    if (!error)
        error = dn_agree(conn, dn_open(conn, to, &clone.to), NULL);
    if (!error && data)
        error = copy_chunks(&clone, done);
    if (clone.to)
        dn_close(clone.to);
    if (clone.from) {
        failed = dn_close(clone.from);
        error = error ? error : failed;
    }
    return error && created ? take_back(conn, to, error) : error;
}
