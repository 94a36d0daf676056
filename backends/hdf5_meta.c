// SPDX-License-Identifier: Apache-2.0
#include "hdf5_meta.h"
#include "hdf5_folder.h"
#include "hdf5_helper.h"
#include "hdf5_io.h"
#include "hdf5_lib.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Attributes stay below 64 KiB each; this holds all of them and the file's own structures. */
#define META_ROOM ((size_t)1 << 20)
/* What is read of one: the largest fill value, in a type up to four times as wide. */
#define ATTRIBUTE_MAX (4 * (hsize_t)DN_ITEMSIZE_MAX)

/* The largest fill value that is remembered. */
#define FILL_KEPT 256

/* ---- writing ------------------------------------------------------------------------------ */

static int write_attribute(hid_t file, const char *name, hid_t type, hid_t space, hid_t from,
                           const void *value)
{
    HDF5_ID attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);

    if (attribute < 0 || H5Awrite(attribute, from, value) < 0)
        return hdf5_fail(-EIO, "attribute %s", name);
    return 0;
}

static int write_vector(hid_t file, const char *name, const uint64_t *values, int ndim)
{
    hsize_t count = (hsize_t)ndim;
    HDF5_ID space = H5Screate_simple(1, &count, NULL);

    if (space < 0)
        return hdf5_fail(-EIO, "attribute %s", name);
    return write_attribute(file, name, H5T_STD_I64LE, space, H5T_NATIVE_UINT64, values);
}

static int write_dtype(hid_t file, hid_t scalar, const struct dn_dtype *dtype)
{
    char text[DN_DTYPE_TEXT];
    const char *value = text;
    HDF5_ID type = H5Tcopy(H5T_C_S1);

    dn_dtype_format(dtype, text);
    if (type < 0 || H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)
        return hdf5_fail(-EIO, "attribute dtype");
    return write_attribute(file, "dtype", type, scalar, type, &value);
}

