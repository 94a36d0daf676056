// SPDX-License-Identifier: Apache-2.0
#include "meta.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const meta_key_names[META_KEYS] = {
    [META_SHAPE] = "shape",
    [META_DTYPE] = "dtype",
    [META_FILLVALUE] = "fillvalue",
    [META_CHUNK_SIZE] = "chunk_size",
    [META_CHUNK_GRID] = "chunk_grid",
    [META_ITEMSIZE] = "itemsize",
    [META_NBYTES] = "nbytes",
};

#define SEPARATOR ", "

/* ---- writing -------------------------------------------------------------------------------- */

static char *vector_text(const uint64_t *values, int count)
{
    char text[DN_VECTOR_TEXT];

    return dn_vector_format(values, count, SEPARATOR, text, sizeof text) == 0 ? strdup(text) : NULL;
}

static char *number_text(uint64_t value)
{
    return vector_text(&value, 1);
}

static char *fill_text(const struct dn_desc *desc)
{
    size_t size = 4 * (size_t)desc->dtype.itemsize + 64;
    char *text = malloc(size);

    if (text && dn_fill_format(&desc->dtype, desc->fill, true, text, size) == 0)
        return text;
    free(text);
    return NULL;
}

static char *grid_text(const struct dn_desc *desc)
{
    uint64_t grid[DN_MAX_NDIM];

    for (int axis = 0; axis < desc->ndim; axis++)
        grid[axis] = dn_desc_grid(desc, axis);
    return vector_text(grid, desc->ndim);
}

static char *dtype_text(const struct dn_desc *desc)
{
    char text[DN_DTYPE_TEXT];

    dn_dtype_format(&desc->dtype, text);
    return strdup(text);
}

char *meta_value(const struct dn_desc *desc, enum meta_key key)
{
    switch (key) {
    case META_SHAPE:
        return vector_text(desc->shape, desc->ndim);
    case META_DTYPE:
        return dtype_text(desc);
    case META_FILLVALUE:
        return fill_text(desc);
    case META_CHUNK_SIZE:
        return vector_text(desc->chunk_size, desc->ndim);
    case META_CHUNK_GRID:
        return grid_text(desc);
    case META_ITEMSIZE:
        return number_text(desc->dtype.itemsize);
    case META_NBYTES:
        return number_text(dn_desc_nbytes(desc));
    case META_KEYS:
        break;
    }
    return NULL;
}

