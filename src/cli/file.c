// SPDX-License-Identifier: Apache-2.0
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);

    return length >= tail && strcasecmp(text + length - tail, end) == 0;
}

int file_choose(struct file *file, const char *path, bool raw, bool force)
{
    static const struct {
        const char *end;
        const struct file_kind *kind;
    } ends[] = {{".npy", &file_npy}, {".tif", &file_tiff}, {".tiff", &file_tiff}, {".btf", &file_tiff}};

    *file = (struct file){.path = path, .raw = raw, .force = force, .kind = &file_raw};
    if (raw)
        return 0;
    if (strcmp(path, "-") == 0)
        file->kind = &file_npy;
#ifdef DOSNA_HDF5
    if (strstr(path, ".h5:") || strstr(path, ".hdf5:"))
        file->kind = &file_hdf5;
#endif
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(path, ends[i].end))
            file->kind = ends[i].kind;
    if (file->kind == &file_raw && (ends_with(path, ".h5") || ends_with(path, ".hdf5")))
        return dn_fail(-EINVAL, "%s: which dataset in it? %s:/NAME", path, path);
    return 0;
}

int file_finish(struct file *file, bool keep)
{
    int error = file->state ? file->kind->finish(file, keep) : 0;

    file->state = NULL;
    dn_desc_clear(&file->desc);
    return error;
}

int file_describe(struct file *file, int ndim, const uint64_t *shape, const char *dtype)
{
    char why[DN_ERROR_MAX / 2];
    int error = dn_desc_init(&file->desc, ndim, shape, dtype, NULL, NULL);

    if (!error)
        return 0;
    snprintf(why, sizeof why, "%s", dn_error_text(error));
    return dn_fail(error, "%s: %s", file->path, why);
}

bool is_special(const char *path)
{
    struct stat st;

    return strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode));
}

int check_absent(const char *path, bool force)
{
    if (force || is_special(path) || faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return dn_fail(-EEXIST, "%s exists; -f replaces it", path);
}

/* ---- byte order ------------------------------------------------------------------------------------------- */

bool dtype_is_swapped(const struct dn_dtype *a, const struct dn_dtype *b)
{
    return a->kind == b->kind && a->itemsize == b->itemsize && strcmp(a->unit, b->unit) == 0 && a->order != b->order;
}

void swap_elements(const struct dn_dtype *dtype, void *buffer, size_t length)
{
    size_t unit = dtype->kind == 'U' ? 4 : dtype->kind == 'c' ? dtype->itemsize / 2 : dtype->itemsize;
    unsigned char *bytes = buffer;

    for (size_t at = 0; at < length; at += unit)
        for (size_t i = 0; i < unit / 2; i++) {
            unsigned char byte = bytes[at + i];
            bytes[at + i] = bytes[at + unit - 1 - i];
            bytes[at + unit - 1 - i] = byte;
        }
}
