// SPDX-License-Identifier: Apache-2.0
/* Single elements as numpy writes them, where that is not as Python writes a fill value: dates, texts and raw bytes. */
#include "cli.h"

#include <inttypes.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

static char *fill_text(const struct dn_dtype *dtype, const unsigned char *bytes)
{
    size_t size = 4 * (size_t)dtype->itemsize + 64;
    char *text = malloc(size);

    if (text)
        dn_fill_format(dtype, bytes, false, text, size);
    return text;
}

/* The number of `size` bytes. */
static uint64_t number_of(const unsigned char *bytes, unsigned size, char order)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size; i++)
        number |= (uint64_t)bytes[order == '>' ? size - 1 - i : i] << 8 * i;
    return number;
}

/* ---- dates and times ----------------------------------------------------------------------------------------- */

static const struct unit {
    const char *name, *plural;
    int seconds; /* that it takes; 0: it is one of the calendar */
    int digits;  /* behind the point of a second */
} units[] = {
    {"Y", "years", 0, 0},          {"M", "months", 0, 0},        {"W", "weeks", 0, 0},
    {"D", "days", 0, 0},           {"h", "hours", 3600, 0},      {"m", "minutes", 60, 0},
    {"s", "seconds", 1, 0},        {"ms", "milliseconds", 1, 3}, {"us", "microseconds", 1, 6},
    {"ns", "nanoseconds", 1, 9},   {"ps", "picoseconds", 1, 12}, {"fs", "femtoseconds", 1, 15},
    {"as", "attoseconds", 1, 18},
};

/* The unit of "[25s]", and how many of it make a tick. NULL: none. */
static const struct unit *unit_of(const struct dn_dtype *dtype, uint64_t *count)
{
    char *name = (char *)dtype->unit + (*dtype->unit == '[');

    *count = 1;
    if (*name >= '0' && *name <= '9')
        *count = strtoull(name, &name, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strncmp(name, units[i].name, strcspn(name, "]")) == 0 && units[i].name[strcspn(name, "]")] == '\0' && *name)
            return &units[i];
    return NULL;
}

static __int128 floor_divide(__int128 a, __int128 b)
{
    return a / b - (a % b < 0);
}

/* The Gregorian calendar for all times, in eras of 400 years that begin in March. */
static void civil_of(__int128 days, int64_t *year, int *month, int *day)
{
    int64_t era = (int64_t)floor_divide(days + 719468, 146097);
    int of_era = (int)(days + 719468 - (__int128)era * 146097);
    int year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int march = (5 * of_year + 2) / 153;

    *day = of_year - (153 * march + 2) / 5 + 1;
    *month = march < 10 ? march + 3 : march - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

/* Ticks behind midnight. */
static void format_time(const struct unit *unit, int64_t per_second, __int128 ticks, char *text, size_t size)
{
    int seconds = (int)(ticks / per_second) * unit->seconds;
    int used = snprintf(text, size, "T%02d", seconds / 3600);

    if (unit->seconds < 3600)
        used += snprintf(text + used, size - (size_t)used, ":%02d", seconds / 60 % 60);
    if (unit->seconds < 60)
        used += snprintf(text + used, size - (size_t)used, ":%02d", seconds % 60);
    if (unit->digits)
        snprintf(text + used, size - (size_t)used, ".%0*" PRId64, unit->digits, (int64_t)(ticks % per_second));
}

/* Years and months since 1970, or days and what is left of one. */
static char *date_text(const struct unit *unit, int64_t ticks)
{
    int64_t year, per_second = 1;
    __int128 per_day, days;
    int month, day;
    char time[40] = "", *text;

    if (*unit->name == 'Y')
        return asprintf(&text, "%04" PRId64, (int64_t)((uint64_t)ticks + 1970)) < 0 ? NULL : text;
    if (strcmp(unit->name, "M") == 0) {
        year = (int64_t)floor_divide(ticks, 12);
        month = (int)(ticks - (__int128)year * 12) + 1;
        return asprintf(&text, "%04" PRId64 "-%02d", year + 1970, month) < 0 ? NULL : text;
    }
    days = (__int128)ticks * (*unit->name == 'W' ? 7 : 1);
    if (unit->seconds) {
        for (int i = 0; i < unit->digits; i++)
            per_second *= 10;
        per_day = (__int128)(86400 / unit->seconds) * per_second;
        days = floor_divide(ticks, per_day);
        format_time(unit, per_second, ticks - days * per_day, time, sizeof time);
    }
    civil_of(days, &year, &month, &day);
    return asprintf(&text, "%04" PRId64 "-%02d-%02d%s", year, month, day, time) < 0 ? NULL : text;
}

/* Ticks overflow as numpy's do. */
static char *time_text(const struct dn_dtype *dtype, const unsigned char *bytes, bool alone)
{
    uint64_t count, number = number_of(bytes, 8, dtype->order);
    const struct unit *unit = unit_of(dtype, &count);
    char *date, *text;
    int length;

    if (number == UINT64_C(1) << 63)
        return strdup(alone ? "NaT" : "'NaT'");
    if (dtype->kind == 'm' && alone)
        return asprintf(&text, "%" PRId64 " %s", (int64_t)(number * count), unit ? unit->plural : "generic time units") < 0
                   ? NULL : text;
    if (dtype->kind == 'm' || !unit)
        return fill_text(dtype, bytes);
    date = date_text(unit, (int64_t)(number * count));
    if (!date || alone)
        return date;
    length = asprintf(&text, "'%s'", date);
    free(date);
    return length < 0 ? NULL : text;
}

/* ---- texts ----------------------------------------------------------------------------------------------------- */

/* Of what iswprint() takes, the kinds that Python escapes: blanks but for the plain one, formats, private use. */
static const uint32_t hidden[][2] = {
    {0xa0, 0xa0},       {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},     {0x6dd, 0x6dd},
    {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},     {0x1680, 0x1680},   {0x180e, 0x180e},
    {0x2000, 0x200f},   {0x202a, 0x202f},   {0x205f, 0x2064},   {0x2066, 0x206f},   {0x3000, 0x3000},
    {0xe000, 0xf8ff},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd},
    {0x13430, 0x13438}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f},
    {0xf0000, 0x10ffff},
};

