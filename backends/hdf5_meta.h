// SPDX-License-Identifier: Apache-2.0
/*
 * dataset.h5: a description as attributes of the root group, and back.
 *
 * The writer leaves what DosNa leaves, byte types, order and character sets included. The reader takes
 * any integers and any string, trusts shape, chunk_size, dtype and fillvalue, and ignores chunk_grid,
 * which follows from them. It bounds what it allocates by what a description can hold.
 */
#ifndef DOSNA_HDF5_META_H
#define DOSNA_HDF5_META_H

#include <dosna/dtype.h>
#include <pthread.h>
#include <sys/stat.h>

#define HDF5_META_SLOTS 64

/** The descriptions read last, by the state of the files that they were read from. */
struct hdf5_meta_cache {
    pthread_mutex_t lock;
    struct hdf5_meta_slot {
        struct stat file;
        struct dn_desc desc; /* ndim 0: free */
    } slots[HDF5_META_SLOTS];
};

void hdf5_meta_cache_init(struct hdf5_meta_cache *cache);
void hdf5_meta_cache_clear(struct hdf5_meta_cache *cache);

/**
 * Make a new file in `dir` that describes a dataset; durable when it returns.
 * @return 0; -EEXIST; -ENOTSUP: hdf5 cannot hold the type; with nothing left behind
 */
int hdf5_meta_create(int dir, const char *label, const struct dn_desc *desc);

/**
 * Read a description from an open file, or remember it if the file is as it was.
 * @return 0 and *desc, the caller's to clear; -EPROTO: no readable description; -EAGAIN: locked
 */
int hdf5_meta_read(struct hdf5_meta_cache *cache, int fd, const char *label, struct dn_desc *desc);

#endif
