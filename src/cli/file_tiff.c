// SPDX-License-Identifier: Apache-2.0
/*
 * TIFF stacks: one directory a plane, of the array's last two axes. BigTIFF where classic TIFF ends, at 4 GiB.
 *
 * The shape of a file written here is in its first ImageDescription as in .meta: "shape = 3, 4, 5". tifffile's
 * {"shape": [3, 4, 5]} is read too, but not written: to it that means that all planes follow the first.
 * Reading takes planes of equal size and type; several samples a pixel are one axis more.
 */
#include "file.h"
#include "temporary.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>
#include <unistd.h>

#define SHAPE "shape = "

struct stack {
    TIFF *tiff;
    unsigned char *plane; /* the plane under way */
    size_t nbytes, used;  /* of a plane; of them read or written so far */
    uint64_t rows;
    bool described;       /* the first plane is written */
    int fd;               /* of the file that is being written, or -1 */
    struct temporary temporary;
};

static _Thread_local char reason[256];
static _Thread_local int reason_code; /* 0: not the system's */

static void note_error(const char *module, const char *format, va_list args)
{
    (void)module;
    reason_code = -errno;
    vsnprintf(reason, sizeof reason, format, args);
}

/* Before a call of libtiff, which does not say why the system has refused something, but leaves it in errno. */
static void forget_error(void)
{
    *reason = '\0';
    errno = reason_code = 0;
}

static int fail(const struct file *file, int code, const char *what)
{
    return dn_fail(code, "%s: %s%s%s", file->path, what, *reason ? ": " : "", reason);
}

static int fail_to_write(const struct file *file, int code)
{
    return code ? dn_fail(code, "%s: %s", file->path, strerror(-code)) : fail(file, -EIO, "it cannot be written");
}

static int new_stack(struct file *file)
{
    struct stack *stack = calloc(1, sizeof *stack);

    TIFFSetErrorHandler(note_error);
    TIFFSetWarningHandler(NULL);
    forget_error();
    file->state = stack;
    if (!stack)
        return dn_fail(-ENOMEM, "out of memory");
    stack->fd = -1;
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* The element type of the directory in force, in this machine's order; false: none that a dataset has. */
static bool plane_type(TIFF *tiff, char text[8])
{
    uint16_t bits = 1, format = SAMPLEFORMAT_UINT;
    char kind;

    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    kind = format == SAMPLEFORMAT_INT ? 'i' : format == SAMPLEFORMAT_IEEEFP ? 'f'
           : format == SAMPLEFORMAT_COMPLEXIEEEFP ? 'c' : 'u';
    snprintf(text, 8, "<%c%u", kind, bits / 8u);
    return bits % 8 == 0 && bits > 0 && bits <= 128;
}

struct plane {
    uint32_t width, height;
    uint16_t samples;
    char dtype[8];
};

static int look_at_plane(struct file *file, struct plane *out)
{
    TIFF *tiff = ((struct stack *)file->state)->tiff;
    uint16_t config = PLANARCONFIG_CONTIG;

    *out = (struct plane){.samples = 1};
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &out->width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &out->height);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &out->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &config);
    if (!plane_type(tiff, out->dtype))
        return fail(file, -EINVAL, "its pixels are not of 8, 16, 32 or 64 bits");
    if (out->samples > 1 && config != PLANARCONFIG_CONTIG)
        return fail(file, -EINVAL, "its samples are in separate planes");
    if (TIFFIsTiled(tiff))
        return fail(file, -EINVAL, "its planes are in tiles; tiffcp -s makes strips of them");
    return 0;
}

static bool same_plane(const struct plane *a, const struct plane *b)
{
    return a->width == b->width && a->height == b->height && a->samples == b->samples &&
           strcmp(a->dtype, b->dtype) == 0;
}

/* ImageJ writes stacks beyond 4 GiB as one directory with all planes behind the first. */
static bool is_imagej_giant(TIFF *tiff)
{
    const char *text = NULL;
    const char *images;

    if (!TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &text) || strncmp(text, "ImageJ=", 7) != 0)
        return false;
    images = strstr(text, "\nimages=");
    return images && atoll(images + 8) > 1;
}

