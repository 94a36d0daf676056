// SPDX-License-Identifier: Apache-2.0
/*
 * DosNa's experiment: a Gaussian filter of chunked cubes, once for each chunk in three dimensions, once as three
 * passes in one dimension each, over the slabs of chunks along z, y and x. Both must agree to 1e-5.
 *
 *   convolution --backend hdf5 --engine threads --connection pool --connection-options directory=/data
 *   mpiexec -n 4 convolution --engine mpi ...
 *
 * As in DosNa, a chunk or slab is filtered by itself, so that its borders are edges; --halo reads what the filter
 * needs of its neighbours, and the result is the filter of the whole cube.
 *
 * In the connection: the dataset `data`, from it `gaussian_3d`, and `gaussian_z`, `gaussian_y`, `gaussian_x`, all
 * deleted again without --keep. In the folder --out: seconds in result.h5 (result_file.h), the middle planes in
 * conv3d_P-D-C.png and conv3x1d_P-D-C.png for P processes, data size D and chunk size C, and the curves
 * time_P-D.svg.
 */
#include "common.h"
#include "gauss.h"
#include "picture.h"
#include "result_file.h"
#include "volume_file.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SIZES 64
#define AGREEMENT 1e-5

enum { DATA_SIZES, CHUNK_SIZES, SIGMA, NTEST, OUT, TMP, HALO, KEEP };

static struct example_option options[] = {
    [DATA_SIZES] = {"data-sizes", "N...", "extents of the cubes", (const char *const[]){"128", "256", "512"}, 3},
    [CHUNK_SIZES] = {"chunk-sizes", "N...", "extents of their chunks",
                     (const char *const[]){"24", "36", "48", "60", "72", "96", "128"}, 7},
    [SIGMA] = {"sigma", "S", "of the Gaussian, in elements", (const char *const[]){"1.5"}, 1},
    [NTEST] = {"ntest", "N", "repetitions", (const char *const[]){"10"}, 1},
    [OUT] = {"out", "FOLDER", "for the results", (const char *const[]){"."}, 1},
    [TMP] = {"tmp", "FOLDER", "for the cube that is loaded; all processes must see it", (const char *const[]){"/tmp"}, 1},
    [HALO] = {"halo", NULL, "filter across the borders of chunks", NULL, 0},
    [KEEP] = {"keep", NULL, "leave the datasets of the last run", NULL, 0},
    {.name = NULL},
};

static const char *const all[] = {"data", "gaussian_3d", "gaussian_z", "gaussian_y", "gaussian_x", NULL};
static const char *const *const results = all + 1;

struct experiment {
    struct example *example;
    dn_connection *conn;
    struct gauss gauss;
    uint64_t halo; /* elements around a box that are read with it */
    uint64_t data_size[MAX_SIZES], chunk_size[MAX_SIZES], ntest;
    struct result_axes axes;
    float *seconds; /* as in the result file */
    struct result_file result; /* rank 0's */
    char volume_path[PATH_MAX];
    struct volume_file volume;
};

/* ---- one box -------------------------------------------------------------------------------------------- */

/* A pass from one dataset into another, of equal descriptions. */
struct pass {
    const struct experiment *experiment;
    dn_dataset *from, *to;
    int first_axis, last_axis; /* to filter along */
};

/* A box and what is around it, within the array. */
static size_t grow(const struct pass *pass, const uint64_t *start, const uint64_t *count, uint64_t *outer_start,
                   uint64_t *outer_count)
{
    const uint64_t *shape = dn_describe(pass->from)->shape;

    for (int i = 0; i < 3; i++) {
        uint64_t halo = i >= pass->first_axis && i <= pass->last_axis ? pass->experiment->halo : 0;
        uint64_t stop = start[i] + count[i];
        outer_start[i] = start[i] > halo ? start[i] - halo : 0;
        outer_count[i] = (stop + halo < shape[i] ? stop + halo : shape[i]) - outer_start[i];
    }
    return outer_count[0] * outer_count[1] * outer_count[2];
}

