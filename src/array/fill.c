// SPDX-License-Identifier: Apache-2.0
/* Fill values: from and to the text that Python's repr gives. */
#include <dosna/dtype.h>

#include "number.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- elements ------------------------------------------------------------------------------- */

static void put_bits(unsigned char *bytes, uint64_t value, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        bytes[i] = i < 8 ? (unsigned char)(value >> (8 * i)) : 0;
}

static uint64_t get_bits(const unsigned char *bytes, uint32_t count)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < count; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

/** Turn the bytes of each unit round, between little-endian and the type's order. */
static void reorder(const struct dn_dtype *dtype, unsigned char *bytes)
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
    put_bits(bytes, mantissa, 8);
    put_bits(bytes + 8, sign | (uint64_t)exponent, 8);
}

static long double get_extended(const unsigned char *bytes)
{
    uint64_t mantissa = get_bits(bytes, 8), top = get_bits(bytes + 8, 2);
    int exponent = top & 0x7fff;
    long double value = exponent == 0x7fff ? (mantissa << 1 ? (long double)NAN : (long double)INFINITY)
                                           : ldexpl((long double)mantissa, (exponent ? exponent : 1) - 16446);

    return top & 0x8000 ? -value : value;
}

static void put_float(unsigned char *bytes, uint32_t size, double value, long double exact)
{
    float single = (float)value;
    uint32_t single_bits;
    uint64_t double_bits;

    switch (size) {
    case 2:
        put_bits(bytes, half_bits(value), 2);
        return;
    case 4:
        memcpy(&single_bits, &single, 4);
        put_bits(bytes, isnan(value) ? 0x7fc00000 : single_bits, 4);
        return;
    case 8:
        memcpy(&double_bits, &value, 8);
        put_bits(bytes, isnan(value) ? UINT64_C(0x7ff8) << 48 : double_bits, 8);
        return;
    default:
        put_extended(bytes, exact);
    }
}

static long double get_float(const unsigned char *bytes, uint32_t size)
{
    uint64_t bits = get_bits(bytes, size < 8 ? size : 8);
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

/* ---- reading -------------------------------------------------------------------------------- */

/** A piece of the text. */
struct span {
    const char *at, *end;
};

struct real {
    bool whole;         /* an integer literal */
    bool minus;
    bool wide;          /* a whole number beyond 64 bits */
    uint64_t magnitude; /* of a whole number that is not wide */
    double value;
    long double exact;  /* for the type that a double does not hold */
};

struct literal {
    enum { NONE, BOOLEAN, NUMBER, COMPLEX, STRING, NOT_A_TIME } kind;
    struct real real, imaginary;
    struct span text; /* as str() shows it; of a string, what is between the quotes */
    bool bytes;       /* b'…' */
};

static bool take(struct span *text, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0)
        return false;
    text->at += length;
    return true;
}

static bool is(struct span text, const char *word)
{
    return take(&text, word) && text.at == text.end;
}

static struct span trim(struct span text)
{
    while (text.at < text.end && strchr(" \t\r\n", *text.at))
        text.at++;
    while (text.at < text.end && strchr(" \t\r\n", text.end[-1]))
        text.end--;
    return text;
}

/** Move over digits; how many there were. */
static int skip_digits(struct span *text)
{
    const char *start = text->at;

    while (text->at < text->end && isdigit((unsigned char)*text->at))
        text->at++;
    return text->at - start > 10000 ? 10000 : (int)(text->at - start);
}

/** Move over a number's digits, point and exponent. False: none of that. */
static bool skip_number(struct span *text, struct real *out, int *digits)
{
    struct span exponent;

    *digits = skip_digits(text);
    out->whole = true;
    if (take(text, ".")) {
        *digits += skip_digits(text);
        out->whole = false;
    }
    if (*digits == 0)
        return false;
    exponent = *text;
    if (take(&exponent, "e") || take(&exponent, "E")) {
        if (!take(&exponent, "+"))
            take(&exponent, "-");
        if (skip_digits(&exponent) > 0) {
            *text = exponent;
            out->whole = false;
        }
    }
    return true;
}

static void find_magnitude(struct span text, struct real *out)
{
    for (; text.at < text.end; text.at++) {
        if (isdigit((unsigned char)*text.at))
            out->wide |= __builtin_mul_overflow(out->magnitude, 10, &out->magnitude) ||
                         __builtin_add_overflow(out->magnitude, (uint64_t)(*text.at - '0'), &out->magnitude);
    }
}

/**
 * A number at the start of the text, which moves on. A float of up to 17 digits is what Python made of it,
 * a double; a longer one can only be a long double's. (`exact`: it is that in any case.)
 */
static bool scan_real(struct span *text, bool exact, struct real *out)
{
    const char *start = text->at;
    int digits = 0;

    *out = (struct real){ 0 };
    if (take(text, "-"))
        out->minus = true;
    else
        take(text, "+");
    if (!take(text, "nan") && !take(text, "inf") && !skip_number(text, out, &digits))
        return false;
    /* strtod stops at the same place: what follows is not a part of any number. */
    out->value = strtod_l(start, NULL, number_locale());
    out->exact = exact || out->whole || digits > 17 ? strtold_l(start, NULL, number_locale()) : out->value;
    if (out->whole)
        find_magnitude((struct span){ start, text->at }, out);
    return true;
}

