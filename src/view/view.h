// SPDX-License-Identifier: Apache-2.0
/*
 * Views: a dataset, or any slice of it, as a file in another tool's format. A client of libdosna; knows nothing
 * of mounts.
 *
 * A file is a head, then the slice's flat bytes, then a tail of records of one size. Head and records follow from
 * shape and type alone, and the bytes between are read and written through the chunk cache as dn_read_slice()
 * does, so that a view of any size costs the memory of its head. A detached format has its head alone, which
 * names a file of the flat bytes; a preview is computed when it is first read.
 *
 * Each format is one module with one constant table; a new one is a file, a row in view.c and a test. Zarr is a
 * directory and has functions of its own (zarr.h).
 */
#ifndef DOSNA_VIEW_H
#define DOSNA_VIEW_H

#include <dosna/dosna.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** Where the data begin in formats that leave the choice: their pages line up with those of the kernel. */
#define VIEW_DATA_OFFSET 4096

/** What a view shows: the slice as an array of its own. Extents may be 0, and ndim too. */
struct view_array {
    int ndim;
    uint64_t shape[DN_MAX_NDIM];
    struct dn_dtype dtype;
    uint64_t nbytes;
};

struct view;
struct type_row;

struct view_format {
    const char *suffix;  /* ".npy" */
    bool unlisted;       /* by name only */
    bool writable;       /* the data part is */
    bool detached;       /* the head is all */
    bool directory;      /* Zarr: no struct view */
    int min_ndim, max_ndim;
    bool empty;          /* arrays without elements can be shown */
    const struct type_row *types; /* those that it has; NULL: all */
    /** Can it hold extents as large as these? All else was looked at before. NULL: any. */
    bool (*holds)(const struct view_array *array);
    /** Write the head, of VIEW_DATA_OFFSET bytes or less unless detached. 0, or a negative errno; that `out` failed
     *  is found by the caller. `link`: the path of the flat bytes, for a detached head. NULL: there is none. */
    int (*head)(const struct view *view, const char *link, FILE *out);
    /** Bytes of one of the view's `records`, which this function counts; NULL: no tail. */
    uint64_t (*tail)(struct view *view);
    void (*record)(const struct view *view, uint64_t number, unsigned char *out);
    /** A preview: the whole file, for the caller to free(). Of zeros without a dataset; the size is the same. */
    int (*render)(const struct view *view, dn_dataset *dataset, unsigned char **out, size_t *length);
};

/** One file. Constant once it is open, but for what `lock` guards. */
struct view {
    const struct view_format *format;
    struct dn_slice slice;
    struct view_array array;
    unsigned char *head;
    uint64_t data, data_end; /* where the flat bytes lie in the file */
    uint64_t tail, records, record_size;
    uint64_t size;
    pthread_mutex_t lock;
    unsigned char *preview;  /* once it was computed */
};

/** Every format; the last one has no suffix. */
extern const struct view_format *const view_formats[];
#define VIEW_FORMATS 10

/** The format of a file name; *stem gets the length of what precedes the suffix. NULL: none, or no stem. */
const struct view_format *view_format_of(const char *name, size_t *stem);

void view_array_of(const struct dn_desc *desc, const struct dn_slice *slice, struct view_array *out);
/** Can the format show it? */
bool view_applies(const struct view_format *format, const struct view_array *array);

/**
 * Make a view of a slice of a dataset so described.
 * @param link  for detached formats, else unused
 * @return 0; -ENOENT: the format cannot show it; -ENOMEM. The view is closed with view_close() after 0 alone.
 */
int view_open(struct view *view, const struct view_format *format, const struct dn_desc *desc,
              const struct dn_slice *slice, const char *link);
void view_close(struct view *view);

/** Up to `length` bytes at `offset` of the file; fewer only at its end. The dataset's errors. */
int64_t view_read(struct view *view, dn_dataset *dataset, void *buffer, size_t length, uint64_t offset);

/**
 * Write into the data part. What goes beyond the file's end is cut.
 * @return bytes taken; -ENOSPC at or past the end; -EACCES: the format is read-only, or the head would change
 *         (writing what it holds is accepted, so that a mapped page may be written back whole)
 */
int64_t view_write(struct view *view, dn_dataset *dataset, const void *buffer, size_t length, uint64_t offset);

#endif
