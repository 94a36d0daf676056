// SPDX-License-Identifier: Apache-2.0
#include "hdf5_inspect.h"
#include "hdf5_chunk.h"
#include "hdf5_helper.h"
#include "hdf5_lib.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* HDF5 reads whole chunks of its own: the largest that a file may ask memory for. */
#define FOREIGN_CHUNK_MIN ((uint64_t)64 << 20)

/* What the child is asked for. */
struct wanted {
    struct dn_desc desc; /* without its fill value */
    uint64_t nbytes;     /* of a chunk */
    uint64_t offset;     /* in the chunk */
};

struct data_set {
    hid_t id, type, space, list;
};

static void close_data(struct data_set *data)
{
    hdf5_release(&data->list);
    hdf5_release(&data->space);
    hdf5_release(&data->type);
    hdf5_release(&data->id);
}

/* Links and layouts can name other files, which nobody has checked. */
static int open_data(hid_t file, struct data_set *data)
{
    H5L_info_t link;
    H5D_layout_t layout;

    if (H5Lexists(file, HDF5_DATA, H5P_DEFAULT) == 0)
        return dn_fail(-EIO, "it holds no '" HDF5_DATA "'");
    if (H5Lget_info(file, HDF5_DATA, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
        return dn_fail(-EIO, "its '" HDF5_DATA "' is a link to elsewhere");
    data->id = H5Dopen2(file, HDF5_DATA, H5P_DEFAULT);
    if (data->id < 0)
        return hdf5_fail(-EIO, "its '" HDF5_DATA "'");
    data->type = H5Dget_type(data->id);
    data->space = H5Dget_space(data->id);
    data->list = H5Dget_create_plist(data->id);
    layout = H5Pget_layout(data->list);
    if (data->type < 0 || data->space < 0 || data->list < 0 || layout < 0)
        return hdf5_fail(-EIO, "its '" HDF5_DATA "'");
    if (layout == H5D_VIRTUAL || H5Pget_external_count(data->list) != 0)
        return dn_fail(-EIO, "its data are in other files");
    return 0;
}

/* 1 if the dataspace is exactly a chunk, 0 if it is larger. */
static int check_extents(const struct dn_desc *desc, hid_t space)
{
    hsize_t dims[H5S_MAX_RANK];
    bool is_equal = true;

    if (H5Sget_simple_extent_ndims(space) != desc->ndim ||
        H5Sget_simple_extent_dims(space, dims, NULL) < 0)
        return dn_fail(-EIO, "its data do not have %d axes", desc->ndim);
    for (int i = 0; i < desc->ndim; i++) {
        if (dims[i] < desc->chunk_size[i])
            return dn_fail(-EIO, "its axis %d has %llu elements, a chunk has %llu", i,
                           (unsigned long long)dims[i], (unsigned long long)desc->chunk_size[i]);
        is_equal = is_equal && dims[i] == desc->chunk_size[i];
    }
    return is_equal;
}

/* Copy a repeating item, beginning `phase` bytes into it. */
static void fill_bytes(unsigned char *buffer, size_t length, const unsigned char *item, size_t size,
                       size_t phase)
{
    size_t have = size - phase < length ? size - phase : length;

    memcpy(buffer, item + phase, have);
    if (have == length)
        return;
    buffer += have;
    length -= have;
    have = size < length ? size : length;
    memcpy(buffer, item, have);
    for (size_t n; have < length; have += n) { /* doubling what is there */
        n = have < length - have ? have : length - have;
        memcpy(buffer + have, buffer, n);
    }
}

static int read_own_fill(const struct dn_desc *desc, const struct data_set *data, hid_t type,
                         uint64_t offset, void *buffer, size_t length)
{
    H5D_fill_value_t defined = H5D_FILL_VALUE_UNDEFINED;
    unsigned char *item = calloc(1, desc->dtype.itemsize);
    int r = 0;

    if (item == NULL)
        return dn_fail(-ENOMEM, "no memory for a fill value");
    if (H5Pfill_value_defined(data->list, &defined) < 0 ||
        (defined != H5D_FILL_VALUE_UNDEFINED && H5Pget_fill_value(data->list, type, item) < 0))
        r = hdf5_fail(-EIO, "its fill value");
    else
        fill_bytes(buffer, length, item, desc->dtype.itemsize, offset % desc->dtype.itemsize);
    free(item);
    return r;
}

/* HDF5's own chunks and their filters take memory that the file decides on. */
static int check_layout(const struct wanted *wanted, hid_t list, size_t itemsize)
{
    hsize_t dims[H5S_MAX_RANK];
    uint64_t most = 2 * wanted->nbytes, size = itemsize;
    int rank;

    if (H5Pget_layout(list) != H5D_CHUNKED)
        return 0;
    if (most < FOREIGN_CHUNK_MIN)
        most = FOREIGN_CHUNK_MIN;
    rank = H5Pget_chunk(list, H5S_MAX_RANK, dims);
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(size, dims[i], &size) || size > most)
            return dn_fail(-EIO, "it is cut into parts of more than %llu bytes",
                           (unsigned long long)most);
    return rank < 0 ? hdf5_fail(-EIO, "its layout") : 0;
}

/*
 * The smallest box of whole elements that holds a range of the chunk's bytes: where first and last element
 * differ first, from the one to the other; one position on the axes before, all on those behind.
 * Returns how many bytes the box begins before the range; *nbytes is the box's size.
 */
static uint64_t enclosing_box(const struct dn_desc *desc, uint64_t offset, size_t length, hsize_t *start,
                              hsize_t *count, uint64_t *nbytes)
{
    uint64_t itemsize = desc->dtype.itemsize;
    uint64_t first = offset / itemsize, last = (offset + length - 1) / itemsize;
    uint64_t stride = 1, begin = 0;
    hsize_t end[DN_MAX_NDIM];
    bool differ = false;

    for (int i = desc->ndim - 1; i >= 0; i--) {
        start[i] = first % desc->chunk_size[i];
        end[i] = last % desc->chunk_size[i];
        first /= desc->chunk_size[i];
        last /= desc->chunk_size[i];
    }
    for (int i = 0; i < desc->ndim; i++) {
        if (differ) {
            start[i] = 0;
            end[i] = desc->chunk_size[i] - 1;
        }
        differ = differ || start[i] != end[i];
        count[i] = end[i] - start[i] + 1;
    }
    *nbytes = itemsize;
    for (int i = desc->ndim - 1; i >= 0; i--) {
        begin += start[i] * stride;
        stride *= desc->chunk_size[i];
        *nbytes *= count[i];
    }
    return offset - begin * itemsize;
}

static int read_converted(const struct wanted *wanted, const struct data_set *data, hid_t type,
                          void *buffer, size_t length)
{
    const struct dn_desc *desc = &wanted->desc;
    hsize_t start[DN_MAX_NDIM], count[DN_MAX_NDIM];
    uint64_t nbytes, before = enclosing_box(desc, wanted->offset, length, start, count, &nbytes);
    HDF5_ID memory = H5Screate_simple(desc->ndim, count, NULL);
    void *box = before == 0 && nbytes == length ? buffer : malloc(nbytes);
    int r = 0;

    if (box == NULL)
        return dn_fail(-ENOMEM, "no memory to convert a chunk");
    if (memory < 0 ||
        H5Sselect_hyperslab(data->space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
        H5Dread(data->id, type, memory, data->space, H5P_DEFAULT, box) < 0)
        r = hdf5_fail(-EIO, "its data");
    if (box != buffer) {
        if (r == 0)
            memcpy(buffer, (unsigned char *)box + before, length);
        free(box);
    }
    return r;
}

/* In the child: find the chunk's bytes, or read them into `data` if libhdf5 must. */
static ssize_t inspect_task(int fd, const void *arg, void *result, void *buffer, size_t length)
{
    const struct wanted *wanted = arg;
    const struct dn_desc *desc = &wanted->desc;
    struct hdf5_found *found = result;
    HDF5_ID file = H5I_INVALID_HID, own = H5I_INVALID_HID, type = H5I_INVALID_HID;
    __attribute__((cleanup(close_data))) struct data_set data = {0};
    H5O_info_t info;
    haddr_t address;
    int is_exact = 0, r = hdf5_open_fd(fd, -EIO, &file);

    if (r == 0)
        r = open_data(file, &data);
    if (r == 0)
        r = is_exact = check_extents(desc, data.space);
    if (r >= 0)
        r = hdf5_memory_type(&desc->dtype, data.type, -EIO, &type);
    if (r == 0)
        r = hdf5_type(&desc->dtype, desc->dtype.order, &own);
    if (r < 0)
        return r;
    address = H5Pget_layout(data.list) == H5D_CONTIGUOUS ? H5Dget_offset(data.id) : 0;
    if (address == HADDR_UNDEF) {
        r = read_own_fill(desc, &data, type, wanted->offset, buffer, length);
    } else if (address != 0 && is_exact && H5Tequal(data.type, own) > 0) {
        *found = (struct hdf5_found){.is_plain = true, .offset = address};
        if (H5Oget_info(data.id, &info) >= 0)
            found->stamp = (uint32_t)info.mtime;
        return 0;
    } else {
        r = check_layout(wanted, data.list, H5Tget_size(data.type));
        if (r == 0)
            r = read_converted(wanted, &data, type, buffer, length);
    }
    return r < 0 ? r : (ssize_t)length;
}

int hdf5_inspect(const struct dn_desc *desc, int fd, uint64_t offset, void *buffer, size_t length,
                 struct hdf5_found *found)
{
    struct wanted wanted = {*desc, dn_desc_chunk_nbytes(desc), offset};
    struct hdf5_job job = {inspect_task, fd, -EIO, &wanted, sizeof(wanted), found, sizeof(*found),
                           buffer, length, wanted.nbytes};
    ssize_t done = hdf5_helper_run(&job);

    if (done < 0)
        return (int)done;
    return found->is_plain || (size_t)done == length ? 0 : dn_fail(-EIO, "libhdf5 broke down on it");
}

/* In the child: the bytes of all elements; more than any chunk has where they are beyond counting. */
static ssize_t measure_task(int fd, const void *arg, void *result, void *buffer, size_t length)
{
    HDF5_ID file = H5I_INVALID_HID;
    __attribute__((cleanup(close_data))) struct data_set data = {0};
    uint64_t nbytes = *(const uint32_t *)arg;
    hsize_t dims[H5S_MAX_RANK];
    int rank, r = hdf5_open_fd(fd, -EIO, &file);

    (void)buffer;
    (void)length;
    if (r == 0)
        r = open_data(file, &data);
    if (r < 0)
        return r;
    rank = H5Sget_simple_extent_dims(data.space, dims, NULL);
    if (rank < 0)
        return hdf5_fail(-EIO, "its extents");
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(nbytes, dims[i], &nbytes))
            nbytes = UINT64_MAX;
    memcpy(result, &nbytes, sizeof(nbytes));
    return 0;
}

int hdf5_measure(uint32_t itemsize, int fd, uint64_t *nbytes)
{
    struct hdf5_job job = {measure_task, fd, -EIO, &itemsize, sizeof(itemsize), nbytes, sizeof(*nbytes), NULL, 0, 0};

    return (int)hdf5_helper_run(&job);
}
