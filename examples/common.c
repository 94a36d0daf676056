// SPDX-License-Identifier: Apache-2.0
#include "common.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- options ---------------------------------------------------------------------------------------- */

enum { BACKEND, ENGINE, NJOBS, JLBACKEND, SETTINGS, CONNECTION = SETTINGS, OPTIONS, CONFIG, HELP };

static struct example_option shared[] = {
    [BACKEND] = {"backend", "B", "the store: ram, hdf5, ceph, s3, ...", NULL, 0},
    [ENGINE] = {"engine", "E", "cpu, threads (or jl), or mpi under mpiexec", NULL, 0},
    [NJOBS] = {"njobs", "N", "threads, or processes with --jlbackend multiprocessing", NULL, 0},
    [JLBACKEND] = {"jlbackend", "J", "threading or multiprocessing", NULL, 0},
    [CONNECTION] = {"connection", "C", "the folder, pool, ...", (const char *const[]){"test-dosna"}, 1},
    [OPTIONS] = {"connection-options", "KEY=VALUE...", "any settings", NULL, 0},
    [CONFIG] = {"config", "FILE", "settings, in place of dosnafs.conf", NULL, 0},
    [HELP] = {"help", NULL, "this", NULL, 0},
    {.name = NULL},
};

static void print_rows(const struct example_option *row)
{
    for (; row && row->name; row++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", row->name, row->value ? row->value : "");
        printf("  %-36s %s", left, row->help);
        for (int i = 0; row->value && i < row->count; i++)
            printf("%s%s", i ? " " : " (default: ", row->values[i]);
        puts(row->value && row->count ? ")" : "");
    }
}

static void print_help(const char *program, const struct example_option *own)
{
    printf("usage: %s [options]\n\n", program);
    print_rows(own);
    print_rows(shared);
}

