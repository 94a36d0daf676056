// SPDX-License-Identifier: Apache-2.0
/*
 * load and save: between a file and a dataset, in one of three ways.
 *
 * By rows of chunks (rows.h): a file of the array's own bytes, in one process with threads; several rows at once.
 * As a stream (stream.h): the file from beginning to end, in pieces, through the chunk cache, which puts chunks
 * together and stores each once. By parts: each chunk's part of the file by itself; for several processes, for kinds
 * of files that are no stream, and where a slab of chunks does not fit in the cache. What a team cannot share,
 * rank 0 does.
 */
#include "cli.h"
#include "file.h"
#include "rows.h"
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (4u << 20)

struct transfer {
    struct cli *cli;
    struct file file;
    const char *name;
    dn_dataset *dataset;
    bool swap;      /* the file's elements are in the other byte order */
    bool parts;
    unsigned lanes; /* rows at once; 0: by no rows */
    bool created;   /* the dataset */
    struct progress *progress;
    uint64_t done, bytes; /* chunks; bytes of a stream */
};

/* ---- one part, one stream ------------------------------------------------------------------------------------ */

static int load_part(void *arg, const struct dn_part *part)
{
    struct transfer *t = arg;
    void *buffer = malloc(part->nbytes);
    int error = buffer ? t->file.kind->read_part(&t->file, part, buffer) : no_memory();

    if (!error && t->swap)
        swap_elements(&t->file.desc.dtype, buffer, part->nbytes);
    if (!error)
        error = dn_write(t->dataset, part->start, part->count, buffer);
    progress_add(t->progress, part->nbytes * t->cli->team.size);
    free(buffer);
    return error;
}

static int save_part(void *arg, const struct dn_part *part)
{
    struct transfer *t = arg;
    void *buffer = malloc(part->nbytes);
    int error = buffer ? dn_read(t->dataset, part->start, part->count, buffer) : no_memory();

    if (!error && t->swap)
        swap_elements(&t->file.desc.dtype, buffer, part->nbytes);
    if (!error)
        error = t->file.kind->write_part(&t->file, part, buffer);
    progress_add(t->progress, part->nbytes * t->cli->team.size);
    free(buffer);
    return error;
}

static int take_from_file(void *arg, void *buffer, size_t length, uint64_t offset)
{
    struct transfer *t = arg;
    int error = t->file.kind->read(&t->file, buffer, length);

    (void)offset;
    if (!error && t->swap)
        swap_elements(&t->file.desc.dtype, buffer, length);
    return error;
}

static int give_to_dataset(void *arg, void *buffer, size_t length, uint64_t offset)
{
    struct transfer *t = arg;
    int64_t n = dn_pwrite(t->dataset, buffer, length, offset);

    progress_add(t->progress, length);
    return n < 0 ? (int)n : 0;
}

static int take_from_dataset(void *arg, void *buffer, size_t length, uint64_t offset)
{
    struct transfer *t = arg;
    int64_t n = dn_pread(t->dataset, buffer, length, offset);

    return n < 0 ? (int)n : 0;
}

static int give_to_file(void *arg, void *buffer, size_t length, uint64_t offset)
{
    struct transfer *t = arg;

    (void)offset;
    if (t->swap)
        swap_elements(&t->file.desc.dtype, buffer, length);
    progress_add(t->progress, length);
    return t->file.kind->write(&t->file, buffer, length);
}

/* A pipe or a device may keep its thread for ever: it is left to the thread that signals interrupt. */
static int run_stream(struct transfer *t, bool load)
{
    const struct dn_desc *desc = dn_describe(t->dataset);
    size_t most = PIECE / desc->dtype.itemsize * desc->dtype.itemsize;
    struct stream stream = {.nbytes = dn_desc_nbytes(desc), .arg = t};
    int error;

    stream.piece = most ? most : desc->dtype.itemsize; /* whole elements, for swapping */
    stream.take = load ? take_from_file : take_from_dataset;
    stream.give = load ? give_to_dataset : give_to_file;
    if (!is_special(t->file.path))
        stream.apart = load ? take_from_file : give_to_file;
    error = stream_run(&stream);
    t->bytes = stream.done;
    if (!error)
        t->done = dn_desc_chunks(desc);
    return error;
}

static int run_rows(struct transfer *t, dn_part_fn fn)
{
    const struct dn_desc *desc = dn_describe(t->dataset);
    struct rows rows;
    int error;

    rows_of(desc, &rows);
    error = rows_run(t->cli->conn, &rows, t->lanes, fn, t, &t->bytes);
    if (!error)
        t->done = dn_desc_chunks(desc);
    return error;
}

