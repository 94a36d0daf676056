// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int usage_fail(const char *format, ...)
{
    char text[DN_ERROR_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dn_fail(CLI_USAGE, "%s", text);
}

int usage_error(int error)
{
    return error ? usage_fail("%s", dn_error_text(error)) : 0;
}

int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

/* ---- numbers ---------------------------------------------------------------------------------------- */

int parse_extents(const char *what, const char *text, uint64_t *out)
{
    int count = dn_vector_parse(text, ",", out, DN_MAX_NDIM);

    if (count <= 0)
        return usage_fail("%s '%s': wanted are 1 to %d whole numbers with commas between them", what, text,
                          DN_MAX_NDIM);
    return count;
}

int parse_number(const char *what, const char *text, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return usage_fail("%s '%s' is no whole number", what, text);
    return 0;
}

/* The side of a cube of the elements that are left, axis by axis from the shortest, which gives what it does not
   need to the longer ones. */
void auto_chunk_size(struct dn_desc *desc)
{
    double elements = fmax(1, 1048576.0 / desc->dtype.itemsize);
    bool done[DN_MAX_NDIM] = {false};

    for (int left = desc->ndim; left > 0; left--) {
        double side = floor(pow(elements, 1.0 / left) + 1e-9);
        int shortest = -1;

        for (int i = 0; i < desc->ndim; i++)
            if (!done[i] && (shortest < 0 || desc->shape[i] < desc->shape[shortest]))
                shortest = i;
        done[shortest] = true;
        side = fmin(fmax(side, 1), (double)desc->shape[shortest]);
        desc->chunk_size[shortest] = (uint64_t)side;
        elements = fmax(1, elements / side);
    }
}

int choose_chunk_size(const struct cli *cli, struct dn_desc *desc, const char *otherwise)
{
    const char *text = has_option(cli, OPT_CHUNK_SIZE) ? cli->value[OPT_CHUNK_SIZE] : otherwise;
    int count;

    if (!text) {
        memcpy(desc->chunk_size, desc->shape, sizeof desc->chunk_size);
    } else if (strcmp(text, "auto") == 0) {
        auto_chunk_size(desc);
    } else {
        count = parse_extents("--chunk-size", text, desc->chunk_size);
        if (count < 0)
            return count;
        if (count != desc->ndim)
            return usage_fail("--chunk-size has %d axes and the shape has %d", count, desc->ndim);
    }
    return 0;
}

/* ---- text ------------------------------------------------------------------------------------------- */

const char *extents_text(const uint64_t *extents, int ndim, char text[DN_VECTOR_TEXT])
{
    dn_vector_format(extents, ndim, ", ", text, DN_VECTOR_TEXT);
    return text;
}

const char *part_text(const struct dn_part *part, char text[DN_VECTOR_TEXT])
{
    return extents_text(part->index, part->ndim, text);
}

const char *bytes_text(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    int unit = -1;

    if (bytes < 1024) {
        snprintf(text, 32, "%" PRIu64 " B", bytes);
        return text;
    }
    while (value >= 1023.95 && unit < 5) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, "%.1f %s", value, units[unit]);
    return text;
}

/* Bytes of the UTF-8 character (RFC 3629) at `s`; 0: it is none. */
static int utf8_length(const unsigned char *s)
{
    int n = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;

    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
        (*s == 0xf4 && s[1] > 0x8f))
        return 0; /* too long a form, half a surrogate pair, beyond the last character */
    return n;
}

void json_string(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    putchar('"');
    while (*s) {
        int n = utf8_length(s);

        if (!n)
            printf("\\udc%02x", *s); /* what Python's surrogateescape makes of such a byte */
        else if (*s == '"' || *s == '\\')
            printf("\\%c", *s);
        else if (*s < ' ')
            printf("\\u%04x", *s);
        else
            fwrite(s, 1, (size_t)n, stdout);
        s += n ? n : 1;
    }
    putchar('"');
}

void json_extents(const uint64_t *extents, int ndim)
{
    char text[DN_VECTOR_TEXT];

    printf("[%s]", extents_text(extents, ndim, text));
}

static char visible(char letter)
{
    return iscntrl((unsigned char)letter) ? '?' : letter;
}

