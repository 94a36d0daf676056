// SPDX-License-Identifier: Apache-2.0
/* NRRD with a detached header (teem.sourceforge.net/nrrd/format.html), fastest axis first. */
#include "formats.h"

static const struct type_row types[] = {
    {'b', 1, "uint8", 0},  {'u', 1, "uint8", 0},  {'i', 1, "int8", 0},  {'u', 2, "uint16", 0},
    {'i', 2, "int16", 0},  {'u', 4, "uint32", 0}, {'i', 4, "int32", 0}, {'u', 8, "uint64", 0},
    {'i', 8, "int64", 0},  {'f', 4, "float", 0},  {'f', 8, "double", 0}, {0},
};

static int write_nrrd(const struct view *view, const char *link, FILE *out)
{
    const struct view_array *array = &view->array;

    fprintf(out, "NRRD0004\ntype: %s\ndimension: %d\nsizes: ", type_find(types, &array->dtype)->name, array->ndim);
    write_sizes(array, out);
    if (array->dtype.itemsize > 1)
        fprintf(out, "\nendian: %s", is_big(array) ? "big" : "little");
    fprintf(out, "\nencoding: raw\ndata file: %s\n", link);
    return 0;
}

const struct view_format view_nrrd = {
    .suffix = ".nhdr", .detached = true, .min_ndim = 1, .max_ndim = 16, .types = types, .head = write_nrrd
};