/* Leave of an outer box the inner one that begins at `skip`. */
static void crop(float *box, const uint64_t *outer, const uint64_t *skip, const uint64_t *count)
{
    float *to = box;

    for (uint64_t z = 0; z < count[0]; z++)
        for (uint64_t y = 0; y < count[1]; y++, to += count[2])
            memmove(to, box + ((z + skip[0]) * outer[1] + y + skip[1]) * outer[2] + skip[2], count[2] * sizeof *to);
}

static int filter_box(const struct pass *pass, const uint64_t *start, const uint64_t *count)
{
    uint64_t outer_start[3], outer_count[3], skip[3];
    size_t elements = grow(pass, start, count, outer_start, outer_count);
    float *box = malloc(elements * sizeof *box);
    int error = box ? dn_read(pass->from, outer_start, outer_count, box)
                    : dn_fail(-ENOMEM, "no memory for %zu elements", elements);

    for (int axis = pass->first_axis; axis <= pass->last_axis && !error; axis++)
        error = gauss_filter(&pass->experiment->gauss, box, outer_count, axis);
    if (!error) {
        for (int i = 0; i < 3; i++)
            skip[i] = start[i] - outer_start[i];
        crop(box, outer_count, skip, count);
        error = dn_write(pass->to, start, count, box);
    }
    free(box);
    return error;
}

/* ---- passes ----------------------------------------------------------------------------------------------- */

static int filter_chunk(void *arg, const struct dn_part *part)
{
    return filter_box(arg, part->start, part->count);
}

static int filter_chunks(struct pass *pass)
{
    return dn_each_chunk(pass->from, filter_chunk, pass, NULL);
}

/* This rank's slabs of chunks across the pass's axis. */
static int filter_slabs(struct pass *pass)
{
    const struct dn_desc *desc = dn_describe(pass->from);
    const struct dn_team *team = &pass->experiment->example->team;
    int axis = pass->first_axis, error = 0;
    uint64_t slabs = dn_desc_grid(desc, axis);

    for (uint64_t i = team->rank; i < slabs && !error; i += team->size) {
        uint64_t start[3], count[3];
        example_slab(desc, axis, i, start, count);
        error = filter_box(pass, start, count);
    }
    return error;
}

static int close_both(struct pass *pass, int error)
{
    dn_dataset *const both[] = {pass->from, pass->to};

    for (int i = 0; i < 2; i++) {
        int failed = both[i] ? dn_close(both[i]) : 0;
        error = error ? error : failed;
    }
    return error;
}

/* Make the dataset `to` from `from`. Collective. */
static int do_pass(const struct experiment *experiment, const char *from, const char *to, int first_axis,
                   int last_axis, int (*filter)(struct pass *pass))
{
    struct pass pass = {.experiment = experiment, .first_axis = first_axis, .last_axis = last_axis};
    dn_connection *conn = experiment->conn;
    int error = dn_clone(conn, from, to, false, NULL);

    if (error)
        return error;
    error = dn_open(conn, from, &pass.from);
    if (!error)
        error = dn_open(conn, to, &pass.to);
    error = dn_agree(conn, error, NULL);
    if (!error)
        error = filter(&pass);
    return dn_agree(conn, close_both(&pass, error), NULL);
}

static int convolve_3d(struct experiment *experiment)
{
    return do_pass(experiment, "data", results[0], 0, 2, filter_chunks);
}

static int convolve_1d(struct experiment *experiment)
{
    const char *from = "data";
    int error = 0;

    for (int axis = 0; axis < 3 && !error; axis++) {
        error = do_pass(experiment, from, results[1 + axis], axis, axis, filter_slabs);
        from = results[1 + axis];
    }
    return error;
}

/* ---- the cube --------------------------------------------------------------------------------------------- */

struct load {
    struct experiment *experiment;
    dn_dataset *data;
};

