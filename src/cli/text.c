// SPDX-License-Identifier: Apache-2.0
/*
 * Arrays as numpy prints them (numpy/core/arrayprint.py with its default options): precision 8, lines of 75
 * characters, three items at each edge of what has more than 1000 elements.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PRECISION 8
#define LINE_WIDTH 75
#define THRESHOLD 1000
#define EDGE 3
#define MOST_PRINTED (1u << 20)

/* What is printed of a selection: all of it, or the edges of each long axis. */
struct picture {
    const struct dn_dtype *dtype;
    int ndim;
    uint64_t extent[DN_MAX_NDIM]; /* of the selection */
    uint64_t kept[DN_MAX_NDIM];   /* of them printed */
    uint64_t count;
    unsigned char *bytes;
    char **word;
};

/* ---- numbers --------------------------------------------------------------------------------------------------- */

/* The fewest digits that read back to the same number, as d.ddd times a power of ten. */
struct decimal {
    bool negative, is_nan, is_inf;
    char digits[32];
    int count, exponent;
    double exact;
};

static void parse_decimal(const char *text, struct decimal *out)
{
    int point = -1, leading = 0;

    *out = (struct decimal){.negative = *text == '-'};
    text += *text == '-' || *text == '+';
    out->is_nan = *text == 'n';
    out->is_inf = *text == 'i';
    out->exact = strtod(text, NULL);
    for (; isdigit((unsigned char)*text) || *text == '.'; text++) {
        if (*text == '.')
            point = out->count + leading;
        else if (*text == '0' && out->count == 0)
            leading++;
        else if (out->count < (int)sizeof out->digits - 1)
            out->digits[out->count++] = *text;
    }
    out->exponent = (point < 0 ? out->count + leading : point) - leading - 1;
    if (*text == 'e')
        out->exponent += atoi(text + 1);
    while (out->count > 1 && out->digits[out->count - 1] == '0')
        out->count--;
    if (out->count == 0)
        *out = (struct decimal){.negative = out->negative, .is_nan = out->is_nan, .is_inf = out->is_inf,
                                .digits = "0", .count = 1, .exact = 0};
    out->digits[out->count] = '\0';
}

static double half(const unsigned char bytes[2])
{
    int bits = bytes[0] | bytes[1] << 8, exponent = bits >> 10 & 31, mantissa = bits & 1023;

    return exponent ? ldexp(mantissa + 1024, exponent - 25) : ldexp(mantissa, -24);
}

/* The number itself, where rounding the fewest digits would round twice. */
static void set_exact(struct decimal *decimal, const unsigned char *bytes, size_t size, bool swapped)
{
    unsigned char copy[8] = {0};
    double wide;
    float narrow;

    if (size > 8)
        return;
    for (size_t i = 0; i < size; i++)
        copy[i] = bytes[swapped ? size - 1 - i : i];
    memcpy(&wide, copy, sizeof wide);
    memcpy(&narrow, copy, sizeof narrow);
    decimal->exact = fabs(size == 8 ? wide : size == 4 ? (double)narrow : half(copy));
}

static void trim_zeros(char *text)
{
    size_t length = strlen(text);

    while (length > 1 && text[length - 1] == '0')
        text[--length] = '\0';
}

/* "12.", "0.5", without a sign. `text` has room for 400. */
static void format_positional(const struct decimal *d, char *text)
{
    int fraction = d->count - 1 - d->exponent, at = 0;

    if (fraction > PRECISION) {
        snprintf(text, 400, "%.*f", PRECISION, d->exact);
        trim_zeros(text);
        return;
    }
    for (int power = d->exponent > 0 ? d->exponent : 0; power >= -fraction || power >= 0; power--) {
        int digit = d->exponent - power;
        text[at++] = digit >= 0 && digit < d->count ? d->digits[digit] : '0';
        if (power == 0)
            text[at++] = '.';
    }
    text[at] = '\0';
}

/* "1.25", without sign and exponent; *exponent is what rounding left of it. At least so many digits behind the
   point: where the fewest are less, those of the number itself. */
