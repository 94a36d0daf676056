// SPDX-License-Identifier: Apache-2.0
#include "literal.h"

#include "number.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

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

bool literal_real(struct span *text, bool exact, struct real *out)
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
    if (!literal_real(&text, false, &out->real))
        return false;
    out->kind = LITERAL_COMPLEX;
    if (is(text, "j")) {
        out->imaginary = out->real;
        out->real = (struct real){ 0 };
        return true;
    }
    return text.at < text.end && (*text.at == '+' || *text.at == '-') &&
           literal_real(&text, false, &out->imaginary) && is(text, "j");
}

bool literal_number(struct span text, bool exact, struct literal *out)
{
    struct span rest = text;

    out->text = text;
    out->kind = LITERAL_NUMBER;
    if (literal_real(&rest, exact, &out->real)) {
        if (rest.at == rest.end)
            return true;
        if (is(rest, "L") && out->real.whole) {
            out->text.end--;
            return true;
        }
    }
    return scan_complex(text, out);
}

bool literal_word(struct span text, struct literal *out)
{
    out->text = text;
    if (is(text, "None")) {
        out->kind = LITERAL_NONE;
    } else if (is(text, "NaT")) {
        out->kind = LITERAL_NOT_A_TIME;
    } else if (is(text, "True") || is(text, "True_") || is(text, "False") || is(text, "False_")) {
        bool truth = *text.at == 'T';
        out->kind = LITERAL_BOOLEAN;
        out->text.end = text.at + (truth ? 4 : 5);
        out->real = (struct real){ .whole = true, .magnitude = truth, .value = truth, .exact = truth };
    } else {
        return false;
    }
    return true;
}

static bool scan_string(struct span text, struct literal *out)
{
    out->kind = LITERAL_STRING;
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

bool literal_scan(struct span text, struct literal *out)
{
    text = unwrap(trim(text));
    return literal_word(text, out) || scan_string(text, out) || literal_number(text, false, out);
}

bool literal_unit(struct span *text, bool wide, uint32_t *out)
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