/* A kind without a stream, in rank 0 alone. */
static int run_parts_alone(struct transfer *t, dn_part_fn fn)
{
    uint64_t chunks = dn_desc_chunks(dn_describe(t->dataset));
    struct dn_part part;
    int error = 0;

    for (; t->done < chunks && !error; t->done += !error) {
        dn_part_of(dn_describe(t->dataset), t->done, &part);
        error = interrupted() ? dn_fail(-EINTR, "interrupted") : fn(t, &part);
    }
    return error;
}

/* Of chunks, by what is read or written at one time. */
static uint64_t bytes_in_use(const struct transfer *t)
{
    const struct dn_desc *desc = dn_describe(t->dataset);
    struct rows rows;

    if (t->parts)
        return chunks_in_use(t->cli, desc);
    if (!t->lanes)
        return UINT64_MAX;
    rows_of(desc, &rows);
    return t->lanes * rows.nbytes;
}

/* Collective. */
static int run(struct transfer *t, dn_part_fn fn)
{
    const struct cli *cli = t->cli;
    int error = 0;

    dn_use_once(t->dataset, bytes_in_use(t));
    t->progress = progress_start(cli, cli->command->name, dn_desc_nbytes(dn_describe(t->dataset)));
    if (t->parts)
        error = dn_each_chunk(t->dataset, fn, t, &t->done);
    else if (t->lanes)
        error = run_rows(t, fn);
    else if (is_first(cli) && t->file.kind->read)
        error = run_stream(t, fn == load_part);
    else if (is_first(cli))
        error = run_parts_alone(t, fn);
    progress_end(t->progress);
    return error;
}

static bool fits_cache(const struct cli *cli, const struct dn_desc *desc)
{
    uint64_t slab = dn_desc_nbytes(desc) / desc->shape[0] * desc->chunk_size[0];

    return slab / 2 <= setting_number(cli, "cache_size") / 4;
}

/* Of a file that is a stream and can be had in pieces too. */
static unsigned count_lanes(const struct transfer *t, const struct dn_desc *desc, bool load)
{
    const struct file_kind *kind = t->file.kind;
    struct rows rows;

    if (!kind->read || !kind->read_part || !(kind->flags & FILE_ANY_THREAD) || is_special(t->file.path) ||
        t->cli->team.size > 1)
        return 0;
    rows_of(desc, &rows);
    return rows_at_once(&rows, t->cli, !load);
}

static bool by_parts(const struct transfer *t, const struct dn_desc *desc, bool load)
{
    const struct file_kind *kind = t->file.kind;
    bool streams = load ? kind->read != NULL : kind->write != NULL;

    if (t->lanes || !kind->read_part || is_special(t->file.path))
        return false;
    if (t->cli->team.size > 1)
        return kind->flags & (load ? FILE_SHARED_READ : FILE_SHARED_WRITE);
    return !streams || !fits_cache(t->cli, desc);
}

static void choose_way(struct transfer *t, const struct dn_desc *desc, bool load)
{
    t->lanes = count_lanes(t, desc, load);
    t->parts = by_parts(t, desc, load);
}

/* ---- load ------------------------------------------------------------------------------------------------------ */

/* What a raw file does not tell, the options or the dataset do. */
static int complete_desc(struct transfer *t, const struct dn_desc *known)
{
    const struct cli *cli = t->cli;
    uint64_t shape[DN_MAX_NDIM];
    int ndim;

    if (t->file.desc.ndim)
        return 0;
    if (known)
        return dn_desc_copy(&t->file.desc, known);
    if (!has_option(cli, OPT_SHAPE) || !has_option(cli, OPT_DTYPE))
        return usage_fail("%s tells neither shape nor type: --shape and --dtype are needed", t->file.path);
    ndim = parse_extents("--shape", cli->value[OPT_SHAPE], shape);
    if (ndim < 0)
        return ndim;
    return usage_error(dn_desc_init(&t->file.desc, ndim, shape, cli->value[OPT_DTYPE], NULL, NULL));
}

static bool same_shape(const struct dn_desc *a, const struct dn_desc *b)
{
    return a->ndim == b->ndim && memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0;
}

static bool same_type(const struct dn_dtype *a, const struct dn_dtype *b)
{
    return a->order == b->order && a->kind == b->kind && a->itemsize == b->itemsize && strcmp(a->unit, b->unit) == 0;
}

/* The options may say what is known anyway, but nothing else. */
static int check_options(const struct transfer *t)
{
    const struct cli *cli = t->cli;
    struct dn_desc given = {0};
    struct dn_dtype dtype;

    if (has_option(cli, OPT_SHAPE)) {
        given.ndim = parse_extents("--shape", cli->value[OPT_SHAPE], given.shape);
        if (given.ndim < 0)
            return given.ndim;
        if (!same_shape(&given, &t->file.desc))
            return usage_fail("--shape is not the shape of %s", t->file.desc.ndim ? t->file.path : t->name);
    }
    if (has_option(cli, OPT_DTYPE)) {
        int error = usage_error(dn_dtype_parse(cli->value[OPT_DTYPE], &dtype));
        if (error)
            return error;
        if (!same_type(&dtype, &t->file.desc.dtype))
            return usage_fail("--dtype is not the type of %s", t->file.path);
    }
    return 0;
}

