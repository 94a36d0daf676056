// SPDX-License-Identifier: Apache-2.0
/* A chunk's index in the names of files and objects, as DosNa writes it: "0.3.12", "0_3_12". */
#ifndef DOSNA_CHUNK_INDEX_H
#define DOSNA_CHUNK_INDEX_H

#include <dosna/dtype.h>
#include <stdlib.h>
#include <string.h>

/* Reads one position as Python prints it; what follows it, or NULL. */
static inline const char *chunk_position_parse(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-');
    size_t count = strspn(digits, "0123456789");
    bool is_zero = digits[0] == '0';

    if (count == 0 || (is_zero && (count > 1 || *text == '-')))
        return NULL;
    *out = strtoll(text, NULL, 10); /* clamps */
    return digits + count;
}

/**
 * Read as many positions as there are, one for each axis. They are clamped to int64; those of strays may be negative.
 * @return what follows the last one, or NULL where no index stands
 */
static inline const char *chunk_index_parse(const char *text, char separator, int64_t index[DN_MAX_NDIM],
                                            int *ndim)
{
    for (*ndim = 0; *ndim < DN_MAX_NDIM; text++) {
        text = chunk_position_parse(text, &index[(*ndim)++]);
        if (text == NULL || *text != separator)
            return text;
    }
    return NULL;
}

static inline bool chunk_index_is_inside(const struct dn_desc *desc, int ndim, const int64_t *index)
{
    if (ndim != desc->ndim)
        return false;
    for (int i = 0; i < ndim; i++)
        if (index[i] < 0 || (uint64_t)index[i] >= dn_desc_grid(desc, i))
            return false;
    return true;
}

#endif
