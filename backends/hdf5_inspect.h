// SPDX-License-Identifier: Apache-2.0
/*
 * Chunk files that libhdf5 must look at, which it does in the child of hdf5_helper.h: where a file has its
 * chunk, or the elements themselves where they are not as the dataset's own type stands in memory.
 *
 * Nothing is remembered here. Any number of threads may call; they wait for each other.
 */
#ifndef DOSNA_HDF5_INSPECT_H
#define DOSNA_HDF5_INSPECT_H

#include <dosna/dtype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What the child says of a file: values to be doubted. */
struct hdf5_found {
    bool is_plain;   /* the chunk's bytes stand as they are from `offset` of the file, to be read by the caller */
    uint64_t offset;
    uint32_t stamp;  /* time of the last change that the file tells, or 0; with is_plain only */
};

/**
 * Find a chunk of description `desc` in the file behind `fd`. Where its bytes are not to be had as they are, read
 * `length` of them, from byte `offset` of the chunk on, into `buffer`, converted.
 *
 * @return 0 and *found; -EIO: damaged, or no chunk of this dataset; -EAGAIN: locked by a writer; -ENOMEM; -ETIMEDOUT
 */
int hdf5_inspect(const struct dn_desc *desc, int fd, uint64_t offset, void *buffer, size_t length,
                 struct hdf5_found *found);

/**
 * How many bytes the file's elements are, of `itemsize` bytes each; UINT64_MAX where they are beyond counting.
 * @return as hdf5_inspect()
 */
int hdf5_measure(uint32_t itemsize, int fd, uint64_t *nbytes);

#endif
