// SPDX-License-Identifier: Apache-2.0
#include "picture.h"

#include <dosna/error.h>
#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a plane ------------------------------------------------------------------------------------------ */

static void to_grey(const float *plane, unsigned char *grey, size_t elements)
{
    float low = plane[0], high = plane[0];

    for (size_t i = 1; i < elements; i++) {
        low = fminf(low, plane[i]);
        high = fmaxf(high, plane[i]);
    }
    for (size_t i = 0; i < elements; i++)
        grey[i] = high > low ? (unsigned char)lrintf((plane[i] - low) / (high - low) * 255) : 0;
}

int picture_write(const char *path, const float *plane, uint64_t height, uint64_t width)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_GRAY, .width = (png_uint_32)width,
                       .height = (png_uint_32)height};
    unsigned char *grey = malloc(height * width);
    int error = 0;

    if (!grey)
        return dn_fail(-ENOMEM, "out of memory");
    to_grey(plane, grey, height * width);
    if (!png_image_write_to_file(&image, path, 0, grey, 0, NULL))
        error = dn_fail(-EIO, "%s: %s", path, image.message);
    free(grey);
    return error;
}

/* ---- curves ------------------------------------------------------------------------------------------- */

enum { WIDTH = 640, HEIGHT = 400, LEFT = 70, RIGHT = 540, TOP = 40, BOTTOM = 350 };

struct axis {
    double low, high; /* powers of ten: logarithms of the ends */
    int from, to;     /* where they are drawn */
};

static double at(const struct axis *axis, double value)
{
    return axis->from + (axis->to - axis->from) * (log10(value) - axis->low) / (axis->high - axis->low);
}

static struct axis x_axis(const double *x, int points)
{
    double low = x[0], high = x[0];

    for (int i = 1; i < points; i++) {
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    return (struct axis){log10(low * 0.9), log10(high * 1.1), LEFT, RIGHT};
}

/* The whole powers of ten around all points. */
static struct axis y_axis(const struct curve *curves, int count, int points)
{
    struct axis axis = {HUGE_VAL, -HUGE_VAL, BOTTOM, TOP};

    for (int c = 0; c < count; c++)
        for (int i = 0; i < points; i++) {
            if (curves[c].y[i] > 0) {
                axis.low = fmin(axis.low, floor(log10(curves[c].y[i])));
                axis.high = fmax(axis.high, ceil(log10(curves[c].y[i])));
            }
        }
    if (axis.low > axis.high)
        axis.low = axis.high = 0;
    axis.high += axis.high == axis.low;
    return axis;
}

static void draw_axes(FILE *file, const struct axis *horizontal, const struct axis *vertical, const double *x, int points)
{
    for (double power = vertical->low; power <= vertical->high; power++)
        fprintf(file, "<path d='M%d %.1fH%d' stroke='#ddd'/><text x='%d' y='%.1f' text-anchor='end'>%g</text>\n", LEFT,
                at(vertical, pow(10, power)), RIGHT, LEFT - 6, at(vertical, pow(10, power)) + 4, pow(10, power));
    for (int i = 0; i < points; i++)
        fprintf(file, "<path d='M%.1f %dv5' stroke='black'/><text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n",
                at(horizontal, x[i]), BOTTOM, at(horizontal, x[i]), BOTTOM + 18, x[i]);
    fprintf(file, "<path d='M%d %dV%dH%d' stroke='black' fill='none'/>\n", LEFT, TOP, BOTTOM, RIGHT);
}

static void draw_curve(FILE *file, const struct curve *curve, int row, const struct axis *horizontal,
                       const struct axis *vertical, const double *x, int points)
{
    bool begun = false;

    fprintf(file, "<path fill='none' stroke='%s' stroke-width='2' d='", curve->colour);
    for (int i = 0; i < points; i++)
        if (curve->y[i] > 0) {
            fprintf(file, "%c%.1f %.1f", begun ? 'L' : 'M', at(horizontal, x[i]), at(vertical, curve->y[i]));
            begun = true;
        }
    fputs("'/>\n", file);
    for (int i = 0; i < points; i++)
        if (curve->y[i] > 0)
            fprintf(file, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", at(horizontal, x[i]),
                    at(vertical, curve->y[i]), curve->colour);
    fprintf(file, "<text x='%d' y='%d' fill='%s'>%s</text>\n", RIGHT + 16, TOP + 18 * row, curve->colour, curve->label);
}

int plot_write(const char *path, const char *title, const char *x_label, const char *y_label,
               const struct curve *curves, int count, const double *x, int points)
{
    struct axis horizontal = x_axis(x, points);
    struct axis vertical = y_axis(curves, count, points);
    FILE *file = fopen(path, "we");
    bool failed;

    if (!file)
        return dn_fail(-errno, "%s: %s", path, strerror(errno));
    fprintf(file, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' font-size='12'>\n"
            "<rect width='100%%' height='100%%' fill='white'/>\n<text x='%d' y='22' font-size='14'>%s</text>\n"
            "<text x='%d' y='%d' text-anchor='middle'>%s</text>\n<text x='8' y='%d'>%s</text>\n",
            WIDTH, HEIGHT, LEFT, title, (LEFT + RIGHT) / 2, BOTTOM + 38, x_label, TOP - 6, y_label);
    draw_axes(file, &horizontal, &vertical, x, points);
    for (int c = 0; c < count; c++)
        draw_curve(file, &curves[c], c, &horizontal, &vertical, x, points);
    fputs("</svg>\n", file);
    failed = ferror(file);
    return fclose(file) != 0 || failed ? dn_fail(-EIO, "%s cannot be written", path) : 0;
}
