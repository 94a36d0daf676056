// SPDX-License-Identifier: Apache-2.0
#include "settings.h"

#include "checked.h"
#include "number.h"
#include <dosna/error.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ROW(field, kind, text, about, ...) \
    { .name = #field, .type = DN_OPT_##kind, .default_text = text, \
      .offset = offsetof(struct settings, field), .help = about, __VA_ARGS__ }

const struct dn_option settings_rows[] = {
    ROW(backend, STRING, "hdf5", "Where the chunks are: ram, hdf5, ceph, s3 or sage"),
    ROW(engine, CHOICE, "threads", "Who runs the requests: cpu (one after the other), threads or mpi",
        .choices = "cpu|threads|mpi|jl=threads"),
    ROW(njobs, INT, "16", "Requests to the backend at once, 1 to 1024", .min = 1, .max = 1024),
    ROW(jlbackend, CHOICE, "threading", "Jobs of `dosna`: threading or multiprocessing",
        .choices = "threading|multiprocessing"),
    ROW(cache_size, SIZE, "1G", "Memory for chunk data, clean and written together; a hard bound"),
    ROW(prefetch, SIZE_PCT, "auto",
        "Bytes fetched ahead of a reader, or a share of cache_size; 0 turns it off"),
    ROW(cache, CHOICE, "auto",
        "Others' writes are seen after the next open (auto), at every read (never), or not (always)",
        .choices = "auto|always|never"),
    ROW(dirty_max, SIZE_PCT, "25%", "How much written data may wait in memory"),
    ROW(dirty_expire, SECONDS, "5", "How long written data may wait in memory, in seconds"),
    ROW(retries, INT, "5", "How often a failed request is tried again", .min = 0, .max = 1000),
    ROW(request_timeout, SECONDS, "30", "Time limit of one request, in seconds"),
    ROW(uid, INT, "-1", "Owner of all files; -1 is the mounting user", .min = -1, .max = UINT32_MAX - 1),
    ROW(gid, INT, "-1", "Group of all files; -1 is the mounting user's", .min = -1, .max = UINT32_MAX - 1),
    ROW(umask, OCTAL, "022", "Permissions that no file has, in octal", .min = 0, .max = 0777),
    ROW(ro, BOOL, "false", "Refuse every change"),
    ROW(allow_other, BOOL, "false", "Let other users in"),
    ROW(default_permissions, BOOL, "false", "Let the kernel check owner and mode"),
    ROW(views, STRING, "off", "Show the views directory in the root under this name", .choices = "off"),
    ROW(log_level, CHOICE, "warning", "Lines less important than this are not logged; SIGHUP reads it again",
        .choices = "error|warning|info|debug"),
    { .name = NULL },
};

static int64_t share(const struct settings *settings, int64_t value)
{
    uint64_t cache = settings->cache_size;
    uint64_t percent = (uint64_t)-value;

    if (value >= 0)
        return value;
    return (int64_t)(cache / 100 * percent + cache % 100 * percent / 100);
}

uint64_t settings_dirty_max(const struct settings *settings)
{
    int64_t value = settings->dirty_max == DN_SIZE_AUTO ? -25 : settings->dirty_max;

    return min_u64((uint64_t)share(settings, value), settings->cache_size);
}

int64_t settings_prefetch(const struct settings *settings)
{
    return settings->prefetch == DN_SIZE_AUTO ? DN_SIZE_AUTO : share(settings, settings->prefetch);
}

const struct dn_option *option_find(const struct dn_option *rows, const char *name)
{
    for (; rows && rows->name; rows++) {
        if (strcmp(rows->name, name) == 0)
            return rows;
    }
    return NULL;
}

/* ---- one value ------------------------------------------------------------------------------ */

