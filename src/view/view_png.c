// SPDX-License-Identifier: Apache-2.0
/* A preview: the plane of the last two axes in the middle of the others, every n-th element of it so that neither
 * side is longer than SIDE, grey from the smallest to the largest finite value. Stored without compression, so that
 * the file's size is known before its content. */
#include "formats.h"

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#define SIDE 256

static const struct type_row types[] = {
    {'b', 1, NULL, 0}, {'u', 1, NULL, 0}, {'u', 2, NULL, 0}, {'u', 4, NULL, 0}, {'u', 8, NULL, 0}, {'i', 1, NULL, 0},
    {'i', 2, NULL, 0}, {'i', 4, NULL, 0}, {'i', 8, NULL, 0}, {'f', 4, NULL, 0}, {'f', 8, NULL, 0}, {0},
};

/* ---- pixels ----------------------------------------------------------------------------------- */

static double value_of(const struct dn_dtype *dtype, const unsigned char *bytes)
{
    unsigned size = dtype->itemsize, unused = 64 - 8 * size;
    uint64_t bits = 0;

    for (unsigned i = 0; i < size; i++)
        bits = bits << 8 | bytes[dtype->order == '>' ? i : size - 1 - i];
    if (dtype->kind == 'f' && size == 4) {
        uint32_t half = (uint32_t)bits;
        float number;

        memcpy(&number, &half, sizeof number);
        return (double)number;
    }
    if (dtype->kind == 'f') {
        double number;

        memcpy(&number, &bits, sizeof number);
        return number;
    }
    return dtype->kind == 'i' ? (double)((int64_t)(bits << unused) >> unused) : (double)bits;
}

static void shade(const struct dn_dtype *dtype, const unsigned char *items, size_t count, unsigned char *grey)
{
    double low = INFINITY, high = -INFINITY;

    for (size_t i = 0; i < count; i++) {
        double value = value_of(dtype, items + i * dtype->itemsize);

        if (isfinite(value)) {
            low = fmin(low, value);
            high = fmax(high, value);
        }
    }
    for (size_t i = 0; i < count; i++) {
        double value = value_of(dtype, items + i * dtype->itemsize);

        /* Halves, so that the difference of two large values is finite. */
        grey[i] = !(value > low) ? 0 : value >= high ? 255 :
                  (unsigned char)(255 * ((value / 2 - low / 2) / (high / 2 - low / 2)));
    }
}

static void choose_plane(const struct view *view, struct dn_slice *plane, size_t *width, size_t *height)
{
    int last = view->array.ndim - 1;
    uint64_t longest = view->array.shape[last];

    if (view->array.shape[last - 1] > longest)
        longest = view->array.shape[last - 1];
    *plane = view->slice;
    for (int k = 0; k < last - 1; k++)
        dn_slice_narrow(plane, k, view->array.shape[k] / 2, 1);
    dn_slice_thin(plane, last - 1, (longest + SIDE - 1) / SIDE);
    dn_slice_thin(plane, last, (longest + SIDE - 1) / SIDE);
    *height = dn_slice_extent(plane, last - 1);
    *width = dn_slice_extent(plane, last);
}

static int read_plane(dn_dataset *dataset, const struct dn_slice *plane, const struct dn_dtype *dtype, size_t count,
                      unsigned char *grey)
{
    unsigned char *items = malloc(count * dtype->itemsize);
    int64_t n;

    if (!items)
        return dn_fail(-ENOMEM, "out of memory");
    n = dn_read_slice(dataset, plane, items, count * dtype->itemsize, 0);
    if (n >= 0)
        shade(dtype, items, count, grey);
    free(items);
    return n < 0 ? (int)n : 0;
}

/* ---- the file --------------------------------------------------------------------------------- */

static void append(png_structp png, png_bytep bytes, png_size_t length)
{
    if (fwrite(bytes, 1, length, png_get_io_ptr(png)) != length)
        png_error(png, "out of memory");
}

static void no_flush(png_structp png)
{
    (void)png;
}

static void quiet(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

static int write_png(FILE *out, const unsigned char *grey, size_t width, size_t height)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, quiet);
    png_infop info = png ? png_create_info_struct(png) : NULL;

    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return dn_fail(-ENOMEM, "out of memory");
    }
    png_set_write_fn(png, out, append, no_flush);
    png_set_compression_level(png, 0);
    png_set_filter(png, 0, PNG_FILTER_NONE);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < height; y++)
        png_write_row(png, grey + y * width);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return 0;
}

static int render(const struct view *view, dn_dataset *dataset, unsigned char **out, size_t *length)
{
    struct dn_slice plane;
    size_t width, height;
    unsigned char *grey;
    char *text = NULL;
    FILE *file;
    int error;

    choose_plane(view, &plane, &width, &height);
    grey = calloc(width, height);
    file = open_memstream(&text, length);
    error = grey && file ? 0 : dn_fail(-ENOMEM, "out of memory");
    if (!error && dataset)
        error = read_plane(dataset, &plane, &view->array.dtype, width * height, grey);
    if (!error)
        error = write_png(file, grey, width, height);
    if (file && fclose(file) != 0 && !error)
        error = dn_fail(-ENOMEM, "out of memory");
    free(grey);
    if (error) {
        free(text);
        return error;
    }
    *out = (unsigned char *)text;
    return 0;
}

const struct view_format view_png = {
    .suffix = ".png", .min_ndim = 2, .max_ndim = DN_MAX_NDIM, .types = types, .render = render
};
