// SPDX-License-Identifier: Apache-2.0
/*
 * Element types and dataset descriptions: what a dataset is, as DosNa and numpy write it.
 *
 * Element types are numpy's `dtype.str`: a byte order (< > |), a kind (b i u f c S U V M m) and a size,
 * for example <f4, |u1, >i8, <U5, <M8[ns]. dosnafs moves bytes and never converts an element: the type
 * matters to descriptions, fill values and the views alone.
 *
 * Nothing here does I/O or takes a lock.
 */
#ifndef DOSNA_DTYPE_H
#define DOSNA_DTYPE_H

#include <dosna/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The most axes a dataset can have: numpy's limit. */
#define DN_MAX_NDIM 32
/** Room for any dtype text, with its NUL. */
#define DN_DTYPE_TEXT 48
/** Room for a vector of DN_MAX_NDIM numbers as text, with its NUL. */
#define DN_VECTOR_TEXT (DN_MAX_NDIM * 22)
/** The largest itemsize accepted (an |S or |V of this many bytes). */
#define DN_ITEMSIZE_MAX (1u << 20)

struct dn_dtype {
    char order;        /* '<' little, '>' big, '|' does not apply (one byte, S, V) */
    char kind;         /* b i u f c S U V M m */
    uint32_t itemsize; /* bytes per element; for U four per character. 1 or more */
    char unit[24];     /* M and m: "[ns]", "[25s]", … or "" */
};

/**
 * Read a type as numpy would: its typestr, with '=' and no order mark as little-endian, and the
 * common names (float32, int64, bool, uint8, complex64, …).
 *
 * @return 0; -EINVAL for what numpy would refuse or a size beyond DN_ITEMSIZE_MAX
 */
DN_API int dn_dtype_parse(const char *text, struct dn_dtype *out);

/** Write the typestr that numpy's `dtype.str` gives. `text` has DN_DTYPE_TEXT bytes. */
DN_API void dn_dtype_format(const struct dn_dtype *dtype, char *text);

/**
 * Read a fill value into `itemsize` bytes, in the type's own byte order.
 *
 * Accepts every form that DosNa leaves behind: Python's repr of ints (also 5L), floats, nan, inf,
 * True/False, None, complex ((1+2j), 1j), 'bytes' and b'bytes' with escapes, numpy 2's
 * np.float32(1.5), np.True_, np.complex64(1+2j). The conversion is numpy's cast: 300 into |u1 is 44,
 * -1 into <u2 is 65535, 1.7 into <i4 is 1, None into a float is nan. M and m take an int or NaT; V
 * takes bytes or an int 0.
 *
 * @param bytes  room for dtype->itemsize bytes
 * @return 0; -EINVAL when the text is none of these or the type cannot hold it (None in an integer)
 */
DN_API int dn_fill_parse(const struct dn_dtype *dtype, const char *text, void *bytes);

/**
 * Write a fill value as Python's repr of it would be, shortest form that reads back to the same
 * bytes: ints plain (so that DosNa can open the dataset), floats "0.0", "nan", "inf", bools
 * True/False, complex "(1+2j)", bytes b'ab', NaT. Every NaN is "nan". With `plain_ints`, a value that
 * an integer reads back to is written as one (0 for 0.0, False, b'0' or an all-zero V): DosNa reopens
 * no other form.
 *
 * @param bytes  dtype->itemsize bytes in the type's byte order, or NULL for all zero
 * @return 0; -ENOSPC when `size` is too small (4 · itemsize + 64 always suffices)
 */
DN_API int dn_fill_format(const struct dn_dtype *dtype, const void *bytes, bool plain_ints, char *text,
                          size_t size);

/**
 * What a dataset is. The four values that a user gives; the rest follows from them.
 *
 * A description owns `fill`. Make one with dn_desc_init() or by dn_desc_copy(), free it with
 * dn_desc_clear(). A zeroed struct is a valid empty description.
 */
struct dn_desc {
    int ndim;                       /* 1 to DN_MAX_NDIM */
    uint64_t shape[DN_MAX_NDIM];    /* elements, each 1 or more */
    uint64_t chunk_size[DN_MAX_NDIM]; /* elements, each 1 or more; may exceed the shape */
    struct dn_dtype dtype;
    unsigned char *fill;            /* itemsize bytes in the dtype's byte order; NULL: all zero */
};

/**
 * Make a description of these values, which are checked as by dn_desc_check(). What `desc` held is overwritten, not
 * freed, here and in dn_desc_copy().
 *
 * @param shape  ndim extents, as `chunk_size`
 * @return 0; -EINVAL, -EOVERFLOW or -ENOMEM, with `desc` empty
 */
DN_API int dn_desc_init(struct dn_desc *desc, int ndim, const uint64_t *shape, const char *dtype,
                        const uint64_t *chunk_size /* NULL: the shape */,
                        const char *fillvalue /* NULL: 0 */);
/** 0; or -ENOMEM, with `to` empty. */
DN_API int dn_desc_copy(struct dn_desc *to, const struct dn_desc *from);
/** Free what it owns; it is empty afterwards. */
DN_API void dn_desc_clear(struct dn_desc *desc);
/** Do they describe the same: extents, type, and the bytes of the fill value? */
DN_API bool dn_desc_equal(const struct dn_desc *a, const struct dn_desc *b);

/**
 * Check what dosnafs relies on: ndim and every extent in range, and no product of extents and
 * itemsize (the dataset's bytes, a chunk's bytes, the padded grid's bytes) beyond 2^63 − 1.
 * Every description that came from outside passes here before anything computes with it.
 *
 * @return 0; -EINVAL (zero axis, bad ndim) or -EOVERFLOW, with a text that names the value
 */
DN_API int dn_desc_check(const struct dn_desc *desc);

/** Chunks along `axis`: ceil(shape / chunk_size). The description has passed dn_desc_check(). */
DN_API uint64_t dn_desc_grid(const struct dn_desc *desc, int axis);
/** The array's bytes; a full chunk's bytes; chunks in the whole grid. Of a checked description, too. */
DN_API uint64_t dn_desc_nbytes(const struct dn_desc *desc);
DN_API uint64_t dn_desc_chunk_nbytes(const struct dn_desc *desc);
DN_API uint64_t dn_desc_chunks(const struct dn_desc *desc);

/**
 * A vector of extents as text and back. `sep` is what stands between the numbers: ", " in .meta, "::" in
 * Ceph and S3. The reader takes one to `max` numbers up to 2^63 − 1 and nothing else but blanks around
 * them and a leading '+'.
 *
 * @return dn_vector_parse(): the count, or -EINVAL; dn_vector_format(): 0 or, with the text cut, -ENOSPC
 */
DN_API int dn_vector_parse(const char *text, const char *sep, uint64_t *out, int max);
DN_API int dn_vector_format(const uint64_t *values, int count, const char *sep, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
