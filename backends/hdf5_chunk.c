// SPDX-License-Identifier: Apache-2.0
#include "hdf5_chunk.h"
#include "hdf5_inspect.h"
#include "hdf5_io.h"
#include "hdf5_lib.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A header that is longer is no template: it would cost more to compare than it saves. */
#define TEMPLATE_MAX 4096
/* A header is less than HDF5's largest message (64 KiB), the fill value, and a few KiB. */
#define HEADER_ROOM ((size_t)128 << 10)

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
    pthread_mutex_init(&chunks->first, NULL);
}

void hdf5_chunks_clear(struct hdf5_chunks *chunks)
{
    for (int i = 0; i < chunks->count; i++)
        free(chunks->known[i]);
    free(chunks->own);
    pthread_mutex_destroy(&chunks->first);
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
    data = H5Dcreate2(file, HDF5_DATA, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
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

/* ---- reading --------------------------------------------------------------------------------- */

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
static void learn(struct hdf5_chunks *chunks, int fd, uint64_t size, const struct hdf5_found *found)
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
    struct hdf5_found found;
    int r = hdf5_inspect(chunks->desc, fd, offset, buffer, length, &found);

    if (r < 0 || !found.is_plain)
        return r;
    if (found.offset > size || chunks->nbytes > size - found.offset)
        return dn_fail(-EIO, "it ends before its data do");
    learn(chunks, fd, size, &found);
    r = hdf5_read_all(fd, buffer, length, found.offset + offset);
    return r < 0 ? dn_fail(r, "%s", strerror(-r)) : 0;
}

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

/* Files are inspected one at a time, and most of them are alike: whoever comes while the first one is, waits for what it
 * shows. Is this the first? Then first_done() follows. */
static bool is_first(struct hdf5_chunks *chunks)
{
    if (chunks->inspected)
        return false;
    pthread_mutex_lock(&chunks->first);
    if (!chunks->inspected)
        return true;
    pthread_mutex_unlock(&chunks->first);
    return false;
}

static void first_done(struct hdf5_chunks *chunks)
{
    chunks->inspected = true;
    pthread_mutex_unlock(&chunks->first);
}

int hdf5_chunks_read(struct hdf5_chunks *chunks, int fd, uint64_t size, uint64_t offset, void *buffer,
                     size_t length)
{
    bool early = !chunks->inspected, first = false;
    int r = read_known(chunks, fd, size, offset, buffer, length);

    if (r == 0 && early && !(first = is_first(chunks)))
        r = read_known(chunks, fd, size, offset, buffer, length);
    if (r == 0)
        r = read_inspected(chunks, fd, size, offset, buffer, length);
    else
        r = r < 0 ? dn_fail(r, "%s", strerror(-r)) : 0;
    if (first)
        first_done(chunks);
    return r;
}

int hdf5_chunks_length(struct hdf5_chunks *chunks, int fd, uint64_t size, uint64_t *nbytes)
{
    unsigned char byte;
    int r = read_known(chunks, fd, size, 0, &byte, 1);

    if (r < 0)
        return dn_fail(r, "%s", strerror(-r));
    *nbytes = chunks->nbytes;
    return r > 0 ? 0 : hdf5_measure(chunks->desc->dtype.itemsize, fd, nbytes);
}
