// SPDX-License-Identifier: Apache-2.0
/*
 * Chunk files: bytes of a chunk to an HDF5 file and back.
 *
 * All files that one writer makes of one dataset begin with the same bytes, and the chunk follows to the
 * end of the file. So libhdf5 makes the header once and every write is the header and the chunk. And
 * once libhdf5 has shown where in a file the chunk is, every file of the same size and header is read
 * without it: such a header is a *template*. Any other file is inspected by libhdf5, which reads and
 * converts what is not the dataset's own type in plain order.
 *
 * Any number of threads may call at once for one dataset.
 */
#ifndef DOSNA_HDF5_CHUNK_H
#define DOSNA_HDF5_CHUNK_H

#include <dosna/dtype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/** The HDF5 dataset that a chunk file holds the chunk in. */
#define HDF5_DATA "data"

#define HDF5_TEMPLATES 4

struct hdf5_template;

struct hdf5_chunks {
    const struct dn_desc *desc;
    uint64_t nbytes;                                  /* of a chunk */
    pthread_mutex_t lock;                             /* guards adding to what follows */
    struct hdf5_template *known[HDF5_TEMPLATES];      /* constant once counted */
    atomic_int count;
    struct hdf5_template *_Atomic own;                /* the header that is written; made when first needed */
    pthread_mutex_t first;                            /* held while the first file is inspected */
    atomic_bool inspected;                            /* one was */
};

/** `desc` must outlive it. */
void hdf5_chunks_init(struct hdf5_chunks *chunks, const struct dn_desc *desc);
void hdf5_chunks_clear(struct hdf5_chunks *chunks);

/**
 * Read a part of a chunk from its file, which has `size` bytes.
 * @return 0; -EIO: damaged, or no chunk of this dataset; -EAGAIN: locked by a writer
 */
int hdf5_chunks_read(struct hdf5_chunks *chunks, int fd, uint64_t size, uint64_t offset, void *buffer,
                     size_t length);

/** How many bytes of elements, of the dataset's itemsize, such a file holds. As hdf5_chunks_read(). */
int hdf5_chunks_length(struct hdf5_chunks *chunks, int fd, uint64_t size, uint64_t *nbytes);

/** Write a whole chunk, of chunks->nbytes bytes, to an empty file. 0 or a negative errno, with its text. */
int hdf5_chunks_write(struct hdf5_chunks *chunks, int fd, const void *buffer);

/** Can chunks of this description be stored at all? 0, -ENOTSUP, or another failure. */
int hdf5_chunks_check(const struct dn_desc *desc);

#endif
