// SPDX-License-Identifier: Apache-2.0
/* ls and info: what there is. */
#include "cli.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- one dataset ------------------------------------------------------------------------------------------ */

struct facts {
    const struct dn_desc *desc;
    char dtype[DN_DTYPE_TEXT];
    char *fill;
    uint64_t grid[DN_MAX_NDIM];
    int64_t stored; /* chunks */
};

static int gather(dn_dataset *dataset, struct facts *facts)
{
    const struct dn_desc *desc = dn_describe(dataset);
    size_t size = 4 * (size_t)desc->dtype.itemsize + 64;

    *facts = (struct facts){.desc = desc, .fill = malloc(size)};
    if (!facts->fill)
        return no_memory();
    dn_dtype_format(&desc->dtype, facts->dtype);
    dn_fill_format(&desc->dtype, desc->fill, false, facts->fill, size);
    for (int i = 0; i < desc->ndim; i++)
        facts->grid[i] = dn_desc_grid(desc, i);
    facts->stored = count_stored(dataset);
    return facts->stored < 0 ? (int)facts->stored : 0;
}

static void print_json(const char *name, const struct facts *facts)
{
    const struct dn_desc *desc = facts->desc;

    printf("{\"name\": ");
    json_string(name);
    printf(", \"shape\": ");
    json_extents(desc->shape, desc->ndim);
    printf(", \"dtype\": ");
    json_string(facts->dtype);
    printf(", \"fillvalue\": ");
    json_string(facts->fill);
    printf(", \"chunk_size\": ");
    json_extents(desc->chunk_size, desc->ndim);
    printf(", \"chunk_grid\": ");
    json_extents(facts->grid, desc->ndim);
    printf(", \"nbytes\": %" PRIu64 ", \"chunks\": %" PRIu64 ", \"stored\": %" PRId64 ", \"stored_bytes\": %" PRIu64 "}",
           dn_desc_nbytes(desc), dn_desc_chunks(desc), facts->stored,
           (uint64_t)facts->stored * dn_desc_chunk_nbytes(desc));
}

static void print_lines(const char *name, const struct facts *facts)
{
    const struct dn_desc *desc = facts->desc;
    char text[DN_VECTOR_TEXT], size[32];

    fputs("name = ", stdout);
    print_name(name);
    printf("shape = %s\n", extents_text(desc->shape, desc->ndim, text));
    printf("dtype = %s\nfillvalue = %s\n", facts->dtype, facts->fill);
    printf("chunk_size = %s\n", extents_text(desc->chunk_size, desc->ndim, text));
    printf("chunk_grid = %s\n", extents_text(facts->grid, desc->ndim, text));
    printf("nbytes = %" PRIu64 " (%s)\n", dn_desc_nbytes(desc), bytes_text(dn_desc_nbytes(desc), size));
    printf("stored = %" PRId64 " of %" PRIu64 " chunks (%s)\n", facts->stored, dn_desc_chunks(desc),
           bytes_text((uint64_t)facts->stored * dn_desc_chunk_nbytes(desc), size));
}

static void print_row(const char *name, const struct facts *facts)
{
    const struct dn_desc *desc = facts->desc;
    char shape[DN_VECTOR_TEXT], chunk[DN_VECTOR_TEXT];

    printf("%-5s (%s)  (%s)  %" PRId64 "/%" PRIu64 "  ", facts->dtype,
           extents_text(desc->shape, desc->ndim, shape), extents_text(desc->chunk_size, desc->ndim, chunk),
           facts->stored, dn_desc_chunks(desc));
    print_name(name);
}

static int describe(struct cli *cli, const char *name, void (*print)(const char *, const struct facts *))
{
    struct facts facts = {0};
    dn_dataset *dataset;
    int error = dn_open(cli->conn, name, &dataset);

    if (error)
        return error;
    error = gather(dataset, &facts);
    if (!error)
        print(name, &facts);
    free(facts.fill);
    dn_close(dataset);
    return error;
}

int cmd_info(struct cli *cli)
{
    int error = describe(cli, cli->operand[0], cli->json ? print_json : print_lines);

    if (!error && cli->json)
        putchar('\n');
    return error;
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

struct names {
    const char *pattern;
    char **name;
    size_t count, room;
};

static int note_name(void *arg, const char *name)
{
    struct names *names = arg;

    if (names->pattern && fnmatch(names->pattern, name, 0) != 0)
        return 0;
    if (names->count == names->room) {
        size_t room = names->room ? 2 * names->room : 256;
        char **grown = reallocarray(names->name, room, sizeof *grown);
        if (!grown)
            return no_memory();
        names->name = grown;
        names->room = room;
    }
    names->name[names->count] = strdup(name);
    return names->name[names->count] ? (names->count++, 0) : no_memory();
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A dataset that cannot be read is a line on standard error, and the others are listed all the same. */
static int print_names(struct cli *cli, const struct names *names)
{
    int error = 0;

    for (size_t i = 0; i < names->count && !interrupted() && !ferror(stdout); i++) {
        const char *name = names->name[i];
        int failed = 0;
        if (cli->json)
            fputs(i ? ",\n " : "[", stdout);
        if (has_option(cli, OPT_LONG))
            failed = describe(cli, name, cli->json ? print_json : print_row);
        else if (cli->json)
            json_string(name);
        else
            print_name(name);
        if (failed == -ENOENT && !cli->json) /* deleted meanwhile */
            failed = 0;
        if (failed && cli->json)
            fputs("null", stdout);
        if (failed)
            print_error(cli, dn_error_text(failed));
        error = error ? error : failed;
    }
    if (cli->json)
        puts(names->count ? "]" : "[]");
    if (interrupted())
        return dn_fail(-EINTR, "interrupted");
    return error ? dn_fail(error, "not all datasets can be read") : 0;
}

int cmd_ls(struct cli *cli)
{
    struct names names = {.pattern = cli->operands ? cli->operand[0] : NULL};
    int error = has_option(cli, OPT_RESCAN) ? dn_rescan(cli->conn) : 0;

    if (!error)
        error = dn_list(cli->conn, note_name, &names);
    if (!error) {
        if (names.count)
            qsort(names.name, names.count, sizeof *names.name, by_name);
        error = print_names(cli, &names);
    }
    for (size_t i = 0; i < names.count; i++)
        free(names.name[i]);
    free(names.name);
    return error;
}
