// SPDX-License-Identifier: Apache-2.0
/* Fill values: from and to the text that Python's repr gives. */
#include <dosna/dtype.h>

#include "bits.h"
#include "literal.h"
#include "number.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------- */

/** Text into S, U or V: cut at the type's length, the rest zero. */
static bool store_text(const struct dn_dtype *dtype, const struct literal *literal, unsigned char *bytes)
{
    struct span text = literal->text;
    bool wide = dtype->kind == 'U';
    uint32_t unit, step = wide ? 4 : 1;

    for (uint32_t at = 0; text.at < text.end; at += step) {
        if (!literal_unit(&text, wide && !literal->bytes, &unit) || (wide && literal->bytes && unit >= 0x80))
            return false;
        if (at < dtype->itemsize)
            bits_put(bytes + at, unit, step);
    }
    return true;
}

/** A C cast through 64 bits, which cuts off what the type is too small for. */
static bool store_integer(const struct dn_dtype *dtype, const struct real *real, unsigned char *bytes)
{
    uint64_t magnitude = real->magnitude;
    bool minus = real->minus;

    if (!real->whole) {
        if (!(real->value >= -0x1p63 && real->value < 0x1p64))
            return false;
        minus = real->value < 0;
        magnitude = (uint64_t)fabs(real->value);
    }
    if (real->wide || (minus && magnitude > UINT64_C(1) << 63))
        return false;
    bits_put(bytes, minus ? 0 - magnitude : magnitude, dtype->itemsize);
    return true;
}

static bool store_real(const struct real *real, uint32_t size, unsigned char *bytes)
{
    if (real->whole && !isfinite(size == 16 ? real->exact : real->value))
        return false; /* Python: int too large to convert to float */
    bits_put_float(bytes, size, real->value, real->exact);
    return true;
}

static bool store_number(const struct dn_dtype *dtype, const struct literal *literal, unsigned char *bytes)
{
    const struct real *real = &literal->real, *imaginary = &literal->imaginary;
    uint32_t half = dtype->itemsize / 2;
    bool no_imaginary = literal->kind != LITERAL_COMPLEX || imaginary->value == 0;

    switch (dtype->kind) {
    case 'b':
        bytes[0] = real->value != 0 || !no_imaginary;
        return true;
    case 'i':
    case 'u':
        return no_imaginary && store_integer(dtype, real, bytes);
    case 'M':
    case 'm':
        return literal->kind != LITERAL_COMPLEX && real->whole && store_integer(dtype, real, bytes);
    case 'f':
        return no_imaginary && store_real(real, dtype->itemsize, bytes);
    case 'c':
        return store_real(real, half, bytes) && store_real(imaginary, half, bytes + half);
    case 'S':
    case 'U':
        return store_text(dtype, literal, bytes);
    default:
        return literal->kind == LITERAL_NUMBER && real->whole && real->magnitude == 0 && !real->wide;
    }
}

static bool store_none(const struct dn_dtype *dtype, const struct literal *literal, unsigned char *bytes)
{
    uint32_t half = dtype->itemsize / 2;

    switch (dtype->kind) {
    case 'b':
        return true;
    case 'f':
        bits_put_float(bytes, dtype->itemsize, (double)NAN, (long double)NAN);
        return true;
    case 'c':
        bits_put_float(bytes, half, (double)NAN, (long double)NAN);
        bits_put_float(bytes + half, half, (double)NAN, (long double)NAN);
        return true;
    case 'M':
    case 'm':
        bits_put(bytes, UINT64_C(1) << 63, 8);
        return true;
    case 'S':
    case 'U':
        return store_text(dtype, literal, bytes);
    default:
        return false;
    }
}

static bool store(const struct dn_dtype *dtype, const struct literal *literal, unsigned char *bytes)
{
    struct literal number = { 0 };

    switch (literal->kind) {
    case LITERAL_NONE:
        return store_none(dtype, literal, bytes);
    case LITERAL_NOT_A_TIME:
        return (dtype->kind == 'M' || dtype->kind == 'm') && store_none(dtype, literal, bytes);
    case LITERAL_STRING:
        if (strchr("SUV", dtype->kind))
            return store_text(dtype, literal, bytes);
        /* np.longdouble('0.1'), np.datetime64('NaT') */
        return (literal_word(literal->text, &number) || literal_number(literal->text, true, &number)) &&
               store(dtype, &number, bytes);
    default:
        return store_number(dtype, literal, bytes);
    }
}