/* May the file's array go into the dataset? */
static int check_fit(struct transfer *t, const struct dn_desc *desc)
{
    char here[DN_VECTOR_TEXT], there[DN_VECTOR_TEXT], type_here[DN_DTYPE_TEXT], type_there[DN_DTYPE_TEXT];
    const struct dn_desc *file = &t->file.desc;

    if (!same_shape(file, desc))
        return dn_fail(-EINVAL, "%s has the shape (%s), and %s has (%s)", t->file.path,
                       extents_text(file->shape, file->ndim, there), t->name,
                       extents_text(desc->shape, desc->ndim, here));
    t->swap = dtype_is_swapped(&file->dtype, &desc->dtype);
    if (t->swap || same_type(&file->dtype, &desc->dtype))
        return 0;
    dn_dtype_format(&file->dtype, type_there);
    dn_dtype_format(&desc->dtype, type_here);
    return dn_fail(-EINVAL, "%s has elements of type %s, and %s of %s", t->file.path, type_there, t->name, type_here);
}

/* What is to be created: the file's shape and type, with the chunks and the fill value of the options. */
static int desc_to_create(struct transfer *t, struct dn_desc *out)
{
    const struct dn_desc *file = &t->file.desc;
    char dtype[DN_DTYPE_TEXT];
    int error;

    dn_dtype_format(&file->dtype, dtype);
    error = usage_error(dn_desc_init(out, file->ndim, file->shape, dtype, NULL, t->cli->value[OPT_FILLVALUE]));
    if (!error)
        error = choose_chunk_size(t->cli, out, "auto");
    return error ? error : usage_error(dn_desc_check(out));
}

/* Rank 0 looks at the file and at the dataset, if there is one. */
static int look(struct transfer *t, struct dn_desc *to_create)
{
    dn_dataset *dataset = NULL;
    int error = t->file.kind->open(&t->file), there = error ? 0 : dn_has(t->cli->conn, t->name);

    if (error || there < 0)
        return error ? error : there;
    if (there)
        error = dn_open(t->cli->conn, t->name, &dataset);
    if (!error)
        error = complete_desc(t, there ? dn_describe(dataset) : NULL);
    if (!error)
        error = check_options(t);
    if (!error && t->file.kind->check)
        error = t->file.kind->check(&t->file);
    if (!error && there && (has_option(t->cli, OPT_CHUNK_SIZE) || has_option(t->cli, OPT_FILLVALUE)))
        error = usage_fail("%s exists: it has its chunk size and fill value", t->name);
    if (!error)
        error = there ? check_fit(t, dn_describe(dataset)) : desc_to_create(t, to_create);
    t->created = !there;
    if (!error)
        choose_way(t, there ? dn_describe(dataset) : to_create, true);
    if (dataset)
        dn_close(dataset);
    return error;
}

/* Of what rank 0 found out, the others take over this. */
enum { TOLD_CREATED = 1, TOLD_PARTS = 2, TOLD_SWAP = 4 };
#define NUMBER_SHIFT 32

static int tell(struct transfer *t, int error)
{
    uint64_t told = 0;

    if (is_first(t->cli))
        told = (t->created ? TOLD_CREATED : 0) | (t->parts ? TOLD_PARTS : 0) | (t->swap ? TOLD_SWAP : 0) |
               (uint64_t)t->file.number << NUMBER_SHIFT;
    error = dn_agree(t->cli->conn, error, &told);
    t->created = told & TOLD_CREATED;
    t->parts = told & TOLD_PARTS;
    t->swap = told & TOLD_SWAP;
    t->file.number = (uint32_t)(told >> NUMBER_SHIFT);
    return error;
}

/* The others' view of a file that is read by parts; a raw file's description is the dataset's. */
static int open_in_others(struct transfer *t)
{
    int error = 0;

    if (!is_first(t->cli) && t->parts) {
        error = t->file.kind->open(&t->file);
        if (!error && !t->file.desc.ndim)
            error = dn_desc_copy(&t->file.desc, dn_describe(t->dataset));
    }
    return dn_agree(t->cli->conn, error, NULL);
}