/* As numpy gives a scalar to HDF5: in the machine's byte order, and bytes without the NULs at the end. */
static int write_fill(hid_t file, hid_t scalar, const struct dn_desc *desc)
{
    struct dn_dtype stored = desc->dtype;
    HDF5_ID from = H5I_INVALID_HID, to = H5I_INVALID_HID;
    unsigned char *zero = calloc(1, desc->dtype.itemsize);
    const unsigned char *fill = desc->fill != NULL ? desc->fill : zero;
    int r = zero == NULL ? dn_fail(-ENOMEM, "no memory for a fill value") : 0;

    if (r == 0 && stored.kind == 'S')
        while (stored.itemsize > 1 && fill[stored.itemsize - 1] == 0)
            stored.itemsize--;
    if (r == 0)
        r = hdf5_type(&stored, desc->dtype.order, &from);
    if (r == 0)
        r = hdf5_type(&stored, __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>', &to);
    if (r == 0)
        r = write_attribute(file, "fillvalue", to, scalar, from, fill);
    free(zero);
    return r;
}

static int write_attributes(hid_t file, const struct dn_desc *desc)
{
    HDF5_ID scalar = H5Screate(H5S_SCALAR);
    uint64_t grid[DN_MAX_NDIM];
    int r;

    for (int i = 0; i < desc->ndim; i++)
        grid[i] = dn_desc_grid(desc, i);
    r = write_vector(file, "shape", desc->shape, desc->ndim);
    if (r == 0)
        r = write_dtype(file, scalar, &desc->dtype);
    if (r == 0)
        r = write_fill(file, scalar, desc);
    if (r == 0)
        r = write_vector(file, "chunk_grid", grid, desc->ndim);
    if (r == 0)
        r = write_vector(file, "chunk_size", desc->chunk_size, desc->ndim);
    return r;
}

static int make_image(const struct dn_desc *desc, struct hdf5_image *image)
{
    HDF5_ID file = H5I_INVALID_HID;
    int r = hdf5_create_image(image, META_ROOM, &file);

    if (r == 0)
        r = write_attributes(file, desc);
    if (r == 0 && H5Fflush(file, H5F_SCOPE_LOCAL) < 0)
        r = hdf5_fail(-EIO, HDF5_META);
    return r;
}

int hdf5_meta_create(int dir, const char *label, const struct dn_desc *desc)
{
    struct hdf5_image image = {0};
    char temporary[HDF5_FILE_NAME];
    int fd = -1, r;

    hdf5_lock();
    r = make_image(desc, &image);
    hdf5_unlock();
    if (r < 0)
        goto out;
    fd = hdf5_temporary_create(dir, temporary);
    if (fd < 0) {
        r = dn_fail(fd, "%s: %s", label, strerror(-fd));
        goto out;
    }
    r = hdf5_write_all(fd, image.head, image.size, 0);
    if (r == 0 && (fsync(fd) < 0 || renameat(dir, temporary, dir, HDF5_META) < 0))
        r = -errno;
    if (r < 0) {
        unlinkat(dir, temporary, 0);
        dn_fail(r, "%s: %s", label, strerror(-r));
    }
out:
    if (fd >= 0)
        close(fd);
    free(image.head);
    return r;
}

/* ---- reading ------------------------------------------------------------------------------ */

struct attribute {
    hid_t id, type, space;
};

static void close_attribute(struct attribute *attribute)
{
    hdf5_release(&attribute->space);
    hdf5_release(&attribute->type);
    hdf5_release(&attribute->id);
}

static int open_attribute(hid_t file, const char *name, struct attribute *out)
{
    htri_t there = H5Aexists(file, name);

    *out = (struct attribute){H5I_INVALID_HID, H5I_INVALID_HID, H5I_INVALID_HID};
    if (there == 0)
        return dn_fail(-EPROTO, "attribute %s is missing", name);
    out->id = H5Aopen(file, name, H5P_DEFAULT);
    if (out->id >= 0)
        out->type = H5Aget_type(out->id);
    if (out->id >= 0)
        out->space = H5Aget_space(out->id);
    if (out->type < 0 || out->space < 0)
        return hdf5_fail(-EPROTO, "attribute %s", name);
    if (H5Aget_storage_size(out->id) > ATTRIBUTE_MAX)
        return dn_fail(-EPROTO, "attribute %s is far too large", name);
    return 0;
}

#define ATTRIBUTE __attribute__((cleanup(close_attribute))) struct attribute

/* The count of numbers, or -EPROTO. */
static int read_vector(hid_t file, const char *name, uint64_t *out)
{
    ATTRIBUTE attribute;
    int64_t values[DN_MAX_NDIM];
    hssize_t count;
    int r = open_attribute(file, name, &attribute);

    if (r < 0)
        return r;
    count = H5Sget_simple_extent_npoints(attribute.space);
    if (H5Sget_simple_extent_ndims(attribute.space) != 1 || count < 1 || count > DN_MAX_NDIM ||
        H5Tget_class(attribute.type) != H5T_INTEGER)
        return dn_fail(-EPROTO, "attribute %s is no vector of 1 to %d integers", name, DN_MAX_NDIM);
    if (H5Aread(attribute.id, H5T_NATIVE_INT64, values) < 0)
        return hdf5_fail(-EPROTO, "attribute %s", name);
    for (int i = 0; i < count; i++) {
        if (values[i] < 1)
            return dn_fail(-EPROTO, "attribute %s: %lld is no extent", name, (long long)values[i]);
        out[i] = (uint64_t)values[i];
    }
    return (int)count;
}

static int read_variable_text(const struct attribute *attribute, char *text, size_t size)
{
    char *value = NULL;
    bool fits;

    if (H5Aread(attribute->id, attribute->type, &value) < 0)
        return hdf5_fail(-EPROTO, "attribute dtype");
    fits = value != NULL && strlen(value) < size;
    if (fits)
        strcpy(text, value);
    H5free_memory(value);
    return fits ? 0 : dn_fail(-EPROTO, "attribute dtype is empty or too long");
}

static int read_fixed_text(const struct attribute *attribute, char *text, size_t size)
{
    size_t length = H5Tget_size(attribute->type);

    if (length == 0 || length >= size)
        return dn_fail(-EPROTO, "attribute dtype: a string of %zu bytes", length);
    if (H5Aread(attribute->id, attribute->type, text) < 0)
        return hdf5_fail(-EPROTO, "attribute dtype");
    while (length > 0 && text[length - 1] == ' ') /* a string padded with blanks */
        length--;
    text[length] = '\0';
    return 0;
}

static int read_dtype(hid_t file, struct dn_dtype *out)
{
    ATTRIBUTE attribute;
    char text[DN_DTYPE_TEXT];
    int r = open_attribute(file, "dtype", &attribute);

    if (r < 0)
        return r;
    if (H5Tget_class(attribute.type) != H5T_STRING ||
        H5Sget_simple_extent_npoints(attribute.space) != 1)
        return dn_fail(-EPROTO, "attribute dtype is no string");
    r = H5Tis_variable_str(attribute.type) > 0 ? read_variable_text(&attribute, text, sizeof(text))
                                               : read_fixed_text(&attribute, text, sizeof(text));
    if (r == 0 && dn_dtype_parse(text, out) < 0)
        r = dn_fail(-EPROTO, "attribute dtype: '%s' is no element type", text);
    return r;
}

static int read_fill(hid_t file, const struct dn_dtype *dtype, void *fill)
{
    ATTRIBUTE attribute;
    HDF5_ID type = H5I_INVALID_HID;
    int r = open_attribute(file, "fillvalue", &attribute);

    if (r == 0)
        r = hdf5_memory_type(dtype, attribute.type, -EPROTO, &type);
    if (r < 0)
        return r;
    if (H5Sget_simple_extent_npoints(attribute.space) != 1)
        return dn_fail(-EPROTO, "attribute fillvalue is no single value");
    memset(fill, 0, dtype->itemsize);
    return H5Aread(attribute.id, type, fill) < 0 ? hdf5_fail(-EPROTO, "attribute fillvalue") : 0;
}

/* What the child found; the parent believes none of it unchecked. */
struct reading {
    int ndim;
    uint64_t shape[DN_MAX_NDIM];
    uint64_t chunk_size[DN_MAX_NDIM];
    char dtype[DN_DTYPE_TEXT];
};

/* In the child: the fill value is what goes into `data`. */
static ssize_t read_task(int fd, const void *arg, void *result, void *data, size_t length)
{
    struct reading *reading = result;
    struct dn_dtype dtype;
    HDF5_ID file = H5I_INVALID_HID;
    int chunks, r = hdf5_open_fd(fd, -EPROTO, &file);
    (void)arg, (void)length; /* is DN_ITEMSIZE_MAX */

    if (r < 0)
        return r;
    reading->ndim = read_vector(file, "shape", reading->shape);
    if (reading->ndim < 0)
        return reading->ndim;
    chunks = read_vector(file, "chunk_size", reading->chunk_size);
    if (chunks < 0)
        return chunks;
    if (chunks != reading->ndim)
        return dn_fail(-EPROTO, "shape has %d axes and chunk_size %d", reading->ndim, chunks);
    r = read_dtype(file, &dtype);
    if (r < 0)
        return r;
    dn_dtype_format(&dtype, reading->dtype);
    r = read_fill(file, &dtype, data);
    return r < 0 ? r : (ssize_t)dtype.itemsize;
}

static int make_desc(struct reading *reading, const void *fill, size_t size, struct dn_desc *desc)
{
    struct dn_desc read = {.ndim = reading->ndim};

    reading->dtype[sizeof(reading->dtype) - 1] = '\0';
    memcpy(read.shape, reading->shape, sizeof(read.shape));
    memcpy(read.chunk_size, reading->chunk_size, sizeof(read.chunk_size));
    if (dn_dtype_parse(reading->dtype, &read.dtype) < 0 || read.dtype.itemsize != size ||
        dn_desc_check(&read) < 0)
        return -EPROTO; /* with the text of who refused it */
    read.fill = malloc(size);
    if (read.fill == NULL)
        return dn_fail(-ENOMEM, "no memory for a fill value");
    memcpy(read.fill, fill, size);
    *desc = read;
    return 0;
}

static int read_file(int fd, const char *label, struct dn_desc *desc)
{
    struct reading reading;
    unsigned char *fill = malloc(DN_ITEMSIZE_MAX);
    struct hdf5_job job = {read_task, fd, -EPROTO, "", 0, &reading, sizeof(reading), fill,
                           DN_ITEMSIZE_MAX, 0};
    char why[DN_ERROR_MAX];
    ssize_t r;

    if (fill == NULL)
        return dn_fail(-ENOMEM, "no memory for a fill value");
    r = hdf5_helper_run(&job);
    if (r >= 0)
        r = make_desc(&reading, fill, (size_t)r, desc);
    free(fill);
    if (r == 0)
        return 0;
    snprintf(why, sizeof(why), "%s", dn_error_text((int)r));
    return dn_fail((int)r, "%s: " HDF5_META ": %s", label, why);
}

/* ---- remembering ---------------------------------------------------------------------------- */

void hdf5_meta_cache_init(struct hdf5_meta_cache *cache)
{
    memset(cache, 0, sizeof(*cache));
    pthread_mutex_init(&cache->lock, NULL);
}

void hdf5_meta_cache_clear(struct hdf5_meta_cache *cache)
{
    for (int i = 0; i < HDF5_META_SLOTS; i++)
        dn_desc_clear(&cache->slots[i].desc);
    pthread_mutex_destroy(&cache->lock);
}

static bool time_equal(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool file_equal(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           time_equal(&a->st_mtim, &b->st_mtim) && time_equal(&a->st_ctim, &b->st_ctim);
}

/* A failure to remember is none of the reader's. */
static void remember(struct hdf5_meta_slot *slot, const struct stat *file, const struct dn_desc *desc)
{
    struct dn_desc copy = {0};

    if (desc->dtype.itemsize > FILL_KEPT || dn_desc_copy(&copy, desc) < 0)
        return;
    dn_desc_clear(&slot->desc);
    *slot = (struct hdf5_meta_slot){*file, copy};
}

int hdf5_meta_read(struct hdf5_meta_cache *cache, int fd, const char *label, struct dn_desc *desc)
{
    struct hdf5_meta_slot *slot;
    struct stat file;
    bool is_known, may_remember;
    int r = 0;

    if (fstat(fd, &file) < 0)
        return dn_fail(-errno, "%s: " HDF5_META ": %s", label, strerror(errno));
    slot = &cache->slots[file.st_ino % HDF5_META_SLOTS];
    pthread_mutex_lock(&cache->lock);
    is_known = slot->desc.ndim > 0 && file_equal(&slot->file, &file);
    if (is_known)
        r = dn_desc_copy(desc, &slot->desc);
    pthread_mutex_unlock(&cache->lock);
    if (is_known)
        return r;
    may_remember = hdf5_is_settled(&file.st_ctim);
    r = read_file(fd, label, desc);
    if (r < 0 || !may_remember)
        return r;
    pthread_mutex_lock(&cache->lock);
    remember(slot, &file, desc);
    pthread_mutex_unlock(&cache->lock);
    return 0;
}
