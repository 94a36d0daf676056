// SPDX-License-Identifier: Apache-2.0
/* Arithmetic that says when it overflows, and the small helpers that everybody needs. */
#ifndef DOSNA_CHECKED_H
#define DOSNA_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** *out = a · b. False when the product is beyond INT64_MAX. */
static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out) && *out <= INT64_MAX;
}

/** *out = a + b. False when the sum is beyond INT64_MAX. */
static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out) && *out <= INT64_MAX;
}

/** ceil(a / b), b > 0, without overflow. */
static inline uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
