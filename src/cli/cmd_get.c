// SPDX-License-Identifier: Apache-2.0
/* get and set: selections, written as numpy writes them. */
#include "cli.h"
#include "file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (4u << 20)

/* Do something with the selection that the first two operands name. */
static int on_selection(struct cli *cli, int (*fn)(struct cli *, dn_dataset *, const struct dn_slice *))
{
    const struct dn_desc *desc;
    struct dn_slice slice;
    dn_dataset *dataset;
    int error = dn_open(cli->conn, cli->operand[0], &dataset);

    if (error)
        return error;
    desc = dn_describe(dataset);
    error = dn_slice_parse(cli->operand[1], desc->ndim, desc->shape, &slice);
    if (error)
        error = usage_fail("'%s': %s", cli->operand[1], dn_error_text(error));
    else
        error = fn(cli, dataset, &slice);
    begin_cleanup();
    return finish_dataset(dataset, error);
}

/* Whole elements. */
static size_t piece_size(const struct dn_desc *desc)
{
    size_t itemsize = desc->dtype.itemsize;

    return itemsize < PIECE ? PIECE / itemsize * itemsize : itemsize;
}

/* The result as an array of its own. A selection of one element is one of shape (1,). */
static int describe_result(dn_dataset *dataset, const struct dn_slice *slice, struct dn_desc *out)
{
    char dtype[DN_DTYPE_TEXT];
    uint64_t shape[DN_MAX_NDIM] = {1};
    int error;

    for (int i = 0; i < slice->out_ndim; i++)
        shape[i] = dn_slice_extent(slice, i);
    dn_dtype_format(&dn_describe(dataset)->dtype, dtype);
    error = dn_desc_init(out, slice->out_ndim ? slice->out_ndim : 1, shape, dtype, NULL, NULL);
    return error ? dn_fail(-EINVAL, "the selection has no elements") : 0;
}

/* ---- get ---------------------------------------------------------------------------------------------------- */

static int copy_out(dn_dataset *dataset, const struct dn_slice *slice, struct file *file)
{
    const struct dn_dtype *dtype = &dn_describe(dataset)->dtype;
    bool swap = dtype_is_swapped(&file->desc.dtype, dtype);
    size_t size = piece_size(dn_describe(dataset));
    void *buffer = malloc(size);
    uint64_t offset = 0;
    int64_t n = 1;
    int error = buffer ? 0 : no_memory();

    while (!error && n > 0) {
        n = dn_read_slice(dataset, slice, buffer, size, offset);
        if (n > 0 && swap)
            swap_elements(dtype, buffer, (size_t)n);
        error = n < 0 ? (int)n : interrupted() ? dn_fail(-EINTR, "interrupted")
                      : file->kind->write(file, buffer, (size_t)n);
        offset += (uint64_t)(n > 0 ? n : 0);
    }
    free(buffer);
    return error;
}

static int get_to_file(struct cli *cli, dn_dataset *dataset, const struct dn_slice *slice)
{
    struct file file;
    char text[DN_ERROR_MAX];
    int error;

    error = file_choose(&file, cli->operand[2], has_option(cli, OPT_RAW), has_option(cli, OPT_FORCE));
    if (error)
        return error;
    if (!file.kind->write)
        return usage_fail("%s: a selection is written as .npy, TIFF or raw", file.path);
    error = describe_result(dataset, slice, &file.desc);
    if (!error)
        error = file.kind->create(&file);
    if (!error)
        error = copy_out(dataset, slice, &file);
    if (!error)
        return file_finish(&file, true);
    snprintf(text, sizeof text, "%s", dn_error_text(error));
    file_finish(&file, false);
    return dn_fail(error, "%s", text);
}

static int get(struct cli *cli, dn_dataset *dataset, const struct dn_slice *slice)
{
    return cli->operands == 3 ? get_to_file(cli, dataset, slice) : print_slice(dataset, slice);
}

int cmd_get(struct cli *cli)
{
    return on_selection(cli, get);
}

/* ---- set ------------------------------------------------------------------------------------------------------ */

/* Where the bytes come from: a file, or one element over and over. */
struct origin {
    struct file file;
    bool swap;
    unsigned char *element;
};