static void format_mantissa(const struct decimal *d, int least, char *text, int *exponent)
{
    int fraction = d->count - 1;
    char *e;

    *exponent = d->exponent;
    if (fraction >= least && fraction <= PRECISION) {
        snprintf(text, 64, "%c.%s", d->digits[0], d->digits + 1);
        return;
    }
    snprintf(text, 64, "%#.*e", fraction > PRECISION ? PRECISION : least, d->exact);
    e = strchr(text, 'e');
    *exponent = atoi(e + 1);
    *e = '\0';
    if (fraction > PRECISION && !least)
        trim_zeros(text);
}

/* ---- a column of floats ---------------------------------------------------------------------------------------- */

struct layout {
    bool plus; /* the sign of positive numbers too */
    bool scientific, any_finite;
    int left, right, precision, exponent_digits;
};

static const char *sign_of(const struct layout *layout, const struct decimal *d)
{
    return d->negative ? "-" : layout->plus ? "+" : "";
}

static bool needs_exponent(const struct decimal *d, uint64_t count)
{
    double most = 0, least = INFINITY;

    for (uint64_t i = 0; i < count; i++) {
        if (d[i].is_nan || d[i].is_inf || d[i].exact == 0)
            continue;
        most = fmax(most, d[i].exact);
        least = fmin(least, d[i].exact);
    }
    return most > 0 && (most >= 1e8 || least < 0.0001 || most / least > 1000);
}

static void widen(int *width, size_t length)
{
    if ((int)length > *width)
        *width = (int)length;
}

static void measure_finite(struct layout *layout, const struct decimal *d)
{
    char text[400], power[16];
    const char *point;
    int exponent;

    layout->any_finite = true;
    if (layout->scientific) {
        format_mantissa(d, 0, text, &exponent);
        snprintf(power, sizeof power, "%02d", abs(exponent));
        widen(&layout->exponent_digits, strlen(power));
    } else {
        format_positional(d, text);
    }
    point = strchr(text, '.');
    widen(&layout->left, strlen(sign_of(layout, d)) + (size_t)(point - text));
    widen(&layout->precision, strlen(point + 1));
}

static struct layout measure(const struct decimal *d, uint64_t count, bool plus)
{
    struct layout layout = {.plus = plus, .scientific = needs_exponent(d, count)};
    int odd = 0;

    for (uint64_t i = 0; i < count; i++)
        if (!d[i].is_nan && !d[i].is_inf)
            measure_finite(&layout, &d[i]);
    layout.right = layout.precision + (layout.scientific && layout.any_finite ? layout.exponent_digits + 2 : 0);
    for (uint64_t i = 0; i < count; i++) {
        if (d[i].is_nan)
            widen(&odd, 3);
        if (d[i].is_inf || (d[i].is_nan && plus))
            widen(&odd, 3 + (d[i].negative || plus));
    }
    if (odd - layout.right - 1 > layout.left)
        layout.left = odd - layout.right - 1;
    return layout;
}

static char *format_float(const struct layout *layout, const struct decimal *d)
{
    char text[400], *word;
    const char *sign = sign_of(layout, d);
    int exponent, before, length;

    if (d->is_nan || d->is_inf) {
        snprintf(text, sizeof text, "%s%s", d->is_nan && !layout->plus ? "" : d->is_nan ? "+" : sign,
                 d->is_nan ? "nan" : "inf");
        return asprintf(&word, "%*s", layout->left + layout->right + 1, text) < 0 ? NULL : word;
    }
    if (layout->scientific)
        format_mantissa(d, layout->precision, text, &exponent);
    else
        format_positional(d, text);
    before = layout->left - (int)strlen(sign) - (int)(strchr(text, '.') - text);
    length = (int)strlen(strchr(text, '.') + 1);
    if (!layout->scientific)
        return asprintf(&word, "%*s%s%s%*s", before, "", sign, text, layout->right - length, "") < 0 ? NULL : word;
    return asprintf(&word, "%*s%s%se%c%0*d", before, "", sign, text, exponent < 0 ? '-' : '+',
                    layout->exponent_digits, abs(exponent)) < 0 ? NULL : word;
}

/* ---- elements as words ----------------------------------------------------------------------------------------- */

/* Column `part` of `parts` (the real and the imaginary one) as decimals. */
static struct decimal *decimals(const struct picture *p, unsigned part, unsigned parts)
{
    struct dn_dtype dtype = *p->dtype;
    struct decimal *d = calloc(p->count ? p->count : 1, sizeof *d);

