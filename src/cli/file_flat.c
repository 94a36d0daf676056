// SPDX-License-Identifier: Apache-2.0
/*
 * Files that are the array's bytes in row-major order: raw, and npy with a header in front.
 *
 * The npy format: numpy's lib/format.py, "\x93NUMPY", version 1.0, 2.0 or 3.0, the header's length, and a Python
 * dict of descr, fortran_order and shape, padded to 64 bytes.
 */
#include "cli.h"
#include "file.h"
#include "temporary.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_MAX 65536

static const char magic[6] = "\x93NUMPY";

struct flat {
    int fd;
    uint64_t offset;         /* of the array in the file */
    bool regular;            /* the file has a size and may be read anywhere */
    struct temporary temporary; /* what is being written; of its maker */
    unsigned char ahead[10]; /* read to find out what standard input is, and not part of a header */
    size_t ahead_used, ahead_length;
};

static int fail(const struct file *file, int code, const char *what)
{
    return dn_fail(code, "%s: %s", strcmp(file->path, "-") == 0 ? "standard input or output" : file->path, what);
}

/* ---- bytes -------------------------------------------------------------------------------------------------- */

/* Bytes read, fewer than `length` only at the end. */
static ssize_t read_some(struct flat *flat, void *buffer, size_t length)
{
    size_t have = 0;

    while (have < length && flat->ahead_used < flat->ahead_length)
        ((unsigned char *)buffer)[have++] = flat->ahead[flat->ahead_used++];
    while (have < length) {
        ssize_t n = read(flat->fd, (char *)buffer + have, length - have);
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

static int flat_read(struct file *file, void *buffer, size_t length)
{
    ssize_t n = read_some(file->state, buffer, length);

    if (n < 0)
        return fail(file, (int)n, strerror((int)-n));
    return (size_t)n == length ? 0 : fail(file, -EINVAL, "it ends before the array does");
}

static int flat_write(struct file *file, const void *buffer, size_t length)
{
    struct flat *flat = file->state;

    while (length > 0) {
        ssize_t n = write(flat->fd, buffer, length);
        if (n < 0)
            return flat->fd == STDOUT_FILENO ? fail_output() : fail(file, -errno, strerror(errno));
        buffer = (const char *)buffer + n;
        length -= (size_t)n;
    }
    return 0;
}

static int flat_at_end(struct file *file)
{
    char byte;
    ssize_t n = read_some(file->state, &byte, 1);

    return n > 0 ? fail(file, -EINVAL, "it goes on behind the array") : 0;
}

/* ---- parts ---------------------------------------------------------------------------------------------------- */

typedef ssize_t (*run_fn)(int fd, void *buffer, size_t length, off_t offset);

static ssize_t write_run(int fd, void *buffer, size_t length, off_t offset)
{
    return pwrite(fd, buffer, length, offset);
}

static int whole_run(struct file *file, run_fn run, unsigned char *buffer, size_t length, uint64_t offset)
{
    struct flat *flat = file->state;

    while (length > 0) {
        ssize_t n = run(flat->fd, buffer, length, (off_t)(flat->offset + offset));
        if (n <= 0)
            return fail(file, n < 0 ? -errno : -EINVAL, n < 0 ? strerror(errno) : "it ends before the array does");
        buffer += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

/* The part is runs of bytes in the file: axes that it takes whole, and the one before them, are one run. */
static int each_run(struct file *file, const struct dn_part *part, unsigned char *buffer, run_fn run)
{
    const struct dn_desc *desc = &file->desc;
    uint64_t stride[DN_MAX_NDIM], at[DN_MAX_NDIM] = {0}, length = desc->dtype.itemsize;
    int outer = part->ndim - 1, axis, error = 0;

    stride[outer] = length;
    for (int i = outer; i > 0; i--)
        stride[i - 1] = stride[i] * desc->shape[i];
    while (outer > 0 && part->count[outer] == desc->shape[outer])
        length *= part->count[outer--];
    length *= part->count[outer];
    do {
        uint64_t offset = 0;
        for (int i = 0; i < part->ndim; i++)
            offset += (part->start[i] + at[i]) * stride[i];
        error = whole_run(file, run, buffer, length, offset);
        buffer += length;
        for (axis = outer - 1; axis >= 0 && ++at[axis] == part->count[axis]; axis--)
            at[axis] = 0;
    } while (!error && axis >= 0);
    return error;
}

static int flat_read_part(struct file *file, const struct dn_part *part, void *buffer)
{
    return each_run(file, part, buffer, pread);
}

static int flat_write_part(struct file *file, const struct dn_part *part, const void *buffer)
{
    return each_run(file, part, (unsigned char *)buffer, write_run);
}

/* ---- the npy header --------------------------------------------------------------------------------------------- */

/* What stands behind 'key': in the header; NULL: nothing. */
static const char *find_key(const char *header, const char *key)
{
    const char *at = strstr(header, key);

    if (!at)
        return NULL;
    at += strlen(key);
    at += strspn(at, "'\" ");
    return *at == ':' ? at + 1 + strspn(at + 1, " ") : NULL;
}

static int parse_shape(const char *text, uint64_t *shape)
{
    char list[DN_VECTOR_TEXT];
    size_t length = text && *text == '(' ? strcspn(text + 1, ")") : 0;

    if (length == 0 || length >= sizeof list)
        return -EINVAL;
    memcpy(list, text + 1, length);
    while (length && (list[length - 1] == ' ' || list[length - 1] == ','))
        length--;
    list[length] = '\0';
    return dn_vector_parse(list, ",", shape, DN_MAX_NDIM);
}

static int parse_header(struct file *file, const char *header)
{
    const char *descr = find_key(header, "descr"), *order = find_key(header, "fortran_order");
    char dtype[DN_DTYPE_TEXT] = "";
    uint64_t shape[DN_MAX_NDIM];
    int ndim = parse_shape(find_key(header, "shape"), shape);

    if (!descr || !order)
        return fail(file, -EINVAL, "its npy header is damaged");
    if (strncmp(order, "False", 5) != 0)
        return fail(file, -EINVAL, "it is in Fortran order; numpy.ascontiguousarray() makes it row-major");
    if (*descr != '\'' && *descr != '"')
        return fail(file, -EINVAL, "its elements are records, which a dataset cannot hold");
    if (ndim <= 0)
        return fail(file, -EINVAL, "it has no axis");
    snprintf(dtype, sizeof dtype, "%.*s", (int)strcspn(descr + 1, "'\""), descr + 1);
    return file_describe(file, ndim, shape, dtype);
}

/* Behind the magic and the version. */
static int read_header(struct file *file, unsigned major)
{
    struct flat *flat = file->state;
    unsigned char length_bytes[4] = {0};
    size_t width = major == 1 ? 2 : 4, length;
    char *header;
    int error = flat_read(file, length_bytes, width);

    length = length_bytes[0] | (size_t)length_bytes[1] << 8 | (size_t)length_bytes[2] << 16 |
             (size_t)length_bytes[3] << 24;
    if (error || major < 1 || major > 3 || length > HEADER_MAX)
        return fail(file, -EINVAL, "its npy header is damaged");
    header = calloc(1, length + 1);
    if (!header)
        return dn_fail(-ENOMEM, "out of memory");
    error = flat_read(file, header, length);
    if (!error)
        error = parse_header(file, header);
    flat->offset = sizeof magic + 2 + width + length;
    free(header);
    return error;
}

static int write_header(struct file *file)
{
    struct flat *flat = file->state;
    char dtype[DN_DTYPE_TEXT], shape[DN_VECTOR_TEXT], header[DN_DTYPE_TEXT + DN_VECTOR_TEXT + 256];
    int length;

    dn_dtype_format(&file->desc.dtype, dtype);
    dn_vector_format(file->desc.shape, file->desc.ndim, ", ", shape, sizeof shape);
    length = snprintf(header + 10, sizeof header - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }",
                      dtype, shape, file->desc.ndim == 1 ? "," : "");
    flat->offset = ((uint64_t)length + 10 + 1 + 63) / 64 * 64;
    memset(header + 10 + length, ' ', flat->offset - 10 - (uint64_t)length);
    header[flat->offset - 1] = '\n';
    memcpy(header, magic, sizeof magic);
    header[6] = 1;
    header[7] = 0;
    header[8] = (char)((flat->offset - 10) & 0xff);
    header[9] = (char)((flat->offset - 10) >> 8);
    return flat_write(file, header, flat->offset);
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static int open_fd(struct file *file, int flags)
{
    struct flat *flat = calloc(1, sizeof *flat);
    struct stat st;

    if (!flat)
        return dn_fail(-ENOMEM, "out of memory");
    flat->fd = strcmp(file->path, "-") == 0 ? STDIN_FILENO : open(file->path, flags | O_CLOEXEC);
    file->state = flat;
    if (flat->fd < 0 || fstat(flat->fd, &st) < 0)
        return fail(file, -errno, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return fail(file, -EISDIR, strerror(EISDIR));
    flat->regular = S_ISREG(st.st_mode) && flat->fd != STDIN_FILENO;
    return 0;
}

static int raw_open(struct file *file)
{
    return open_fd(file, O_RDONLY);
}

/* Standard input that does not begin as npy is raw. */
static int npy_open(struct file *file)
{
    struct flat *flat;
    ssize_t n;
    int error = open_fd(file, O_RDONLY);

    if (error)
        return error;
    flat = file->state;
    n = read_some(flat, flat->ahead, sizeof magic + 2);
    if (n == (ssize_t)sizeof magic + 2 && memcmp(flat->ahead, magic, sizeof magic) == 0)
        return read_header(file, flat->ahead[6]);
    if (n < 0)
        return fail(file, (int)n, strerror((int)-n));
    if (flat->fd != STDIN_FILENO)
        return fail(file, -EINVAL, "it is no npy file");
    flat->ahead_length = (size_t)n;
    file->kind = &file_raw;
    return 0;
}

/* A file of another size would be read up to its end, or not to it. */
static int flat_check(struct file *file)
{
    struct flat *flat = file->state;
    struct stat st;

    if (!flat->regular || fstat(flat->fd, &st) < 0 ||
        (uint64_t)st.st_size == flat->offset + dn_desc_nbytes(&file->desc))
        return 0;
    return dn_fail(-EINVAL, "%s: it has %" PRIu64 " bytes, and the array takes %" PRIu64, file->path,
                   (uint64_t)st.st_size - flat->offset, dn_desc_nbytes(&file->desc));
}

/* Standard output and devices are written as they are; else a file that gets its name when it is whole. */
static int open_output(struct file *file, struct flat *flat)
{
    bool is_stdout = strcmp(file->path, "-") == 0;

    if (is_special(file->path)) {
        flat->fd = is_stdout ? STDOUT_FILENO : open(file->path, O_WRONLY | O_CLOEXEC);
        return flat->fd < 0 ? fail(file, -errno, strerror(errno)) : 0;
    }
    flat->fd = temporary_create(&flat->temporary, file->path);
    if (flat->fd < 0)
        return fail(file, flat->fd, strerror(-flat->fd));
    file->number = flat->temporary.number;
    return 0;
}

static int flat_create(struct file *file, bool header)
{
    struct flat *flat = calloc(1, sizeof *flat);
    int error = check_absent(file->path, file->force);

    if (!flat)
        return dn_fail(-ENOMEM, "out of memory");
    file->state = flat;
    flat->fd = -1;
    if (!error)
        error = open_output(file, flat);
    if (!error && header)
        error = write_header(file);
    if (!error && flat->temporary.path && ftruncate(flat->fd, (off_t)(flat->offset + dn_desc_nbytes(&file->desc))) < 0)
        error = fail(file, -errno, strerror(errno));
    return error;
}

static int npy_create(struct file *file)
{
    return flat_create(file, true);
}

static int raw_create(struct file *file)
{
    return flat_create(file, false);
}

/* The header was written by who created it; its length follows from the file's. */
static int flat_join(struct file *file)
{
    struct flat *flat = calloc(1, sizeof *flat);
    struct stat st;

    file->state = flat;
    if (!flat)
        return dn_fail(-ENOMEM, "out of memory");
    flat->fd = temporary_open(file->path, file->number);
    if (flat->fd < 0)
        return fail(file, flat->fd, strerror(-flat->fd));
    if (fstat(flat->fd, &st) < 0)
        return fail(file, -errno, strerror(errno));
    flat->offset = (uint64_t)st.st_size - dn_desc_nbytes(&file->desc);
    return 0;
}

static int flat_finish(struct file *file, bool keep)
{
    struct flat *flat = file->state;
    int error = flat->fd > STDERR_FILENO && close(flat->fd) < 0 ? -errno : 0;
    int named = temporary_finish(&flat->temporary, keep && !error, file->force);

    free(flat);
    error = error ? error : named;
    return error ? fail(file, error, strerror(-error)) : 0;
}

#define FLAT(text, opens, creates)                                                                           \
    {.name = text, .flags = FILE_SHARED_READ | FILE_SHARED_WRITE | FILE_ANY_THREAD, .open = opens,           \
     .create = creates, .join = flat_join, .read = flat_read, .write = flat_write,                           \
     .read_part = flat_read_part, .write_part = flat_write_part, .check = flat_check, .at_end = flat_at_end, .finish = flat_finish}

const struct file_kind file_npy = FLAT("npy", npy_open, npy_create);
const struct file_kind file_raw = FLAT("raw", raw_open, raw_create);