void print_error(const struct cli *cli, const char *text)
{
    char line[DN_ERROR_MAX];

    snprintf(line, sizeof line, "%s", text);
    for (char *letter = line; *letter; letter++)
        *letter = visible(*letter);
    fprintf(stderr, "dosna: %s%s%s\n", cli->command ? cli->command->name : "", cli->command ? ": " : "", line);
}

void print_name(const char *name)
{
    bool terminal = isatty(STDOUT_FILENO);

    for (; *name; name++)
        putchar(terminal ? visible(*name) : *name);
    putchar('\n');
}

int fail_output(void)
{
    return dn_fail(errno == EPIPE ? CLI_NO_READER : -errno, "standard output: %s", strerror(errno));
}

void report_done(const struct cli *cli, const char *what, uint64_t chunks, uint64_t bytes, double seconds)
{
    char size[32], rate[32];

    if (!is_first(cli))
        return;
    if (cli->json) {
        fprintf(cli->output_taken ? stderr : stdout,
                "{\"chunks\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"seconds\": %.3f}\n", chunks, bytes, seconds);
    } else if (cli->verbose) {
        bytes_text((uint64_t)((double)bytes / fmax(seconds, 1e-9)), rate);
        fprintf(stderr, "%s: %" PRIu64 " chunks, %s in %.2f s, %s/s\n", what, chunks, bytes_text(bytes, size),
                seconds, rate);
    }
}

double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool confirmed(const struct cli *cli, const char *question)
{
    char answer[16] = "";

    if (has_option(cli, OPT_FORCE) || !isatty(STDIN_FILENO))
        return true;
    fprintf(stderr, "%s [y/N] ", question);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* ---- datasets ------------------------------------------------------------------------------------------ */

static int count_one(void *arg, const uint64_t *index, int ndim)
{
    (void)index;
    (void)ndim;
    ++*(int64_t *)arg;
    return 0;
}

int64_t count_stored(dn_dataset *dataset)
{
    int64_t count = 0;
    int error = dn_chunk_list(dataset, count_one, &count);

    return error ? error : count;
}

uint64_t setting_number(const struct cli *cli, const char *key)
{
    return strtoull(dn_config_get(cli->config, key), NULL, 10);
}

uint64_t chunks_in_use(const struct cli *cli, const struct dn_desc *desc)
{
    return setting_number(cli, "njobs") * dn_desc_chunk_nbytes(desc);
}

int finish_dataset(dn_dataset *dataset, int error)
{
    char text[DN_ERROR_MAX];
    int failed;

    snprintf(text, sizeof text, "%s", dn_error_text(error));
    failed = dataset ? dn_close(dataset) : 0;
    return error ? dn_fail(error, "%s", text) : failed;
}

int take_back(struct cli *cli, const char *name, int error)
{
    char text[DN_ERROR_MAX];

    snprintf(text, sizeof text, "%s", dn_error_text(error));
    begin_cleanup();
    if (dn_delete(cli->conn, name) == 0)
        return dn_fail(error, "%s; %s was removed", text, name);
    return dn_fail(error, "%s; %s could not be removed", text, name);
}

/* ---- signals --------------------------------------------------------------------------------------------- */

/* timeout(1) sends its signal to the process and to its group: what comes so soon is the same one again. */
#define ONE_SIGNAL 1.0 /* seconds */

static _Atomic double stop_time; /* of the first signal; 0: none came */
static void (*pipe_handler)(int); /* before catch_signals() */

static void on_signal(int number)
{
    double now = seconds_now(), none = 0;

    if (atomic_compare_exchange_strong(&stop_time, &none, now) || now - none < ONE_SIGNAL)
        return;
    signal(number, SIG_DFL);
    raise(number); /* when this function has returned */
}

bool interrupted(void)
{
    return atomic_load(&stop_time) != 0;
}

static bool is_interrupted(void *arg)
{
    (void)arg;
    return interrupted();
}

void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}, hangup;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* by nohup */
        sigaction(SIGHUP, &action, NULL);
    pipe_handler = signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    dn_cancel_hook(is_interrupted, NULL);
}

void die_without_reader(void)
{
    signal(SIGPIPE, pipe_handler);
    raise(SIGPIPE);
}

void begin_cleanup(void)
{
    dn_cancel_hook(NULL, NULL);
}