/** Digits at the start of *text, which moves on. False: none, or beyond 2^63 − 1. */
static bool digits(const char **text, unsigned base, uint64_t *out)
{
    const char *at = *text;

    *out = 0;
    for (; *at >= '0' && *at < (char)('0' + base); at++) {
        if (!checked_mul(*out, base, out) || !checked_add(*out, (uint64_t)(*at - '0'), out))
            return false;
    }
    bool found = at > *text;
    *text = at;
    return found;
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const words[] = { "false", "true", "no", "yes", "off", "on", "0", "1" };

    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2;
            return true;
        }
    }
    return false;
}

static bool parse_int(const struct dn_option *row, const char *text, unsigned base, int64_t *out)
{
    bool minus = *text == '-';
    uint64_t value;

    text += minus || *text == '+';
    if (!digits(&text, base, &value) || *text)
        return false;
    *out = minus ? -(int64_t)value : (int64_t)value;
    return (row->min == 0 && row->max == 0) || (*out >= row->min && *out <= row->max);
}

static bool parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    const char *unit;

    if (!digits(&text, 10, out))
        return false;
    if (*text && (unit = strchr(units, toupper((unsigned char)*text)))) {
        if (!checked_mul(*out, UINT64_C(1) << (10 * (unit - units + 1)), out))
            return false;
        text++;
    }
    return *text == '\0';
}

static bool parse_size_pct(const char *text, int64_t *out)
{
    const char *rest = text;
    uint64_t value;

    if (strcmp(text, "auto") == 0) {
        *out = DN_SIZE_AUTO;
        return true;
    }
    if (digits(&rest, 10, &value) && strcmp(rest, "%") == 0) {
        *out = -(int64_t)value;
        return value <= 100;
    }
    if (!parse_size(text, &value))
        return false;
    *out = (int64_t)value;
    return true;
}

static bool parse_seconds(const char *text, double *out)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    *out = strtod_l(text, &end, number_locale());
    while (*end == ' ')
        end++;
    if (strcmp(end, "ms") == 0)
        *out /= 1000;
    else if (*end && strcmp(end, "s") != 0)
        return false;
    return *out <= 1e9;
}

/** Walk `choices`: the next word and, of an alias, the word it stands for. False: no more. */
struct choice {
    const char *word, *of;
    size_t word_length, of_length;
};

static bool next_choice(const char **choices, struct choice *out)
{
    size_t length = strcspn(*choices, "|");
    const char *equal = memchr(*choices, '=', length);

    if (length == 0)
        return false;
    *out = (struct choice){ .word = *choices, .word_length = length };
    if (equal) {
        out->word_length = (size_t)(equal - *choices);
        out->of = equal + 1;
        out->of_length = length - out->word_length - 1;
    }
    *choices += length;
    *choices += **choices == '|';
    return true;
}

/** The position of a word among those that are no aliases, or -1. */
static int choice_position(const char *choices, const char *text, size_t length)
{
    const char *rest = choices;
    struct choice choice;

    for (int i = 0; next_choice(&rest, &choice); i += !choice.of) {
        if (choice.word_length == length && strncmp(choice.word, text, length) == 0)
            return choice.of ? choice_position(choices, choice.of, choice.of_length) : i;
    }
    return -1;
}

static bool parse_string(const struct dn_option *row, const char *text, const char **out)
{
    bool none = *text == '\0' || strcmp(text, row->choices ? row->choices : "none") == 0;

    *out = none ? NULL : text;
    return true;
}

static bool parse(const struct dn_option *row, const char *text, void *value)
{
    switch (row->type) {
    case DN_OPT_STRING:
        return parse_string(row, text, value);
    case DN_OPT_BOOL:
        return parse_bool(text, value);
    case DN_OPT_INT:
        return parse_int(row, text, 10, value);
    case DN_OPT_OCTAL:
        return parse_int(row, text, 8, value);
    case DN_OPT_SIZE:
        return parse_size(text, value);
    case DN_OPT_SIZE_PCT:
        return parse_size_pct(text, value);
    case DN_OPT_SECONDS:
        return parse_seconds(text, value);
    case DN_OPT_CHOICE:
        *(int *)value = choice_position(row->choices, text, strlen(text));
        return *(int *)value >= 0;
    }
    return false;
}

