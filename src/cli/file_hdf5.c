// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets in HDF5 files, named FILE.h5:/PATH. Types are h5py's: a bool is an enumeration of one byte, a complex
 * a compound of r and i. libhdf5 has one lock of its own here, as it may not be safe for threads.
 */
#include "file.h"
#include "hdf5_before.h"
#include "temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCOMPLETE "it could not be written to its end"

struct source {
    char *path;          /* of the file */
    const char *inside;  /* of the dataset in it; points into file->path */
    struct temporary temporary; /* of a file that is made here */
    bool replaces;       /* another dataset has the name, which this one takes when it is whole */
    bool writes, named;  /* named: that has begun */
    struct hdf5_before before;
    hid_t file, data, type;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* At exit libhdf5 would close once more what it could not close on a full disk, and crash. It takes this only before its
   first other call, which may be one of the hdf5 backend's. */
__attribute__((constructor)) static void leave_exit_alone(void)
{
    H5dont_atexit();
}

struct cause {
    int code; /* the system's, or 0 */
    char text[DN_ERROR_MAX / 2];
};

/* The driver tells errno in a long text of its own. */
static herr_t innermost(unsigned n, const H5E_error2_t *error, void *arg)
{
    struct cause *cause = arg;
    const char *number = error->desc ? strstr(error->desc, "errno = ") : NULL;

    if (n == 0 && number)
        cause->code = atoi(number + 8);
    if (n == 0 && error->desc)
        snprintf(cause->text, sizeof cause->text, "%s", cause->code > 0 ? strerror(cause->code) : error->desc);
    return 0;
}

/* To be called before libhdf5 is called again. Where `code` is -EIO, what the system has said
   is returned. */
static int fail(const struct file *file, int code, const char *what)
{
    struct cause cause = {.code = 0};

    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, &cause);
    if (code == -EIO && cause.code > 0)
        code = -cause.code;
    return dn_fail(code, "%s: %s%s%s", file->path, what, *cause.text ? ": " : "", cause.text);
}

/* ---- types --------------------------------------------------------------------------------------------------- */

static hid_t float_type(uint32_t itemsize)
{
    hid_t type;

    switch (itemsize) {
    case 4:
        return H5Tcopy(H5T_IEEE_F32LE);
    case 8:
        return H5Tcopy(H5T_IEEE_F64LE);
    case 2: /* as h5py makes it */
        type = H5Tcopy(H5T_IEEE_F32LE);
        H5Tset_fields(type, 15, 10, 5, 0, 10);
        H5Tset_size(type, 2);
        H5Tset_ebias(type, 15);
        return type;
    default:
        return -1;
    }
}

static hid_t integer_type(uint32_t itemsize, bool is_signed)
{
    hid_t type = itemsize <= 8 ? H5Tcopy(is_signed ? H5T_STD_I64LE : H5T_STD_U64LE) : -1;

    if (type >= 0)
        H5Tset_size(type, itemsize);
    return type;
}

static hid_t bool_type(void)
{
    hid_t type = H5Tenum_create(H5T_STD_I8LE);

    H5Tenum_insert(type, "FALSE", &(int8_t){0});
    H5Tenum_insert(type, "TRUE", &(int8_t){1});
    return type;
}

static hid_t complex_type(hid_t part)
{
    size_t size = part < 0 ? 0 : H5Tget_size(part);
    hid_t type;

    if (part < 0)
        return part;
    type = H5Tcreate(H5T_COMPOUND, 2 * size);
    H5Tinsert(type, "r", 0, part);
    H5Tinsert(type, "i", size, part);
    H5Tclose(part);
    return type;
}

/* The type in file and memory, or negative: HDF5 has no such type. */
static hid_t make_type(const struct dn_dtype *dtype)
{
    hid_t part, type;

    switch (dtype->kind) {
    case 'i':
    case 'u':
        type = integer_type(dtype->itemsize, dtype->kind == 'i');
        break;
    case 'f':
        type = float_type(dtype->itemsize);
        break;
    case 'c':
        part = float_type(dtype->itemsize / 2);
        if (part >= 0 && dtype->order == '>')
            H5Tset_order(part, H5T_ORDER_BE);
        return complex_type(part);
    case 'b':
        return bool_type();
    case 'S':
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, dtype->itemsize);
        H5Tset_strpad(type, H5T_STR_NULLPAD);
        return type;
    case 'V':
        return H5Tcreate(H5T_OPAQUE, dtype->itemsize);
    default:
        return -1;
    }
    if (type >= 0 && dtype->order == '>')
        H5Tset_order(type, H5T_ORDER_BE);
    return type;
}

