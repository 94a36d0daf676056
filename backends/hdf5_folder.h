// SPDX-License-Identifier: Apache-2.0
/*
 * Folders and names of the hdf5 backend: which folder a dataset's name stands for, which chunk a file
 * name stands for, and walks over both.
 *
 *   CONNECTION/NAME/dataset.h5           the description; NAME may hold '/': nested folders
 *   CONNECTION/NAME/chunk_I_J_….h5       a chunk, decimal, no leading zeros
 *   CONNECTION/NAME/.dosnafs-PID-N.tmp   a file on its way to one of the above
 *
 * Everything is reached from the connection's descriptor and stays beneath it: no name and no symbolic
 * link leads out. No state, no locks; any thread may call.
 */
#ifndef DOSNA_HDF5_FOLDER_H
#define DOSNA_HDF5_FOLDER_H

#include <dosna/backend.h>
#include <limits.h>

#define HDF5_META "dataset.h5"
/** Room for any chunk's or temporary file's name. */
#define HDF5_FILE_NAME (32 + DN_MAX_NDIM * 21)

/** The folder that a connection's name stands for, as an O_PATH descriptor. -ENOENT: no folder there. */
int hdf5_folder_connect(const char *directory, const char *connection);

/** -EINVAL for a name that no dataset can have, -ENAMETOOLONG for one too long. */
int hdf5_folder_check(const char *name);

/** A dataset's folder, open for reading. -ENOENT: no such folder. */
int hdf5_folder_open(int root, const char *name);

/**
 * The folder that holds a dataset's folder, as an O_PATH descriptor.
 * @param last  out: the last component, a part of `name`
 * @return a descriptor; -EINVAL if that is a dataset's folder itself and `for_new` is set; -ENOENT
 */
int hdf5_folder_parent(int root, const char *name, bool for_new, const char **last);

/** Does a folder hold a dataset? `name` is relative to `dir`. 1, 0 or negative. */
int hdf5_folder_is_dataset(int dir, const char *name);

/** Every dataset beneath a folder, by the rules of dn_backend.list_datasets. */
int hdf5_folder_list(int root, dn_name_fn fn, void *arg);

/** Each entry of a dataset's folder but "." and "..". A non-zero from `fn` stops and is returned. */
typedef int (*hdf5_entry_fn)(void *arg, const char *file);
int hdf5_folder_each(int dir, hdf5_entry_fn fn, void *arg);

/** The file name of a chunk; `file` has HDF5_FILE_NAME bytes. */
void hdf5_chunk_name(const struct dn_chunk_id *id, char *file);

/**
 * The other way. Positions are clamped to int64; strays may be negative.
 * @return ndim, or 0 if this is not exactly a chunk's name
 */
int hdf5_chunk_parse(const char *file, int64_t index[DN_MAX_NDIM]);

/**
 * Create a temporary file in a folder, empty and open for reading and writing.
 * @param file  out: its name, HDF5_FILE_NAME bytes
 * @return a descriptor, or a negative errno without a text
 */
int hdf5_temporary_create(int dir, char *file);
/** Is that the name of such a file? */
bool hdf5_temporary_is(const char *file);

#endif
