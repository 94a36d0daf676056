// SPDX-License-Identifier: Apache-2.0
/*
 * Every backend that is built with every engine: a cube is loaded, read, changed in parts, mapped, cloned, cleared
 * and deleted, each step verified and timed.
 *
 *   all_backends --config stores.conf --connection pool
 *   all_backends --backend hdf5 --connection pool --connection-options directory=/data
 *   mpiexec -n 4 all_backends --engine mpi --config stores.conf --connection pool
 *
 * stores.conf has a section for each backend that needs settings, as dosnafs.conf.sample. With --backend or --engine
 * there is only that one. mpi has to be asked for, because mpiexec has to start it. A backend that cannot be
 * connected to is left out, and the line says why.
 */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "all-backends"
#define CLONE "all-backends-clone"
#define MAPPED "all-backends-mapped"

enum { SIZE, CHUNK_SIZE };
enum { LOAD, READ, PARTS, MAP, COPY, CLEAR, STEPS };

static struct example_option options[] = {
    [SIZE] = {"size", "N", "extent of the cube", (const char *const[]){"128"}, 1},
    [CHUNK_SIZE] = {"chunk-size", "N", "extent of its chunks", (const char *const[]){"32"}, 1},
    {.name = NULL},
};

struct trial {
    struct example *example;
    struct dn_desc desc;
    dn_dataset *cube;
    uint32_t scale, offset; /* what stands in the cube */
};

/* ---- the steps: each collective, and each ends with what it made verified ------------------------------------ */

static int fill_chunk(void *arg, const struct dn_part *part)
{
    const struct trial *trial = arg;
    uint32_t *box = malloc(part->nbytes);
    int error = box ? 0 : dn_fail(-ENOMEM, "no memory for %zu bytes", part->nbytes);

    if (!error) {
        example_fill(trial->desc.shape, part->start, part->count, box);
        error = dn_write(trial->cube, part->start, part->count, box);
    }
    free(box);
    return error;
}

static int check_chunk(void *arg, const struct dn_part *part)
{
    const struct trial *trial = arg;
    uint32_t *box = malloc(part->nbytes);
    int error = box ? dn_read(trial->cube, part->start, part->count, box)
                    : dn_fail(-ENOMEM, "no memory for %zu bytes", part->nbytes);

    if (!error)
        error = example_check(trial->desc.shape, part->start, part->count, box, trial->scale, trial->offset);
    free(box);
    return error;
}

static int triple_and_one(void *arg, const struct dn_part *part, const void *in, void *out)
{
    const uint32_t *from = in;
    uint32_t *to = out;

    (void)arg;
    for (size_t i = 0; i < part->nbytes / sizeof *to; i++)
        to[i] = 3 * from[i] + 1;
    return 0;
}

/* Open a dataset, do something for each of its chunks, and close it. */
static int each_chunk_of(struct trial *trial, const char *name, dn_part_fn fn)
{
    dn_connection *conn = trial->example->conn;
    int error = dn_agree(conn, dn_open(conn, name, &trial->cube), NULL), failed;

    if (!error)
        error = dn_each_chunk(trial->cube, fn, trial, NULL);
    failed = trial->cube ? dn_close(trial->cube) : 0;
    trial->cube = NULL;
    return dn_agree(conn, error ? error : failed, NULL);
}

static int check_all(struct trial *trial, const char *name, uint32_t scale, uint32_t offset)
{
    trial->scale = scale;
    trial->offset = offset;
    return each_chunk_of(trial, name, check_chunk);
}

static int load(struct trial *trial)
{
    int error = dn_create(trial->example->conn, NAME, &trial->desc, NULL);

    return error ? error : each_chunk_of(trial, NAME, fill_chunk);
}

static int read_all(struct trial *trial)
{
    return check_all(trial, NAME, 1, 0);
}

/* A box that begins and ends in the midst of chunks is set to 7, read, and made what it was. */
static int change_box(struct trial *trial, dn_dataset *cube)
{
    const uint64_t *shape = trial->desc.shape, start[] = {1, 2, 3}, count[] = {shape[0] - 2, shape[1] - 3, shape[2] - 4};
    uint64_t elements = count[0] * count[1] * count[2];
    uint32_t *box = malloc(elements * sizeof *box);
    int error = box ? 0 : dn_fail(-ENOMEM, "no memory for a box");

    for (uint64_t i = 0; i < elements && !error; i++)
        box[i] = 7;
    if (!error)
        error = dn_write(cube, start, count, box);
    if (!error)
        error = dn_read(cube, start, count, box);
    if (!error)
        error = example_check(shape, start, count, box, 0, 7);
    if (!error) {
        example_fill(shape, start, count, box);
        error = dn_write(cube, start, count, box);
    }
    free(box);
    return error;
}

static int change_part(struct trial *trial)
{
    dn_connection *conn = trial->example->conn;
    dn_dataset *cube = NULL;
    int error = 0, failed = 0;

    if (example_is_first(trial->example)) {
        error = dn_open(conn, NAME, &cube);
        if (!error)
            error = change_box(trial, cube);
        failed = cube ? dn_close(cube) : 0;
    }
    error = dn_agree(conn, error ? error : failed, NULL);
    return error ? error : read_all(trial);
}

static int map(struct trial *trial)
{
    dn_connection *conn = trial->example->conn;
    dn_dataset *from = NULL, *to = NULL;
    int error = dn_clone(conn, NAME, MAPPED, false, NULL);

    if (error)
        return error;
    error = dn_open(conn, NAME, &from);
    if (!error)
        error = dn_open(conn, MAPPED, &to);
    error = dn_agree(conn, error, NULL);
    if (!error)
        error = dn_map(from, to, triple_and_one, NULL, NULL); /* which also stores it */
    if (to)
        dn_close(to);
    if (from)
        dn_close(from);
    return error ? error : check_all(trial, MAPPED, 3, 1);
}

