// SPDX-License-Identifier: Apache-2.0
#include "gauss.h"

#include <dosna/error.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TRUNCATE 4.0
#define BLOCK 2048 /* elements whose sums are in the processor's nearest cache */

int gauss_init(struct gauss *gauss, double sigma)
{
    double sum = 0;

    if (!(sigma > 0 && sigma < 1e4))
        return dn_fail(-EINVAL, "sigma is %g and has to be above 0 and below 10000", sigma);
    gauss->radius = (size_t)(TRUNCATE * sigma + 0.5);
    gauss->weights = malloc((gauss->radius + 1) * sizeof *gauss->weights);
    if (!gauss->weights)
        return dn_fail(-ENOMEM, "out of memory");
    for (size_t i = 0; i <= gauss->radius; i++) {
        gauss->weights[i] = exp(-0.5 / (sigma * sigma) * (double)(i * i));
        sum += i ? 2 * gauss->weights[i] : gauss->weights[i];
    }
    for (size_t i = 0; i <= gauss->radius; i++)
        gauss->weights[i] /= sum;
    return 0;
}

void gauss_free(struct gauss *gauss)
{
    free(gauss->weights);
    gauss->weights = NULL;
}

/* Where element i of d c b a | a b c d | d c b a stands in a b c d; i counts from the first of them. */
static size_t reflect(size_t i, size_t radius, size_t n)
{
    size_t period = 2 * n, at = (i + period - radius % period) % period;

    return at < n ? at : period - 1 - at;
}

/* Sums of `count` neighbouring elements; from[0] is the first of them, and those at distance i are i · step away. */
static void sum_block(const struct gauss *gauss, const float *from, size_t step, float *to, size_t count)
{
    double sums[BLOCK];

    for (size_t j = 0; j < count; j++)
        sums[j] = gauss->weights[0] * (double)from[j];
    for (size_t i = 1; i <= gauss->radius; i++) {
        const float *before = from - i * step, *after = from + i * step;
        for (size_t j = 0; j < count; j++)
            sums[j] += gauss->weights[i] * ((double)before[j] + (double)after[j]);
    }
    for (size_t j = 0; j < count; j++)
        to[j] = (float)sums[j];
}

/* Filter n rows of `step` elements each along the rows' number. `padded` has room for n + 2 · radius rows. */
static void filter_rows(const struct gauss *gauss, float *rows, size_t n, size_t step, float *padded)
{
    for (size_t i = 0; i < n + 2 * gauss->radius; i++)
        memcpy(padded + i * step, rows + reflect(i, gauss->radius, n) * step, step * sizeof *rows);
    for (size_t at = 0; at < n * step; at += BLOCK) {
        size_t count = n * step - at < BLOCK ? n * step - at : BLOCK;
        sum_block(gauss, padded + gauss->radius * step + at, step, rows + at, count);
    }
}

int gauss_filter(const struct gauss *gauss, float *array, const uint64_t *shape, int axis)
{
    size_t outer = 1, n = shape[axis], step = 1;
    float *padded;

    for (int i = 0; i < axis; i++)
        outer *= shape[i];
    for (int i = axis + 1; i < 3; i++)
        step *= shape[i];
    padded = malloc((n + 2 * gauss->radius) * step * sizeof *padded);
    if (!padded)
        return dn_fail(-ENOMEM, "no memory to filter %zu rows of %zu elements", n, step);
    for (size_t i = 0; i < outer; i++)
        filter_rows(gauss, array + i * n * step, n, step, padded);
    free(padded);
    return 0;
}