static int take(struct origin *origin, const struct dn_dtype *dtype, unsigned char *buffer, size_t length)
{
    int error;

    if (origin->element) {
        for (size_t at = 0; at < length; at += dtype->itemsize)
            memcpy(buffer + at, origin->element, dtype->itemsize);
        return 0;
    }
    error = origin->file.kind->read(&origin->file, buffer, length);
    if (!error && origin->swap)
        swap_elements(dtype, buffer, length);
    return error;
}

static int copy_in(dn_dataset *dataset, const struct dn_slice *slice, struct origin *origin)
{
    const struct dn_desc *desc = dn_describe(dataset);
    uint64_t nbytes = dn_slice_elements(slice) * desc->dtype.itemsize, offset = 0;
    size_t size = piece_size(desc);
    unsigned char *buffer = malloc(size);
    int error = buffer ? 0 : no_memory();

    while (!error && offset < nbytes) {
        size_t length = (size_t)(nbytes - offset < size ? nbytes - offset : size);
        int64_t n;
        error = interrupted() ? dn_fail(-EINTR, "interrupted: %llu of %llu bytes were set",
                                        (unsigned long long)offset, (unsigned long long)nbytes)
                              : take(origin, &desc->dtype, buffer, length);
        n = error ? 0 : dn_write_slice(dataset, slice, buffer, length, offset);
        error = n < 0 ? (int)n : error;
        offset += length;
    }
    free(buffer);
    return error;
}

/* Of the file's array the shape has to be the selection's, as in numpy without broadcasting. */
static int check_array(struct origin *origin, const struct dn_desc *wanted)
{
    struct dn_desc *desc = &origin->file.desc;
    char here[DN_VECTOR_TEXT], there[DN_VECTOR_TEXT], type_here[DN_DTYPE_TEXT], type_there[DN_DTYPE_TEXT];

    if (desc->ndim == 0)
        return dn_desc_copy(desc, wanted);
    if (desc->ndim != wanted->ndim || memcmp(desc->shape, wanted->shape, (size_t)desc->ndim * sizeof *desc->shape))
        return dn_fail(-EINVAL, "%s has the shape (%s), and the selection has (%s)", origin->file.path,
                       extents_text(desc->shape, desc->ndim, there), extents_text(wanted->shape, wanted->ndim, here));
    origin->swap = dtype_is_swapped(&desc->dtype, &wanted->dtype);
    dn_dtype_format(&desc->dtype, type_there);
    dn_dtype_format(&wanted->dtype, type_here);
    if (origin->swap || strcmp(type_here, type_there) == 0)
        return 0;
    return dn_fail(-EINVAL, "%s has elements of type %s, and the dataset of %s", origin->file.path, type_there, type_here);
}

static int open_array(struct cli *cli, const struct dn_desc *wanted, struct origin *origin)
{
    int error = file_choose(&origin->file, cli->operand[2], has_option(cli, OPT_RAW), false);

    if (error)
        return error;
    if (!origin->file.kind->read)
        return usage_fail("%s: a selection is set from .npy, TIFF or raw", cli->operand[2]);
    error = origin->file.kind->open(&origin->file);
    if (error == -ENOENT)
        return dn_fail(error, "'%s' is neither a value of this type nor a file", cli->operand[2]);
    if (!error)
        error = check_array(origin, wanted);
    if (!error && origin->file.kind->check)
        error = origin->file.kind->check(&origin->file);
    return error;
}

static int set_selection(struct cli *cli, dn_dataset *dataset, const struct dn_slice *slice)
{
    const struct dn_dtype *dtype = &dn_describe(dataset)->dtype;
    struct origin origin = {.element = malloc(dtype->itemsize)};
    struct dn_desc wanted = {0};
    char text[DN_ERROR_MAX];
    int error = origin.element ? describe_result(dataset, slice, &wanted) : no_memory();

    if (!error && (has_option(cli, OPT_RAW) || dn_fill_parse(dtype, cli->operand[2], origin.element) != 0)) {
        free(origin.element);
        origin.element = NULL;
        error = open_array(cli, &wanted, &origin);
    }
    if (!error)
        error = copy_in(dataset, slice, &origin);
    if (!error && !origin.element && origin.file.kind->at_end)
        error = origin.file.kind->at_end(&origin.file);
    snprintf(text, sizeof text, "%s", dn_error_text(error));
    if (origin.file.kind)
        file_finish(&origin.file, false);
    free(origin.element);
    dn_desc_clear(&wanted);
    return error ? dn_fail(error, "%s", text) : 0;
}

int cmd_set(struct cli *cli)
{
    return on_selection(cli, set_selection);
}