static bool scan_complex(struct span text, struct literal *out)
{
    if (take(&text, "(")) {
        if (text.at == text.end || *--text.end != ')')
            return false;
    }
    if (!scan_real(&text, false, &out->real))
        return false;
    out->kind = COMPLEX;
    if (is(text, "j")) {
        out->imaginary = out->real;
        out->real = (struct real){ 0 };
        return true;
    }
    return text.at < text.end && (*text.at == '+' || *text.at == '-') &&
           scan_real(&text, false, &out->imaginary) && is(text, "j");
}

static bool scan_number(struct span text, bool exact, struct literal *out)
{
    struct span rest = text;

    out->text = text;
    out->kind = NUMBER;
    if (scan_real(&rest, exact, &out->real)) {
        if (rest.at == rest.end)
            return true;
        if (is(rest, "L") && out->real.whole) {
            out->text.end--;
            return true;
        }
    }
    return scan_complex(text, out);
}

static bool scan_word(struct span text, struct literal *out)
{
    out->text = text;
    if (is(text, "None")) {
        out->kind = NONE;
    } else if (is(text, "NaT")) {
        out->kind = NOT_A_TIME;
    } else if (is(text, "True") || is(text, "True_") || is(text, "False") || is(text, "False_")) {
        bool truth = *text.at == 'T';
        out->kind = BOOLEAN;
        out->text.end = text.at + (truth ? 4 : 5);
        out->real = (struct real){ .whole = true, .magnitude = truth, .value = truth, .exact = truth };
    } else {
        return false;
    }
    return true;
}

static bool scan_string(struct span text, struct literal *out)
{
    out->kind = STRING;
    out->bytes = take(&text, "b");
    if (!out->bytes)
        take(&text, "u");
    if (text.end - text.at < 2 || (*text.at != '\'' && *text.at != '"') || text.end[-1] != *text.at)
        return false;
    out->text = (struct span){ text.at + 1, text.end - 1 };
    return true;
}

/** Take numpy's name off: np.float32(…), numpy.datetime64(…), void(…), np.True_. */
static struct span unwrap(struct span text)
{
    struct span inner = text;

    if (!take(&inner, "np."))
        take(&inner, "numpy.");
    text = inner;
    while (inner.at < inner.end && (isalnum((unsigned char)*inner.at) || *inner.at == '_'))
        inner.at++;
    if (inner.at == text.at || !take(&inner, "(") || inner.end[-1] != ')')
        return text;
    inner.end--;
    return trim(inner);
}

static bool scan(struct span text, struct literal *out)
{
    text = unwrap(trim(text));
    return scan_word(text, out) || scan_string(text, out) || scan_number(text, false, out);
}

/** The next byte of a string, or with `wide` the next character. False: malformed. */
static bool next_unit(struct span *text, bool wide, uint32_t *out)
{
    static const char escapes[] = "\\'\"abfnrtv", meanings[] = "\\'\"\a\b\f\n\r\t\v";
    static const uint32_t smallest[] = { 0, 0x80, 0x800, 0x10000 };
    unsigned char first = (unsigned char)*text->at++;
    int digits, more;

    *out = first;
    if (first == '\\') {
        if (text->at == text->end)
            return false;
        const char *known = memchr(escapes, *text->at, sizeof escapes - 1);
        first = (unsigned char)*text->at++;
        if (known) {
            *out = (unsigned char)meanings[known - escapes];
            return true;
        }
        digits = first == 'x' ? 2 : first == 'u' ? 4 : first == 'U' ? 8 : 0;
        for (*out = 0; digits > 0; digits--, text->at++) {
            if (text->at == text->end || !isxdigit((unsigned char)*text->at))
                return false;
            int digit = tolower((unsigned char)*text->at);
            *out = *out << 4 | (uint32_t)(digit - (digit > '9' ? 'a' - 10 : '0'));
        }
        return strchr("xuU", first) && (wide || *out <= 0xff);
    }
    if (!wide || first < 0x80)
        return true;
    more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    *out = first & (0x3f >> more);
    for (int i = 0; i < more; i++, text->at++) {
        if (text->at == text->end || ((unsigned char)*text->at & 0xc0) != 0x80)
            return false;
        *out = *out << 6 | ((unsigned char)*text->at & 0x3f);
    }
    return first >= 0xc0 && first < 0xf8 && *out >= smallest[more];
}

