// SPDX-License-Identifier: Apache-2.0
/*
 * An HDF5 file as it was before a dataset was added to it, so that it can be left like that.
 *
 * As long as the new dataset has no name, libhdf5 changes two things: what the superblock says about the file's length,
 * and the file behind its old end. A failed close leaves the one without the other, and a file that nobody can open. (A
 * file that keeps a list of its free space is changed elsewhere too, and is not restored.)
 * HDF5 File Format Specification, II.A: the superblock is at byte 0, 512, 1024, 2048 and so on.
 *
 * Functions return 0 or a negative errno, without a text. No locks: an object belongs to one thread at a time.
 */
#ifndef HDF5_BEFORE_H
#define HDF5_BEFORE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct hdf5_before {
    int fd;         /* -1: no file */
    off_t size, at; /* of the file; of the superblock */
    unsigned char superblock[256]; /* and what follows */
    size_t length;  /* 0: not to be restored */
};

/** Before libhdf5 opens it. -EINVAL: it is no HDF5 file. To be ended with hdf5_before_end(), whatever is returned. */
int hdf5_before_look(struct hdf5_before *before, const char *path);

/** After libhdf5 has opened, and locked, it. Not `good`, or of another length by now: it is not to be restored. */
void hdf5_before_opened(struct hdf5_before *before, bool good);

/** Is there room for the groups on the way to a dataset? What is left of it goes by hdf5_before_release(), as long as
 *  the file is locked. */
int hdf5_before_reserve(const struct hdf5_before *before);
void hdf5_before_release(const struct hdf5_before *before);

/**
 * After libhdf5 has closed it. `restore` is for a dataset that has got no name.
 *
 * @param closed  it succeeded: others may have the file now, and then it stays as it is; else it is locked
 */
void hdf5_before_end(struct hdf5_before *before, bool restore, bool closed);

#endif
