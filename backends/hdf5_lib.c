// SPDX-License-Identifier: Apache-2.0
#include "hdf5_lib.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the lock, and what it guards --------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hid_t access_list = H5I_INVALID_HID; /* opens files with the driver below */
static int read_error;                      /* errno of the driver's last failed read, or 0 */
static struct driver_source {               /* what the driver's next open() is about */
    int fd;
    uint64_t size;
    struct hdf5_image *image;
} source;

void hdf5_lock(void)
{
    pthread_mutex_lock(&lock);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* the setting belongs to the thread */
}

void hdf5_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void hdf5_release(hid_t *id)
{
    if (*id > 0)
        H5Idec_ref(*id);
}

static herr_t innermost(unsigned n, const H5E_error2_t *error, void *text)
{
    if (n == 0 && error->desc != NULL)
        snprintf(text, DN_ERROR_MAX, "%s", error->desc);
    return 0;
}

int hdf5_fail(int code, const char *format, ...)
{
    char why[DN_ERROR_MAX] = "refused by libhdf5";
    char what[DN_ERROR_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (read_error != 0)
        return dn_fail(-read_error, "%s: %s", what, strerror(read_error));
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, why);
    return dn_fail(code, "%s: %s", what, why);
}

/* ---- the driver: an open descriptor, or an image being made ----------------------------------- */

struct driver_file {
    H5FD_t base; /* libhdf5's part, first */
    struct driver_source source;
    haddr_t eoa, eof;
};

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr)
{
    struct driver_file *file = calloc(1, sizeof(*file));
    (void)name, (void)flags, (void)fapl, (void)maxaddr;

    if (file == NULL)
        return NULL;
    file->source = source;
    file->eof = source.size;
    return &file->base;
}

static herr_t driver_close(H5FD_t *base)
{
    struct driver_file *file = (struct driver_file *)base;

    if (file->source.image != NULL)
        file->source.image->size = file->eof;
    free(file);
    return 0;
}

