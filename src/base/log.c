// SPDX-License-Identifier: Apache-2.0
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

typedef void (*sink_fn)(enum dn_log_level level, const char *line);

static void to_stderr(enum dn_log_level level, const char *line)
{
    (void)level;
    fprintf(stderr, "dosnafs: %s\n", line);
}

static _Atomic(sink_fn) sink = to_stderr;
static _Atomic int highest = DN_LOG_WARNING;

void dn_log_sink(sink_fn fn)
{
    atomic_store(&sink, fn ? fn : to_stderr);
}

void dn_log_level(enum dn_log_level level)
{
    atomic_store(&highest, (int)level);
}

void log_line(enum dn_log_level level, const char *format, ...)
{
    char line[1024];
    va_list args;

    if ((int)level > atomic_load_explicit(&highest, memory_order_relaxed))
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    atomic_load(&sink)(level, line);
}