char *meta_text(const struct dn_desc *desc)
{
    char *text = NULL;
    size_t size;
    bool whole = true;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    for (int key = 0; key < META_KEYS && whole; key++) {
        char *value = meta_value(desc, (enum meta_key)key);

        whole = value && fprintf(out, "%s = %s\n", meta_key_names[key], value) > 0;
        free(value);
    }
    if (fclose(out) != 0 || !whole) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- reading: lines ------------------------------------------------------------------------- */

/** The values that a text gives, cut out of a copy of it. NULL: not given. */
struct lines {
    char *copy;
    char *value[META_KEYS];
    int number[META_KEYS]; /* of the line, from 1 */
};

/** Cut a comment off: '#' outside quotes. */
static void cut_comment(char *line)
{
    char quote = 0;

    for (; *line; line++) {
        if (quote && *line == '\\' && line[1])
            line++;
        else if (quote)
            quote = *line == quote ? 0 : quote;
        else if (*line == '\'' || *line == '"')
            quote = *line;
        else if (*line == '#')
            *line = '\0';
        if (!*line)
            return;
    }
}

static char *trim(char *text)
{
    char *end;

    while (isspace((unsigned char)*text))
        text++;
    end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return text;
}

static int find_key(const char *name)
{
    for (int key = 0; key < META_KEYS; key++) {
        if (strcmp(name, meta_key_names[key]) == 0)
            return key;
    }
    return -1;
}

static int take_line(struct lines *lines, char *line, int number)
{
    char *equals, *value;
    int key;

    cut_comment(line);
    line = trim(line);
    if (!*line)
        return 0;
    equals = strchr(line, '=');
    if (!equals)
        return dn_fail(-EINVAL, "line %d: '%s' is no 'key = value'", number, line);
    *equals = '\0';
    value = trim(equals + 1);
    key = find_key(trim(line));
    if (key < 0)
        return dn_fail(-EINVAL, "line %d: unknown key '%s'", number, trim(line));
    if (!*value)
        return dn_fail(-EINVAL, "line %d: %s has no value", number, meta_key_names[key]);
    if (lines->value[key])
        return dn_fail(-EINVAL, "line %d: %s was given before", number, meta_key_names[key]);
    lines->value[key] = value;
    lines->number[key] = number;
    return 0;
}

/** Could more bytes make a right line of this one? Judges what no continuation can mend. */
static int check_start(char *line, int number)
{
    char *equals;
    int key;

    cut_comment(line);
    while (isspace((unsigned char)*line))
        line++;
    equals = strchr(line, '=');
    if (!equals) {
        size_t length = strlen(trim(line));

        for (key = 0; key < META_KEYS; key++) {
            if (strncmp(line, meta_key_names[key], length) == 0)
                return 0;
        }
        return dn_fail(-EINVAL, "line %d: unknown key '%s'", number, line);
    }
    *equals = '\0';
    key = find_key(trim(line));
    if (key < 0)
        return dn_fail(-EINVAL, "line %d: unknown key '%s'", number, trim(line));
    if (key != META_DTYPE && key != META_FILLVALUE &&
        equals[1 + strspn(equals + 1, "+0123456789, \t\r")] != '\0')
        return dn_fail(-EINVAL, "line %d: %s: '%s' is no list of numbers", number, meta_key_names[key],
                       trim(equals + 1));
    return 0;
}

static int split(struct lines *lines, const char *text, size_t length, bool last)
{
    int number = 1;
    int err = 0;
    char *line, *end;

    if (memchr(text, '\0', length))
        return dn_fail(-EINVAL, "a zero byte is no text");
    lines->copy = strndup(text, length);
    if (!lines->copy)
        return dn_fail(-ENOMEM, "no memory");
    for (line = lines->copy; err == 0 && (end = strchr(line, '\n')); line = end + 1, number++) {
        *end = '\0';
        err = take_line(lines, line, number);
    }
    if (err == 0 && *line)
        err = last ? take_line(lines, line, number) : check_start(line, number);
    return err;
}

/* ---- reading: values ------------------------------------------------------------------------ */

/** The vector of `key`; the count, 0 when not given, or -EINVAL. */
static int vector(const struct lines *lines, enum meta_key key, uint64_t *out)
{
    int count;

    if (!lines->value[key])
        return 0;
    count = dn_vector_parse(lines->value[key], ",", out, DN_MAX_NDIM);
    if (count <= 0)
        return dn_fail(-EINVAL, "line %d: %s: '%s' is no list of up to %d numbers", lines->number[key],
                       meta_key_names[key], lines->value[key], DN_MAX_NDIM);
    return count;
}

/** Each value by itself, for a text that is not complete yet. */
static int check_alone(const struct lines *lines)
{
    static const enum meta_key vectors[] = { META_SHAPE, META_CHUNK_SIZE, META_CHUNK_GRID, META_ITEMSIZE,
                                             META_NBYTES };
    uint64_t values[DN_MAX_NDIM];
    struct dn_dtype dtype;
    unsigned char *fill;
    int err = 0;

    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        int count = vector(lines, vectors[i], values);

        if (count < 0)
            return count;
        for (int axis = 0; vectors[i] <= META_CHUNK_SIZE && axis < count; axis++) {
            if (values[axis] == 0)
                return dn_fail(-EINVAL, "line %d: %s: an axis is 0", lines->number[vectors[i]],
                               meta_key_names[vectors[i]]);
        }
    }
    if (!lines->value[META_DTYPE])
        return 0;
    err = dn_dtype_parse(lines->value[META_DTYPE], &dtype);
    if (err || !lines->value[META_FILLVALUE])
        return err;
    fill = malloc(dtype.itemsize);
    if (!fill)
        return dn_fail(-ENOMEM, "no memory");
    err = dn_fill_parse(&dtype, lines->value[META_FILLVALUE], fill);
    free(fill);
    return err;
}

