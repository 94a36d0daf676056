// SPDX-License-Identifier: Apache-2.0
/*
 * The views directory (.dosnafs/views, and under its name in the root): what its names mean, and the files.
 *
 *   ENTRY EXPRESSION SUFFIX    ENTRY as the dataset's directory is called (names.h), EXPRESSION as dn_slice_parse()
 *                              reads it, "" for the whole, SUFFIX one of src/view's. A dataset whose name is
 *                              longer wins: with datasets a and a.T, a.T.npy is the second one's.
 *   ENTRY EXPRESSION .zarr/    .zarray, .zattrs, and the chunks
 *   .zgroup                    makes the directory a Zarr group
 *
 * Only whole datasets are listed. Every lookup and every open asks for the dataset anew, so that a view of what is
 * gone is gone, and of what was replaced shows the new one.
 *
 * Detached headers name the file of the data from where they stand: ../../ENTRY/data, if the path is of letters,
 * digits, '.', '_' and '-' alone. Else, and for slices, it is ./STEM.bytes beside the header, where STEM is ENTRY and
 * EXPRESSION with every other byte written =XX. So blanks, quotes, newlines, and the '%' that some readers take for a
 * pattern of names, never come into a header.
 *
 * Pages. A view and `data` are two inodes over one array. A write through a view makes the pages of `data` stale for
 * its next open; and a view's own pages are kept by an open only if nothing at all was written since the last one.
 */
#ifndef DOSNAFS_VIEWS_H
#define DOSNAFS_VIEWS_H

#include "dirs.h"
#include "files.h"

/** Is it a directory whose names are looked up here? */
bool views_here(const struct node *node);

struct zarr;
/** The dataset of a Zarr directory or a file in it, open. */
int views_open_zarr(struct fs *fs, const struct node *node, dn_dataset **dataset, struct zarr *zarr);

/** As dirs_lookup(), dirs_list() and dirs_entry() in such a directory. */
int views_lookup(struct fs *fs, struct node *parent, const char *entry, struct place *out);
int views_list(struct fs *fs, struct node *node, struct listing *out);
bool views_entry(struct fs *fs, struct listing *listing, size_t *i, struct entry *out);

#endif
