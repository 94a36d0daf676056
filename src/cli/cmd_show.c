// SPDX-License-Identifier: Apache-2.0
/* show: a two-dimensional slice as a grey picture, from the smallest value (black) to the largest one. */
#include "cli.h"
#include "file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MOST_PIXELS (UINT64_C(1) << 28)
#define MOST_COLUMNS 1024 /* of a terminal */

struct image {
    uint64_t width, height;
    double *value; /* nan for what is no number */
    unsigned char *grey;
};

/* ---- values ---------------------------------------------------------------------------------------------------- */

static double value_of(const struct dn_dtype *dtype, const unsigned char *bytes)
{
    union { int8_t i1; int16_t i2; int32_t i4; int64_t i8; uint16_t u2; uint32_t u4; uint64_t u8; float f4; double f8; } v;
    char text[64];

    memset(&v, 0, sizeof v);
    memcpy(&v, bytes, dtype->itemsize < sizeof v ? dtype->itemsize : sizeof v);
    switch (dtype->kind * 16 + (int)dtype->itemsize) {
    case 'b' * 16 + 1:
    case 'u' * 16 + 1:
        return bytes[0];
    case 'i' * 16 + 1:
        return v.i1;
    case 'i' * 16 + 2:
        return v.i2;
    case 'i' * 16 + 4:
        return v.i4;
    case 'i' * 16 + 8:
        return (double)v.i8;
    case 'u' * 16 + 2:
        return v.u2;
    case 'u' * 16 + 4:
        return v.u4;
    case 'u' * 16 + 8:
        return (double)v.u8;
    case 'f' * 16 + 4:
        return (double)v.f4;
    case 'f' * 16 + 8:
        return v.f8;
    default: /* float16 */
        dn_fill_format(dtype, bytes, false, text, sizeof text);
        return strtod(text, NULL);
    }
}

/* The two last axes but `axis` are left; of the others it is the middle. */
static int slice_across(const struct dn_desc *desc, int axis, uint64_t index, struct dn_slice *out)
{
    char text[DN_VECTOR_TEXT] = "";
    int left = desc->ndim > 2 ? desc->ndim - 1 : desc->ndim;

    for (int i = 0; i < desc->ndim; i++) {
        size_t used = strlen(text);
        if (i == axis && desc->ndim > 2)
            snprintf(text + used, sizeof text - used, "%llu,", (unsigned long long)index);
        else if (left-- > 2)
            snprintf(text + used, sizeof text - used, "%llu,", (unsigned long long)(desc->shape[i] / 2));
        else
            snprintf(text + used, sizeof text - used, ":,");
    }
    return dn_slice_parse(text, desc->ndim, desc->shape, out);
}

static int choose_slice(const struct cli *cli, const struct dn_desc *desc, struct dn_slice *out)
{
    int64_t axis = 0, index;
    int error = 0;

    if (has_option(cli, OPT_AXIS))
        error = parse_number("--axis", cli->value[OPT_AXIS], &axis);
    if (error)
        return error;
    if (axis < -desc->ndim || axis >= desc->ndim)
        return usage_fail("--axis %lld: the dataset has %d axes", (long long)axis, desc->ndim);
    axis += axis < 0 ? desc->ndim : 0;
    index = (int64_t)(desc->shape[axis] / 2);
    if (has_option(cli, OPT_INDEX))
        error = parse_number("--index", cli->value[OPT_INDEX], &index);
    if (error)
        return error;
    if (index < -(int64_t)desc->shape[axis] || index >= (int64_t)desc->shape[axis])
        return usage_fail("--index %lld: axis %lld has %llu positions", (long long)index, (long long)axis,
                          (unsigned long long)desc->shape[axis]);
    index += index < 0 ? (int64_t)desc->shape[axis] : 0;
    return slice_across(desc, (int)axis, (uint64_t)index, out);
}

/* A terminal shows every n-th element of a wide slice, so no others are read. */
static void thin(struct dn_slice *slice)
{
    int last = slice->out_ndim - 1;
    uint64_t step = (dn_slice_extent(slice, last) + MOST_COLUMNS - 1) / MOST_COLUMNS;

    for (int k = 0; k <= last; k++)
        dn_slice_thin(slice, k, step);
}

