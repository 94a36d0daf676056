// SPDX-License-Identifier: Apache-2.0
/*
 * bench: one dataset written and read back at each chunk size and number of jobs, through a connection of its own
 * whose cache holds a quarter of it at most, so that the store is what is measured.
 */
#include "cli.h"
#include "file.h"
#include "plot.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const unsigned sides[] = {16, 32, 64, 128}; /* of chunks of float32 */
static const unsigned jobs[] = {1, 4, 16};

#define SIDES (sizeof sides / sizeof *sides)
#define JOBS (sizeof jobs / sizeof *jobs)
#define PIECE (1u << 20)

struct result {
    double write, read; /* MiB/s */
};

struct bench {
    struct cli *cli;
    uint64_t bytes, cache; /* cache: the most that the settings allow */
    char name[64];
    unsigned char *piece;
    struct result result[SIDES][JOBS];
};

static int set_up(const struct bench *bench, unsigned njobs, dn_connection **conn)
{
    uint64_t cache = bench->bytes / 4 + (64u << 20);
    char text[32];
    int error;

    snprintf(text, sizeof text, "%u", njobs);
    error = dn_config_set(bench->cli->config, "njobs", text);
    snprintf(text, sizeof text, "%llu", (unsigned long long)(cache < bench->cache ? cache : bench->cache));
    if (!error)
        error = dn_config_set(bench->cli->config, "cache_size", text);
    return error ? error : dn_connect(bench->cli->config, bench->cli->connection, conn);
}

static int describe(const struct bench *bench, unsigned side, struct dn_desc *out)
{
    uint64_t cube = (uint64_t)llrint(cbrt((double)bench->bytes / 4)), shape[3] = {cube, cube, cube};
    uint64_t chunk[3] = {side, side, side};

    return dn_desc_init(out, 3, shape, "<f4", chunk, NULL);
}

static int write_all(const struct bench *bench, dn_dataset *dataset)
{
    uint64_t nbytes = dn_desc_nbytes(dn_describe(dataset));
    int64_t n = 0;

    for (uint64_t at = 0; at < nbytes && n >= 0; at += PIECE)
        n = interrupted() ? dn_fail(-EINTR, "interrupted") : dn_pwrite(dataset, bench->piece, PIECE, at);
    return n < 0 ? (int)n : dn_flush(dataset);
}

static int read_all(const struct bench *bench, dn_dataset *dataset)
{
    int64_t n = 1;

    for (uint64_t at = 0; n > 0; at += (uint64_t)n) {
        n = interrupted() ? dn_fail(-EINTR, "interrupted") : dn_pread(dataset, bench->piece, PIECE, at);
        if (n <= 0)
            break;
    }
    return (int)n;
}

static int time_one(struct bench *bench, dn_connection *conn, unsigned side, struct result *out)
{
    struct dn_desc desc = {0};
    dn_dataset *dataset = NULL;
    double mib, begin;
    int error = describe(bench, side, &desc);

    if (!error)
        error = dn_create(conn, bench->name, &desc, &dataset);
    dn_desc_clear(&desc);
    if (error)
        return error;
    mib = (double)dn_desc_nbytes(dn_describe(dataset)) / 1048576;
    begin = seconds_now();
    error = write_all(bench, dataset);
    out->write = mib / (seconds_now() - begin);
    begin = seconds_now();
    if (!error)
        error = read_all(bench, dataset);
    out->read = mib / (seconds_now() - begin);
    return finish_dataset(dataset, error);
}

static int time_jobs(struct bench *bench, size_t j)
{
    dn_connection *conn;
    char text[DN_ERROR_MAX];
    int error = set_up(bench, jobs[j], &conn);

    if (error)
        return error;
    for (size_t s = 0; s < SIDES && !error; s++) {
        error = time_one(bench, conn, sides[s], &bench->result[s][j]);
        snprintf(text, sizeof text, "%s", dn_error_text(error));
        if (error)
            begin_cleanup();
        if (error != -EEXIST)
            dn_delete(conn, bench->name);
    }
    dn_disconnect(conn);
    return error ? dn_fail(error, "%s", text) : 0;
}

