// SPDX-License-Identifier: Apache-2.0
/*
 * Files that arrays are loaded from and saved to: one struct of functions for each kind.
 *
 * A file is one array. It is read or written from beginning to end (read, write), or part by part in any
 * order (read_part, write_part); a kind has one of the two ways or both. What is being written has
 * another name, or is taken back, until file_finish() says that it is whole. Functions return 0 or a negative
 * errno with a text that begins with the file's name.
 */
#ifndef FILE_H
#define FILE_H

#include <dosna/batch.h>
#include <stdint.h>

struct file;

enum { FILE_SHARED_READ = 1 << 0, FILE_SHARED_WRITE = 1 << 1, FILE_ANY_THREAD = 1 << 2 };

struct file_kind {
    const char *name;
    unsigned flags; /* may several processes read, or write, parts at once? May several threads? */
    /** Fills shape and dtype of file->desc where the file tells them (ndim stays 0 otherwise). */
    int (*open)(struct file *file);
    /** Of an open file with file->desc complete: has it the size of the array? NULL: nothing to ask. */
    int (*check)(struct file *file);
    /** Begin a file for file->desc, whose dtype may be changed to one of another byte order. */
    int (*create)(struct file *file);
    /** In a process that writes parts of a file that another one has created. NULL without SHARED_WRITE. */
    int (*join)(struct file *file);
    /** The array's next bytes, exactly so many. */
    int (*read)(struct file *file, void *buffer, size_t length);
    int (*write)(struct file *file, const void *buffer, size_t length);
    int (*read_part)(struct file *file, const struct dn_part *part, void *buffer);
    int (*write_part)(struct file *file, const struct dn_part *part, const void *buffer);
    /** After the last byte was read: is that the end? NULL: nothing to ask. */
    int (*at_end)(struct file *file);
    /** Close what was opened, created (`keep`: it is whole; else it goes) or joined. */
    int (*finish)(struct file *file, bool keep);
};

struct file {
    const struct file_kind *kind;
    const char *path; /* as given */
    bool raw, force;
    uint32_t number;  /* of the temporary file: what others join it by */
    struct dn_desc desc;
    void *state;
};

extern const struct file_kind file_npy, file_raw, file_hdf5, file_tiff;

/** Which kind it is by its name; "-" is npy or raw, whichever it begins as. Sets all of `file`. -EINVAL: an HDF5 file
 *  without the name of a dataset in it. */
int file_choose(struct file *file, const char *path, bool raw, bool force);

/** file->kind->finish(), and frees the description. `file` that was never opened: nothing. */
int file_finish(struct file *file, bool keep);

/** Fill file->desc with what the file says; the error's text begins with the file's name. */
int file_describe(struct file *file, int ndim, const uint64_t *shape, const char *dtype);

/** The same type in the other byte order? Then elements are turned by swap_elements(). */
bool dtype_is_swapped(const struct dn_dtype *a, const struct dn_dtype *b);
void swap_elements(const struct dn_dtype *dtype, void *buffer, size_t length);

/** -EEXIST if there is a file at `path`, unless `force`. */
int check_absent(const char *path, bool force);

/** Standard output, a pipe, a device: what is written to as it is, and never replaced by a file. */
bool is_special(const char *path);

#endif