/* Are the members of a compound two floats alike, named r and i? libhdf5 finds members by their names, and leaves memory
   as it was for those that it does not find. */
static bool is_complex(hid_t type)
{
    static const char *const names[2] = {"r", "i"};
    hid_t part[2];
    bool alike;

    if (H5Tget_nmembers(type) != 2)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        char *name = H5Tget_member_name(type, i);
        bool known = name && strcmp(name, names[i]) == 0 && H5Tget_member_class(type, i) == H5T_FLOAT;
        H5free_memory(name);
        if (!known)
            return false;
    }
    for (unsigned i = 0; i < 2; i++)
        part[i] = H5Tget_member_type(type, i);
    alike = H5Tequal(part[0], part[1]) > 0 && 2 * H5Tget_size(part[0]) == H5Tget_size(type);
    for (unsigned i = 0; i < 2; i++)
        H5Tclose(part[i]);
    return alike;
}

/* numpy's name for a type of a file; false: none that a dataset can hold. */
static bool name_type(hid_t type, char text[16])
{
    size_t size = H5Tget_size(type);
    char order = H5Tget_class(type) <= H5T_FLOAT && H5Tget_order(type) == H5T_ORDER_BE ? '>' : '<';
    hid_t part;
    bool known;

    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        snprintf(text, 16, "%c%c%zu", order, H5Tget_sign(type) == H5T_SGN_2 ? 'i' : 'u', size);
        return true;
    case H5T_FLOAT:
        snprintf(text, 16, "%cf%zu", order, size);
        return size == 2 || size == 4 || size == 8;
    case H5T_ENUM:
        snprintf(text, 16, "|b1");
        return size == 1 && H5Tget_nmembers(type) == 2;
    case H5T_STRING:
        snprintf(text, 16, "|S%zu", size);
        return H5Tis_variable_str(type) == 0;
    case H5T_OPAQUE:
        snprintf(text, 16, "|V%zu", size);
        return true;
    case H5T_COMPOUND:
        if (!is_complex(type))
            return false;
        part = H5Tget_member_type(type, 0);
        known = name_type(part, text);
        H5Tclose(part);
        snprintf(text + 1, 15, "c%zu", size);
        return known;
    default:
        return false;
    }
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

/* Take "FILE.h5:/PATH" apart, at the last colon. */
static int new_source(struct file *file)
{
    const char *colon = strrchr(file->path, ':');
    struct source *source = calloc(1, sizeof *source);

    file->state = source;
    if (!source)
        return dn_fail(-ENOMEM, "out of memory");
    source->file = source->data = source->type = -1;
    source->before.fd = -1;
    source->path = strndup(file->path, (size_t)(colon - file->path));
    source->inside = colon + 1;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5Eclear2(H5E_DEFAULT);
    if (!source->path)
        return dn_fail(-ENOMEM, "out of memory");
    return *source->inside ? 0 : dn_fail(-EINVAL, "%s: behind the colon is no path in the file", file->path);
}

static int describe(struct file *file)
{
    struct source *source = file->state;
    hid_t space = H5Dget_space(source->data), stored = H5Dget_type(source->data);
    hsize_t dims[H5S_MAX_RANK];
    uint64_t shape[DN_MAX_NDIM];
    char dtype[16];
    int ndim = H5Sget_simple_extent_dims(space, dims, NULL), error = 0;

    if (ndim < 1 || ndim > DN_MAX_NDIM)
        error = fail(file, -EINVAL, "it has no axis");
    else if (!name_type(stored, dtype))
        error = fail(file, -EINVAL, "its elements are of a type that a dataset cannot hold");
    for (int i = 0; i < ndim && !error; i++)
        shape[i] = dims[i];
    if (!error)
        error = file_describe(file, ndim, shape, dtype);
    H5Sclose(space);
    H5Tclose(stored);
    if (!error)
        source->type = make_type(&file->desc.dtype);
    return error;
}

