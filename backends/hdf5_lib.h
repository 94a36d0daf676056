// SPDX-License-Identifier: Apache-2.0
/*
 * The one door to libhdf5.
 *
 * libhdf5 is not safe for threads, so every use of it, down to a macro such as H5T_IEEE_F32LE, stands
 * between hdf5_lock() and hdf5_unlock(), or in the child of hdf5_helper.h, which does all the reading. Only
 * metadata of files pass there, and the elements of files that need a conversion; the bytes of ordinary
 * chunk files never do.
 *
 * libhdf5 opens no file by name here. It reads through a descriptor that the caller opened and
 * checked, and what it writes is caught in memory as an image of the file.
 */
#ifndef DOSNA_HDF5_LIB_H
#define DOSNA_HDF5_LIB_H

#include <dosna/dtype.h>
#include <hdf5.h>
#include <stddef.h>
#include <stdint.h>

/** Take the lock, with libhdf5's own printing of errors off. */
void hdf5_lock(void);
void hdf5_unlock(void);

/** An identifier of any kind that is given back at the end of its scope. */
#define HDF5_ID __attribute__((cleanup(hdf5_release))) hid_t
void hdf5_release(hid_t *id);

/**
 * As dn_fail(), with libhdf5's reason for the last failure behind the text. If reading the file itself had
 * failed, its errno is returned in place of `code`.
 */
int hdf5_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Open the file behind `fd` for reading, under a shared lock (flock) as every reader of HDF5 takes it.
 * Release `*file` before `fd` is closed.
 * @return 0; -EAGAIN while a writer has it locked; `code` if it is no HDF5 file
 */
int hdf5_open_fd(int fd, int code, hid_t *file);

/** A file made in memory: its first bytes, and how long it would be on disk. */
struct hdf5_image {
    unsigned char *head;
    size_t room;   /* of head; what lies beyond is not kept */
    uint64_t size; /* of the whole file, known once the file is released */
};

/** Begin a new file, superblock version 0. Release `*file` to complete the image; free image->head. */
int hdf5_create_image(struct hdf5_image *image, size_t room, hid_t *file);

/**
 * The HDF5 type of an element type.
 * @param order  '<' or '>', in place of the type's own
 * @return 0; -ENOTSUP for a type that DosNa cannot keep in HDF5
 */
int hdf5_type(const struct dn_dtype *dtype, char order, hid_t *out);

/**
 * The type in memory to read elements of the file type `stored` into, for HDF5 to convert them.
 * @return 0; `code` where elements of that type cannot be meant
 */
int hdf5_memory_type(const struct dn_dtype *dtype, hid_t stored, int code, hid_t *out);

#endif
