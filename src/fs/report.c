// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#define LINE_MAX_BYTES 1024
#define REPEAT_SECONDS 60
#define REMEMBERED 64 /* lines of which a repetition is known */

static _Atomic int highest = DN_LOG_WARNING;
static atomic_bool in_background;

static void sink(enum dn_log_level level, const char *line)
{
    static const int priorities[] = {
        [DN_LOG_ERROR] = LOG_ERR,
        [DN_LOG_WARNING] = LOG_WARNING,
        [DN_LOG_INFO] = LOG_INFO,
        [DN_LOG_DEBUG] = LOG_DEBUG,
    };

    if (atomic_load(&in_background))
        syslog(priorities[level], "%s", line);
    else
        fprintf(stderr, "dosnafs: %s\n", line);
}

void report_to_syslog(bool background)
{
    if (background)
        openlog("dosnafs", LOG_PID, LOG_DAEMON);
    atomic_store(&in_background, background);
    dn_log_sink(sink);
}

void report_configured(const dn_config *config)
{
    static const char *const names[] = { "error", "warning", "info", "debug" };
    const char *level = dn_config_get(config, "log_level");

    for (int i = 0; level && i < (int)(sizeof names / sizeof *names); i++) {
        if (strcmp(level, names[i]) == 0) {
            atomic_store(&highest, i);
            dn_log_level((enum dn_log_level)i);
        }
    }
}

static void clean(char *line)
{
    for (; *line; line++) {
        if ((unsigned char)*line < ' ' || *line == 0x7f)
            *line = '?';
    }
}

void report(enum dn_log_level level, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;

    if ((int)level > atomic_load(&highest))
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    clean(line);
    sink(level, line);
}

static uint64_t hash(const char *text)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);

    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return value;
}

/** Was this line said within the last minute? Remembers it as said now if not. */
static bool repeated(const char *line)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        uint64_t hash;
        time_t until;
    } said[REMEMBERED];
    uint64_t value = hash(line);
    unsigned slot = value % REMEMBERED;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    pthread_mutex_lock(&lock);
    bool again = said[slot].hash == value && now.tv_sec < said[slot].until;
    if (!again) {
        said[slot].hash = value;
        said[slot].until = now.tv_sec + REPEAT_SECONDS;
    }
    pthread_mutex_unlock(&lock);
    return again;
}

void report_failure(const char *what, const char *name, int code)
{
    char line[LINE_MAX_BYTES];

    snprintf(line, sizeof line, "%s %s: %s", what, name, dn_error_text(code));
    clean(line);
    if (!repeated(line))
        report(DN_LOG_ERROR, "%s", line);
}

bool report_is_trouble(int code)
{
    switch (code) {
    case -EIO:
    case -EPROTO:
    case -ETIMEDOUT:
    case -EACCES:
    case -ENOMEM:
    case -EDQUOT:
    case -ESTALE:
    case -ECONNRESET:
        return true;
    default:
        return false;
    }
}

int report_errno(int code)
{
    return code == -EPROTO ? EIO : -code;
}