static int copy(struct trial *trial)
{
    int error = dn_clone(trial->example->conn, MAPPED, CLONE, true, NULL);

    return error ? error : check_all(trial, CLONE, 3, 1);
}

static int clear(struct trial *trial)
{
    dn_connection *conn = trial->example->conn;
    dn_dataset *dataset;
    int error = dn_agree(conn, dn_open(conn, CLONE, &dataset), NULL);

    if (error)
        return error;
    error = dn_clear(dataset);
    dn_close(dataset);
    return error ? error : check_all(trial, CLONE, 0, 0);
}

static const struct {
    const char *name;
    int (*fn)(struct trial *trial);
} steps[STEPS] = {
    [LOAD] = {"load", load}, [READ] = {"read", read_all}, [PARTS] = {"parts", change_part},
    [MAP] = {"map", map}, [COPY] = {"clone", copy}, [CLEAR] = {"clear", clear},
};

static int describe(struct trial *trial)
{
    uint64_t size, chunk_size;
    int error = example_number(options[SIZE].values[0], &size);

    if (!error)
        error = example_number(options[CHUNK_SIZE].values[0], &chunk_size);
    if (!error && (size < 8 || size > 1024)) /* 2^32 positions would not do */
        error = dn_fail(-EINVAL, "--size: from 8 to 1024");
    return error ? error : example_cube(&trial->desc, "<u4", size, chunk_size);
}

/* All steps, and then nothing is left. */
static int work(struct example *example, double *seconds)
{
    static const char *const names[] = {NAME, MAPPED, CLONE, NULL};
    struct trial trial = {.example = example};
    int error = dn_agree(example->conn, describe(&trial), NULL);

    if (!error)
        error = example_absent(example->conn, names);
    if (error)
        goto out;
    for (int i = 0; i < STEPS && !error; i++) {
        double begin = example_seconds();
        error = steps[i].fn(&trial);
        seconds[i] = example_seconds() - begin;
    }
    error = example_delete(example->conn, names, error);
out:
    dn_desc_clear(&trial.desc);
    return error;
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

static const char *const backends[] = {"ram", "hdf5", "ceph", "s3", "sage"};

static const struct {
    const char *name, *engine, *jlbackend;
} engines[] = {
    {"cpu", "cpu", "threading"},
    {"threads", "threads", "threading"},
    {"processes", "threads", "multiprocessing"},
};

enum { DONE, FAILED, LEFT_OUT, OUTCOMES };

static void print_head(void)
{
    printf("%-8s%-10s", "backend", "engine");
    for (int i = 0; i < STEPS; i++)
        printf("%9s", steps[i].name);
    puts("   seconds");
    fflush(stdout);
}

/* One row. The processes are there. */
static int try_backend(struct example *example, const char *backend, const char *engine)
{
    double seconds[STEPS] = {0};
    int error = dn_config_set(example->config, "backend", backend), outcome;

    if (!error)
        error = example_connect(example);
    outcome = error ? LEFT_OUT : DONE;
    if (!error)
        error = example_disconnect(example, work(example, seconds));
    if (error && !outcome)
        outcome = FAILED;
    if (!example_is_first(example))
        return outcome;
    printf("%-8s%-10s", backend, engine);
    for (int i = 0; i < STEPS && !error; i++)
        printf("%9.3f", seconds[i]);
    if (error)
        printf(" %s: %s\n", outcome == FAILED ? "FAILED" : "left out", dn_error_text(error));
    else
        puts("   verified");
    fflush(stdout);
    return outcome;
}

/* One row, in a process of its own: processes can be forked only by one that has no threads yet. */
static int try_apart(struct example *example, const char *backend, int engine)
{
    int status;
    pid_t pid = fork();

    if (pid < 0) {
        perror(example->program);
        return FAILED;
    }
    if (pid == 0) {
        int error = dn_config_set(example->config, "engine", engines[engine].engine);
        if (!error)
            error = dn_config_set(example->config, "jlbackend", engines[engine].jlbackend);
        if (!error)
            error = example_join(example);
        status = error ? FAILED : try_backend(example, backend, engines[engine].name);
        exit(example_end(example, error) ? FAILED : status);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) && WEXITSTATUS(status) < OUTCOMES ? WEXITSTATUS(status) : FAILED;
}

static void try_engines(struct example *example, const char *backend, int *outcomes)
{
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
        if (!example_value("engine") || strcmp(dn_config_get(example->config, "engine"), engines[i].engine) == 0)
            outcomes[try_apart(example, backend, (int)i)]++;
}

int main(int argc, char **argv)
{
    struct example example;
    int outcomes[OUTCOMES] = {0}, error = example_parse(&example, argc, argv, options);
    const char *only;
    bool mpi;

    if (error)
        return error < 0 ? 0 : error;
    only = example_value("backend");
    mpi = strcmp(dn_config_get(example.config, "engine"), "mpi") == 0;
    if (mpi)
        error = example_join(&example);
    if (!error && example_is_first(&example))
        print_head();
    for (size_t i = 0; i < sizeof backends / sizeof *backends && !error; i++) {
        if (only && strcmp(only, backends[i]) != 0)
            continue;
        if (mpi)
            outcomes[try_backend(&example, backends[i], "mpi")]++;
        else
            try_engines(&example, backends[i], outcomes);
    }
    error = example_end(&example, error);
    return error || outcomes[FAILED] || !outcomes[DONE];
}