/** A description from what is given, and from `base` where something is not. */
static int describe(const struct lines *lines, const struct dn_desc *base, struct dn_desc *desc)
{
    uint64_t shape[DN_MAX_NDIM], chunk[DN_MAX_NDIM];
    int ndim = vector(lines, META_SHAPE, shape);
    int chunk_ndim = vector(lines, META_CHUNK_SIZE, chunk);
    char *dtype = lines->value[META_DTYPE] ? strdup(lines->value[META_DTYPE]) : dtype_text(base);
    char *fill = NULL;
    int err;

    if (lines->value[META_FILLVALUE])
        fill = strdup(lines->value[META_FILLVALUE]);
    else if (base)
        fill = fill_text(base);
    if (ndim < 0 || chunk_ndim < 0) {
        err = -EINVAL;
        goto out;
    }
    if (!dtype || (!fill && (base || lines->value[META_FILLVALUE]))) {
        err = dn_fail(-ENOMEM, "no memory");
        goto out;
    }
    if (base && !ndim) {
        ndim = base->ndim;
        memcpy(shape, base->shape, sizeof shape);
    }
    if (base && !chunk_ndim) {
        chunk_ndim = base->ndim;
        memcpy(chunk, base->chunk_size, sizeof chunk);
    }
    if (chunk_ndim && chunk_ndim != ndim)
        err = dn_fail(-EINVAL, "chunk_size has %d axes and shape %d", chunk_ndim, ndim);
    else
        err = dn_desc_init(desc, ndim, shape, dtype, chunk_ndim ? chunk : NULL, fill);
    if (err == 0) {
        err = dn_desc_check(desc);
        if (err)
            dn_desc_clear(desc);
    }
out:
    free(dtype);
    free(fill);
    return err == -EOVERFLOW ? -EINVAL : err;
}

/** Derived values that are given are what follows from `desc`, or `code`. */
static int check_derived(const struct lines *lines, const struct dn_desc *desc, int code)
{
    for (int key = META_CHUNK_GRID; key < META_KEYS; key++) {
        uint64_t given[DN_MAX_NDIM], right[DN_MAX_NDIM] = { 0 };
        int ndim = key == META_CHUNK_GRID ? desc->ndim : 1;
        int count = vector(lines, (enum meta_key)key, given);

        if (count < 0)
            return count;
        if (count == 0)
            continue;
        for (int axis = 0; axis < ndim; axis++) {
            right[axis] = key == META_CHUNK_GRID ? dn_desc_grid(desc, axis)
                          : key == META_ITEMSIZE ? desc->dtype.itemsize
                                                 : dn_desc_nbytes(desc);
        }
        if (count != ndim || memcmp(given, right, (size_t)ndim * sizeof *right) != 0)
            return dn_fail(code, "line %d: %s = %s does not follow from shape, dtype and chunk_size",
                           lines->number[key], meta_key_names[key], lines->value[key]);
    }
    return 0;
}

int meta_parse(const char *text, size_t length, bool last, struct dn_desc *desc)
{
    struct lines lines = { 0 };
    struct dn_desc made = { 0 };
    int err = split(&lines, text, length, last);

    if (err == 0)
        err = check_alone(&lines);
    if (err == 0 && lines.value[META_SHAPE] && lines.value[META_DTYPE]) {
        err = describe(&lines, NULL, &made);
        if (err == 0)
            err = check_derived(&lines, &made, -EINVAL);
        if (err == 0)
            err = 1;
    }
    if (err == 1 && desc)
        *desc = made;
    else
        dn_desc_clear(&made);
    free(lines.copy);
    return err;
}

int meta_same(const char *text, size_t length, bool last, const struct dn_desc *desc)
{
    struct lines lines = { 0 };
    struct dn_desc made = { 0 };
    int err = split(&lines, text, length, last);

    if (err == 0)
        err = check_alone(&lines);
    if (err == 0)
        err = describe(&lines, desc, &made);
    if (err == 0 && !dn_desc_equal(&made, desc))
        err = dn_fail(-EPERM, "the dataset exists, and its shape, dtype, fillvalue and chunk_size "
                              "cannot be changed");
    if (err == 0)
        err = check_derived(&lines, desc, -EPERM);
    dn_desc_clear(&made);
    free(lines.copy);
    return err;
}