/** Text into S, U or V: cut at the type's length, the rest zero. */
static bool store_text(const struct dn_dtype *dtype, const struct literal *literal, unsigned char *bytes)
{
    struct span text = literal->text;
    bool wide = dtype->kind == 'U';
    uint32_t unit, step = wide ? 4 : 1;

    for (uint32_t at = 0; text.at < text.end; at += step) {
        if (!next_unit(&text, wide && !literal->bytes, &unit) || (wide && literal->bytes && unit >= 0x80))
            return false;
        if (at < dtype->itemsize)
            put_bits(bytes + at, unit, step);
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
    put_bits(bytes, minus ? 0 - magnitude : magnitude, dtype->itemsize);
    return true;
}

static bool store_real(const struct real *real, uint32_t size, unsigned char *bytes)
{
    if (real->whole && !isfinite(size == 16 ? real->exact : real->value))
        return false; /* Python: int too large to convert to float */
    put_float(bytes, size, real->value, real->exact);
    return true;
}

static bool store_number(const struct dn_dtype *dtype, const struct literal *literal, unsigned char *bytes)
{
    const struct real *real = &literal->real, *imaginary = &literal->imaginary;
    uint32_t half = dtype->itemsize / 2;
    bool no_imaginary = literal->kind != COMPLEX || imaginary->value == 0;

    switch (dtype->kind) {
    case 'b':
        bytes[0] = real->value != 0 || !no_imaginary;
        return true;
    case 'i':
    case 'u':
        return no_imaginary && store_integer(dtype, real, bytes);
    case 'M':
    case 'm':
        return literal->kind != COMPLEX && real->whole && store_integer(dtype, real, bytes);
    case 'f':
        return no_imaginary && store_real(real, dtype->itemsize, bytes);
    case 'c':
        return store_real(real, half, bytes) && store_real(imaginary, half, bytes + half);
    case 'S':
    case 'U':
        return store_text(dtype, literal, bytes);
    default:
        return literal->kind == NUMBER && real->whole && real->magnitude == 0 && !real->wide;
    }
}

static bool store_none(const struct dn_dtype *dtype, const struct literal *literal, unsigned char *bytes)
{
    uint32_t half = dtype->itemsize / 2;

    switch (dtype->kind) {
    case 'b':
        return true;
    case 'f':
        put_float(bytes, dtype->itemsize, (double)NAN, (long double)NAN);
        return true;
    case 'c':
        put_float(bytes, half, (double)NAN, (long double)NAN);
        put_float(bytes + half, half, (double)NAN, (long double)NAN);
        return true;
    case 'M':
    case 'm':
        put_bits(bytes, UINT64_C(1) << 63, 8);
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
    case NONE:
        return store_none(dtype, literal, bytes);
    case NOT_A_TIME:
        return (dtype->kind == 'M' || dtype->kind == 'm') && store_none(dtype, literal, bytes);
    case STRING:
        if (strchr("SUV", dtype->kind))
            return store_text(dtype, literal, bytes);
        /* np.longdouble('0.1'), np.datetime64('NaT') */
        return (scan_word(literal->text, &number) || scan_number(literal->text, true, &number)) &&
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
    if (!scan((struct span){ text, text + strlen(text) }, &literal) || !store(dtype, &literal, bytes)) {
        dn_dtype_format(dtype, type);
        return dn_fail(-EINVAL, "fillvalue: '%.64s' is no value for %s", text, type);
    }
    reorder(dtype, bytes);
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
    long double value = get_float(bytes, size);
    unsigned char back[16];
    struct real real;

    for (int digits = 1; digits <= 21; digits++) {
        number_print(text, room, "%.*Le", digits - 1, value);
        struct span span = { text, text + strlen(text) };
        scan_real(&span, false, &real);
        put_float(back, size, real.value, real.exact);
        if (memcmp(back, bytes, size == 16 ? 10 : size) == 0)
            return;
    }
}

/** Python's repr of a float; `point` says whether a whole number ends in ".0". */
static void emit_float(struct writer *out, const unsigned char *bytes, uint32_t size, bool point)
{
    long double value = get_float(bytes, size);
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
    long double value = get_float(bytes, size);

    if (!(fabsl(value) < 0x1p63L) || value != truncl(value) || (value == 0 && signbit(value)))
        return false;
    emit(out, "%" PRId64, (int64_t)value);
    return true;
}

static void emit_complex(struct writer *out, const unsigned char *bytes, uint32_t half, bool plain_ints)
{
    long double real = get_float(bytes, half), imaginary = get_float(bytes + half, half);
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
    uint64_t value = get_bits(bytes, dtype->itemsize);
    int unused = 64 - 8 * (int)dtype->itemsize;

    if (dtype->kind == 'u')
        emit(out, "%" PRIu64, value);
    else
        emit(out, "%" PRId64, (int64_t)(value << unused) >> unused);
}

static uint32_t unit_at(const unsigned char *bytes, uint32_t i, uint32_t step, bool turned)
{
    uint32_t unit = (uint32_t)get_bits(bytes + (size_t)i * step, step);

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
        if (!plain_ints && get_bits(bytes, 8) == UINT64_C(1) << 63)
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
        reorder(dtype, little);
        emit_scalar(&out, dtype, little, plain_ints);
    }
    return out.used < size ? 0 : dn_fail(-ENOSPC, "no room for a fill value of %zu characters", out.used);
}