static locale_t unicode; /* (locale_t)0: there is none, and all is escaped */

static void find_unicode(void)
{
    unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static bool is_printable(uint32_t c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_unicode);
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i][0] && c <= hidden[i][1])
            return false;
    return unicode && c <= 0x10ffff && iswprint_l((wint_t)c, unicode);
}

/* As UTF-8; returns what follows. A character has 4 bytes at most. */
static char *put_character(char *to, uint32_t c)
{
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};

    *to++ = (char)(lead[more] | c >> 6 * more);
    while (more-- > 0)
        *to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
    return to;
}

/* The escapes that dn_fill_format() makes of all but ASCII, taken back where Python prints the character. */
static void unescape(char *text)
{
    char *to = text;

    while (*text) {
        size_t digits = *text != '\\' ? 0 : text[1] == 'x' ? 2 : text[1] == 'u' ? 4 : text[1] == 'U' ? 8 : 0;
        size_t length = *text != '\\' ? 1 : 2 + digits;
        char hex[9] = "";
        memcpy(hex, text + length - digits, digits);
        if (digits && is_printable((uint32_t)strtoul(hex, NULL, 16))) {
            to = put_character(to, (uint32_t)strtoul(hex, NULL, 16));
        } else {
            memmove(to, text, length);
            to += length;
        }
        text += length;
    }
    *to = '\0';
}

/* The bare text, without the zeros at its end; what is no character is escaped. */
static char *plain_text(const struct dn_dtype *dtype, const unsigned char *bytes)
{
    uint32_t count = dtype->itemsize / 4, c;
    char *text = malloc(10 * (size_t)count + 1), *to = text;

    while (text && count && number_of(bytes + 4 * (count - 1), 4, dtype->order) == 0)
        count--;
    for (uint32_t i = 0; text && i < count; i++) {
        c = (uint32_t)number_of(bytes + 4 * i, 4, dtype->order);
        if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            to += sprintf(to, "\\U%08" PRIx32, c);
        else
            to = put_character(to, c);
    }
    if (text)
        *to = '\0';
    return text;
}

static char *raw_text(const struct dn_dtype *dtype, const unsigned char *bytes)
{
    char *text = malloc(4 * (size_t)dtype->itemsize + 4), *to = text;

    if (!text)
        return NULL;
    to += sprintf(to, "b'");
    for (uint32_t i = 0; i < dtype->itemsize; i++)
        to += sprintf(to, "\\x%02x", bytes[i]);
    strcpy(to, "'");
    return text;
}

char *element_text(const struct dn_dtype *dtype, const unsigned char *bytes, bool alone)
{
    char *text;

    switch (dtype->kind) {
    case 'M':
    case 'm':
        return time_text(dtype, bytes, alone);
    case 'V':
        return raw_text(dtype, bytes);
    case 'U':
        if (alone)
            return plain_text(dtype, bytes);
        text = fill_text(dtype, bytes);
        if (text)
            unescape(text);
        return text;
    default:
        return fill_text(dtype, bytes);
    }
}