static int load_data(struct transfer *t)
{
    int error = dn_agree(t->cli->conn, dn_open(t->cli->conn, t->name, &t->dataset), NULL);

    if (!error)
        error = open_in_others(t);
    if (!error)
        error = dn_agree(t->cli->conn, run(t, load_part), NULL);
    if (!error && is_first(t->cli) && t->file.kind->at_end && !t->parts && !t->lanes)
        error = t->file.kind->at_end(&t->file);
    if (!error)
        error = dn_flush(t->dataset);
    return dn_agree(t->cli->conn, error, NULL);
}

/* What was done, for somebody who has interrupted the work. */
static int say_how_far(const struct transfer *t, const char *verb, int error)
{
    char part[32], all[32];
    uint64_t total = dn_desc_nbytes(dn_describe(t->dataset));

    if (error != -EINTR)
        return error;
    if (t->parts)
        return dn_fail(error, "interrupted: %llu of %llu chunks were %s", (unsigned long long)t->done,
                       (unsigned long long)dn_desc_chunks(dn_describe(t->dataset)), verb);
    return dn_fail(error, "interrupted: %s of %s were %s", bytes_text(t->bytes, part), bytes_text(total, all), verb);
}

/* Closes the dataset; the outcome is the same in all ranks. */
static int end_load(struct transfer *t, int error)
{
    if (t->dataset) {
        error = say_how_far(t, "loaded", error);
        begin_cleanup();
        error = finish_dataset(t->dataset, error);
    }
    return dn_agree(t->cli->conn, error, NULL);
}

int cmd_load(struct cli *cli)
{
    struct transfer t = {.cli = cli, .name = cli->operand[0]};
    struct dn_desc desc = {0};
    double begin = seconds_now();
    int error = dn_agree(cli->conn, file_choose(&t.file, cli->operand[1], has_option(cli, OPT_RAW), false), NULL);

    if (error)
        return error;
    error = tell(&t, is_first(cli) ? look(&t, &desc) : 0);
    if (!error && t.created)
        error = dn_create(cli->conn, t.name, &desc, NULL);
    if (error)
        t.created = false;
    if (!error)
        error = load_data(&t);
    error = end_load(&t, error);
    if (error && t.created)
        error = take_back(cli, t.name, error);
    if (!error && is_first(cli))
        report_done(cli, "load", t.done, dn_desc_nbytes(&t.file.desc), seconds_now() - begin);
    file_finish(&t.file, false);
    dn_desc_clear(&desc);
    return error;
}

/* ---- save ------------------------------------------------------------------------------------------------------ */

static int begin_file(struct transfer *t)
{
    const struct dn_desc *desc = dn_describe(t->dataset);
    int error = dn_desc_copy(&t->file.desc, desc);

    if (!error)
        error = t->file.kind->create(&t->file);
    if (error)
        return error;
    t->swap = dtype_is_swapped(&t->file.desc.dtype, &desc->dtype);
    choose_way(t, desc, false);
    return 0;
}

static int join_file(struct transfer *t)
{
    int error = 0;

    if (!is_first(t->cli) && t->parts) {
        error = dn_desc_copy(&t->file.desc, dn_describe(t->dataset));
        if (!error)
            error = t->file.kind->join(&t->file);
    }
    return dn_agree(t->cli->conn, error, NULL);
}

/* The others close before rank 0 gives the file its name. */
static int end_file(struct transfer *t, int error)
{
    char text[DN_ERROR_MAX];

    if (error) {
        snprintf(text, sizeof text, "%s", dn_error_text(error));
        file_finish(&t->file, false);
        return dn_fail(error, "%s", text);
    }
    if (!is_first(t->cli))
        error = file_finish(&t->file, true);
    error = dn_agree(t->cli->conn, error, NULL);
    return is_first(t->cli) ? (error ? end_file(t, error) : file_finish(&t->file, true)) : error;
}

int cmd_save(struct cli *cli)
{
    struct transfer t = {.cli = cli, .name = cli->operand[0]};
    double begin = seconds_now();
    uint64_t nbytes;
    int error = file_choose(&t.file, cli->operand[1], has_option(cli, OPT_RAW), has_option(cli, OPT_FORCE));

    if (!error)
        error = dn_open(cli->conn, t.name, &t.dataset);
    error = dn_agree(cli->conn, error, NULL);
    if (error)
        return finish_dataset(t.dataset, error);
    nbytes = dn_desc_nbytes(dn_describe(t.dataset));
    error = tell(&t, is_first(cli) ? begin_file(&t) : 0);
    if (!error)
        error = join_file(&t);
    if (!error)
        error = dn_agree(cli->conn, run(&t, save_part), NULL);
    error = say_how_far(&t, "saved", error);
    error = dn_agree(cli->conn, finish_dataset(t.dataset, error), NULL);
    error = end_file(&t, error);
    cli->output_taken = strcmp(t.file.path, "-") == 0;
    if (!error)
        report_done(cli, "save", t.done, nbytes, seconds_now() - begin);
    return error;
}
