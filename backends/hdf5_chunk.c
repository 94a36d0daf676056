// SPDX-License-Identifier: Apache-2.0
#include "hdf5_chunk.h"
#include "hdf5_helper.h"
#include "hdf5_io.h"
#include "hdf5_lib.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DATA "data"
/* A header that is longer is no template: it would cost more to compare than it saves. */
#define TEMPLATE_MAX 4096
/* A header is less than HDF5's largest message (64 KiB), the fill value, and a few KiB. */
#define HEADER_ROOM ((size_t)128 << 10)
/* HDF5 reads whole chunks of its own: the largest that a file may ask memory for. */
#define FOREIGN_CHUNK_MIN ((uint64_t)64 << 20)

struct hdf5_template {
    uint64_t size;  /* of the file */
    size_t length;  /* of the header; the chunk follows */
    size_t stamp;   /* where four bytes of time are in it that differ from file to file; 0: nowhere */
    unsigned char head[];
};

void hdf5_chunks_init(struct hdf5_chunks *chunks, const struct dn_desc *desc)
{
    *chunks = (struct hdf5_chunks){.desc = desc, .nbytes = dn_desc_chunk_nbytes(desc)};
    pthread_mutex_init(&chunks->lock, NULL);
}

void hdf5_chunks_clear(struct hdf5_chunks *chunks)
{
    for (int i = 0; i < chunks->count; i++)
        free(chunks->known[i]);
    free(chunks->own);
    pthread_mutex_destroy(&chunks->lock);
}

static struct hdf5_template *template_new(const void *head, size_t length, uint64_t nbytes)
{
    struct hdf5_template *new = malloc(sizeof(*new) + length);

    if (new == NULL)
        return NULL;
    *new = (struct hdf5_template){.size = length + nbytes, .length = length};
    memcpy(new->head, head, length);
    return new;
}

static bool template_fits(const struct hdf5_template *known, const unsigned char *head)
{
    size_t rest = known->stamp == 0 ? 0 : known->stamp + 4;

    return memcmp(known->head, head, known->stamp) == 0 &&
           memcmp(known->head + rest, head + rest, known->length - rest) == 0;
}

/* Remember a template, if there is room and it isn't known. Takes it over. */
static void template_learn(struct hdf5_chunks *chunks, struct hdf5_template *new)
{
    int count;

    pthread_mutex_lock(&chunks->lock);
    count = chunks->count;
    for (int i = 0; i < count && new != NULL; i++)
        if (chunks->known[i]->size == new->size && template_fits(chunks->known[i], new->head)) {
            free(new);
            new = NULL;
        }
    if (new != NULL && count < HDF5_TEMPLATES) {
        chunks->known[count] = new;
        chunks->count = count + 1;
        new = NULL;
    }
    pthread_mutex_unlock(&chunks->lock);
    free(new);
}

/* ---- writing ------------------------------------------------------------------------------ */

static int create_list(const struct dn_desc *desc, hid_t type, hid_t list)
{
    unsigned char *zero = calloc(1, desc->dtype.itemsize);
    int r = 0;

    if (zero == NULL)
        return dn_fail(-ENOMEM, "no memory for a fill value");
    if (list < 0 || H5Pset_layout(list, H5D_CONTIGUOUS) < 0 ||
        H5Pset_fill_value(list, type, desc->fill != NULL ? desc->fill : zero) < 0 ||
        H5Pset_fill_time(list, H5D_FILL_TIME_IFSET) < 0 || H5Pset_obj_track_times(list, 0) < 0)
        r = hdf5_fail(-EIO, "describing a chunk file");
    free(zero);
    return r;
}

/* Writing one element is what makes HDF5 place the data. */
static int place_data(hid_t data, hid_t space, hid_t type, uint32_t itemsize)
{
    static const hsize_t origin[DN_MAX_NDIM];
    HDF5_ID one = H5Screate(H5S_SCALAR);
    void *element = calloc(1, itemsize);
    int r = 0;

    if (element == NULL)
        return dn_fail(-ENOMEM, "no memory for an element");
    if (H5Sselect_elements(space, H5S_SELECT_SET, 1, origin) < 0 ||
        H5Dwrite(data, type, one, space, H5P_DEFAULT, element) < 0)
        r = hdf5_fail(-EIO, "making a chunk file");
    free(element);
    return r;
}

