// SPDX-License-Identifier: Apache-2.0
/* The bytes of an element: numbers into little-endian bytes and back, whatever the host's own order and floats are. */
#ifndef DOSNA_BITS_H
#define DOSNA_BITS_H

#include <dosna/dtype.h>
#include <stdint.h>

/** The low `count` bytes of `value`; those beyond 8 are zero. */
void bits_put(unsigned char *bytes, uint64_t value, uint32_t count);
/** `count` bytes, at most 8, as a number without sign. */
uint64_t bits_get(const unsigned char *bytes, uint32_t count);

/** A float of 2, 4, 8 or 16 bytes (x86's 80 bits), rounded to even. The last is made of `exact`, the others of
 *  `value`. Every NaN becomes the one that numpy makes. */
void bits_put_float(unsigned char *bytes, uint32_t size, double value, long double exact);
/** A float of these sizes. */
long double bits_get_float(const unsigned char *bytes, uint32_t size);

/** Turn the bytes of each unit of an element round, between little-endian and the type's order. */
void bits_reorder(const struct dn_dtype *dtype, unsigned char *bytes);

#endif
