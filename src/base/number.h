// SPDX-License-Identifier: Apache-2.0
/* Numbers as text, with a point whatever the host program's locale says. */
#ifndef DOSNA_NUMBER_H
#define DOSNA_NUMBER_H

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/** The C locale. glibc keeps one for everybody: nothing to free, cannot fail. */
static inline locale_t number_locale(void)
{
    return newlocale(LC_ALL_MASK, "C", NULL);
}

/** As snprintf(). */
__attribute__((format(printf, 3, 4))) static inline int number_print(char *text, size_t size,
                                                                     const char *format, ...)
{
    locale_t before = uselocale(number_locale());
    va_list args;

    va_start(args, format);
    int length = vsnprintf(text, size, format, args);
    va_end(args);
    uselocale(before);
    return length;
}

#endif
