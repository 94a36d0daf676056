// SPDX-License-Identifier: Apache-2.0
#include "bits.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

void bits_put(unsigned char *bytes, uint64_t value, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        bytes[i] = i < 8 ? (unsigned char)(value >> (8 * i)) : 0;
}

uint64_t bits_get(const unsigned char *bytes, uint32_t count)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < count; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

void bits_reorder(const struct dn_dtype *dtype, unsigned char *bytes)
{
    uint32_t unit = dtype->kind == 'U'   ? 4
                    : dtype->kind == 'c' ? dtype->itemsize / 2
                                         : dtype->itemsize;

    if (dtype->order != '>')
        return;
    for (uint32_t at = 0; at < dtype->itemsize; at += unit) {
        for (uint32_t i = 0; i < unit / 2; i++) {
            unsigned char byte = bytes[at + i];
            bytes[at + i] = bytes[at + unit - 1 - i];
            bytes[at + unit - 1 - i] = byte;
        }
    }
}

/** Round to 16 bits, to even. */
static uint64_t half_bits(double value)
{
    uint64_t sign = signbit(value) ? 0x8000 : 0;
    double size = fabs(value);
    int exponent;

    if (isnan(value))
        return 0x7e00;
    if (size >= 65520)
        return sign | 0x7c00;
    if (size < 0x1p-14)
        return sign | (uint64_t)nearbyint(size * 0x1p24);
    frexp(size, &exponent);
    /* The leading bit of the 11 adds one to the exponent, as does rounding up to the next power. */
    return sign | (((uint64_t)(exponent + 13) << 10) + (uint64_t)nearbyint(ldexp(size, 11 - exponent)));
}

static double half_value(uint64_t bits)
{
    int exponent = bits >> 10 & 31;
    double mantissa = (double)(bits & 1023);
    double value = exponent == 31  ? (mantissa != 0 ? NAN : INFINITY)
                   : exponent == 0 ? ldexp(mantissa, -24)
                                   : ldexp(mantissa + 1024, exponent - 25);

    return bits & 0x8000 ? -value : value;
}

/* The 80-bit float of x86 is built by hand: the host's long double may be another. */
static void put_extended(unsigned char *bytes, long double value)
{
    uint64_t sign = signbit(value) ? 0x8000 : 0, mantissa = 0;
    int exponent = 0;

    if (isnan(value)) {
        exponent = 0x7fff;
        mantissa = UINT64_C(3) << 62;
    } else if (isinf(value)) {
        exponent = 0x7fff;
        mantissa = UINT64_C(1) << 63;
    } else if (value != 0) {
        long double part = frexpl(fabsl(value), &exponent);
        exponent += 16382;
        if (exponent < 1) {
            part = ldexpl(part, exponent - 1);
            exponent = 0;
        }
        mantissa = (uint64_t)ldexpl(part, 64);
    }
    bits_put(bytes, mantissa, 8);
    bits_put(bytes + 8, sign | (uint64_t)exponent, 8);
}

static long double get_extended(const unsigned char *bytes)
{
    uint64_t mantissa = bits_get(bytes, 8), top = bits_get(bytes + 8, 2);
    int exponent = top & 0x7fff;
    long double value = exponent == 0x7fff ? (mantissa << 1 ? (long double)NAN : (long double)INFINITY)
                                           : ldexpl((long double)mantissa, (exponent ? exponent : 1) - 16446);

    return top & 0x8000 ? -value : value;
}

void bits_put_float(unsigned char *bytes, uint32_t size, double value, long double exact)
{
    float single = (float)value;
    uint32_t single_bits;
    uint64_t double_bits;

    switch (size) {
    case 2:
        bits_put(bytes, half_bits(value), 2);
        return;
    case 4:
        memcpy(&single_bits, &single, 4);
        bits_put(bytes, isnan(value) ? 0x7fc00000 : single_bits, 4);
        return;
    case 8:
        memcpy(&double_bits, &value, 8);
        bits_put(bytes, isnan(value) ? UINT64_C(0x7ff8) << 48 : double_bits, 8);
        return;
    default:
        put_extended(bytes, exact);
    }
}

long double bits_get_float(const unsigned char *bytes, uint32_t size)
{
    uint64_t bits = bits_get(bytes, size < 8 ? size : 8);
    uint32_t single_bits = (uint32_t)bits;
    float single;
    double value;

    switch (size) {
    case 2:
        return half_value(bits);
    case 4:
        memcpy(&single, &single_bits, 4);
        return single;
    case 8:
        memcpy(&value, &bits, 8);
        return value;
    default:
        return get_extended(bytes);
    }
}