static int load_chunk(void *arg, const struct dn_part *part)
{
    struct load *load = arg;
    float *box = malloc(part->nbytes);
    int error = box ? volume_read(&load->experiment->volume, part->start, part->count, box)
                    : dn_fail(-ENOMEM, "no memory for %zu bytes", part->nbytes);

    if (!error)
        error = dn_write(load->data, part->start, part->count, box);
    free(box);
    return error;
}

static int load_data(struct experiment *experiment)
{
    struct load load = {.experiment = experiment};
    int error = dn_agree(experiment->conn, dn_open(experiment->conn, "data", &load.data), NULL), failed;

    if (!error)
        error = dn_each_chunk(load.data, load_chunk, &load, NULL);
    failed = load.data ? dn_close(load.data) : 0;
    return dn_agree(experiment->conn, error ? error : failed, NULL);
}

static int create_data(dn_connection *conn, uint64_t data_size, uint64_t chunk_size)
{
    struct dn_desc desc = {0};
    int error = dn_agree(conn, example_cube(&desc, "<f4", data_size, chunk_size), NULL);

    if (!error)
        error = dn_create(conn, "data", &desc, NULL);
    dn_desc_clear(&desc);
    return error;
}

/* ---- looking at the results --------------------------------------------------------------------------------- */

static int compare_chunk(void *arg, const struct dn_part *part)
{
    struct pass *both = arg;
    size_t elements = part->nbytes / sizeof(float);
    float *boxes = malloc(2 * part->nbytes);
    int error = boxes ? dn_read(both->from, part->start, part->count, boxes)
                      : dn_fail(-ENOMEM, "no memory for %zu bytes", 2 * part->nbytes);

    if (!error)
        error = dn_read(both->to, part->start, part->count, boxes + elements);
    for (size_t i = 0; i < elements && !error; i++)
        if (!(fabsf(boxes[i] - boxes[elements + i]) <= AGREEMENT))
            error = dn_fail(-EIO, "in chunk %" PRIu64 " the two ways do not agree: %.9g and %.9g", part->number,
                            (double)boxes[i], (double)boxes[elements + i]);
    free(boxes);
    return error;
}

/* Rank 0: the middle plane of a dataset as NAME_P-D-C.png. */
static int draw_plane(const struct experiment *experiment, dn_dataset *dataset, const char *name)
{
    const struct dn_desc *desc = dn_describe(dataset);
    const uint64_t start[] = {desc->shape[0] / 2, 0, 0}, count[] = {1, desc->shape[1], desc->shape[2]};
    float *plane = malloc(count[1] * count[2] * sizeof *plane);
    char path[PATH_MAX];
    int error = plane ? dn_read(dataset, start, count, plane) : dn_fail(-ENOMEM, "out of memory");

    snprintf(path, sizeof path, "%s/%s_%u-%" PRIu64 "-%" PRIu64 ".png", options[OUT].values[0], name,
             experiment->example->team.size, desc->shape[0], desc->chunk_size[0]);
    if (!error)
        error = picture_write(path, plane, count[1], count[2]);
    free(plane);
    return error;
}

static int inspect(const struct experiment *experiment)
{
    struct pass both = {.experiment = experiment};
    dn_connection *conn = experiment->conn;
    int error = dn_open(conn, results[0], &both.from);

    if (!error)
        error = dn_open(conn, results[3], &both.to);
    error = dn_agree(conn, error, NULL);
    if (!error)
        error = dn_each_chunk(both.from, compare_chunk, &both, NULL);
    if (!error && example_is_first(experiment->example)) {
        error = draw_plane(experiment, both.from, "conv3d");
        if (!error)
            error = draw_plane(experiment, both.to, "conv3x1d");
    }
    return dn_agree(conn, close_both(&both, error), NULL);
}

