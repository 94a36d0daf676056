// SPDX-License-Identifier: Apache-2.0
/* A plot of a few lines as a PNG file: x is spread evenly, y begins at 0. No state; any thread may call. */
#ifndef PLOT_H
#define PLOT_H

#include <stdbool.h>
#include <stddef.h>

struct plot_line {
    const char *label; /* capital letters and digits */
    unsigned char colour[3];
    const double *value;
};

/** `x` labels the `points` positions of every line. As png_write(): 0 or negative errno, with a text. */
int plot_write(const char *path, bool force, const struct plot_line *lines, size_t count, const double *x,
               size_t points);

#endif
