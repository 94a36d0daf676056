// SPDX-License-Identifier: Apache-2.0
/*
 * Names: which node and part a directory entry stands for, and what creating, listing, renaming and
 * removing entries does.
 *
 * Two things are done for programs that copy a dataset as a tree:
 *
 *   Clones. cp -r, cp -a and tar make NAME, then NAME/.meta and NAME/data, both with O_CREAT|O_EXCL.
 *   When `.meta` is closed the dataset exists and so does `data`; the kernel would look it up, find it
 *   and answer EEXIST. So to the process that created `.meta` with O_EXCL, `data` is absent at its
 *   first lookup, once, and it may create it then. A process that creates `.meta` any other way (a
 *   shell's >) sees nothing of this.
 *
 *   Aliases. rsync writes `.data.a1B2c3` (or `.meta.…`) and renames it over `data`. In a dataset
 *   such a name (a dot, the target, a dot, six characters) is a second name of the target itself, made
 *   and removed like a file, never listed; renaming it onto the target drops it. So what is written
 *   through it is in place at once, and so are the zeros where rsync -S writes nothing. To the kernel it is
 *   an inode of its own: a rename between two names of one inode would never reach us. rsync gives the file
 *   a mode for the time being, which is
 *   accepted and ignored. Each part has one alias at a time, the newest.
 */
#ifndef DOSNAFS_DIRS_H
#define DOSNAFS_DIRS_H

#include "fs.h"
#include "names.h"

/** What a name leads to: a pinned node, given back with tree_put(), and its part. */
struct place {
    struct node *node;
    enum node_part part;
    bool created; /* dirs_create(): the file is new under its real name */
    bool alias;
};

/** Find `entry` in a directory for process `pid`. -ENOENT; -ENAMETOOLONG; the store's errors. */
int dirs_lookup(struct fs *fs, struct node *parent, const char *entry, pid_t pid, struct place *out);

/** Make a file. -EPERM where no file can be made; -EEXIST with O_EXCL in `flags`. */
int dirs_create(struct fs *fs, struct node *parent, const char *entry, int flags, pid_t pid,
                struct place *out);

int dirs_mkdir(struct fs *fs, struct node *parent, const char *entry, struct place *out);
int dirs_unlink(struct fs *fs, struct node *parent, const char *entry);
int dirs_rmdir(struct fs *fs, struct node *parent, const char *entry);
int dirs_rename(struct fs *fs, struct node *parent, const char *entry, struct node *to_parent,
                const char *to_entry, unsigned flags);

/* ---- listings ------------------------------------------------------------------------------- */

/** How many datasets are opened for one piece of a listing of views, as many at once as the engine has threads. */
#define LISTING_AHEAD 512

/** The entries of a directory at one moment, so that offsets stay right while it is read. */
struct listing {
    struct node *node;
    char **names; /* of datasets, in the root of drafts too */
    size_t count, room;
    size_t first, known; /* views: of names[first], and so many, the formats are known: */
    uint16_t formats[LISTING_AHEAD]; /* a bit for each that can show it */
    struct chunk_listing *chunks; /* of a Zarr directory */
    int error; /* why dirs_entry() could not tell the last entry that it was asked for, or 0 */
};

/** One entry. */
struct entry {
    char text[NAME_ENTRY_MAX + 1]; /* "": a hidden file, which is passed over */
    uint64_t inode;
    bool directory;
    const char *dataset; /* of a dataset's directory in the root: its name */
};

/** List a directory. The listing is empty before, and cleared with dirs_listing_clear(). */
int dirs_list(struct fs *fs, struct node *node, struct listing *out);
/** Entry *number (0 is "."), or the next one that there is, whose number it is then. False: there are no more, or
 *  listing->error; it may be asked for again then. */
bool dirs_entry(struct fs *fs, struct listing *listing, size_t *number, struct entry *out);
/** For views: fill an entry, true; append all datasets' names, drafts apart. */
bool dirs_set_entry(struct entry *out, const char *text, uint64_t inode, bool directory);
int dirs_list_datasets(struct fs *fs, struct listing *out);
void dirs_listing_clear(struct listing *listing);

#endif