/* ---- results --------------------------------------------------------------------------------------------------- */

static void print_json(const struct bench *bench)
{
    const char *comma = "";

    putchar('[');
    for (size_t s = 0; s < SIDES; s++)
        for (size_t j = 0; j < JOBS; j++, comma = ",\n ")
            printf("%s{\"chunk\": %u, \"njobs\": %u, \"write_mib_s\": %.1f, \"read_mib_s\": %.1f}", comma, sides[s],
                   jobs[j], bench->result[s][j].write, bench->result[s][j].read);
    puts("]");
}

static void print_table(const struct bench *bench)
{
    printf("%-12s", "chunk");
    for (size_t j = 0; j < JOBS; j++)
        printf("  %5u jobs: write    read", jobs[j]);
    puts("   (MiB/s)");
    for (size_t s = 0; s < SIDES; s++) {
        char chunk[32];
        snprintf(chunk, sizeof chunk, "%u^3", sides[s]);
        printf("%-12s", chunk);
        for (size_t j = 0; j < JOBS; j++)
            printf("  %17.0f %7.0f", bench->result[s][j].write, bench->result[s][j].read);
        putchar('\n');
    }
}

/* A line for each number of jobs; reading is the bright one of a pair. */
static int draw(const struct bench *bench, const char *path)
{
    static const unsigned char colour[2 * JOBS][3] = {{140, 180, 230}, {20, 80, 200},  {240, 190, 130},
                                                      {220, 110, 0},   {150, 210, 150}, {0, 130, 40}};
    struct plot_line lines[2 * JOBS];
    char label[2 * JOBS][32];
    double value[2 * JOBS][SIDES], position[SIDES];

    for (size_t s = 0; s < SIDES; s++)
        position[s] = sides[s];
    for (size_t i = 0; i < 2 * JOBS; i++) {
        for (size_t s = 0; s < SIDES; s++)
            value[i][s] = i % 2 ? bench->result[s][i / 2].read : bench->result[s][i / 2].write;
        snprintf(label[i], sizeof label[i], "%s %u", i % 2 ? "READ" : "WRITE", jobs[i / 2]);
        lines[i] = (struct plot_line){.label = label[i], .value = value[i]};
        memcpy(lines[i].colour, colour[i], 3);
    }
    return plot_write(path, has_option(bench->cli, OPT_FORCE), lines, 2 * JOBS, position, SIDES);
}

int cmd_bench(struct cli *cli)
{
    struct bench bench = {.cli = cli, .bytes = 64u << 20, .cache = setting_number(cli, "cache_size")};
    const char *plot = cli->value[OPT_PLOT];
    int error;

    if (plot && strcmp(plot, "-") == 0)
        return usage_fail("--plot -: the results are on standard output");
    error = plot ? check_absent(plot, has_option(cli, OPT_FORCE)) : 0;
    if (error)
        return error;
    if (has_option(cli, OPT_SIZE)) {
        error = dn_config_set(cli->config, "cache_size", cli->value[OPT_SIZE]);
        if (error)
            return usage_fail("--size '%s': wanted are bytes, with K, M or G", cli->value[OPT_SIZE]);
        bench.bytes = setting_number(cli, "cache_size");
        if (bench.bytes < 4)
            return usage_fail("--size: at least 4 bytes");
    }
    snprintf(bench.name, sizeof bench.name, "dosna-bench-%d", (int)getpid());
    bench.piece = malloc(PIECE);
    if (!bench.piece)
        return no_memory();
    for (size_t i = 0; i < PIECE; i++)
        bench.piece[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t j = 0; j < JOBS && !error; j++)
        error = time_jobs(&bench, j);
    free(bench.piece);
    if (error)
        return error;
    cli->json ? print_json(&bench) : print_table(&bench);
    return plot ? draw(&bench, plot) : 0;
}