    dtype.kind = 'f';
    dtype.itemsize /= parts;
    for (uint64_t i = 0; d && i < p->count; i++) {
        const unsigned char *bytes = p->bytes + i * p->dtype->itemsize + part * dtype.itemsize;
        char *text = element_text(&dtype, bytes, false);
        if (!text) {
            free(d);
            return NULL;
        }
        parse_decimal(text, &d[i]);
        if (!d[i].is_nan && !d[i].is_inf)
            set_exact(&d[i], bytes, dtype.itemsize, dtype.order == '>');
        free(text);
    }
    return d;
}

static int make_floats(struct picture *p, unsigned part, unsigned parts)
{
    struct decimal *d = decimals(p, part, parts);
    struct layout layout;

    if (!d)
        return no_memory();
    layout = measure(d, p->count, part == 1);
    for (uint64_t i = 0; i < p->count; i++) {
        char *word = format_float(&layout, &d[i]), *joined = word;
        if (word && part == 1) { /* the j stands before the blanks that align */
            size_t used = strlen(word);
            while (used && word[used - 1] == ' ')
                used--;
            if (asprintf(&joined, "%s%.*sj%s", p->word[i], (int)used, word, word + used) < 0)
                joined = NULL;
            free(word);
            free(p->word[i]);
        }
        p->word[i] = joined;
        if (!joined) {
            free(d);
            return no_memory();
        }
    }
    free(d);
    return 0;
}

static int make_others(struct picture *p)
{
    bool aligned = strchr("biumM", p->dtype->kind);
    int width = p->dtype->kind == 'b' && p->ndim ? 5 : 0;

    for (uint64_t i = 0; i < p->count; i++) {
        p->word[i] = element_text(p->dtype, p->bytes + i * p->dtype->itemsize, p->ndim == 0);
        if (!p->word[i])
            return no_memory();
        if (aligned && p->dtype->kind != 'b')
            widen(&width, strlen(p->word[i]));
    }
    for (uint64_t i = 0; i < p->count && aligned; i++) {
        char *word;
        if (asprintf(&word, "%*s", width, p->word[i]) < 0)
            return no_memory();
        free(p->word[i]);
        p->word[i] = word;
    }
    return 0;
}