/* The shape in a description, if it is that of the planes. */
static int described_shape(TIFF *tiff, uint64_t nbytes, unsigned itemsize, uint64_t *shape)
{
    static const char ours[] = SHAPE, theirs[] = "{\"shape\": [";
    const char *text = NULL;
    char vector[DN_VECTOR_TEXT];
    int ndim;

    if (!TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &text))
        return 0;
    if (strncmp(text, ours, sizeof ours - 1) == 0)
        text += sizeof ours - 1;
    else if (strncmp(text, theirs, sizeof theirs - 1) == 0)
        text += sizeof theirs - 1;
    else
        return 0;
    snprintf(vector, sizeof vector, "%.*s", (int)strcspn(text, "]\n"), text);
    ndim = dn_vector_parse(vector, ",", shape, DN_MAX_NDIM);
    for (int i = 0; i < ndim; i++) {
        if (shape[i] == 0 || nbytes % shape[i])
            return 0;
        nbytes /= shape[i];
    }
    return nbytes == itemsize ? ndim : 0;
}

/* All directories, which must be alike. Returns their number. */
static int64_t count_planes(struct file *file, struct plane *first)
{
    TIFF *tiff = ((struct stack *)file->state)->tiff;
    struct plane plane;
    int64_t count = 1;
    int error = look_at_plane(file, first);

    for (; !error && TIFFReadDirectory(tiff); count++) {
        error = look_at_plane(file, &plane);
        if (!error && !same_plane(&plane, first))
            return fail(file, -EINVAL, "its planes differ in size or type");
    }
    if (!error && count == 1 && is_imagej_giant(tiff))
        return fail(file, -EINVAL, "it is a stack of ImageJ beyond 4 GiB; save it as raw data");
    return error ? error : count;
}

static int stack_open(struct file *file)
{
    struct stack *stack;
    struct plane plane;
    uint64_t shape[DN_MAX_NDIM];
    int64_t planes;
    int error = new_stack(file), ndim = 0;

    if (error)
        return error;
    stack = file->state;
    stack->tiff = TIFFOpen(file->path, "rm");
    if (!stack->tiff)
        return fail(file, access(file->path, R_OK) != 0 ? -errno : -EINVAL, "it cannot be read");
    planes = count_planes(file, &plane);
    if (planes < 0)
        return (int)planes;
    TIFFSetDirectory(stack->tiff, 0);
    stack->nbytes = (size_t)TIFFScanlineSize64(stack->tiff) * plane.height;
    stack->used = stack->nbytes;
    stack->rows = plane.height;
    stack->plane = malloc(stack->nbytes ? stack->nbytes : 1);
    if (!stack->plane)
        return dn_fail(-ENOMEM, "%s: no memory for a plane", file->path);
    ndim = described_shape(stack->tiff, stack->nbytes * (uint64_t)planes, (unsigned)atoi(plane.dtype + 2), shape);
    if (ndim == 0) {
        if (planes > 1)
            shape[ndim++] = (uint64_t)planes;
        shape[ndim++] = plane.height;
        shape[ndim++] = plane.width;
        if (plane.samples > 1)
            shape[ndim++] = plane.samples;
    }
    return file_describe(file, ndim, shape, plane.dtype);
}

static int read_plane(struct file *file)
{
    struct stack *stack = file->state;
    size_t row = stack->nbytes / stack->rows;

    for (uint32_t i = 0; i < stack->rows; i++)
        if (TIFFReadScanline(stack->tiff, stack->plane + i * row, i, 0) < 0)
            return fail(file, -EIO, "a plane cannot be read");
    TIFFReadDirectory(stack->tiff);
    stack->used = 0;
    return 0;
}

