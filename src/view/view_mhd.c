// SPDX-License-Identifier: Apache-2.0
/* MetaImage with a detached header (Kitware/MetaIO), fastest axis first. Readers want ElementDataFile last; some
 * read ElementSize, others ElementSpacing. */
#include "formats.h"

static const struct type_row types[] = {
    {'b', 1, "MET_UCHAR", 0},  {'u', 1, "MET_UCHAR", 0}, {'i', 1, "MET_CHAR", 0},
    {'u', 2, "MET_USHORT", 0}, {'i', 2, "MET_SHORT", 0}, {'u', 4, "MET_UINT", 0},
    {'i', 4, "MET_INT", 0},    {'u', 8, "MET_ULONG_LONG", 0}, {'i', 8, "MET_LONG_LONG", 0},
    {'f', 4, "MET_FLOAT", 0},  {'f', 8, "MET_DOUBLE", 0}, {0},
};

static void write_ones(const char *key, int count, FILE *out)
{
    fprintf(out, "%s =", key);
    for (int i = 0; i < count; i++)
        fputs(" 1", out);
    putc('\n', out);
}

static int write_mhd(const struct view *view, const char *link, FILE *out)
{
    const struct view_array *array = &view->array;

    fprintf(out, "ObjectType = Image\nNDims = %d\nBinaryData = True\nBinaryDataByteOrderMSB = %s\n"
            "CompressedData = False\n", array->ndim, is_big(array) ? "True" : "False");
    write_ones("ElementSpacing", array->ndim, out);
    write_ones("ElementSize", array->ndim, out);
    fputs("DimSize = ", out);
    write_sizes(array, out);
    fprintf(out, "\nElementType = %s\nElementDataFile = %s\n", type_find(types, &array->dtype)->name, link);
    return 0;
}

/* MetaIO's arrays have room for ten axes. */
const struct view_format view_mhd = {
    .suffix = ".mhd", .detached = true, .min_ndim = 1, .max_ndim = 10, .types = types, .head = write_mhd
};
