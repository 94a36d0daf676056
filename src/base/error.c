// SPDX-License-Identifier: Apache-2.0
#include <dosna/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct {
    int code; /* 0: no text */
    char text[DN_ERROR_MAX];
    char system[128];
    double pause; /* before another try */
} last;

int dn_fail(int code, const char *format, ...)
{
    /* The arguments may hold the text that is replaced here. */
    char text[DN_ERROR_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(last.text, text, sizeof text);
    last.code = code;
    return code;
}

const char *dn_error_text(int code)
{
    if (last.code != 0 && last.code == code)
        return last.text;
    return strerror_r(code < 0 ? -code : code, last.system, sizeof last.system);
}

void dn_error_clear(void)
{
    last.code = 0;
    last.pause = 0;
}

void dn_retry_after(double seconds)
{
    last.pause = seconds;
}

double dn_retry_pause(void)
{
    return last.pause;
}
