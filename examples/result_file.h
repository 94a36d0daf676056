// SPDX-License-Identifier: Apache-2.0
/*
 * result.h5 as DosNa's convolution example leaves it: in the group of the backend's name a dataset of the number of
 * processes' name, float32 seconds by data size, chunk size, test (DATA, 3D, 1D) and repetition. Its attributes
 * axisN_label and axisN_value say what stands along each axis. What was not measured is 0.
 */
#ifndef EXAMPLES_RESULT_FILE_H
#define EXAMPLES_RESULT_FILE_H

#include <hdf5.h>
#include <stdint.h>

enum { RESULT_DATA, RESULT_3D, RESULT_1D, RESULT_TESTS };

struct result_axes {
    int data_sizes, chunk_sizes, repeats;
    const uint64_t *data_size, *chunk_size; /* the values along the first two axes */
};

/** Position of one number in `seconds`. */
static inline size_t result_at(const struct result_axes *axes, int data, int chunk, int test, int repeat)
{
    return (size_t)(((data * axes->chunk_sizes + chunk) * RESULT_TESTS + test) * axes->repeats + repeat);
}

struct result_file {
    hid_t file, dataset;
};

/**
 * Open the file, or make it, and in it /group/processes. What else it holds stays.
 *
 * @return 0; -EEXIST: there is such a dataset with other extents; -EIO
 */
int result_open(struct result_file *result, const char *path, const char *group, unsigned processes,
                const struct result_axes *axes);
/** Write all of it and flush. */
int result_write(struct result_file *result, const float *seconds);
void result_close(struct result_file *result);

#endif