static herr_t driver_query(const H5FD_t *base, unsigned long *flags)
{
    (void)base;
    /* As the driver of plain files, so that space in a file is laid out alike. */
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t driver_eoa(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return ((const struct driver_file *)base)->eoa;
}

static herr_t driver_set_eoa(H5FD_t *base, H5FD_mem_t type, haddr_t addr)
{
    (void)type;
    ((struct driver_file *)base)->eoa = addr;
    return 0;
}

static haddr_t driver_eof(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return ((const struct driver_file *)base)->eof;
}

static herr_t read_image(const struct hdf5_image *image, haddr_t addr, size_t size, unsigned char *out)
{
    size_t have = addr < image->room ? image->room - addr : 0;

    if (have > size)
        have = size;
    memcpy(out, image->head + addr, have);
    memset(out + have, 0, size - have);
    return 0;
}

static herr_t driver_read(H5FD_t *base, H5FD_mem_t type, hid_t dxpl, haddr_t addr, size_t size,
                          void *buffer)
{
    struct driver_file *file = (struct driver_file *)base;
    unsigned char *out = buffer;
    (void)type, (void)dxpl;

    if (file->source.image != NULL)
        return read_image(file->source.image, addr, size, out);
    if (addr > INT64_MAX || size > INT64_MAX - addr)
        return -1;
    while (size > 0) {
        ssize_t n = pread(file->source.fd, out, size, (off_t)addr);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            read_error = errno;
            return -1;
        }
        if (n == 0) { /* libhdf5 may ask past the end for a block's unused rest */
            memset(out, 0, size);
            break;
        }
        out += n;
        addr += (haddr_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static herr_t driver_write(H5FD_t *base, H5FD_mem_t type, hid_t dxpl, haddr_t addr, size_t size,
                           const void *buffer)
{
    struct driver_file *file = (struct driver_file *)base;
    struct hdf5_image *image = file->source.image;
    (void)type, (void)dxpl;

    if (image == NULL)
        return -1;
    if (addr < image->room)
        memcpy(image->head + addr, buffer, size < image->room - addr ? size : image->room - addr);
    if (addr + size > file->eof)
        file->eof = addr + size;
    return 0;
}

static herr_t driver_truncate(H5FD_t *base, hid_t dxpl, hbool_t closing)
{
    struct driver_file *file = (struct driver_file *)base;
    (void)dxpl, (void)closing;

    if (file->source.image != NULL)
        file->eof = file->eoa;
    return 0;
}

static const H5FD_class_t driver = {
#ifdef H5FD_CLASS_VERSION /* HDF5 1.14 */
    .version = H5FD_CLASS_VERSION,
    .value = H5FD_RESERVED,
#endif
    .name = "dosna",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .get_eoa = driver_eoa,
    .set_eoa = driver_set_eoa,
    .get_eof = driver_eof,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

static int prepare_access(void)
{
    HDF5_ID list = H5I_INVALID_HID;
    hid_t id;

    read_error = 0;
    if (access_list > 0)
        return 0;
    id = H5FDregister(&driver);
    list = H5Pcreate(H5P_FILE_ACCESS);
    if (id < 0 || list < 0 || H5Pset_driver(list, id, NULL) < 0 ||
        H5Pset_fclose_degree(list, H5F_CLOSE_STRONG) < 0)
        return hdf5_fail(-EIO, "starting libhdf5");
    access_list = list;
    list = H5I_INVALID_HID;
    return 0;
}

int hdf5_open_fd(int fd, int code, hid_t *file)
{
    struct stat st;
    int r = prepare_access();

    if (r < 0)
        return r;
    /* Where a file system has no locks, HDF5's users do without. */
    if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return dn_fail(-EAGAIN, "another process has the file locked for writing");
    if (fstat(fd, &st) < 0)
        return dn_fail(-errno, "%s", strerror(errno));
    source = (struct driver_source){.fd = fd, .size = (uint64_t)st.st_size};
    *file = H5Fopen("descriptor", H5F_ACC_RDONLY, access_list);
    return *file < 0 ? hdf5_fail(code, "no readable HDF5 file") : 0;
}

int hdf5_create_image(struct hdf5_image *image, size_t room, hid_t *file)
{
    int r = prepare_access();

    if (r < 0)
        return r;
    *image = (struct hdf5_image){.head = calloc(1, room), .room = room};
    if (image->head == NULL)
        return dn_fail(-ENOMEM, "no memory for the header of an HDF5 file");
    source = (struct driver_source){.fd = -1, .image = image};
    *file = H5Fcreate("image", H5F_ACC_TRUNC, H5P_DEFAULT, access_list);
    return *file < 0 ? hdf5_fail(-EIO, "making an HDF5 file") : 0;
}

/* ---- element types ------------------------------------------------------------------------ */

static hid_t int_type(uint32_t size, bool is_signed)
{
    switch (size) {
    case 1:
        return H5Tcopy(is_signed ? H5T_STD_I8LE : H5T_STD_U8LE);
    case 2:
        return H5Tcopy(is_signed ? H5T_STD_I16LE : H5T_STD_U16LE);
    case 4:
        return H5Tcopy(is_signed ? H5T_STD_I32LE : H5T_STD_U32LE);
    case 8:
        return H5Tcopy(is_signed ? H5T_STD_I64LE : H5T_STD_U64LE);
    default:
        return H5I_INVALID_HID;
    }
}

static hid_t half_type(void)
{
    HDF5_ID type = H5Tcopy(H5T_IEEE_F32LE);
    hid_t done = type;

    if (type < 0 || H5Tset_fields(type, 15, 10, 5, 0, 10) < 0 || H5Tset_size(type, 2) < 0 ||
        H5Tset_ebias(type, 15) < 0)
        return H5I_INVALID_HID;
    type = H5I_INVALID_HID;
    return done;
}

static hid_t float_type(uint32_t size)
{
    switch (size) {
    case 2:
        return half_type();
    case 4:
        return H5Tcopy(H5T_IEEE_F32LE);
    case 8:
        return H5Tcopy(H5T_IEEE_F64LE);
    case sizeof(long double):
        return H5Tcopy(H5T_NATIVE_LDOUBLE);
    default:
        return H5I_INVALID_HID;
    }
}

static hid_t ordered(hid_t type, char order)
{
    if (type >= 0)
        H5Tset_order(type, order == '>' ? H5T_ORDER_BE : H5T_ORDER_LE);
    return type;
}

static hid_t bool_type(void)
{
    static const signed char no = 0, yes = 1;
    hid_t type = H5Tenum_create(H5T_STD_I8LE);

    if (type >= 0) {
        H5Tenum_insert(type, "FALSE", &no);
        H5Tenum_insert(type, "TRUE", &yes);
    }
    return type;
}

static hid_t complex_type(uint32_t size, char order)
{
    HDF5_ID part = ordered(float_type(size / 2), order);
    hid_t type = part < 0 ? H5I_INVALID_HID : H5Tcreate(H5T_COMPOUND, size);

    if (type >= 0) {
        H5Tinsert(type, "r", 0, part);
        H5Tinsert(type, "i", size / 2, part);
    }
    return type;
}

static hid_t bytes_type(uint32_t size)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    if (type >= 0) {
        H5Tset_size(type, size);
        H5Tset_strpad(type, H5T_STR_NULLPAD);
    }
    return type;
}

int hdf5_type(const struct dn_dtype *dtype, char order, hid_t *out)
{
    char text[DN_DTYPE_TEXT];

    *out = H5I_INVALID_HID;
    if (dtype->kind == 'b')
        *out = bool_type();
    else if (dtype->kind == 'i' || dtype->kind == 'u')
        *out = ordered(int_type(dtype->itemsize, dtype->kind == 'i'), order);
    else if (dtype->kind == 'f')
        *out = ordered(float_type(dtype->itemsize), order);
    else if (dtype->kind == 'c')
        *out = complex_type(dtype->itemsize, order);
    else if (dtype->kind == 'S')
        *out = bytes_type(dtype->itemsize);
    if (*out >= 0)
        return 0;
    dn_dtype_format(dtype, text);
    return dn_fail(-ENOTSUP, "dtype %s: hdf5 cannot hold it (it takes b, i, u, f, c and S)", text);
}

int hdf5_memory_type(const struct dn_dtype *dtype, hid_t stored, int code, hid_t *out)
{
    H5T_class_t class = H5Tget_class(stored);

    *out = H5I_INVALID_HID;
    if (class != H5T_INTEGER && class != H5T_FLOAT && class != H5T_ENUM && class != H5T_COMPOUND &&
        (class != H5T_STRING || H5Tis_variable_str(stored) > 0))
        return dn_fail(code, "its type is neither numbers nor bytes");
    if (dtype->kind == 'b' && class == H5T_INTEGER) { /* HDF5 turns no integer into an enumeration */
        *out = H5Tcopy(H5T_NATIVE_INT8);
        return 0;
    }
    if (hdf5_type(dtype, dtype->order, out) < 0)
        return code;
    if (class == H5T_STRING && dtype->kind == 'S') /* nor one character set into another */
        H5Tset_cset(*out, H5Tget_cset(stored));
    return 0;
}