static int hdf5_open(struct file *file)
{
    struct source *source;
    int error = new_source(file);

    if (error)
        return error;
    source = file->state;
    if (access(source->path, R_OK) != 0)
        return dn_fail(-errno, "%s: %s", source->path, strerror(errno));
    source->file = H5Fopen(source->path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (source->file < 0)
        return fail(file, -EINVAL, "it is no HDF5 file");
    source->data = H5Dopen2(source->file, source->inside, H5P_DEFAULT);
    if (source->data < 0)
        return fail(file, -ENOENT, "there is no such dataset in the file");
    return describe(file);
}

static bool is_group(const struct source *source, const char *name)
{
    hid_t object = H5Oopen(source->file, name, H5P_DEFAULT);
    bool group = object >= 0 && H5Iget_type(object) == H5I_GROUP;

    if (object >= 0)
        H5Oclose(object);
    return group;
}

/* Can the dataset be given its name in the end? Where there is anything on the way to it, it is a group. */
static int check_name(struct file *file)
{
    struct source *source = file->state;
    char *name = strdup(source->inside);
    int error = 0;

    if (!name)
        return dn_fail(-ENOMEM, "out of memory");
    for (char *at = strchr(name + 1, '/'); at && !error; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (H5Lexists(source->file, name, H5P_DEFAULT) <= 0)
            break;
        if (!is_group(source, name))
            error = dn_fail(-ENOTDIR, "%s: %s is no group", file->path, name);
        *at = '/';
    }
    if (!error && is_group(source, source->inside))
        error = dn_fail(-EISDIR, "%s is a group", file->path);
    source->replaces = !error && H5Lexists(source->file, source->inside, H5P_DEFAULT) > 0;
    if (source->replaces && !file->force)
        error = dn_fail(-EEXIST, "%s exists; -f replaces it", file->path);
    free(name);
    return error;
}

static bool keeps_free_space(hid_t file)
{
    hid_t list = H5Fget_create_plist(file);
    H5F_fspace_strategy_t strategy;
    hsize_t threshold;
    hbool_t keeps = true;

    H5Pget_file_space_strategy(list, &strategy, &keeps, &threshold);
    H5Pclose(list);
    return keeps;
}

static int open_for_writing(struct file *file)
{
    struct source *source = file->state;
    hid_t access_list;
    bool missing = faccessat(AT_FDCWD, source->path, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
    int fd = missing ? temporary_create(&source->temporary, source->path) : 0, error = 0;

    if (fd < 0)
        return dn_fail(fd, "%s: %s", source->path, strerror(-fd));
    error = missing ? 0 : hdf5_before_look(&source->before, source->path);
    if (error)
        return dn_fail(error, "%s: %s", source->path, error == -EINVAL ? "it is no HDF5 file" : strerror(-error));
    access_list = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access_list, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST);
    if (missing) {
        close(fd);
        source->file = H5Fcreate(source->temporary.path, H5F_ACC_TRUNC, H5P_DEFAULT, access_list);
    } else {
        source->file = H5Fopen(source->path, H5F_ACC_RDWR, access_list);
    }
    if (source->file < 0)
        error = fail(file, -EIO, missing ? "it cannot be created" : "it cannot be opened for writing");
    H5Pclose(access_list);
    hdf5_before_opened(&source->before, !error && !keeps_free_space(source->file));
    return error ? error : check_name(file);
}

/* Chunked as the dataset is, where HDF5 allows that: below 4 GiB, and no longer than the array. */
static hid_t make_layout(const struct dn_desc *desc)
{
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t dims[DN_MAX_NDIM];

    for (int i = 0; i < desc->ndim; i++)
        dims[i] = desc->chunk_size[i] < desc->shape[i] ? desc->chunk_size[i] : desc->shape[i];
    if (dn_desc_chunk_nbytes(desc) < UINT32_MAX)
        H5Pset_chunk(list, desc->ndim, dims);
    return list;
}

static int create_data(struct file *file)
{
    struct source *source = file->state;
    const struct dn_desc *desc = &file->desc;
    hid_t layout = make_layout(desc), space;
    hsize_t dims[DN_MAX_NDIM];
    int error = 0;

    for (int i = 0; i < desc->ndim; i++)
        dims[i] = desc->shape[i];
    space = H5Screate_simple(desc->ndim, dims, NULL);
    if (desc->fill && source->type >= 0)
        H5Pset_fill_value(layout, source->type, desc->fill);
    source->data = H5Dcreate_anon(source->file, source->type, space, layout, H5P_DEFAULT);
    if (source->data < 0)
        error = fail(file, -EIO, "the dataset cannot be created");
    H5Sclose(space);
    H5Pclose(layout);
    return error;
}

static int hdf5_create(struct file *file)
{
    struct source *source;
    int error = new_source(file);

    if (error)
        return error;
    source = file->state;
    source->writes = true;
    source->type = make_type(&file->desc.dtype);
    if (source->type < 0)
        return fail(file, -EINVAL, "HDF5 has no elements of this type; .npy can hold it");
    error = open_for_writing(file);
    return error ? error : create_data(file);
}

/* ---- parts --------------------------------------------------------------------------------------------------- */

static int move_part(struct file *file, const struct dn_part *part, void *in, const void *out)
{
    struct source *source = file->state;
    hsize_t start[DN_MAX_NDIM], count[DN_MAX_NDIM];
    hid_t space, memory;
    herr_t result = -1;
    int error = 0;

    for (int i = 0; i < part->ndim; i++) {
        start[i] = part->start[i];
        count[i] = part->count[i];
    }
    pthread_mutex_lock(&lock);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    space = H5Dget_space(source->data);
    memory = H5Screate_simple(part->ndim, count, NULL);
    if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0)
        result = in ? H5Dread(source->data, source->type, memory, space, H5P_DEFAULT, in)
                    : H5Dwrite(source->data, source->type, memory, space, H5P_DEFAULT, out);
    if (result < 0)
        error = fail(file, -EIO, in ? "a part cannot be read" : "a part cannot be written");
    H5Sclose(memory);
    H5Sclose(space);
    pthread_mutex_unlock(&lock);
    return error;
}