/* Rank 0. */
static int draw_curves(const struct experiment *experiment, int data)
{
    static const char *const labels[] = {"load", "3-D", "3 x 1-D"}, *const colours[] = {"gray", "crimson", "navy"};
    const struct result_axes *axes = &experiment->axes;
    double x[MAX_SIZES], y[RESULT_TESTS][MAX_SIZES];
    struct curve curves[RESULT_TESTS];
    char path[PATH_MAX], title[64];

    for (int chunk = 0; chunk < axes->chunk_sizes; chunk++)
        x[chunk] = (double)experiment->chunk_size[chunk];
    for (int test = 0; test < RESULT_TESTS; test++) {
        for (int chunk = 0; chunk < axes->chunk_sizes; chunk++)
            for (int i = 0; i < axes->repeats; i++) {
                double seconds = (double)experiment->seconds[result_at(axes, data, chunk, test, i)];
                y[test][chunk] = i ? fmin(y[test][chunk], seconds) : seconds;
            }
        curves[test] = (struct curve){labels[test], colours[test], y[test]};
    }
    snprintf(title, sizeof title, "%" PRIu64 " cubed, %u processes, best of %d", experiment->data_size[data],
             experiment->example->team.size, axes->repeats);
    snprintf(path, sizeof path, "%s/time_%u-%" PRIu64 ".svg", options[OUT].values[0], experiment->example->team.size,
             experiment->data_size[data]);
    return plot_write(path, title, "chunk size", "seconds", curves, RESULT_TESTS, x, axes->chunk_sizes);
}

/* ---- the measurement ----------------------------------------------------------------------------------------- */

static int measure(struct experiment *experiment, int data, int chunk)
{
    static int (*const steps[RESULT_TESTS])(struct experiment *experiment) = {
        [RESULT_DATA] = load_data, [RESULT_3D] = convolve_3d, [RESULT_1D] = convolve_1d};
    int error = create_data(experiment->conn, experiment->data_size[data], experiment->chunk_size[chunk]);

    for (int i = 0; i < experiment->axes.repeats && !error; i++) {
        if (i)
            error = example_delete(experiment->conn, results, 0);
        for (int test = 0; test < RESULT_TESTS && !error; test++) {
            double begin = example_seconds();
            error = steps[test](experiment);
            experiment->seconds[result_at(&experiment->axes, data, chunk, test, i)] = (float)(example_seconds() - begin);
        }
    }
    return error ? error : inspect(experiment);
}

/* Rank 0. */
static int report(struct experiment *experiment, int data, int chunk)
{
    const struct result_axes *axes = &experiment->axes;
    const float *seconds = experiment->seconds + result_at(axes, data, chunk, 0, 0);

    printf("%4" PRIu64 "^3 in %3" PRIu64 "^3: load %.3f s, 3-D %.3f s, 3 x 1-D %.3f s\n", experiment->data_size[data],
           experiment->chunk_size[chunk], (double)seconds[RESULT_DATA * axes->repeats],
           (double)seconds[RESULT_3D * axes->repeats], (double)seconds[RESULT_1D * axes->repeats]);
    fflush(stdout);
    return result_write(&experiment->result, experiment->seconds);
}

static bool is_last(const struct experiment *experiment, int data, int chunk)
{
    if (data + 1 < experiment->axes.data_sizes)
        return false;
    while (++chunk < experiment->axes.chunk_sizes)
        if (experiment->chunk_size[chunk] <= experiment->data_size[data])
            return false;
    return true;
}

/* One cube in chunks of one size; nothing of it is left in the connection, whatever went wrong. */
static int do_chunk_size(struct experiment *experiment, int data, int chunk)
{
    dn_connection *conn = experiment->conn;
    int error = measure(experiment, data, chunk);

    if (!error && example_is_first(experiment->example))
        error = report(experiment, data, chunk);
    error = dn_agree(conn, error, NULL);
    if (!error && options[KEEP].count && is_last(experiment, data, chunk))
        return 0;
    return example_delete(conn, all, error);
}

static int do_chunk_sizes(struct experiment *experiment, int data)
{
    int error = 0;

    for (int chunk = 0; chunk < experiment->axes.chunk_sizes && !error; chunk++)
        if (experiment->chunk_size[chunk] <= experiment->data_size[data])
            error = do_chunk_size(experiment, data, chunk);
    return error;
}

