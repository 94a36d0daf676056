// SPDX-License-Identifier: Apache-2.0
/* An HDF5 file with one cube of float32, /data: what the convolution loads. libhdf5 takes one call at a time. */
#ifndef EXAMPLES_VOLUME_FILE_H
#define EXAMPLES_VOLUME_FILE_H

#include <hdf5.h>
#include <pthread.h>
#include <stdint.h>

struct volume_file {
    hid_t file, data;
    pthread_mutex_t lock;
};

/** Make a file of extent³ random numbers, evenly spread over [0, 1). The same ones for each extent. */
int volume_make(const char *path, uint64_t extent);

int volume_open(struct volume_file *volume, const char *path);
/** Read a box, row-major. From any thread. */
int volume_read(struct volume_file *volume, const uint64_t *start, const uint64_t *count, float *box);
void volume_close(struct volume_file *volume);

#endif