static int make_words(struct picture *p)
{
    int error;

    p->word = calloc(p->count ? p->count : 1, sizeof *p->word);
    if (!p->word)
        return no_memory();
    if (p->ndim == 0 || !strchr("fc", p->dtype->kind) || p->dtype->itemsize > 16)
        return make_others(p);
    error = make_floats(p, 0, p->dtype->kind == 'c' ? 2 : 1);
    if (!error && p->dtype->kind == 'c')
        error = make_floats(p, 1, 2);
    return error;
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

struct lines {
    const struct picture *picture;
    char *line;
    size_t length, room;
    size_t width; /* in characters */
    bool failed;
};

/* Characters of UTF-8. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void append(struct lines *lines, const char *text)
{
    size_t more = strlen(text);

    if (lines->length + more + 1 > lines->room) {
        size_t room = 2 * (lines->length + more + 1);
        char *line = realloc(lines->line, room);
        if (!line) {
            lines->failed = true;
            return;
        }
        lines->line = line;
        lines->room = room;
    }
    memcpy(lines->line + lines->length, text, more + 1);
    lines->length += more;
    lines->width += width_of(text);
}

static void end_line(struct lines *lines, bool strip)
{
    while (strip && lines->length && lines->line[lines->length - 1] == ' ')
        lines->length--;
    if (lines->length)
        fwrite(lines->line, 1, lines->length, stdout);
    putchar('\n');
    lines->length = lines->width = 0;
}

static void indent(struct lines *lines, int width)
{
    while (width-- > 0)
        append(lines, " ");
}

/* `depth` brackets stand before the line's first word. */
static void add_word(struct lines *lines, const char *word, int depth)
{
    size_t width = (size_t)(LINE_WIDTH - 1 - (depth - 1));

    if (lines->width > (size_t)depth && lines->width + width_of(word) > width) {
        end_line(lines, true);
        indent(lines, depth);
    }
    append(lines, word);
}

static void print_row(struct lines *lines, uint64_t first)
{
    const struct picture *p = lines->picture;
    int axis = p->ndim - 1;

    for (uint64_t i = 0; i < p->kept[axis]; i++) {
        if (i)
            append(lines, " ");
        if (i == EDGE && p->kept[axis] < p->extent[axis]) {
            add_word(lines, "...", p->ndim);
            append(lines, " ");
        }
        add_word(lines, p->word[first + i], p->ndim);
    }
}

static void break_lines(struct lines *lines, int count, int depth)
{
    for (int i = 0; i < count; i++)
        end_line(lines, false);
    indent(lines, depth);
}

static void print_axis(struct lines *lines, int axis, uint64_t first)
{
    const struct picture *p = lines->picture;
    uint64_t below = 1;

    append(lines, "[");
    if (axis == p->ndim - 1) {
        print_row(lines, first);
    } else {
        for (int i = axis + 1; i < p->ndim; i++)
            below *= p->kept[i];
        for (uint64_t i = 0; i < p->kept[axis]; i++) {
            if (i)
                break_lines(lines, p->ndim - 1 - axis, axis + 1);
            if (i == EDGE && p->kept[axis] < p->extent[axis]) {
                append(lines, "...");
                break_lines(lines, p->ndim - 1 - axis, axis + 1);
            }
            print_axis(lines, axis + 1, first + i * below);
        }
    }
    append(lines, "]");
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int64_t read_one(dn_dataset *dataset, const struct dn_slice *slice, const struct picture *p, uint64_t number,
                        void *bytes)
{
    uint64_t offset = 0, at[DN_MAX_NDIM];

    for (int i = p->ndim - 1; i >= 0; i--) {
        at[i] = number % p->kept[i];
        number /= p->kept[i];
        if (p->kept[i] < p->extent[i] && at[i] >= EDGE)
            at[i] += p->extent[i] - p->kept[i];
    }
    for (int i = 0; i < p->ndim; i++)
        offset = offset * p->extent[i] + at[i];
    return dn_read_slice(dataset, slice, bytes, p->dtype->itemsize, offset * p->dtype->itemsize);
}

static int read_picture(dn_dataset *dataset, const struct dn_slice *slice, struct picture *p)
{
    size_t itemsize = p->dtype->itemsize;
    int64_t n = 0;

    p->bytes = malloc(p->count ? p->count * itemsize : 1);
    if (!p->bytes)
        return no_memory();
    if (p->count == dn_slice_elements(slice))
        n = dn_read_slice(dataset, slice, p->bytes, p->count * itemsize, 0);
    else
        for (uint64_t i = 0; i < p->count && n >= 0; i++)
            n = read_one(dataset, slice, p, i, p->bytes + i * itemsize);
    return n < 0 ? (int)n : 0;
}

static void frame(const struct dn_slice *slice, struct picture *p)
{
    bool summary = dn_slice_elements(slice) > THRESHOLD;

    p->count = 1;
    for (int i = 0; i < p->ndim; i++) {
        p->extent[i] = dn_slice_extent(slice, i);
        p->kept[i] = summary && p->extent[i] > 2 * EDGE ? 2 * EDGE : p->extent[i];
        if (p->count <= MOST_PRINTED)
            p->count *= p->kept[i];
    }
}

static int print_picture(const struct picture *p)
{
    struct lines lines = {.picture = p};

    if (p->ndim == 0)
        append(&lines, p->word[0] + strspn(p->word[0], " "));
    else if (p->count == 0)
        append(&lines, "[]");
    else
        print_axis(&lines, 0, 0);
    end_line(&lines, false);
    free(lines.line);
    return lines.failed ? no_memory() : 0;
}

int print_slice(dn_dataset *dataset, const struct dn_slice *slice)
{
    struct picture p = {.dtype = &dn_describe(dataset)->dtype, .ndim = slice->out_ndim};
    int error;

    frame(slice, &p);
    if (p.count > MOST_PRINTED)
        return dn_fail(-EFBIG, "the selection has too many axes to be printed");
    error = read_picture(dataset, slice, &p);
    if (!error)
        error = make_words(&p);
    if (!error)
        error = print_picture(&p);
    for (uint64_t i = 0; p.word && i < p.count; i++)
        free(p.word[i]);
    free(p.word);
    free(p.bytes);
    return error;
}
