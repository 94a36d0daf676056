// SPDX-License-Identifier: Apache-2.0
/*
 * Strays: files in a dataset's folder that are chunks by name, but of no place in the grid, and temporary files
 * whose writer is no more (a day old). What is neither by its name is somebody else's, and never touched.
 *
 * `dir` is the dataset's folder, open for reading. No state, no locks; any thread may call.
 */
#ifndef DOSNA_HDF5_STRAYS_H
#define DOSNA_HDF5_STRAYS_H

#include <dosna/backend.h>

/** Give the file name of each stray. A non-zero from `fn` stops and is returned. */
int hdf5_strays_list(int dir, const struct dn_desc *desc, dn_name_fn fn, void *arg);

/**
 * Remove the strays or, with `desc` NULL, all chunks and temporary files, of whatever age.
 * @param removed  out: how many were, also when it fails
 * @return 0, or what removing a file or reading the folder failed with
 */
int hdf5_strays_remove(int dir, const struct dn_desc *desc, int *removed);

#endif