int dn_fill_parse(const struct dn_dtype *dtype, const char *text, void *bytes)
{
    struct literal literal = { 0 };
    char type[DN_DTYPE_TEXT];

    memset(bytes, 0, dtype->itemsize);
    if (!literal_scan((struct span){ text, text + strlen(text) }, &literal) || !store(dtype, &literal, bytes)) {
        dn_dtype_format(dtype, type);
        return dn_fail(-EINVAL, "fillvalue: '%.64s' is no value for %s", text, type);
    }
    bits_reorder(dtype, bytes);
    return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

/** Text that grows up to `size`; `used` goes on counting beyond it. */
struct writer {
    char *text;
    size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void emit(struct writer *out, const char *format, ...)
{
    size_t room = out->used < out->size ? out->size - out->used : 0;
    va_list args;

    va_start(args, format);
    out->used += (size_t)vsnprintf(room ? out->text + out->used : NULL, room, format, args);
    va_end(args);
}

/** The fewest digits that read back to the same bytes, as "d.ddde±x". */
static void shortest(const unsigned char *bytes, uint32_t size, char *text, size_t room)
{
    long double value = bits_get_float(bytes, size);
    unsigned char back[16];
    struct real real;

    for (int digits = 1; digits <= 21; digits++) {
        number_print(text, room, "%.*Le", digits - 1, value);
        struct span span = { text, text + strlen(text) };
        literal_real(&span, false, &real);
        bits_put_float(back, size, real.value, real.exact);
        if (memcmp(back, bytes, size == 16 ? 10 : size) == 0)
            return;
    }
}

/** Python's repr of a float; `point` says whether a whole number ends in ".0". */
static void emit_float(struct writer *out, const unsigned char *bytes, uint32_t size, bool point)
{
    long double value = bits_get_float(bytes, size);
    char text[48], digits[32], *e;
    int count = 0, exponent;

    if (!isfinite(value)) {
        emit(out, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    shortest(bytes, size, text, sizeof text);
    e = strchr(text, 'e');
    exponent = atoi(e + 1);
    for (const char *c = text; c < e; c++) {
        if (isdigit((unsigned char)*c))
            digits[count++] = *c;
    }
    digits[count] = '\0';
    if (*text == '-')
        emit(out, "-");
    if (exponent < -4 || exponent >= 16)
        emit(out, "%c%s%se%c%02d", digits[0], count > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+',
             abs(exponent));
    else if (exponent < 0)
        emit(out, "0.%.*s%s", -exponent - 1, "000", digits);
    else if (count > exponent + 1)
        emit(out, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    else
        emit(out, "%s%.*s%s", digits, exponent + 1 - count, "0000000000000000", point ? ".0" : "");
}

/** A float as a plain integer, where that reads back to the same. */
static bool emit_plain(struct writer *out, const unsigned char *bytes, uint32_t size)
{
    long double value = bits_get_float(bytes, size);

    if (!(fabsl(value) < 0x1p63L) || value != truncl(value) || (value == 0 && signbit(value)))
        return false;
    emit(out, "%" PRId64, (int64_t)value);
    return true;
}

static void emit_complex(struct writer *out, const unsigned char *bytes, uint32_t half, bool plain_ints)
{
    long double real = bits_get_float(bytes, half), imaginary = bits_get_float(bytes + half, half);
    bool alone = real == 0 && !signbit(real);

    if (plain_ints && imaginary == 0 && !signbit(imaginary) && emit_plain(out, bytes, half))
        return;
    if (!alone) {
        emit(out, "(");
        emit_float(out, bytes, half, false);
        if (isnan(imaginary) || !signbit(imaginary))
            emit(out, "+");
    }
    emit_float(out, bytes + half, half, false);
    emit(out, alone ? "j" : "j)");
}

static void emit_integer(struct writer *out, const struct dn_dtype *dtype, const unsigned char *bytes)
{
    uint64_t value = bits_get(bytes, dtype->itemsize);
    int unused = 64 - 8 * (int)dtype->itemsize;

    if (dtype->kind == 'u')
        emit(out, "%" PRIu64, value);
    else
        emit(out, "%" PRId64, (int64_t)(value << unused) >> unused);
}

static uint32_t unit_at(const unsigned char *bytes, uint32_t i, uint32_t step, bool turned)
{
    uint32_t unit = (uint32_t)bits_get(bytes + (size_t)i * step, step);

    return turned ? __builtin_bswap32(unit) : unit;
}

static void emit_unit(struct writer *out, uint32_t unit, char quote)
{
    static const char special[] = "\t\n\r", names[] = "tnr";
    const char *named = unit < ' ' ? memchr(special, (int)unit, sizeof names - 1) : NULL;

    if (unit == (unsigned char)quote || unit == '\\')
        emit(out, "\\%c", (char)unit);
    else if (named)
        emit(out, "\\%c", names[named - special]);
    else if (unit >= ' ' && unit < 0x7f)
        emit(out, "%c", (char)unit);
    else
        emit(out, unit > 0xffff ? "\\U%08" PRIx32 : unit > 0xff ? "\\u%04" PRIx32 : "\\x%02" PRIx32, unit);
}

/** S, U and V, without the zeros at the end. */
static void emit_string(struct writer *out, const struct dn_dtype *dtype, const unsigned char *bytes)
{
    uint32_t step = dtype->kind == 'U' ? 4 : 1, count = bytes ? dtype->itemsize / step : 0;
    bool turned = dtype->kind == 'U' && dtype->order == '>', single = false, both = false;
    char quote;

    while (count > 0 && unit_at(bytes, count - 1, step, turned) == 0)
        count--;
    for (uint32_t i = 0; i < count; i++) {
        single |= unit_at(bytes, i, step, turned) == '\'';
        both |= unit_at(bytes, i, step, turned) == '"';
    }
    quote = single && !both ? '"' : '\'';
    emit(out, "%s%c", step == 4 ? "" : "b", quote);
    for (uint32_t i = 0; i < count; i++)
        emit_unit(out, unit_at(bytes, i, step, turned), quote);
    emit(out, "%c", quote);
}

/**
 * S and U whose text is an integer's, such as DosNa's default 0 cast to them, as that integer; of V, zeros.
 */
static bool emit_string_plain(struct writer *out, const struct dn_dtype *dtype, const unsigned char *bytes)
{
    uint32_t step = dtype->kind == 'U' ? 4 : 1, count = bytes ? dtype->itemsize / step : 0;
    bool turned = dtype->kind == 'U' && dtype->order == '>';
    char digits[20] = "", canonical[24];

    while (count > 0 && unit_at(bytes, count - 1, step, turned) == 0)
        count--;
    if (count >= sizeof digits)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t unit = unit_at(bytes, i, step, turned);
        digits[i] = unit < 0x80 ? (char)unit : '\0';
    }
    snprintf(canonical, sizeof canonical, "%lld", strtoll(digits, NULL, 10));
    if (dtype->kind == 'V' ? count > 0 : strlen(canonical) != count || strcmp(digits, canonical) != 0)
        return false;
    emit(out, "%s", canonical);
    return true;
}

static void emit_scalar(struct writer *out, const struct dn_dtype *dtype, const unsigned char *bytes,
                        bool plain_ints)
{
    switch (dtype->kind) {
    case 'b':
        emit(out, "%s", plain_ints ? (bytes[0] ? "1" : "0") : bytes[0] ? "True" : "False");
        return;
    case 'f':
        if (!plain_ints || !emit_plain(out, bytes, dtype->itemsize))
            emit_float(out, bytes, dtype->itemsize, true);
        return;
    case 'c':
        emit_complex(out, bytes, dtype->itemsize / 2, plain_ints);
        return;
    case 'M':
    case 'm':
        if (!plain_ints && bits_get(bytes, 8) == UINT64_C(1) << 63)
            emit(out, "NaT");
        else
            emit_integer(out, dtype, bytes);
        return;
    default:
        emit_integer(out, dtype, bytes);
    }
}

int dn_fill_format(const struct dn_dtype *dtype, const void *bytes, bool plain_ints, char *text, size_t size)
{
    struct writer out = { .text = text, .size = size };
    unsigned char little[32] = { 0 };

    if (strchr("SUV", dtype->kind)) {
        if (!plain_ints || !emit_string_plain(&out, dtype, bytes))
            emit_string(&out, dtype, bytes);
    } else {
        if (bytes)
            memcpy(little, bytes, dtype->itemsize);
        bits_reorder(dtype, little);
        emit_scalar(&out, dtype, little, plain_ints);
    }
    return out.used < size ? 0 : dn_fail(-ENOSPC, "no room for a fill value of %zu characters", out.used);
}
