// SPDX-License-Identifier: Apache-2.0
/* TIFF as ImageJ writes stacks: one directory, one strip, and a description that says how many planes follow one
 * another (ij/io/TiffDecoder.java). ImageJ counts in 64 bits from the first plane's offset, so that the file may have
 * any length. There must be no Orientation: it makes ImageJ forget the planes. */
#include "formats.h"

#include <limits.h>
#include <string.h>

#define AT_DIRECTORY 8
#define ENTRIES 13
#define AT_RESOLUTION 256
#define AT_DESCRIPTION 272

const struct type_row tiff_types[] = {
    {'b', 1, NULL, 1}, {'u', 1, NULL, 1}, {'u', 2, NULL, 1}, {'u', 4, NULL, 1}, {'u', 8, NULL, 1},
    {'i', 1, NULL, 2}, {'i', 2, NULL, 2}, {'i', 4, NULL, 2}, {'i', 8, NULL, 2}, {'f', 2, NULL, 3},
    {'f', 4, NULL, 3}, {'f', 8, NULL, 3}, {'c', 8, NULL, 6}, {'c', 16, NULL, 6}, {0},
};

int tiff_sample(const struct dn_dtype *dtype)
{
    return type_find(tiff_types, dtype)->code;
}

void tiff_entry(unsigned char **at, bool big, int field, int tag, int type, uint64_t count, uint64_t value)
{
    int size = type == TIFF_SHORT ? 2 : type == TIFF_LONG ? 4 : field;

    put_number(at, big, 2, (uint64_t)tag);
    put_number(at, big, 2, (uint64_t)type);
    put_number(at, big, field, count);
    put_number(at, big, size, value);
    put_number(at, big, field - size, 0);
}

/* 8, 16 and 32 bits but for half floats, and planes that ImageJ can count in an int. */
static bool holds(const struct view_array *array)
{
    struct planes planes = planes_of(array);

    if (array->dtype.itemsize > 4 || (array->dtype.kind == 'f' && array->dtype.itemsize == 2))
        return false;
    return planes.nbytes <= INT_MAX && planes.count <= INT_MAX;
}

/* ImageJ's order of a hyperstack is frame, slice, channel, row, column. */
static int describe(const struct view_array *array, char *text, size_t size)
{
    unsigned long long n = planes_of(array).count;
    const uint64_t *s = array->shape;

    if (n == 1)
        return snprintf(text, size, "ImageJ=1.53t\n");
    if (array->ndim == 4)
        return snprintf(text, size, "ImageJ=1.53t\nimages=%llu\nslices=%llu\nframes=%llu\nhyperstack=true\n"
                        "mode=grayscale\nloop=false\n", n, (unsigned long long)s[1], (unsigned long long)s[0]);
    if (array->ndim == 5)
        return snprintf(text, size, "ImageJ=1.53t\nimages=%llu\nchannels=%llu\nslices=%llu\nframes=%llu\n"
                        "hyperstack=true\nmode=grayscale\nloop=false\n", n, (unsigned long long)s[2],
                        (unsigned long long)s[1], (unsigned long long)s[0]);
    return snprintf(text, size, "ImageJ=1.53t\nimages=%llu\nslices=%llu\nloop=false\n", n, n);
}

static int write_tiff(const struct view *view, const char *link, FILE *out)
{
    const struct view_array *array = &view->array;
    struct planes planes = planes_of(array);
    unsigned char head[VIEW_DATA_OFFSET] = {0}, *at = head;
    bool big = is_big(array);
    int length = describe(array, (char *)head + AT_DESCRIPTION, sizeof head - AT_DESCRIPTION) + 1;

    (void)link;
    memcpy(at, big ? "MM" : "II", 2);
    at += 2;
    put_number(&at, big, 2, 42);
    put_number(&at, big, 4, AT_DIRECTORY);
    put_number(&at, big, 2, ENTRIES);
    tiff_entry(&at, big, 4, 254, TIFF_LONG, 1, 0);
    tiff_entry(&at, big, 4, 256, TIFF_LONG, 1, planes.width);
    tiff_entry(&at, big, 4, 257, TIFF_LONG, 1, planes.height);
    tiff_entry(&at, big, 4, 258, TIFF_SHORT, 1, 8 * array->dtype.itemsize);
    tiff_entry(&at, big, 4, 259, TIFF_SHORT, 1, 1);
    tiff_entry(&at, big, 4, 262, TIFF_SHORT, 1, 1);
    tiff_entry(&at, big, 4, 270, TIFF_ASCII, (uint64_t)length, AT_DESCRIPTION);
    tiff_entry(&at, big, 4, 273, TIFF_LONG, 1, VIEW_DATA_OFFSET);
    tiff_entry(&at, big, 4, 277, TIFF_SHORT, 1, 1);
    tiff_entry(&at, big, 4, 278, TIFF_LONG, 1, planes.height);
    tiff_entry(&at, big, 4, 279, TIFF_LONG, 1, planes.nbytes);
    tiff_entry(&at, big, 4, 282, TIFF_RATIONAL, 1, AT_RESOLUTION);
    tiff_entry(&at, big, 4, 339, TIFF_SHORT, 1, (uint64_t)tiff_sample(&array->dtype));
    put_number(&at, big, 4, 0);
    at = head + AT_RESOLUTION;
    put_number(&at, big, 4, 1);
    put_number(&at, big, 4, 1);
    fwrite(head, 1, sizeof head, out);
    return 0;
}

const struct view_format view_tiff = {
    .suffix = ".tif", .min_ndim = 2, .max_ndim = DN_MAX_NDIM, .types = tiff_types, .holds = holds, .head = write_tiff
};
