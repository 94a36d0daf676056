// SPDX-License-Identifier: Apache-2.0
#include "rows.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Shorter pieces cost more in requests, longer ones leave the processor's own cache between two copies. */
#define PIECE_MIN (64u << 10)
#define PIECE_MAX (256u << 10)

struct run {
    const struct rows *rows;
    dn_part_fn fn;
    void *arg;
    _Atomic uint64_t next, done; /* row; bytes */
    _Atomic bool stop;
};

void rows_of(const struct dn_desc *desc, struct rows *out)
{
    int axis = desc->ndim - 1;
    uint64_t line = desc->dtype.itemsize;

    out->desc = desc;
    out->chunks = 1;
    for (int i = axis; i >= 0; i--) {
        out->stride[i] = line;
        line *= desc->shape[i];
    }
    for (; axis > 0 && desc->chunk_size[axis] * out->stride[axis] < PIECE_MIN; axis--)
        out->chunks *= dn_desc_grid(desc, axis);
    out->axis = axis;
    out->lines = out->stride[axis] < PIECE_MAX ? PIECE_MAX / out->stride[axis] : 1;
    if (__builtin_mul_overflow(out->chunks, dn_desc_chunk_nbytes(desc), &out->nbytes))
        out->nbytes = UINT64_MAX;
    out->count = 1;
    for (int i = 0; i <= axis; i++)
        out->count *= dn_desc_grid(desc, i);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

unsigned rows_at_once(const struct rows *rows, const struct cli *cli, bool fetched)
{
    uint64_t jobs = setting_number(cli, "njobs"), chunks = fetched ? 2 * jobs : 0;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t wanted = processors > 2 ? (uint64_t)processors : 2;

    if (strcmp(dn_config_get(cli->config, "engine"), "threads") != 0)
        return 0;
    if (wanted < chunks / rows->chunks)
        wanted = chunks / rows->chunks;
    wanted = least(least(wanted, jobs), rows->count);
    wanted = least(wanted, setting_number(cli, "cache_size") / 8 / rows->nbytes);
    return wanted > 1 ? (unsigned)wanted : 0;
}

/* The piece that begins at `at`, which lies in a row that ends before `end`. */
static void cut_piece(const struct rows *rows, const uint64_t *at, const uint64_t *end, struct dn_part *piece)
{
    *piece = (struct dn_part){.ndim = rows->desc->ndim};
    for (int i = 0; i < piece->ndim; i++) {
        piece->start[i] = i <= rows->axis ? at[i] : 0;
        piece->count[i] = i < rows->axis ? 1 : rows->desc->shape[i];
    }
    piece->count[rows->axis] = least(rows->lines, end[rows->axis] - at[rows->axis]);
    piece->nbytes = piece->count[rows->axis] * rows->stride[rows->axis];
}

/* False: the row has ended. */
static bool next_piece(const struct rows *rows, const uint64_t *start, const uint64_t *end, uint64_t *at)
{
    at[rows->axis] += rows->lines;
    for (int i = rows->axis; i >= 0; i--) {
        if (at[i] < end[i])
            return true;
        at[i] = start[i];
        if (i > 0)
            at[i - 1]++;
    }
    return false;
}

static int run_row(struct run *run, uint64_t number)
{
    const struct rows *rows = run->rows;
    const struct dn_desc *desc = rows->desc;
    uint64_t start[DN_MAX_NDIM], end[DN_MAX_NDIM], at[DN_MAX_NDIM];
    struct dn_part piece;
    int error;

    for (int i = rows->axis; i >= 0; i--) {
        uint64_t grid = dn_desc_grid(desc, i);

        at[i] = start[i] = number % grid * desc->chunk_size[i];
        end[i] = least(start[i] + desc->chunk_size[i], desc->shape[i]);
        number /= grid;
    }
    do {
        cut_piece(rows, at, end, &piece);
        error = interrupted() ? dn_fail(-EINTR, "interrupted") : run->fn(run->arg, &piece);
        if (!error)
            atomic_fetch_add(&run->done, piece.nbytes);
    } while (!error && !atomic_load(&run->stop) && next_piece(rows, start, end, at));
    return error;
}

static int run_lane(void *arg, uint64_t lane)
{
    struct run *run = arg;
    uint64_t row;
    int error = 0;

    (void)lane;
    while (!error && !atomic_load(&run->stop) && (row = atomic_fetch_add(&run->next, 1)) < run->rows->count)
        error = run_row(run, row);
    if (error)
        atomic_store(&run->stop, true);
    return error;
}

int rows_run(dn_connection *conn, const struct rows *rows, unsigned at_once, dn_part_fn fn, void *arg, uint64_t *done)
{
    struct run run = {.rows = rows, .fn = fn, .arg = arg};
    int error = dn_each(conn, at_once, run_lane, &run);

    *done = atomic_load(&run.done);
    return error;
}
