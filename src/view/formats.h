// SPDX-License-Identifier: Apache-2.0
/* What the formats' modules share. */
#ifndef DOSNA_VIEW_FORMATS_H
#define DOSNA_VIEW_FORMATS_H

#include "view.h"

extern const struct view_format view_npy, view_raw, view_bytes, view_nrrd, view_mhd, view_nifti, view_tiff,
    view_bigtiff, view_png, view_zarr;

/** A format's name or number for an element type. A table ends with kind 0. */
struct type_row {
    char kind; /* numpy's */
    uint32_t itemsize;
    const char *name;
    int code;
};

/** NULL: the format lacks the type. */
const struct type_row *type_find(const struct type_row *rows, const struct dn_dtype *dtype);

/** Is the type stored with the most significant byte first? */
static inline bool is_big(const struct view_array *array)
{
    return array->dtype.order == '>';
}

/** Append a number of `size` bytes in either byte order. */
static inline void put_number(unsigned char **at, bool big, int size, uint64_t value)
{
    for (int i = 0; i < size; i++)
        (*at)[i] = (unsigned char)(value >> 8 * (big ? size - 1 - i : i));
    *at += size;
}

/** The extents with something between, fastest axis first. */
void write_sizes(const struct view_array *array, FILE *out);

/* ---- TIFF ------------------------------------------------------------------------------------- */

/** The array as planes of its last two axes. */
struct planes {
    uint64_t width, height, count;
    uint64_t nbytes; /* of one */
};
struct planes planes_of(const struct view_array *array);

enum { TIFF_ASCII = 2, TIFF_SHORT = 3, TIFF_LONG = 4, TIFF_RATIONAL = 5, TIFF_LONG8 = 16 };

/** The types that TIFF has, and the SampleFormat of one of them. */
extern const struct type_row tiff_types[];
int tiff_sample(const struct dn_dtype *dtype);

/**
 * One entry of a directory. Its count and value take `field` bytes each: 4, or 8 in BigTIFF. `value` is the number,
 * or for ASCII and RATIONAL where it lies.
 */
void tiff_entry(unsigned char **at, bool big, int field, int tag, int type, uint64_t count, uint64_t value);

#endif
