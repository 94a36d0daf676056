// SPDX-License-Identifier: Apache-2.0
/*
 * A first dataset with libdosna: create, write, slice, check.
 *
 *   tutorial                                          in memory
 *   tutorial -o backend=hdf5 -o directory=/data pool  in the folder /data/pool
 *
 * To build it anywhere: cc tutorial.c $(pkg-config --cflags --libs dosna)
 */
#include <dosna/dosna.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 100 };

/* An array of 100 x 100 x 100 float32 in chunks of 32 x 32 x 32; what is never written reads as -1. */
static int create(dn_connection *conn, dn_dataset **out)
{
    const uint64_t shape[] = {N, N, N}, chunk_size[] = {32, 32, 32};
    struct dn_desc desc;
    int error = dn_desc_init(&desc, 3, shape, "<f4", chunk_size, "-1");

    if (!error)
        error = dn_create(conn, "tutorial", &desc, out);
    dn_desc_clear(&desc);
    return error;
}

/* Write planes 20 to 79 along the first axis: element (z, y, x) is z + y / 100. */
static int write_planes(dn_dataset *dataset, float *plane)
{
    int error = 0;

    for (uint64_t z = 20; z < 80 && !error; z++) {
        const uint64_t start[] = {z, 0, 0}, count[] = {1, N, N};

        for (int i = 0; i < N * N; i++)
            plane[i] = (float)z + (float)(i / N) / N;
        error = dn_write(dataset, start, count, plane);
    }
    return error ? error : dn_flush(dataset); /* now it is in the store */
}

static int expect(const char *what, float value, float wanted)
{
    printf("%-24s %g\n", what, (double)value);
    if (value != wanted)
        return dn_fail(-EIO, "%s is %g and should be %g", what, (double)value, (double)wanted);
    return 0;
}

/* Slices are numpy's: here every tenth element of a column, backwards, and a plane that was never written. */
static int read_slices(dn_dataset *dataset, float *plane)
{
    const struct dn_desc *desc = dn_describe(dataset);
    struct dn_slice slice;
    int64_t n;
    int error = dn_slice_parse("[50, ::-10, 7]", desc->ndim, desc->shape, &slice);

    if (error)
        return error;
    n = dn_read_slice(dataset, &slice, plane, dn_slice_elements(&slice) * sizeof *plane, 0);
    if (n < 0)
        return (int)n;
    error = expect("[50, ::-10, 7][0]", plane[0], 50.0f + 99.0f / N);
    if (!error)
        error = expect("[50, ::-10, 7][9]", plane[9], 50.0f + 9.0f / N);
    if (!error)
        error = dn_read(dataset, (uint64_t[]){90, 0, 0}, (uint64_t[]){1, N, N}, plane);
    return error ? error : expect("[90, 0, 0]", plane[0], -1);
}

/* Chunks that hold nothing but the fill value were never stored: the last of the first axis, index 3. */
static int look_at_chunks(dn_dataset *dataset)
{
    int stored = dn_chunk_has(dataset, (uint64_t[]){1, 0, 0}), absent = dn_chunk_has(dataset, (uint64_t[]){3, 0, 0});

    if (stored < 0 || absent < 0)
        return stored < 0 ? stored : absent;
    printf("%-24s %s\n%-24s %s\n", "chunk 1, 0, 0", stored ? "stored" : "absent", "chunk 3, 0, 0",
           absent ? "stored" : "absent");
    return stored && !absent ? 0 : dn_fail(-EIO, "the wrong chunks are stored");
}

static int tour(dn_connection *conn)
{
    dn_dataset *dataset;
    float *plane = malloc(sizeof(float) * N * N);
    int error = plane ? create(conn, &dataset) : dn_fail(-ENOMEM, "out of memory"), failed;

    if (error)
        goto out;
    error = write_planes(dataset, plane);
    if (!error)
        error = read_slices(dataset, plane);
    if (!error)
        error = look_at_chunks(dataset);
    failed = dn_close(dataset);
    if (!error)
        error = failed;
    failed = dn_delete(conn, "tutorial");
    if (!error)
        error = failed;
out:
    free(plane);
    return error;
}

static int run(const dn_config *config, const char *name)
{
    dn_connection *conn;
    int error = dn_connect(config, name, &conn), failed;

    if (error)
        return error;
    error = tour(conn);
    failed = dn_disconnect(conn);
    return error ? error : failed;
}

int main(int argc, char **argv)
{
    dn_config *config = dn_config_new();
    int error = config ? dn_config_set(config, "backend", "ram") : -ENOMEM;
    int option;

    while (!error && (option = getopt(argc, argv, "o:")) != -1) {
        char *value = optarg, *key = option == 'o' ? strsep(&value, "=") : NULL;
        error = key ? dn_config_set(config, key, value)
                    : dn_fail(-EINVAL, "usage: tutorial [-o KEY=VALUE]... [CONNECTION]");
    }
    if (!error)
        error = run(config, optind < argc ? argv[optind] : "pool");
    if (error)
        fprintf(stderr, "tutorial: %s\n", dn_error_text(error));
    dn_config_free(config);
    return error ? 1 : 0;
}
