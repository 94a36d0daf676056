// SPDX-License-Identifier: Apache-2.0
#include "volume_file.h"

#include <dosna/error.h>
#include <errno.h>
#include <stdlib.h>

static int transfer_box(hid_t data, const uint64_t *start, const uint64_t *count, float *box, bool write)
{
    const hsize_t from[] = {start[0], start[1], start[2]}, extents[] = {count[0], count[1], count[2]};
    hid_t there = H5Dget_space(data), here = H5Screate_simple(3, extents, NULL);
    herr_t status = H5Sselect_hyperslab(there, H5S_SELECT_SET, from, NULL, extents, NULL);

    if (status >= 0)
        status = write ? H5Dwrite(data, H5T_NATIVE_FLOAT, here, there, H5P_DEFAULT, box)
                       : H5Dread(data, H5T_NATIVE_FLOAT, here, there, H5P_DEFAULT, box);
    H5Sclose(here);
    H5Sclose(there);
    return status < 0 ? dn_fail(-EIO, "the temporary file cannot be %s", write ? "written" : "read") : 0;
}

static int write_planes(hid_t data, uint64_t extent)
{
    const uint64_t count[] = {1, extent, extent};
    uint64_t state = extent;
    float *plane = malloc(extent * extent * sizeof *plane);
    int error = plane ? 0 : dn_fail(-ENOMEM, "out of memory");

    for (uint64_t z = 0; z < extent && !error; z++) {
        const uint64_t start[] = {z, 0, 0};
        for (uint64_t i = 0; i < extent * extent; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            plane[i] = (float)(state >> 40) / (1 << 24);
        }
        error = transfer_box(data, start, count, plane, true);
    }
    free(plane);
    return error;
}

int volume_make(const char *path, uint64_t extent)
{
    const hsize_t extents[] = {extent, extent, extent};
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space, data;
    int error;

    if (file < 0)
        return dn_fail(-EIO, "%s cannot be made", path);
    space = H5Screate_simple(3, extents, NULL);
    data = H5Dcreate2(file, "data", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    error = data < 0 ? dn_fail(-EIO, "%s cannot be written", path) : write_planes(data, extent);
    H5Sclose(space);
    if (data >= 0)
        H5Dclose(data);
    if (H5Fclose(file) < 0 && !error)
        error = dn_fail(-EIO, "%s cannot be written", path);
    return error;
}

int volume_open(struct volume_file *volume, const char *path)
{
    volume->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (volume->file < 0)
        return dn_fail(-EIO, "%s cannot be opened", path);
    volume->data = H5Dopen2(volume->file, "data", H5P_DEFAULT);
    if (volume->data < 0) {
        H5Fclose(volume->file);
        return dn_fail(-EIO, "%s holds no /data", path);
    }
    pthread_mutex_init(&volume->lock, NULL);
    return 0;
}

int volume_read(struct volume_file *volume, const uint64_t *start, const uint64_t *count, float *box)
{
    int error;

    pthread_mutex_lock(&volume->lock);
    error = transfer_box(volume->data, start, count, box, false);
    pthread_mutex_unlock(&volume->lock);
    return error;
}

void volume_close(struct volume_file *volume)
{
    H5Dclose(volume->data);
    H5Fclose(volume->file);
    pthread_mutex_destroy(&volume->lock);
}