static int refuse(const struct dn_option *row, const char *text)
{
    static const char *const wanted[] = {
        [DN_OPT_STRING] = "a text",
        [DN_OPT_BOOL] = "true or false",
        [DN_OPT_INT] = "a whole number",
        [DN_OPT_OCTAL] = "an octal number",
        [DN_OPT_SIZE] = "bytes, with K, M, G or T",
        [DN_OPT_SIZE_PCT] = "bytes, a percentage or auto",
        [DN_OPT_SECONDS] = "seconds",
        [DN_OPT_CHOICE] = "one of",
    };
    char range[128] = "";

    if (row->type == DN_OPT_CHOICE)
        snprintf(range, sizeof range, " %s", row->choices);
    else if (row->type == DN_OPT_OCTAL && row->max != 0)
        snprintf(range, sizeof range, " from %" PRIo64 " to %" PRIo64, row->min, row->max);
    else if (row->min != 0 || row->max != 0)
        snprintf(range, sizeof range, " from %" PRId64 " to %" PRId64, row->min, row->max);
    return dn_fail(-EINVAL, "%s = %s: wanted is %s%s", row->name, row->secret ? "***" : text,
                   wanted[row->type], range);
}

int option_parse(const struct dn_option *row, const char *text, void *base)
{
    /* Parsed aside, so that a bad value leaves the struct as it was. */
    union {
        const char *string;
        bool boolean;
        int choice;
        int64_t integer;
        uint64_t size;
        double seconds;
    } value;
    size_t size = row->type == DN_OPT_BOOL     ? sizeof value.boolean
                  : row->type == DN_OPT_CHOICE ? sizeof value.choice
                  : row->type == DN_OPT_STRING ? sizeof value.string
                                               : sizeof value.integer;

    if (!parse(row, text, &value))
        return refuse(row, text);
    memcpy((char *)base + row->offset, &value, size);
    return 0;
}

/* ---- a value as text ------------------------------------------------------------------------ */

static void format_choice(const char *choices, int position, char *text, size_t size)
{
    struct choice choice;

    while (next_choice(&choices, &choice)) {
        if (!choice.of && position-- == 0) {
            snprintf(text, size, "%.*s", (int)choice.word_length, choice.word);
            return;
        }
    }
    snprintf(text, size, "?");
}

static void format_size_pct(int64_t value, char *text, size_t size)
{
    if (value == DN_SIZE_AUTO)
        snprintf(text, size, "auto");
    else if (value < 0)
        snprintf(text, size, "%" PRId64 "%%", -value);
    else
        snprintf(text, size, "%" PRId64, value);
}

void option_format(const struct dn_option *row, const void *base, char *text, size_t size)
{
    const void *value = (const char *)base + row->offset;

    switch (row->type) {
    case DN_OPT_STRING: {
        const char *string = *(const char *const *)value;
        const char *none = row->choices ? row->choices : "none";
        snprintf(text, size, "%s", string ? string : none);
        return;
    }
    case DN_OPT_BOOL:
        snprintf(text, size, "%s", *(const bool *)value ? "true" : "false");
        return;
    case DN_OPT_INT:
        snprintf(text, size, "%" PRId64, *(const int64_t *)value);
        return;
    case DN_OPT_OCTAL:
        snprintf(text, size, "0%" PRIo64, *(const int64_t *)value);
        return;
    case DN_OPT_SIZE:
        snprintf(text, size, "%" PRIu64, *(const uint64_t *)value);
        return;
    case DN_OPT_SIZE_PCT:
        format_size_pct(*(const int64_t *)value, text, size);
        return;
    case DN_OPT_SECONDS:
        number_print(text, size, "%.15g", *(const double *)value);
        return;
    case DN_OPT_CHOICE:
        format_choice(row->choices, *(const int *)value, text, size);
        return;
    }
}
