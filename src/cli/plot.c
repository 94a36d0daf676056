// SPDX-License-Identifier: Apache-2.0
#include "plot.h"
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 640
#define HEIGHT 400
#define LEFT 70
#define RIGHT 530
#define TOP 20
#define BOTTOM 360
#define STEPS 5

/* Letters of 3 by 5 pixels, a row in three bits, top row first. */
static const struct {
    char letter;
    unsigned char row[5];
} font[] = {
    {'0', {7, 5, 5, 5, 7}}, {'1', {2, 6, 2, 2, 7}}, {'2', {7, 1, 7, 4, 7}}, {'3', {7, 1, 7, 1, 7}},
    {'4', {5, 5, 7, 1, 1}}, {'5', {7, 4, 7, 1, 7}}, {'6', {7, 4, 7, 5, 7}}, {'7', {7, 1, 1, 1, 1}},
    {'8', {7, 5, 7, 5, 7}}, {'9', {7, 5, 7, 1, 7}}, {'A', {2, 5, 7, 5, 5}}, {'B', {6, 5, 6, 5, 6}},
    {'D', {6, 5, 5, 5, 6}}, {'E', {7, 4, 6, 4, 7}}, {'I', {7, 2, 2, 2, 7}}, {'M', {5, 7, 7, 5, 5}},
    {'R', {6, 5, 6, 5, 5}}, {'S', {7, 4, 7, 1, 7}}, {'T', {7, 2, 2, 2, 2}}, {'W', {5, 5, 7, 7, 5}},
    {'/', {1, 1, 2, 4, 4}},
};

static void dot(unsigned char *pixels, int x, int y, const unsigned char *colour)
{
    if (x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT)
        memcpy(pixels + 3 * (y * WIDTH + x), colour, 3);
}

static void draw_line(unsigned char *pixels, double x0, double y0, double x1, double y1, const unsigned char *colour)
{
    int steps = (int)fmax(fabs(x1 - x0), fabs(y1 - y0)) + 1;

    for (int i = 0; i <= steps; i++) {
        int x = (int)lrint(x0 + (x1 - x0) * i / steps), y = (int)lrint(y0 + (y1 - y0) * i / steps);
        dot(pixels, x, y, colour);
        dot(pixels, x, y + 1, colour);
    }
}

static void draw_text(unsigned char *pixels, int x, int y, const char *text, const unsigned char *colour)
{
    for (; *text; text++, x += 8)
        for (size_t f = 0; f < sizeof font / sizeof *font; f++)
            for (int i = 0; font[f].letter == *text && i < 5 * 3 * 4; i++)
                if (font[f].row[i / 12] >> (2 - i / 4 % 3) & 1)
                    dot(pixels, x + i / 4 % 3 * 2 + i % 2, y + i / 12 * 2 + i / 2 % 2, colour);
}

/* The next 1, 2 or 5 times a power of ten. */
static double round_up(double value)
{
    double power = pow(10, floor(log10(value)));

    return value <= power ? power : value <= 2 * power ? 2 * power : value <= 5 * power ? 5 * power : 10 * power;
}

static double height_of(double value, double top)
{
    return BOTTOM - (BOTTOM - TOP) * value / top;
}

static double place_of(size_t i, size_t points)
{
    return LEFT + 20 + (RIGHT - LEFT - 40) * (points > 1 ? (double)i / (double)(points - 1) : 0.5);
}

static void draw_axes(unsigned char *pixels, const double *x, size_t points, double top)
{
    static const unsigned char black[3] = {0}, grey[3] = {220, 220, 220};
    char text[32];

    for (int i = 0; i <= STEPS; i++) {
        double y = height_of(top * i / STEPS, top);
        draw_line(pixels, LEFT, y, RIGHT, y, i ? grey : black);
        snprintf(text, sizeof text, "%7.0f", top * i / STEPS);
        draw_text(pixels, 8, (int)y - 5, text, black);
    }
    draw_line(pixels, LEFT, TOP, LEFT, BOTTOM, black);
    draw_text(pixels, 8, 2, "MIB/S", black);
    for (size_t i = 0; i < points; i++) {
        snprintf(text, sizeof text, "%.0f", x[i]);
        draw_text(pixels, (int)place_of(i, points) - 8, BOTTOM + 10, text, black);
    }
}

int plot_write(const char *path, bool force, const struct plot_line *lines, size_t count, const double *x,
               size_t points)
{
    unsigned char *pixels = malloc(3 * WIDTH * HEIGHT);
    double top = 1;
    int error;

    if (!pixels)
        return no_memory();
    memset(pixels, 255, 3 * WIDTH * HEIGHT);
    for (size_t l = 0; l < count; l++)
        for (size_t i = 0; i < points; i++)
            top = fmax(top, lines[l].value[i]);
    top = round_up(top);
    draw_axes(pixels, x, points, top);
    for (size_t l = 0; l < count; l++) {
        for (size_t i = 1; i < points; i++)
            draw_line(pixels, place_of(i - 1, points), height_of(lines[l].value[i - 1], top), place_of(i, points),
                      height_of(lines[l].value[i], top), lines[l].colour);
        draw_text(pixels, RIGHT + 15, TOP + 20 * (int)l, lines[l].label, lines[l].colour);
    }
    error = png_write(path, force, WIDTH, HEIGHT, 3, pixels);
    free(pixels);
    return error;
}
