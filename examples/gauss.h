// SPDX-License-Identifier: Apache-2.0
/*
 * A Gaussian filter: what scipy.ndimage.gaussian_filter1d(a, sigma, axis) does with its defaults, mode='reflect'
 * and truncate=4. Sums are in double precision.
 */
#ifndef EXAMPLES_GAUSS_H
#define EXAMPLES_GAUSS_H

#include <stddef.h>
#include <stdint.h>

struct gauss {
    size_t radius;   /* elements on each side that count */
    double *weights; /* radius + 1 of them: of the element itself, and of those at distance 1, 2, ... */
};

/** -EINVAL: sigma is not above 0, or absurd. Freed with gauss_free(). */
int gauss_init(struct gauss *gauss, double sigma);
void gauss_free(struct gauss *gauss);

/** Filter a row-major array of three axes in place, along one of them. -ENOMEM. From any thread. */
int gauss_filter(const struct gauss *gauss, float *array, const uint64_t *shape, int axis);

#endif