static struct example_option *find_row(struct example_option *row, const char *name)
{
    for (; row && row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

/* Take the words behind an option; returns where the next one stands. */
static char **take_values(struct example_option *row, char **word)
{
    bool many = row->value && strstr(row->value, "...");

    if (!row->value) {
        row->count++;
        return word;
    }
    row->values = (const char *const *)word;
    for (row->count = 0; *word && strncmp(*word, "--", 2) != 0 && (many || row->count < 1); word++)
        row->count++;
    return word;
}

static int read_words(char **word, char **end, struct example_option *own)
{
    while (word < end) {
        const char *name = strncmp(*word, "--", 2) == 0 ? *word + 2 : "";
        struct example_option *row = find_row(own, name);

        if (!row)
            row = find_row(shared, name);
        if (!row)
            return dn_fail(-EINVAL, "'%s' is no option; --help lists them", *word);
        word = take_values(row, word + 1);
        if (row->value && !row->count)
            return dn_fail(-EINVAL, "--%s: %s is missing", row->name, row->value);
    }
    return 0;
}

static int set_pair(dn_config *config, const char *pair)
{
    char *value = strdup(pair), *rest = value, *key;
    int error;

    if (!value)
        return dn_fail(-ENOMEM, "out of memory");
    key = strsep(&rest, "=");
    error = dn_config_set(config, key, rest);
    free(value);
    return error;
}

static int configure(struct example *example)
{
    int error = dn_config_read(example->config, shared[CONFIG].count ? shared[CONFIG].values[0] : NULL);

    for (int i = 0; i < SETTINGS && !error; i++)
        if (shared[i].count)
            error = dn_config_set(example->config, shared[i].name, shared[i].values[0]);
    for (int i = 0; i < shared[OPTIONS].count && !error; i++)
        error = set_pair(example->config, shared[OPTIONS].values[i]);
    example->connection = shared[CONNECTION].values[0];
    return error;
}

int example_parse(struct example *example, int argc, char **argv, struct example_option *own)
{
    const char *slash = strrchr(argv[0], '/');
    int error;

    *example = (struct example){.program = slash ? slash + 1 : argv[0], .config = dn_config_new(),
                                .team = {.size = 1}};
    error = example->config ? read_words(argv + 1, argv + argc, own) : dn_fail(-ENOMEM, "out of memory");
    if (!error && !shared[HELP].count)
        error = configure(example);
    if (!error && !shared[HELP].count)
        return 0;
    if (error)
        fprintf(stderr, "%s: %s\n", example->program, dn_error_text(error));
    else
        print_help(example->program, own);
    dn_config_free(example->config);
    return error ? 2 : -1;
}

const char *example_value(const char *name)
{
    const struct example_option *row = find_row(shared, name);

    return row && row->count ? row->values[0] : NULL;
}

int example_number(const char *text, uint64_t *out)
{
    if (dn_vector_parse(text, ",", out, 1) != 1 || !*out)
        return dn_fail(-EINVAL, "'%s' is no whole number of 1 or more", text);
    return 0;
}

/* ---- processes and connection ----------------------------------------------------------------------- */

static bool is_set(const struct example *example, const char *key, const char *value)
{
    const char *text = dn_config_get(example->config, key);

    return text && strcmp(text, value) == 0;
}

int example_join(struct example *example)
{
    int error = 0;

    if (is_set(example, "engine", "mpi")) {
        error = mpi_team(&example->team);
        example->processes = error ? EXAMPLE_ALONE : EXAMPLE_MPI;
    } else if (is_set(example, "engine", "threads") && is_set(example, "jlbackend", "multiprocessing")) {
        fflush(NULL); /* or each process prints what waits there */
        error = dn_team_fork((unsigned)atoi(dn_config_get(example->config, "njobs")), &example->team);
        example->processes = error ? EXAMPLE_ALONE : EXAMPLE_FORKED;
    }
    dn_config_team(example->config, &example->team);
    return error;
}

static int agree(struct example *example, int error)
{
    return example->team.size > 1 ? example->team.agree(example->team.arg, error, NULL) : error;
}

int example_connect(struct example *example)
{
    int error = agree(example, dn_connect(example->config, example->connection, &example->conn));

    return error ? example_disconnect(example, error) : 0;
}

int example_disconnect(struct example *example, int error)
{
    char text[DN_ERROR_MAX];
    int failed;

    snprintf(text, sizeof text, "%s", dn_error_text(error));
    failed = example->conn ? dn_disconnect(example->conn) : 0;
    example->conn = NULL;
    return agree(example, error ? dn_fail(error, "%s", text) : failed);
}

int example_end(struct example *example, int error)
{
    if (error && example_is_first(example))
        fprintf(stderr, "%s: %s\n", example->program, dn_error_text(error));
    if (example->processes == EXAMPLE_FORKED)
        dn_team_end(&example->team);
    if (example->processes == EXAMPLE_MPI)
        mpi_end();
    dn_config_free(example->config);
    return error ? 1 : 0;
}

int example_main(int argc, char **argv, struct example_option *own, int (*run)(struct example *example))
{
    struct example example;
    int error = example_parse(&example, argc, argv, own);

    if (error)
        return error < 0 ? 0 : error;
    error = example_join(&example);
    if (!error)
        error = example_connect(&example);
    if (!error)
        error = example_disconnect(&example, run(&example));
    return example_end(&example, error);
}

int example_absent(dn_connection *conn, const char *const *names)
{
    int there = 0;

    for (; *names && !there; names++) {
        there = dn_has(conn, *names);
        if (there > 0)
            there = dn_fail(-EEXIST, "the connection holds a dataset '%s' already", *names);
    }
    return dn_agree(conn, there, NULL);
}

int example_delete(dn_connection *conn, const char *const *names, int error)
{
    char text[DN_ERROR_MAX];
    int failed = 0;

    snprintf(text, sizeof text, "%s", dn_error_text(error));
    for (; *names && !failed; names++) {
        failed = dn_delete(conn, *names);
        if (failed == -ENOENT)
            failed = 0;
    }
    return error ? dn_fail(error, "%s", text) : failed;
}

/* ---- small things ----------------------------------------------------------------------------------- */

int example_cube(struct dn_desc *desc, const char *dtype, uint64_t extent, uint64_t chunk_size)
{
    const uint64_t shape[] = {extent, extent, extent}, chunks[] = {chunk_size, chunk_size, chunk_size};

    return dn_desc_init(desc, 3, shape, dtype, chunks, NULL);
}

void example_slab(const struct dn_desc *desc, int axis, uint64_t i, uint64_t *start, uint64_t *count)
{
    for (int k = 0; k < 3; k++) {
        start[k] = 0;
        count[k] = desc->shape[k];
    }
    start[axis] = i * desc->chunk_size[axis];
    count[axis] -= start[axis];
    if (count[axis] > desc->chunk_size[axis])
        count[axis] = desc->chunk_size[axis];
}

double example_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint32_t position(const uint64_t *shape, const uint64_t *start, const uint64_t *count, uint64_t i)
{
    uint64_t x = start[2] + i % count[2];
    uint64_t y = start[1] + i / count[2] % count[1];
    uint64_t z = start[0] + i / count[2] / count[1];

    return (uint32_t)((z * shape[1] + y) * shape[2] + x);
}

void example_fill(const uint64_t *shape, const uint64_t *start, const uint64_t *count, uint32_t *box)
{
    uint64_t elements = count[0] * count[1] * count[2];

    for (uint64_t i = 0; i < elements; i++)
        box[i] = position(shape, start, count, i);
}

int example_check(const uint64_t *shape, const uint64_t *start, const uint64_t *count, const uint32_t *box,
                  uint32_t scale, uint32_t offset)
{
    uint64_t elements = count[0] * count[1] * count[2];

    for (uint64_t i = 0; i < elements; i++) {
        uint32_t wanted = scale * position(shape, start, count, i) + offset;
        if (box[i] != wanted)
            return dn_fail(-EIO, "element %" PRIu64 " of a box at %" PRIu64 ", %" PRIu64 ", %" PRIu64
                           " is %" PRIu32 " and should be %" PRIu32, i, start[0], start[1], start[2], box[i], wanted);
    }
    return 0;
}
