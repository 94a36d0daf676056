// SPDX-License-Identifier: Apache-2.0
#include <dosna/dtype.h>

#include "checked.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int dn_desc_init(struct dn_desc *desc, int ndim, const uint64_t *shape, const char *dtype,
                 const uint64_t *chunk_size, const char *fillvalue)
{
    int code;

    *desc = (struct dn_desc){ .ndim = ndim };
    if (ndim < 1 || ndim > DN_MAX_NDIM) {
        code = dn_desc_check(desc);
        goto out;
    }
    memcpy(desc->shape, shape, (size_t)ndim * sizeof *shape);
    memcpy(desc->chunk_size, chunk_size ? chunk_size : shape, (size_t)ndim * sizeof *shape);
    code = dn_dtype_parse(dtype, &desc->dtype);
    if (code == 0)
        code = dn_desc_check(desc);
    if (code != 0)
        goto out;
    desc->fill = malloc(desc->dtype.itemsize);
    code = desc->fill ? dn_fill_parse(&desc->dtype, fillvalue ? fillvalue : "0", desc->fill)
                      : dn_fail(-ENOMEM, "no memory for a dataset's description");
out:
    if (code != 0)
        dn_desc_clear(desc);
    return code;
}

int dn_desc_copy(struct dn_desc *to, const struct dn_desc *from)
{
    *to = *from;
    if (!from->fill)
        return 0;
    to->fill = malloc(from->dtype.itemsize);
    if (!to->fill) {
        dn_desc_clear(to);
        return dn_fail(-ENOMEM, "no memory for a dataset's description");
    }
    memcpy(to->fill, from->fill, from->dtype.itemsize);
    return 0;
}

void dn_desc_clear(struct dn_desc *desc)
{
    free(desc->fill);
    *desc = (struct dn_desc){ 0 };
}

static unsigned char fill_byte(const struct dn_desc *desc, uint32_t i)
{
    return desc->fill ? desc->fill[i] : 0;
}

bool dn_desc_equal(const struct dn_desc *a, const struct dn_desc *b)
{
    char type_a[DN_DTYPE_TEXT], type_b[DN_DTYPE_TEXT];

    dn_dtype_format(&a->dtype, type_a);
    dn_dtype_format(&b->dtype, type_b);
    if (a->ndim != b->ndim || strcmp(type_a, type_b) != 0)
        return false;
    for (int i = 0; i < a->ndim; i++) {
        if (a->shape[i] != b->shape[i] || a->chunk_size[i] != b->chunk_size[i])
            return false;
    }
    for (uint32_t i = 0; i < a->dtype.itemsize; i++) {
        if (fill_byte(a, i) != fill_byte(b, i))
            return false;
    }
    return true;
}

int dn_desc_check(const struct dn_desc *desc)
{
    uint64_t padded = desc->dtype.itemsize;

    if (desc->ndim < 1 || desc->ndim > DN_MAX_NDIM)
        return dn_fail(-EINVAL, "shape: %d axes; 1 to %d are possible", desc->ndim, DN_MAX_NDIM);
    if (padded < 1 || padded > DN_ITEMSIZE_MAX)
        return dn_fail(-EINVAL, "dtype: an item of %" PRIu64 " bytes", padded);
    for (int i = 0; i < desc->ndim; i++) {
        if (desc->shape[i] == 0 || desc->chunk_size[i] == 0)
            return dn_fail(-EINVAL, "%s: axis %d has no extent",
                           desc->shape[i] == 0 ? "shape" : "chunk_size", i);
    }
    /* The padded grid holds the array and a chunk, so its product is the only one to check. */
    for (int i = 0; i < desc->ndim; i++) {
        if (!checked_mul(padded, dn_desc_grid(desc, i), &padded) ||
            !checked_mul(padded, desc->chunk_size[i], &padded))
            return dn_fail(-EOVERFLOW,
                           "more than 2^63 bytes up to axis %d, shape %" PRIu64 ", chunk_size %" PRIu64,
                           i, desc->shape[i], desc->chunk_size[i]);
    }
    return 0;
}

uint64_t dn_desc_grid(const struct dn_desc *desc, int axis)
{
    return ceil_div(desc->shape[axis], desc->chunk_size[axis]);
}

uint64_t dn_desc_nbytes(const struct dn_desc *desc)
{
    uint64_t product = desc->dtype.itemsize;

    for (int i = 0; i < desc->ndim; i++)
        product *= desc->shape[i];
    return product;
}

uint64_t dn_desc_chunk_nbytes(const struct dn_desc *desc)
{
    uint64_t product = desc->dtype.itemsize;

    for (int i = 0; i < desc->ndim; i++)
        product *= desc->chunk_size[i];
    return product;
}

uint64_t dn_desc_chunks(const struct dn_desc *desc)
{
    uint64_t product = 1;

    for (int i = 0; i < desc->ndim; i++)
        product *= dn_desc_grid(desc, i);
    return product;
}

/* ---- vectors as text ------------------------------------------------------------------------ */

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/** One number and the blanks around it. */
static bool parse_extent(const char **text, uint64_t *out)
{
    const char *at = skip_blanks(*text);

    at += *at == '+';
    if (*at < '0' || *at > '9')
        return false;
    for (*out = 0; *at >= '0' && *at <= '9'; at++) {
        if (!checked_mul(*out, 10, out) || !checked_add(*out, (uint64_t)(*at - '0'), out))
            return false;
    }
    *text = skip_blanks(at);
    return true;
}

int dn_vector_parse(const char *text, const char *sep, uint64_t *out, int max)
{
    const char *at = text;
    const char *mark = skip_blanks(sep); /* blanks of the separator are those around a number */
    size_t length = strcspn(mark, " \t");

    for (int count = 0; count < max; at += length) {
        if (!parse_extent(&at, &out[count++]))
            break;
        if (*at == '\0')
            return count;
        if (strncmp(at, mark, length) != 0)
            break;
    }
    return dn_fail(-EINVAL, "'%.200s' is no list of up to %d numbers", text, max);
}

int dn_vector_format(const uint64_t *values, int count, const char *sep, char *text, size_t size)
{
    size_t used = 0;

    if (size > 0)
        *text = '\0';
    for (int i = 0; i < count; i++) {
        int length = snprintf(text + used, size - used, "%s%" PRIu64, i ? sep : "", values[i]);
        used += (size_t)length;
        if (used >= size)
            return dn_fail(-ENOSPC, "no room for a vector of %d numbers", count);
    }
    return 0;
}
