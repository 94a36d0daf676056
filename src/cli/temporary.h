// SPDX-License-Identifier: Apache-2.0
/*
 * Files that get their name when they are whole. Until then each has one of its own in the same folder,
 * ".dosna-NUMBER.part", which fits wherever a name fits; nobody else writes to it. Where `path` is a symbolic link,
 * the link stays, and the file that it leads to is replaced.
 *
 * Functions return 0, or a file descriptor, or a negative errno, without a text. No locks: an object belongs to one
 * thread at a time.
 */
#ifndef TEMPORARY_H
#define TEMPORARY_H

#include <stdbool.h>
#include <stdint.h>

struct temporary {
    char *path, *target; /* its name now, and when it is whole; NULL: there is none */
    uint32_t number;     /* of its name: what another process opens it by */
};

/** Make one on its way to `path`. A file descriptor, for reading and writing and for the caller to close. */
int temporary_create(struct temporary *out, const char *path);

/** A descriptor of one that another process has made on its way to `path`, which stays that process's. */
int temporary_open(const char *path, uint32_t number);

/**
 * Give it its name (`keep`), or delete it; it is gone then, whatever is returned. Nothing to do where
 * temporary_create() has failed.
 *
 * @param force  replace a file that has the name; else -EEXIST, where the file system can tell
 */
int temporary_finish(struct temporary *temporary, bool keep, bool force);

#endif