/* The offset of the data in the image. */
static int make_image(const struct dn_desc *desc, struct hdf5_image *image, uint64_t *offset)
{
    HDF5_ID file = H5I_INVALID_HID, type = H5I_INVALID_HID, list = H5I_INVALID_HID;
    HDF5_ID space = H5I_INVALID_HID, data = H5I_INVALID_HID;
    hsize_t dims[DN_MAX_NDIM];
    int r = hdf5_type(&desc->dtype, desc->dtype.order, &type);

    for (int i = 0; i < desc->ndim; i++)
        dims[i] = desc->chunk_size[i];
    if (r == 0)
        r = hdf5_create_image(image, HEADER_ROOM, &file);
    if (r == 0)
        r = create_list(desc, type, list = H5Pcreate(H5P_DATASET_CREATE));
    if (r < 0)
        return r;
    space = H5Screate_simple(desc->ndim, dims, NULL);
    data = H5Dcreate2(file, DATA, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (data < 0)
        return hdf5_fail(-ENOTSUP, "hdf5 cannot hold such a chunk");
    r = place_data(data, space, type, desc->dtype.itemsize);
    if (r == 0)
        *offset = H5Dget_offset(data);
    return r;
}

static int make_header(const struct dn_desc *desc, struct hdf5_template **out)
{
    struct hdf5_image image = {0};
    uint64_t offset = 0, nbytes = dn_desc_chunk_nbytes(desc);
    int r;

    hdf5_lock();
    r = make_image(desc, &image, &offset);
    hdf5_unlock();
    if (r == 0 && (offset > image.room || image.size != offset + nbytes))
        r = dn_fail(-ENOTSUP, "libhdf5 lays out chunk files in a way unknown to dosnafs");
    if (r == 0 && (*out = template_new(image.head, offset, nbytes)) == NULL)
        r = dn_fail(-ENOMEM, "no memory for the header of an HDF5 file");
    free(image.head);
    return r;
}

static int own_header(struct hdf5_chunks *chunks, struct hdf5_template **out)
{
    struct hdf5_template *made = NULL, *none = NULL;
    int r;

    *out = chunks->own;
    if (*out != NULL)
        return 0;
    r = make_header(chunks->desc, &made);
    if (r < 0)
        return r;
    if (atomic_compare_exchange_strong(&chunks->own, &none, made)) {
        *out = made;
        if (made->length <= TEMPLATE_MAX)
            template_learn(chunks, template_new(made->head, made->length, chunks->nbytes));
    } else { /* another thread was first */
        *out = none;
        free(made);
    }
    return 0;
}

int hdf5_chunks_check(const struct dn_desc *desc)
{
    struct hdf5_template *made = NULL;
    int r = make_header(desc, &made);

    free(made);
    return r;
}

int hdf5_chunks_write(struct hdf5_chunks *chunks, int fd, const void *buffer)
{
    struct hdf5_template *own;
    int r = own_header(chunks, &own);

    if (r == 0)
        r = hdf5_write_two(fd, own->head, own->length, buffer, chunks->nbytes);
    return r < 0 ? dn_fail(r, "%s", strerror(-r)) : 0;
}

/* ---- reading what libhdf5 must look at ------------------------------------------------------ */

/* What the child is asked for, and what it found if it is not done with the read. */
struct wanted {
    struct dn_desc desc; /* without its fill value */
    uint64_t nbytes;     /* of a chunk */
    uint64_t offset;     /* in the chunk */
};

struct found {
    bool is_plain;   /* the chunk's bytes stand as they are from `offset` */
    uint64_t offset;
    uint32_t stamp;  /* time of the last change that the file tells, or 0 */
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

    if (H5Lexists(file, DATA, H5P_DEFAULT) == 0)
        return dn_fail(-EIO, "it holds no '" DATA "'");
    if (H5Lget_info(file, DATA, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
        return dn_fail(-EIO, "its '" DATA "' is a link to elsewhere");
    data->id = H5Dopen2(file, DATA, H5P_DEFAULT);
    if (data->id < 0)
        return hdf5_fail(-EIO, "its '" DATA "'");
    data->type = H5Dget_type(data->id);
    data->space = H5Dget_space(data->id);
    data->list = H5Dget_create_plist(data->id);
    layout = H5Pget_layout(data->list);
    if (data->type < 0 || data->space < 0 || data->list < 0 || layout < 0)
        return hdf5_fail(-EIO, "its '" DATA "'");
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
    struct found *found = result;
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
        *found = (struct found){.is_plain = true, .offset = address};
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

/* Where the message of an object's time stands: version 1, three reserved bytes, seconds. */
static size_t find_stamp(const unsigned char *head, size_t length, uint32_t seconds)
{
    unsigned char message[8] = {1, 0, 0, 0, (unsigned char)seconds, (unsigned char)(seconds >> 8),
                                (unsigned char)(seconds >> 16), (unsigned char)(seconds >> 24)};
    const unsigned char *at;

    if (seconds == 0)
        return 0;
    at = memmem(head, length, message, sizeof(message));
    return at == NULL ? 0 : (size_t)(at - head) + 4;
}

/* A file whose data reach to its end shows what others like it look like. */
static void learn(struct hdf5_chunks *chunks, int fd, uint64_t size, const struct found *found)
{
    unsigned char head[TEMPLATE_MAX];
    struct hdf5_template *new;

    if (found->offset > sizeof(head) || size != found->offset + chunks->nbytes ||
        hdf5_read_all(fd, head, found->offset, 0) < 0)
        return;
    new = template_new(head, found->offset, chunks->nbytes);
    if (new != NULL) {
        new->stamp = find_stamp(head, new->length, found->stamp);
        template_learn(chunks, new);
    }
}

static int read_inspected(struct hdf5_chunks *chunks, int fd, uint64_t size, uint64_t offset,
                          void *buffer, size_t length)
{
    struct wanted wanted = {*chunks->desc, chunks->nbytes, offset};
    struct found found;
    struct hdf5_job job = {inspect_task, fd, -EIO, &wanted, sizeof(wanted), &found, sizeof(found),
                           buffer, length};
    ssize_t done = hdf5_helper_run(&job);
    int r;

    if (done < 0 || !found.is_plain)
        return done < 0 ? (int)done : (size_t)done == length ? 0 : dn_fail(-EIO, "libhdf5 broke down on it");
    if (found.offset > size || chunks->nbytes > size - found.offset)
        return dn_fail(-EIO, "it ends before its data do");
    learn(chunks, fd, size, &found);
    r = hdf5_read_all(fd, buffer, length, found.offset + offset);
    return r < 0 ? dn_fail(r, "%s", strerror(-r)) : 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* 1 if a template fitted and the bytes were read; 0 if none did. */
static int read_known(struct hdf5_chunks *chunks, int fd, uint64_t size, uint64_t offset, void *buffer,
                      size_t length)
{
    unsigned char head[TEMPLATE_MAX];
    size_t read = 0; /* of the header */
    int count = chunks->count, r = 0;

    for (int i = 0; i < count; i++) {
        const struct hdf5_template *known = chunks->known[i];
        if (known->size != size)
            continue;
        if (read == 0 && offset == 0) /* header and chunk at once; files of one size have one offset */
            r = hdf5_read_two(fd, head, known->length, buffer, length, 0);
        else if (read == 0)
            r = hdf5_read_all(fd, head, known->length, 0);
        if (r < 0)
            return r;
        read = known->length;
        if (!template_fits(known, head))
            continue;
        r = offset == 0 ? 0 : hdf5_read_all(fd, buffer, length, known->length + offset);
        return r < 0 ? r : 1;
    }
    return 0;
}

int hdf5_chunks_read(struct hdf5_chunks *chunks, int fd, uint64_t size, uint64_t offset, void *buffer,
                     size_t length)
{
    int r = read_known(chunks, fd, size, offset, buffer, length);

    if (r < 0)
        return dn_fail(r, "%s", strerror(-r));
    return r > 0 ? 0 : read_inspected(chunks, fd, size, offset, buffer, length);
}

/* ---- measuring ------------------------------------------------------------------------------- */

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

int hdf5_chunks_length(struct hdf5_chunks *chunks, int fd, uint64_t size, uint64_t *nbytes)
{
    const uint32_t *itemsize = &chunks->desc->dtype.itemsize;
    struct hdf5_job job = {measure_task, fd, -EIO, itemsize, sizeof(*itemsize), nbytes, sizeof(*nbytes), NULL, 0};
    unsigned char byte;
    int r = read_known(chunks, fd, size, 0, &byte, 1);

    if (r < 0)
        return dn_fail(r, "%s", strerror(-r));
    *nbytes = chunks->nbytes;
    return r > 0 ? 0 : (int)hdf5_helper_run(&job);
}
