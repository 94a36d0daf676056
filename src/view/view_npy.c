// SPDX-License-Identifier: Apache-2.0
/* NumPy's .npy, version 1.0 (numpy.lib.format): a magic, the length of a Python literal, the literal, padded with
 * blanks and ended by a newline. */
#include "formats.h"

#define PREFIX 10

static int write_npy(const struct view *view, const char *link, FILE *out)
{
    const struct view_array *array = &view->array;
    char dtype[DN_DTYPE_TEXT];
    uint16_t length = VIEW_DATA_OFFSET - PREFIX;

    (void)link;
    dn_dtype_format(&array->dtype, dtype);
    fwrite("\x93NUMPY\x01", 1, 7, out);
    putc(0, out);
    putc(length & 0xff, out);
    putc(length >> 8, out);
    fprintf(out, "{'descr': '%s', 'fortran_order': False, 'shape': (", dtype);
    for (int k = 0; k < array->ndim; k++)
        fprintf(out, "%llu%s", (unsigned long long)array->shape[k],
                k < array->ndim - 1 ? ", " : k == 0 ? "," : "");
    fprintf(out, "), }");
    for (long at = ftell(out); at < VIEW_DATA_OFFSET - 1; at++)
        putc(' ', out);
    putc('\n', out);
    return 0;
}

const struct view_format view_npy = {
    .suffix = ".npy", .writable = true, .max_ndim = DN_MAX_NDIM, .empty = true, .head = write_npy
};