static int hdf5_read_part(struct file *file, const struct dn_part *part, void *buffer)
{
    return move_part(file, part, buffer, NULL);
}

static int hdf5_write_part(struct file *file, const struct dn_part *part, const void *buffer)
{
    return move_part(file, part, NULL, buffer);
}

/* Until now the dataset had no name, and would have left nothing behind. Everything else is in the file before the old
   one goes, or groups are made. */
static int give_name(const struct file *file)
{
    struct source *source = file->state;
    hid_t links;
    int error;

    if (H5Fflush(source->file, H5F_SCOPE_LOCAL) < 0)
        return fail(file, -EIO, INCOMPLETE);
    error = hdf5_before_reserve(&source->before);
    if (error)
        return dn_fail(error, "%s: %s: %s", file->path, INCOMPLETE, strerror(-error));
    source->named = true;
    links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    if ((source->replaces && H5Ldelete(source->file, source->inside, H5P_DEFAULT) < 0) ||
        H5Olink(source->data, source->file, source->inside, links, H5P_DEFAULT) < 0 ||
        H5Fflush(source->file, H5F_SCOPE_LOCAL) < 0)
        error = fail(file, -EIO, INCOMPLETE);
    H5Pclose(links);
    hdf5_before_release(&source->before);
    return error;
}

static int hdf5_finish(struct file *file, bool keep)
{
    struct source *source = file->state;
    bool writes = source->writes, closed;
    int error = writes && keep ? give_name(file) : 0, named;

    if (source->data >= 0 && H5Dclose(source->data) < 0 && writes && !error)
        error = fail(file, -EIO, INCOMPLETE);
    if (source->type >= 0)
        H5Tclose(source->type);
    closed = source->file < 0 || H5Fclose(source->file) >= 0;
    if (!closed && writes && !error)
        error = fail(file, -EIO, INCOMPLETE);
    hdf5_before_end(&source->before, !source->named, closed);
    named = temporary_finish(&source->temporary, keep && !error, false);
    if (named && !error)
        error = dn_fail(named, "%s: %s", source->path, strerror(-named));
    free(source->path);
    free(source);
    return error;
}

const struct file_kind file_hdf5 = {.name = "HDF5", .flags = FILE_SHARED_READ | FILE_ANY_THREAD, .open = hdf5_open,
                                    .create = hdf5_create, .read_part = hdf5_read_part,
                                    .write_part = hdf5_write_part, .finish = hdf5_finish};
