// SPDX-License-Identifier: Apache-2.0
/* What the convolution leaves to look at. 0, or a negative errno with a text. */
#ifndef EXAMPLES_PICTURE_H
#define EXAMPLES_PICTURE_H

#include <stdint.h>

/** A row-major plane as a grey PNG file, black at its minimum and white at its maximum. */
int picture_write(const char *path, const float *plane, uint64_t height, uint64_t width);

struct curve {
    const char *label, *colour; /* as SVG names it */
    const double *y;            /* 0: no point there */
};

/** Curves over x, both logarithmic, as an SVG file. x is above 0. */
int plot_write(const char *path, const char *title, const char *x_label, const char *y_label,
               const struct curve *curves, int count, const double *x, int points);

#endif
