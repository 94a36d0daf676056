// SPDX-License-Identifier: Apache-2.0
/*
 * Dataset names as directory entries and back.
 *
 * A store's name can hold what an entry cannot: '/', or be ".", ".." or a name that the tree uses
 * itself (".dosnafs", the views name). Such bytes are written %XX. A '%' that is followed by two hex
 * digits is written %25, so that decode(encode(x)) == x for every x; any other '%' stands for itself.
 *
 * An entry that encode() would not have made ("%41", "%2f") names nothing: each dataset has one entry.
 */
#ifndef DOSNAFS_NAMES_H
#define DOSNAFS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/** The longest entry; a dataset whose entry would be longer is not listed. */
#define NAME_ENTRY_MAX 255
#define NAME_CONTROL ".dosnafs"

/**
 * The entry of dataset `name`. `views` is the views name or NULL.
 * @return 0; -ENAMETOOLONG; -EINVAL for the empty name
 */
int names_encode(const char *name, const char *views, char entry[NAME_ENTRY_MAX + 1]);

/**
 * The dataset that `entry` stands for, never longer than the entry.
 * @return 0; -ENAMETOOLONG; -EINVAL when no dataset has this entry
 */
int names_decode(const char *entry, const char *views, char name[NAME_ENTRY_MAX + 1]);

#endif