static int read_values(dn_dataset *dataset, const struct dn_slice *slice, struct image *image)
{
    const struct dn_dtype *dtype = &dn_describe(dataset)->dtype;
    uint64_t count = dn_slice_elements(slice);
    unsigned char *bytes;
    int64_t n;

    image->width = dn_slice_extent(slice, slice->out_ndim - 1);
    image->height = count / image->width;
    if (count > MOST_PIXELS || image->width > 1000000 || image->height > 1000000)
        return dn_fail(-EFBIG, "a picture of %llu by %llu is too large", (unsigned long long)image->width,
                       (unsigned long long)image->height);
    bytes = malloc(count * dtype->itemsize);
    image->value = malloc(count * sizeof *image->value);
    image->grey = malloc(count);
    n = bytes && image->value && image->grey ? dn_read_slice(dataset, slice, bytes, count * dtype->itemsize, 0)
                                             : no_memory();
    if (n >= 0 && dtype->order == '>')
        swap_elements(dtype, bytes, count * dtype->itemsize);
    if (n >= 0) {
        struct dn_dtype native = *dtype;
        native.order = dtype->order == '>' ? '<' : dtype->order;
        for (uint64_t i = 0; i < count; i++)
            image->value[i] = value_of(&native, bytes + i * dtype->itemsize);
    }
    free(bytes);
    return n < 0 ? (int)n : 0;
}

/* ---- scaling ----------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The values that become black and white: of those that are finite, the ends or two percentiles. */
static int find_range(const struct image *image, double percentile, double *low, double *high)
{
    uint64_t count = 0;
    double *sorted = malloc(image->width * image->height * sizeof *sorted);

    if (!sorted)
        return no_memory();
    for (uint64_t i = 0; i < image->width * image->height; i++)
        if (isfinite(image->value[i]))
            sorted[count++] = image->value[i];
    *low = *high = 0;
    if (count) {
        qsort(sorted, count, sizeof *sorted, by_value);
        *low = sorted[(uint64_t)floor((double)(count - 1) * percentile / 100)];
        *high = sorted[(uint64_t)ceil((double)(count - 1) * (1 - percentile / 100))];
    }
    free(sorted);
    return 0;
}

static int scale(const struct cli *cli, struct image *image)
{
    double percentile = 0, low = 0, high = 0;
    char *end;
    int error;

    if (has_option(cli, OPT_PERCENTILE)) {
        percentile = strtod(cli->value[OPT_PERCENTILE], &end);
        if (*end || end == cli->value[OPT_PERCENTILE] || !(percentile >= 0 && percentile < 50))
            return usage_fail("--percentile '%s': wanted is a number from 0 to 50", cli->value[OPT_PERCENTILE]);
    }
    error = find_range(image, percentile, &low, &high);
    for (uint64_t i = 0; i < image->width * image->height && !error; i++) {
        double value = image->value[i];
        double share = high > low ? (value - low) / (high - low) : 0;
        image->grey[i] = !(share > 0) ? 0 : share >= 1 ? 255 : (unsigned char)lrint(share * 255);
    }
    return error;
}

/* ---- a terminal ---------------------------------------------------------------------------------------------------- */

/* Two pixels a character, as the upper half of a block on a background; 24 steps of grey. */
static void print_blocks(const struct image *image)
{
    struct winsize window = {0};
    unsigned columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col ? window.ws_col : 80;
    uint64_t width = image->width < columns ? image->width : columns;
    uint64_t height = image->height * width / image->width;

    height = height ? height : 1;
    for (uint64_t y = 0; y < height; y += 2) {
        for (uint64_t x = 0; x < width; x++) {
            uint64_t column = x * image->width / width;
            uint64_t upper = y * image->height / height, lower = (y + 1) * image->height / height;
            unsigned top = image->grey[upper * image->width + column];
            unsigned bottom = lower < image->height ? image->grey[lower * image->width + column] : 0;
            printf("\033[38;5;%um\033[48;5;%um\xe2\x96\x80", 232 + top * 24 / 256, 232 + bottom * 24 / 256);
        }
        puts("\033[0m");
    }
}

static int show(struct cli *cli, dn_dataset *dataset)
{
    const struct dn_desc *desc = dn_describe(dataset);
    const char *path = cli->operands == 2 ? cli->operand[1] : NULL;
    struct image image = {0};
    struct dn_slice slice;
    int error;

    if (!strchr("biuf", desc->dtype.kind) || desc->dtype.itemsize > 8)
        return dn_fail(-EINVAL, "%s: elements of this type have no grey", dn_name(dataset));
    error = choose_slice(cli, desc, &slice);
    if (!error && path && strcmp(path, "-") != 0)
        error = check_absent(path, has_option(cli, OPT_FORCE));
    if (!error && !path)
        thin(&slice);
    if (!error)
        error = read_values(dataset, &slice, &image);
    if (!error)
        error = scale(cli, &image);
    if (!error && path)
        error = png_write(path, has_option(cli, OPT_FORCE), (unsigned)image.width, (unsigned)image.height, 1, image.grey);
    else if (!error)
        print_blocks(&image);
    free(image.value);
    free(image.grey);
    return error;
}

int cmd_show(struct cli *cli)
{
    dn_dataset *dataset;
    int error = dn_open(cli->conn, cli->operand[0], &dataset);

    return error ? error : finish_dataset(dataset, show(cli, dataset));
}
