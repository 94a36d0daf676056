// SPDX-License-Identifier: Apache-2.0
#include "result_file.h"

#include <dosna/error.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Write an attribute anew. `space` and `type` are closed. */
static int put_attribute(hid_t dataset, const char *name, hid_t space, hid_t type, const void *value)
{
    hid_t attribute = -1;
    int error = 0;

    if (H5Aexists(dataset, name) > 0)
        H5Adelete(dataset, name);
    attribute = H5Acreate2(dataset, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0 || H5Awrite(attribute, type, value) < 0)
        error = dn_fail(-EIO, "result file: cannot write the attribute %s", name);
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Tclose(type);
    H5Sclose(space);
    return error;
}

static hid_t vector(hsize_t count)
{
    return H5Screate_simple(1, &count, NULL);
}

static int put_label(hid_t dataset, const char *name, const char *label)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return put_attribute(dataset, name, H5Screate(H5S_SCALAR), type, &label);
}

static int put_numbers(hid_t dataset, const char *name, const uint64_t *numbers, int count)
{
    return put_attribute(dataset, name, vector((hsize_t)count), H5Tcopy(H5T_NATIVE_INT64), numbers);
}

static int put_tests(hid_t dataset)
{
    static const char names[RESULT_TESTS][4] = {
        [RESULT_DATA] = "DATA", [RESULT_3D] = "3D", [RESULT_1D] = "1D"};
    hid_t type = H5Tcopy(H5T_C_S1);

    H5Tset_size(type, sizeof names[0]);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    return put_attribute(dataset, "axis2_value", vector(RESULT_TESTS), type, names);
}

static int put_repeats(hid_t dataset, int repeats)
{
    uint64_t *numbers = calloc((size_t)repeats, sizeof *numbers);
    int error;

    if (!numbers)
        return dn_fail(-ENOMEM, "out of memory");
    for (int i = 0; i < repeats; i++)
        numbers[i] = (uint64_t)i;
    error = put_numbers(dataset, "axis3_value", numbers, repeats);
    free(numbers);
    return error;
}

static int put_axes(hid_t dataset, const struct result_axes *axes)
{
    static const char *const labels[][2] = {{"axis0_label", "Data Size"}, {"axis1_label", "Chunk Size"},
                                            {"axis2_label", "Tests"}, {"axis3_label", "# Tests"}};
    int error = 0;

    for (int i = 0; i < 4 && !error; i++)
        error = put_label(dataset, labels[i][0], labels[i][1]);
    if (!error)
        error = put_numbers(dataset, "axis0_value", axes->data_size, axes->data_sizes);
    if (!error)
        error = put_numbers(dataset, "axis1_value", axes->chunk_size, axes->chunk_sizes);
    if (!error)
        error = put_tests(dataset);
    return error ? error : put_repeats(dataset, axes->repeats);
}

static bool has_extents(hid_t dataset, const hsize_t wanted[4])
{
    hid_t space = H5Dget_space(dataset);
    hsize_t extents[4] = {0};
    bool equal = H5Sget_simple_extent_ndims(space) == 4 && H5Sget_simple_extent_dims(space, extents, NULL) == 4 &&
                 memcmp(extents, wanted, sizeof extents) == 0;

    H5Sclose(space);
    return equal;
}

static int open_dataset(struct result_file *result, const char *path, const char *name, const hsize_t extents[4])
{
    hid_t links = H5Pcreate(H5P_LINK_CREATE), space = H5Screate_simple(4, extents, NULL);
    int error = 0;

    result->dataset = H5Dopen2(result->file, name, H5P_DEFAULT);
    if (result->dataset >= 0 && !has_extents(result->dataset, extents))
        error = dn_fail(-EEXIST, "%s: %s is there already, of other sizes", path, name);
    H5Pset_create_intermediate_group(links, 1);
    if (result->dataset < 0)
        result->dataset = H5Dcreate2(result->file, name, H5T_IEEE_F32LE, space, links, H5P_DEFAULT, H5P_DEFAULT);
    if (result->dataset < 0)
        error = dn_fail(-EIO, "%s: cannot make %s", path, name);
    H5Sclose(space);
    H5Pclose(links);
    return error;
}

int result_open(struct result_file *result, const char *path, const char *group, unsigned processes,
                const struct result_axes *axes)
{
    const hsize_t extents[] = {(hsize_t)axes->data_sizes, (hsize_t)axes->chunk_sizes, RESULT_TESTS,
                               (hsize_t)axes->repeats};
    char name[256];
    int error;

    snprintf(name, sizeof name, "/%s/%u", group, processes);
    result->dataset = -1;
    result->file = access(path, F_OK) == 0 ? H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT)
                                           : H5Fcreate(path, H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
    if (result->file < 0)
        return dn_fail(-EIO, "%s: cannot be opened as an HDF5 file", path);
    error = open_dataset(result, path, name, extents);
    if (!error)
        error = put_axes(result->dataset, axes);
    if (error)
        result_close(result);
    return error;
}

int result_write(struct result_file *result, const float *seconds)
{
    if (H5Dwrite(result->dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, seconds) < 0 ||
        H5Fflush(result->file, H5F_SCOPE_GLOBAL) < 0)
        return dn_fail(-EIO, "cannot write to the result file");
    return 0;
}

void result_close(struct result_file *result)
{
    if (result->dataset >= 0)
        H5Dclose(result->dataset);
    if (result->file >= 0)
        H5Fclose(result->file);
    result->dataset = result->file = -1;
}
