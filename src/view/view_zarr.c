// SPDX-License-Identifier: Apache-2.0
#include "zarr.h"
#include "formats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct view_format view_zarr = {
    .suffix = ".zarr", .directory = true, .min_ndim = 1, .max_ndim = DN_MAX_NDIM
};

int zarr_init(struct zarr *zarr, const struct dn_desc *desc, const struct dn_slice *slice)
{
    struct dn_slice all;

    memset(zarr, 0, sizeof *zarr);
    zarr->slice = *slice;
    view_array_of(desc, slice, &zarr->array);
    if (!view_applies(&view_zarr, &zarr->array))
        return dn_fail(-ENOENT, "Zarr cannot show such an array");
    dn_slice_whole(desc->ndim, desc->shape, &all);
    zarr->whole = memcmp(&all, slice, sizeof all) == 0;
    zarr->nbytes = desc->dtype.itemsize;
    for (int k = 0; k < slice->out_ndim; k++) {
        zarr->chunk[k] = desc->chunk_size[slice->axis[k]];
        zarr->grid[k] = (zarr->array.shape[k] - 1) / zarr->chunk[k] + 1;
        zarr->nbytes *= zarr->chunk[k];
    }
    return 0;
}

/* ---- .zarray ---------------------------------------------------------------------------------- */

static void write_vector(FILE *out, const char *key, const uint64_t *values, int count)
{
    char text[DN_VECTOR_TEXT];

    dn_vector_format(values, count, ", ", text, sizeof text);
    fprintf(out, "    \"%s\": [%s],\n", key, text);
}

static void write_base64(FILE *out, const unsigned char *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    putc('"', out);
    for (size_t i = 0; i < length; i += 3) {
        size_t n = length - i < 3 ? length - i : 3;
        uint32_t bits = (uint32_t)bytes[i] << 16;

        bits |= n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        bits |= n > 2 ? bytes[i + 2] : 0;
        for (size_t d = 0; d < 4; d++)
            putc(d <= n ? digits[bits >> (18 - 6 * d) & 63] : '=', out);
    }
    putc('"', out);
}

/* UTF-32 as a JSON string of escapes; NULs at the end do not count. */
static void write_characters(FILE *out, bool big, const unsigned char *bytes, size_t length)
{
    while (length >= 4 && memcmp(bytes + length - 4, "\0\0\0", 4) == 0)
        length -= 4;
    putc('"', out);
    for (size_t i = 0; i + 4 <= length; i += 4) {
        uint32_t c = 0;

        for (size_t b = 0; b < 4; b++)
            c = c << 8 | bytes[i + (big ? b : 3 - b)];
        if (c > 0xffff)
            fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10 & 0x3ff), 0xdc00 + (c & 0x3ff));
        else
            fprintf(out, "\\u%04x", c);
    }
    putc('"', out);
}

/* A number as Python writes it, in JSON's words. */
static int write_scalar(FILE *out, const struct dn_dtype *dtype, const unsigned char *bytes)
{
    static const char *const words[][2] = {{"nan", "\"NaN\""},        {"inf", "\"Infinity\""},
                                           {"-inf", "\"-Infinity\""}, {"True", "true"},
                                           {"False", "false"}};
    char text[128];
    int error = dn_fill_format(dtype, bytes, false, text, sizeof text);

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!error && strcmp(text, words[i][0]) == 0)
            return fputs(words[i][1], out) < 0 ? -ENOMEM : 0;
    return error ? error : fputs(text, out) < 0 ? -ENOMEM : 0;
}

/* What Zarr's specification and its Python library write for each kind. */
static int write_fill(FILE *out, const struct dn_dtype *dtype, const unsigned char *bytes)
{
    struct dn_dtype part = *dtype;
    int error;

    switch (dtype->kind) {
    case 'S':
    case 'V':
        write_base64(out, bytes, dtype->itemsize);
        return 0;
    case 'U':
        write_characters(out, dtype->order == '>', bytes, dtype->itemsize);
        return 0;
    case 'c':
        part.kind = 'f';
        part.itemsize /= 2;
        putc('[', out);
        error = write_scalar(out, &part, bytes);
        fputs(", ", out);
        if (!error)
            error = write_scalar(out, &part, bytes + part.itemsize);
        putc(']', out);
        return error;
    case 'M':
    case 'm':
        part.kind = 'i';
        part.unit[0] = '\0';
    }
    return write_scalar(out, &part, bytes);
}

static int write_array(const struct zarr *zarr, const struct dn_desc *desc, const unsigned char *fill, FILE *out)
{
    const struct view_array *array = &zarr->array;
    char dtype[DN_DTYPE_TEXT];
    int error;

    dn_dtype_format(&array->dtype, dtype);
    fputs("{\n    \"zarr_format\": 2,\n", out);
    write_vector(out, "shape", array->shape, array->ndim);
    write_vector(out, "chunks", zarr->chunk, array->ndim);
    fprintf(out, "    \"dtype\": \"%s\",\n    \"fill_value\": ", dtype);
    error = write_fill(out, &desc->dtype, fill);
    fputs(",\n    \"order\": \"C\",\n    \"compressor\": null,\n    \"filters\": null,\n"
          "    \"dimension_separator\": \".\"\n}\n", out);
    return error;
}