/* Rank 0 makes the file that all of them load from. */
static int do_data_size(struct experiment *experiment, int data)
{
    bool first = example_is_first(experiment->example);
    dn_connection *conn = experiment->conn;
    uint64_t number = first ? (uint64_t)getpid() : 0; /* the sum is one name for all */
    char path[PATH_MAX];
    int error = dn_agree(conn, 0, &number);

    if (error)
        return error;
    snprintf(path, sizeof path, "%s/convolution-%" PRIu64 ".h5", options[TMP].values[0], number);
    error = dn_agree(conn, first ? volume_make(path, experiment->data_size[data]) : 0, NULL);
    if (!error) {
        int opened = volume_open(&experiment->volume, path);
        error = dn_agree(conn, opened, NULL);
        if (!error)
            error = do_chunk_sizes(experiment, data);
        if (!opened)
            volume_close(&experiment->volume);
    }
    if (first)
        unlink(path);
    return error;
}

static int do_all(struct experiment *experiment)
{
    int error = 0;

    for (int data = 0; data < experiment->axes.data_sizes && !error; data++) {
        error = do_data_size(experiment, data);
        if (!error && example_is_first(experiment->example))
            error = draw_curves(experiment, data);
        error = dn_agree(experiment->conn, error, NULL);
    }
    return error;
}

/* ---- beginning and end ----------------------------------------------------------------------------------------- */

static int read_sizes(const struct example_option *option, uint64_t *sizes, int *count)
{
    int error = option->count <= MAX_SIZES ? 0 : dn_fail(-EINVAL, "--%s: more than %d", option->name, MAX_SIZES);

    for (int i = 0; i < option->count && !error; i++)
        error = example_number(option->values[i], &sizes[i]);
    *count = option->count;
    return error;
}

static int read_options(struct experiment *experiment)
{
    struct result_axes *axes = &experiment->axes;
    uint64_t repeats;
    int error = read_sizes(&options[DATA_SIZES], experiment->data_size, &axes->data_sizes);

    if (!error)
        error = read_sizes(&options[CHUNK_SIZES], experiment->chunk_size, &axes->chunk_sizes);
    if (!error)
        error = example_number(options[NTEST].values[0], &repeats);
    if (!error && repeats > 1000)
        error = dn_fail(-EINVAL, "--ntest: more than 1000");
    if (!error)
        error = gauss_init(&experiment->gauss, strtod(options[SIGMA].values[0], NULL));
    if (error)
        return error;
    axes->repeats = (int)repeats;
    axes->data_size = experiment->data_size;
    axes->chunk_size = experiment->chunk_size;
    experiment->halo = options[HALO].count ? experiment->gauss.radius : 0;
    return 0;
}

/* Rank 0's file. */
static int open_result(struct experiment *experiment)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/result.h5", options[OUT].values[0]);
    return result_open(&experiment->result, path, dn_config_get(experiment->example->config, "backend"),
                       experiment->example->team.size, &experiment->axes);
}

static int run(struct example *example)
{
    struct experiment experiment = {.example = example, .conn = example->conn, .result = {-1, -1}};
    int error = read_options(&experiment);

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* what fails is said in one line */
    if (!error) {
        experiment.seconds = calloc(result_at(&experiment.axes, experiment.axes.data_sizes, 0, 0, 0), sizeof(float));
        if (!experiment.seconds)
            error = dn_fail(-ENOMEM, "out of memory");
    }
    error = dn_agree(example->conn, error, NULL);
    if (!error)
        error = example_absent(example->conn, all);
    if (!error)
        error = dn_agree(example->conn, example_is_first(example) ? open_result(&experiment) : 0, NULL);
    if (!error)
        error = do_all(&experiment);
    result_close(&experiment.result);
    free(experiment.seconds);
    gauss_free(&experiment.gauss);
    return error;
}

int main(int argc, char **argv)
{
    return example_main(argc, argv, options, run);
}
