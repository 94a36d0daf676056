// SPDX-License-Identifier: Apache-2.0
/* NIfTI-2 in a single file (nifti.nimh.nih.gov/pub/dist/doc/nifti2.h): a header of 540 bytes in the data's byte
 * order, then no extensions. Fastest axis first. Both transforms have code 0: voxels have no place in space. */
#include "formats.h"

#include <string.h>

#define HEADER 540
#define AT_PIXDIM 104
#define AT_VOX_OFFSET 168
#define AT_SLOPE 176

static const struct type_row types[] = {
    {'b', 1, NULL, 2},    {'u', 1, NULL, 2},     {'i', 1, NULL, 256}, {'i', 2, NULL, 4},  {'u', 2, NULL, 512},
    {'i', 4, NULL, 8},    {'u', 4, NULL, 768},   {'f', 4, NULL, 16},  {'f', 8, NULL, 64}, {'i', 8, NULL, 1024},
    {'u', 8, NULL, 1280}, {'c', 8, NULL, 32},    {'c', 16, NULL, 1792}, {0},
};

static void put_double(unsigned char **at, bool big, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    put_number(at, big, 8, bits);
}

static int write_nifti(const struct view *view, const char *link, FILE *out)
{
    const struct view_array *array = &view->array;
    unsigned char header[HEADER] = {0}, *at = header;
    bool big = is_big(array);

    (void)link;
    put_number(&at, big, 4, HEADER);
    memcpy(at, "n+2\0\r\n\032\n", 8);
    at += 8;
    put_number(&at, big, 2, (uint64_t)type_find(types, &array->dtype)->code);
    put_number(&at, big, 2, 8 * array->dtype.itemsize);
    put_number(&at, big, 8, (uint64_t)array->ndim);
    for (int k = 6; k >= 0; k--)
        put_number(&at, big, 8, k >= 7 - array->ndim ? array->shape[k - 7 + array->ndim] : 1);
    at = header + AT_PIXDIM;
    for (int i = 0; i < 8; i++)
        put_double(&at, big, 1);
    at = header + AT_VOX_OFFSET;
    put_number(&at, big, 8, VIEW_DATA_OFFSET);
    at = header + AT_SLOPE;
    put_double(&at, big, 1);
    fwrite(header, 1, sizeof header, out);
    return 0;
}

const struct view_format view_nifti = {
    .suffix = ".nii", .min_ndim = 1, .max_ndim = 7, .types = types, .head = write_nifti
};