char *zarr_array_text(const struct zarr *zarr, const struct dn_desc *desc)
{
    unsigned char *zeros = calloc(1, desc->dtype.itemsize);
    char *text = NULL;
    size_t length;
    FILE *out = zeros ? open_memstream(&text, &length) : NULL;
    int error = out ? write_array(zarr, desc, desc->fill ? desc->fill : zeros, out) : -ENOMEM;

    if (out && fclose(out) != 0)
        error = -ENOMEM;
    free(zeros);
    if (error) {
        free(text);
        text = NULL;
    }
    return text;
}

/* ---- chunks ----------------------------------------------------------------------------------- */

uint64_t zarr_chunks(const struct zarr *zarr)
{
    uint64_t count = 1;

    for (int k = 0; k < zarr->array.ndim; k++)
        count *= zarr->grid[k];
    return count;
}

uint64_t zarr_chunk_number(const struct zarr *zarr, const uint64_t *index)
{
    uint64_t number = 0;

    for (int k = 0; k < zarr->array.ndim; k++)
        number = number * zarr->grid[k] + index[k];
    return number;
}

void zarr_chunk_index(const struct zarr *zarr, uint64_t number, uint64_t *index)
{
    for (int k = zarr->array.ndim - 1; k >= 0; k--) {
        index[k] = number % zarr->grid[k];
        number /= zarr->grid[k];
    }
}

void zarr_name(const struct zarr *zarr, const uint64_t *index, char *name)
{
    dn_vector_format(index, zarr->array.ndim, ".", name, ZARR_NAME_TEXT);
}

bool zarr_index(const struct zarr *zarr, const char *name, uint64_t *index)
{
    char again[ZARR_NAME_TEXT];

    if (dn_vector_parse(name, ".", index, zarr->array.ndim) != zarr->array.ndim)
        return false;
    for (int k = 0; k < zarr->array.ndim; k++)
        if (index[k] >= zarr->grid[k])
            return false;
    zarr_name(zarr, index, again);
    return strcmp(name, again) == 0;
}

int zarr_has(const struct zarr *zarr, dn_dataset *dataset, const uint64_t *index)
{
    return zarr->whole ? dn_chunk_has(dataset, index) : 1;
}

/* The part of a slice's chunk that lies inside the slice. */
static void cut_chunk(const struct zarr *zarr, const uint64_t *index, struct dn_slice *out)
{
    *out = zarr->slice;
    for (int k = 0; k < zarr->array.ndim; k++) {
        uint64_t first = index[k] * zarr->chunk[k], left = zarr->array.shape[k] - first;

        dn_slice_narrow(out, k, first, left < zarr->chunk[k] ? left : zarr->chunk[k]);
    }
}

/* Bytes of a row of the chunk, from `at` in it. What lies outside the slice is zero. */
static int64_t read_row(const struct zarr *zarr, dn_dataset *dataset, const struct dn_slice *inside, uint64_t row,
                        uint64_t at, unsigned char *out, uint64_t length)
{
    int last = zarr->array.ndim - 1;
    uint64_t width = dn_slice_extent(inside, last) * zarr->array.dtype.itemsize, flat = 0, scale = 1, n = 0;
    bool within = at < width;

    for (int k = last - 1; k >= 0; k--) {
        within = within && row % zarr->chunk[k] < dn_slice_extent(inside, k);
        flat += row % zarr->chunk[k] * scale;
        row /= zarr->chunk[k];
        scale *= dn_slice_extent(inside, k);
    }
    if (within) {
        n = length < width - at ? length : width - at;
        int64_t got = dn_read_slice(dataset, inside, out, n, flat * width + at);

        if (got < 0)
            return got;
    }
    memset(out + n, 0, length - n);
    return (int64_t)length;
}

static int read_slice(const struct zarr *zarr, dn_dataset *dataset, const uint64_t *index, uint64_t offset,
                      unsigned char *out, uint64_t length)
{
    uint64_t width = zarr->chunk[zarr->array.ndim - 1] * zarr->array.dtype.itemsize;
    struct dn_slice inside;

    cut_chunk(zarr, index, &inside);
    if (dn_slice_elements(&inside) * zarr->array.dtype.itemsize == zarr->nbytes) {
        int64_t n = dn_read_slice(dataset, &inside, out, length, offset);

        return n < 0 ? (int)n : 0;
    }
    while (length) {
        uint64_t at = offset % width, n = length < width - at ? length : width - at;
        int64_t got = read_row(zarr, dataset, &inside, offset / width, at, out, n);

        if (got < 0)
            return (int)got;
        out += n;
        offset += n;
        length -= n;
    }
    return 0;
}

int zarr_read(const struct zarr *zarr, dn_dataset *dataset, const uint64_t *index, uint64_t offset, void *buffer,
              size_t length)
{
    if (zarr->whole)
        return dn_chunk_stored(dataset, index, offset, buffer, length);
    return read_slice(zarr, dataset, index, offset, buffer, length);
}