static int stack_read(struct file *file, void *buffer, size_t length)
{
    struct stack *stack = file->state;
    int error;

    while (length > 0) {
        if (stack->used == stack->nbytes && (error = read_plane(file)) < 0)
            return error;
        size_t n = length < stack->nbytes - stack->used ? length : stack->nbytes - stack->used;
        memcpy(buffer, stack->plane + stack->used, n);
        stack->used += n;
        buffer = (char *)buffer + n;
        length -= n;
    }
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static int stack_create(struct file *file)
{
    struct dn_desc *desc = &file->desc;
    struct stack *stack;
    bool classic = dn_desc_nbytes(desc) < UINT64_C(4000000000);
    int error = new_stack(file);

    if (error)
        return error;
    stack = file->state;
    if (!strchr("uifcb", desc->dtype.kind))
        return fail(file, -EINVAL, "TIFF has no pixels of this type; .npy can hold it");
    if (desc->dtype.order == '>')
        desc->dtype.order = '<'; /* libtiff takes this machine's order */
    stack->rows = desc->ndim > 1 ? desc->shape[desc->ndim - 2] : 1;
    stack->nbytes = (size_t)(desc->shape[desc->ndim - 1] * stack->rows * desc->dtype.itemsize);
    if (stack->rows > UINT32_MAX || desc->shape[desc->ndim - 1] > UINT32_MAX || stack->nbytes > INT32_MAX)
        return fail(file, -EFBIG, "a plane is too large for TIFF");
    error = check_absent(file->path, file->force);
    if (!error && is_special(file->path))
        error = fail(file, -ESPIPE, "TIFF is written to files alone");
    if (error)
        return error;
    stack->plane = malloc(stack->nbytes);
    if (!stack->plane)
        return dn_fail(-ENOMEM, "%s: no memory for a plane", file->path);
    stack->fd = temporary_create(&stack->temporary, file->path);
    if (stack->fd < 0)
        return fail_to_write(file, stack->fd);
    stack->tiff = TIFFFdOpen(stack->fd, file->path, classic ? "w" : "w8");
    return stack->tiff ? 0 : fail_to_write(file, reason_code);
}

static int write_plane(struct file *file)
{
    struct stack *stack = file->state;
    TIFF *tiff = stack->tiff;
    const struct dn_desc *desc = &file->desc;
    char shape[DN_VECTOR_TEXT], text[DN_VECTOR_TEXT + 16];
    uint16_t format = desc->dtype.kind == 'i' ? SAMPLEFORMAT_INT : desc->dtype.kind == 'f' ? SAMPLEFORMAT_IEEEFP
                      : desc->dtype.kind == 'c' ? SAMPLEFORMAT_COMPLEXIEEEFP : SAMPLEFORMAT_UINT;

    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, (uint32_t)desc->shape[desc->ndim - 1]);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, (uint32_t)stack->rows);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, (uint16_t)(8 * desc->dtype.itemsize));
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, (uint16_t)1);
    TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, format);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, (uint16_t)PHOTOMETRIC_MINISBLACK);
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, (uint32_t)stack->rows);
    if (!stack->described) {
        dn_vector_format(desc->shape, desc->ndim, ", ", shape, sizeof shape);
        snprintf(text, sizeof text, SHAPE "%s", shape);
        TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, text);
    }
    forget_error();
    if (TIFFWriteEncodedStrip(tiff, 0, stack->plane, (tmsize_t)stack->nbytes) < 0 || !TIFFWriteDirectory(tiff))
        return fail_to_write(file, reason_code);
    stack->described = true;
    stack->used = 0;
    return 0;
}

static int stack_write(struct file *file, const void *buffer, size_t length)
{
    struct stack *stack = file->state;
    int error = 0;

    while (length > 0 && !error) {
        size_t n = length < stack->nbytes - stack->used ? length : stack->nbytes - stack->used;
        memcpy(stack->plane + stack->used, buffer, n);
        stack->used += n;
        buffer = (const char *)buffer + n;
        length -= n;
        if (stack->used == stack->nbytes)
            error = write_plane(file);
    }
    return error;
}

static int stack_finish(struct file *file, bool keep)
{
    struct stack *stack = file->state;
    bool written = stack->fd >= 0;
    int error = 0, named;

    forget_error();
    if (stack->tiff && written)
        TIFFCleanup(stack->tiff); /* as TIFFClose(), which does not tell what close() says */
    else if (stack->tiff)
        TIFFClose(stack->tiff);
    if (written && *reason)
        error = fail_to_write(file, reason_code);
    if (written && close(stack->fd) < 0 && !error)
        error = fail_to_write(file, -errno);
    named = temporary_finish(&stack->temporary, keep && !error, file->force);
    free(stack->plane);
    free(stack);
    return error ? error : named ? fail_to_write(file, named) : 0;
}

const struct file_kind file_tiff = {.name = "TIFF", .open = stack_open, .create = stack_create, .read = stack_read,
                                    .write = stack_write, .finish = stack_finish};
