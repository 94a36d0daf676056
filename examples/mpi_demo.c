// SPDX-License-Identifier: Apache-2.0
/*
 * Slabs along each axis by ranks: for each axis a cube is written in slabs of chunks across it, each rank every
 * size-th of them, and read and verified in slabs across the next axis, which others wrote.
 *
 *   mpiexec -n 4 mpi_demo --engine mpi --backend hdf5 --connection pool --connection-options directory=/data
 */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[] = {"mpi_demo", NULL};

enum { SIZE, CHUNK_SIZE };

static struct example_option options[] = {
    [SIZE] = {"size", "N", "extent of the cube", (const char *const[]){"256"}, 1},
    [CHUNK_SIZE] = {"chunk-size", "N", "extent of its chunks", (const char *const[]){"64"}, 1},
    {.name = NULL},
};

static int write_slab(dn_dataset *cube, const uint64_t *start, const uint64_t *count, uint32_t *box)
{
    example_fill(dn_describe(cube)->shape, start, count, box);
    return dn_write(cube, start, count, box);
}

static int check_slab(dn_dataset *cube, const uint64_t *start, const uint64_t *count, uint32_t *box)
{
    int error = dn_read(cube, start, count, box);

    return error ? error : example_check(dn_describe(cube)->shape, start, count, box, 1, 0);
}

/* This rank's slabs across an axis. */
static int do_slabs(const struct dn_team *team, dn_dataset *cube, int axis,
                    int (*fn)(dn_dataset *cube, const uint64_t *start, const uint64_t *count, uint32_t *box))
{
    const struct dn_desc *desc = dn_describe(cube);
    uint64_t extent = desc->shape[axis]; /* of each axis */
    uint32_t *box = malloc(extent * extent * desc->chunk_size[axis] * sizeof *box);
    int error = box ? 0 : dn_fail(-ENOMEM, "no memory for a slab");

    for (uint64_t i = team->rank; i < dn_desc_grid(desc, axis) && !error; i += team->size) {
        uint64_t start[3], count[3];
        example_slab(desc, axis, i, start, count);
        error = fn(cube, start, count, box);
    }
    free(box);
    return error;
}

/* All ranks have done their slabs, stored them, and see what the others stored. Collective. */
static int sweep(struct example *example, int axis,
                 int (*fn)(dn_dataset *cube, const uint64_t *start, const uint64_t *count, uint32_t *box),
                 double *seconds)
{
    double begin = example_seconds();
    dn_dataset *cube;
    int error = dn_open(example->conn, names[0], &cube), failed;

    if (!error) {
        error = do_slabs(&example->team, cube, axis, fn);
        failed = dn_close(cube);
        error = error ? error : failed;
    }
    error = dn_agree(example->conn, error, NULL);
    *seconds = example_seconds() - begin;
    return error;
}

static int do_axis(struct example *example, const struct dn_desc *desc, int axis)
{
    double megabytes = (double)dn_desc_nbytes(desc) / 1e6, write_seconds, read_seconds;
    int error = dn_create(example->conn, names[0], desc, NULL);

    if (error)
        return error;
    error = sweep(example, axis, write_slab, &write_seconds);
    if (!error)
        error = sweep(example, (axis + 1) % 3, check_slab, &read_seconds);
    if (!error && example_is_first(example))
        printf("%u processes: written across axis %d %.0f MB/s, read across axis %d %.0f MB/s, verified\n",
               example->team.size, axis, megabytes / write_seconds, (axis + 1) % 3, megabytes / read_seconds);
    return example_delete(example->conn, names, error);
}

static int run(struct example *example)
{
    struct dn_desc desc = {0};
    uint64_t size, chunk_size;
    int error = example_number(options[SIZE].values[0], &size);

    if (!error)
        error = example_number(options[CHUNK_SIZE].values[0], &chunk_size);
    if (!error)
        error = example_cube(&desc, "<u4", size, chunk_size);
    if (!error && size > 1024) /* 2^32 positions would not do */
        error = dn_fail(-EINVAL, "--size: 1024 at most");
    error = dn_agree(example->conn, error, NULL);
    for (int axis = 0; axis < 3 && !error; axis++)
        error = do_axis(example, &desc, axis);
    dn_desc_clear(&desc);
    return error;
}

int main(int argc, char **argv)
{
    return example_main(argc, argv, options, run);
}
