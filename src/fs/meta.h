// SPDX-License-Identifier: Apache-2.0
/*
 * The text of `.meta`: seven lines of `key = value` that say what a dataset is. The first four describe
 * it, the others follow from them. Pure functions: no I/O, no locks.
 */
#ifndef DOSNAFS_META_H
#define DOSNAFS_META_H

#include <dosna/dtype.h>
#include <stdbool.h>
#include <stddef.h>

/** A longer text is refused (-EFBIG). */
#define META_TEXT_MAX (1u << 16)

enum meta_key {
    META_SHAPE,
    META_DTYPE,
    META_FILLVALUE,
    META_CHUNK_SIZE,
    META_CHUNK_GRID, /* this one and the rest are derived */
    META_ITEMSIZE,
    META_NBYTES,
    META_KEYS
};

/** "shape", "dtype", … in the order of the file. */
extern const char *const meta_key_names[META_KEYS];

/** One value as text, for the caller to free(). NULL: no memory. */
char *meta_value(const struct dn_desc *desc, enum meta_key key);

/** The whole file, for the caller to free(). NULL: no memory. */
char *meta_text(const struct dn_desc *desc);

/**
 * Read what a user wrote. Complete lines must be right, alone and together. The last line, when it
 * lacks its newline, counts only if `last`; before that it must be what a right line may start with.
 *
 * @param desc  filled when the text is complete; the caller clears it. May be NULL.
 * @return 1 complete; 0 shape or dtype is missing so far; -EINVAL with the line and the reason
 */
int meta_parse(const char *text, size_t length, bool last, struct dn_desc *desc);

/**
 * Check what a user writes to a dataset that exists: any of its own values, written in any way.
 * @return 0; -EPERM with the key that differs; -EINVAL
 */
int meta_same(const char *text, size_t length, bool last, const struct dn_desc *desc);

#endif
