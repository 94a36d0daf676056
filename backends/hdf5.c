// SPDX-License-Identifier: Apache-2.0
/*
 * hdf5: datasets as folders of HDF5 files, as DosNa's hdf5 backend keeps them.
 *
 * A connection is a folder, a dataset a folder below it (hdf5_folder.h) with a description (hdf5_meta.h)
 * and a file for each stored chunk (hdf5_chunk.h); what writers and others left there: hdf5_strays.h.
 * libhdf5 itself stands behind one door (hdf5_lib.h) and reads in a process of its own (hdf5_helper.h),
 * since damaged files can crash it.
 *
 * A chunk is replaced by renaming a complete file over it. Nobody syncs each file: flush() syncs the
 * whole file system once for all chunks written before (hdf5_sync.h).
 */
#include "chunk_index.h"
#include "hdf5_chunk.h"
#include "hdf5_folder.h"
#include "hdf5_helper.h"
#include "hdf5_io.h"
#include "hdf5_meta.h"
#include "hdf5_strays.h"
#include "hdf5_sync.h"
#include <dosna/backend.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define GOOD_READ ((uint64_t)64 << 10)

struct hdf5_options {
    const char *directory;
};

static const struct dn_option rows[] = {
    {"directory", DN_OPT_STRING, ".", offsetof(struct hdf5_options, directory),
     "Folder that the connection's name is looked for in", 0, 0, NULL, false},
    {.name = NULL},
};

struct connection {
    int root; /* O_PATH */
    struct hdf5_meta_cache descriptions;
};

struct dataset {
    int dir; /* stays with the folder when that is renamed */
    char *name;
    struct dn_desc desc;
    struct hdf5_chunks chunks;
    struct hdf5_sync sync;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define DESCRIPTOR __attribute__((cleanup(close_fd))) int

/* ---- connection ------------------------------------------------------------------------------ */

static int hdf5_connect(const char *name, const void *options, void **out)
{
    struct connection *conn = malloc(sizeof(*conn));
    int r;

    if (conn == NULL)
        return dn_fail(-ENOMEM, "no memory for a connection");
    r = conn->root = hdf5_folder_connect(((const struct hdf5_options *)options)->directory, name);
    if (r >= 0)
        r = hdf5_helper_start();
    if (r < 0) {
        close_fd(&conn->root);
        free(conn);
        return r;
    }
    hdf5_meta_cache_init(&conn->descriptions);
    *out = conn;
    return 0;
}

static void hdf5_disconnect(void *arg)
{
    struct connection *conn = arg;

    hdf5_helper_stop();
    hdf5_meta_cache_clear(&conn->descriptions);
    close(conn->root);
    free(conn);
}

static void hdf5_limits(void *conn, struct dn_limits *out)
{
    (void)conn;
    out->good_read = GOOD_READ;
}

static int hdf5_usage(void *arg, struct dn_usage *out)
{
    struct statvfs st;

    if (fstatvfs(((struct connection *)arg)->root, &st) < 0)
        return dn_fail(-errno, "space of the connection: %s", strerror(errno));
    out->total = (uint64_t)st.f_blocks * st.f_frsize;
    out->free = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

static int hdf5_list_datasets(void *arg, dn_name_fn fn, void *fn_arg)
{
    return hdf5_folder_list(((struct connection *)arg)->root, fn, fn_arg);
}

/* ---- datasets -------------------------------------------------------------------------------- */

static int hdf5_has_dataset(void *arg, const char *name)
{
    DESCRIPTOR dir = hdf5_folder_open(((struct connection *)arg)->root, name);

    if (dir < 0)
        return dir == -ENOENT ? 0 : dir;
    return hdf5_folder_is_dataset(dir, ".");
}

static int create_in(int parent, const char *last, const char *name, const struct dn_desc *desc)
{
    DESCRIPTOR dir = openat(parent, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = dir < 0 ? dn_fail(-errno, "%s: %s", name, strerror(errno)) : 0;

    if (r == 0)
        r = hdf5_meta_create(dir, name, desc);
    if (r == 0 && fsync(dir) < 0) {
        r = dn_fail(-errno, "%s: %s", name, strerror(errno));
        unlinkat(dir, HDF5_META, 0);
    }
    return r;
}

static int hdf5_create_dataset(void *arg, const char *name, const struct dn_desc *desc)
{
    const char *last;
    DESCRIPTOR parent = hdf5_folder_parent(((struct connection *)arg)->root, name, true, &last);
    DESCRIPTOR synced = -1;
    int r = parent < 0 ? parent : hdf5_chunks_check(desc);

    if (r < 0)
        return r;
    if (mkdirat(parent, last, 0777) < 0)
        return errno == EEXIST ? dn_fail(-EEXIST, "%s: there is something of that name", name)
                               : dn_fail(-errno, "%s: %s", name, strerror(errno));
    r = create_in(parent, last, name, desc);
    if (r < 0) {
        unlinkat(parent, last, AT_REMOVEDIR);
        return r;
    }
    synced = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (synced >= 0)
        fsync(synced); /* the dataset is there; at worst a crash of the machine forgets it */
    return 0;
}

/* What of `dir` describes the dataset; -EPROTO for what is no file. */
static int open_meta(int dir, const char *name)
{
    int fd = openat(dir, HDF5_META, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    if (fd < 0 && errno == ENOENT)
        return dn_fail(-ENOENT, "%s: no dataset (a folder without " HDF5_META ")", name);
    if (fd < 0 && errno != ELOOP && errno != ENXIO)
        return dn_fail(-errno, "%s: " HDF5_META ": %s", name, strerror(errno));
    close_fd(&fd);
    return dn_fail(-EPROTO, "%s: " HDF5_META " is no regular file", name);
}

static int hdf5_open_dataset(void *arg, const char *name, void **out, struct dn_desc *desc)
{
    struct connection *conn = arg;
    struct dataset *dataset = calloc(1, sizeof(*dataset));
    DESCRIPTOR dir = -1;
    DESCRIPTOR meta = -1;
    int r = 0;

    if (dataset == NULL || (dataset->name = strdup(name)) == NULL) {
        r = dn_fail(-ENOMEM, "no memory for a dataset");
        goto out;
    }
    if ((r = dir = hdf5_folder_open(conn->root, name)) < 0 ||
        (r = meta = open_meta(dir, name)) < 0 ||
        (r = hdf5_meta_read(&conn->descriptions, meta, name, &dataset->desc)) < 0 ||
        (r = dn_desc_copy(desc, &dataset->desc)) < 0)
        goto out;
    hdf5_chunks_init(&dataset->chunks, &dataset->desc);
    hdf5_sync_init(&dataset->sync);
    dataset->dir = dir;
    dir = -1;
    *out = dataset;
    return 0;
out:
    if (dataset != NULL) {
        dn_desc_clear(&dataset->desc);
        free(dataset->name);
        free(dataset);
    }
    return r;
}

static void hdf5_close_dataset(void *arg)
{
    struct dataset *dataset = arg;

    hdf5_sync_clear(&dataset->sync);
    hdf5_chunks_clear(&dataset->chunks);
    dn_desc_clear(&dataset->desc);
    close(dataset->dir);
    free(dataset->name);
    free(dataset);
}

static bool hdf5_same_dataset(void *arg, void *fresh)
{
    struct stat here, there;

    return fstat(((struct dataset *)arg)->dir, &here) == 0 && fstat(((struct dataset *)fresh)->dir, &there) == 0 &&
           here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static int hdf5_delete_dataset(void *arg, const char *name)
{
    int root = ((struct connection *)arg)->root, removed, r;
    const char *last;
    DESCRIPTOR parent = hdf5_folder_parent(root, name, false, &last);
    DESCRIPTOR dir = parent < 0 ? parent : hdf5_folder_open(root, name);

    if (dir < 0)
        return dir;
    r = hdf5_folder_is_dataset(dir, ".");
    if (r <= 0)
        return r < 0 ? r : dn_fail(-ENOENT, "%s: no dataset", name);
    r = hdf5_strays_remove(dir, NULL, &removed);
    if (r < 0)
        return r;
    if (unlinkat(dir, HDF5_META, 0) < 0 && errno != ENOENT)
        return dn_fail(-errno, "%s: " HDF5_META ": %s", name, strerror(errno));
    hdf5_strays_remove(dir, NULL, &removed); /* of writers that were on their way; others see that the dataset is gone */
    unlinkat(parent, last, AT_REMOVEDIR); /* stays if something foreign is in it */
    return 0;
}

/* Not every file system can rename without replacing; a folder can't be moved into itself either. */
static int rename_error(int error, const char *from, const char *to)
{
    size_t length = strlen(from);

    if (error == EEXIST)
        return dn_fail(-EEXIST, "%s: there is something of that name", to);
    if (error == EINVAL && !(strncmp(to, from, length) == 0 && to[length] == '/'))
        error = EXDEV;
    return dn_fail(-error, "%s to %s: %s", from, to, strerror(error));
}

static int hdf5_rename_dataset(void *arg, const char *from, const char *to)
{
    int root = ((struct connection *)arg)->root;
    const char *from_last, *to_last;
    DESCRIPTOR from_parent = hdf5_folder_parent(root, from, false, &from_last);
    DESCRIPTOR to_parent = -1;
    int r = from_parent < 0 ? from_parent : hdf5_has_dataset(arg, from);

    if (r <= 0)
        return r < 0 ? r : dn_fail(-ENOENT, "%s: no dataset", from);
    to_parent = hdf5_folder_parent(root, to, true, &to_last);
    if (to_parent < 0)
        return to_parent;
    if (renameat2(from_parent, from_last, to_parent, to_last, RENAME_NOREPLACE) < 0)
        return rename_error(errno, from, to);
    return 1;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* No mark for a state that another one may follow with the same times. */
static void make_version(const struct stat *st, struct dn_version *out)
{
    uint64_t mark[4] = {st->st_ino, (uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec,
                        (uint64_t)st->st_mtim.tv_nsec};

    out->size = hdf5_time_is_own(&st->st_mtim) || hdf5_is_settled(&st->st_mtim) ? sizeof(mark) : 0;
    memcpy(out->bytes, mark, sizeof(mark));
}

static bool version_equal(const struct dn_version *a, const struct dn_version *b)
{
    return a->size > 0 && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* The folder of a dataset that somebody deleted says "absent" to everything, and may stay for what is foreign in it. */
static bool is_gone(const struct dataset *dataset)
{
    return faccessat(dataset->dir, HDF5_META, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static int gone(const struct dataset *dataset)
{
    return dn_fail(-ESTALE, "%s: the dataset was deleted", dataset->name);
}

/* Says which chunk a failure is about, before the cause where a text tells that already. */
static int chunk_fail(const struct dataset *dataset, const char *file, int code, const char *why)
{
    char text[DN_ERROR_MAX];

    if (code == -ENOENT && is_gone(dataset))
        return gone(dataset);
    snprintf(text, sizeof(text), "%s", why);
    return dn_fail(code, "%s/%s: %s", dataset->name, file, text);
}

static int open_chunk(const struct dataset *dataset, const struct dn_chunk_id *id, char file[HDF5_FILE_NAME],
                      struct stat *st)
{
    int fd;

    hdf5_chunk_name(id, file);
    fd = openat(dataset->dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno != ELOOP && errno != ENXIO)
        return chunk_fail(dataset, file, -errno, strerror(errno));
    if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode))
        return fd;
    close_fd(&fd);
    return chunk_fail(dataset, file, -EIO, "no regular file");
}

static int hdf5_read_chunk(void *arg, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
                           size_t length, struct dn_version *version)
{
    struct dataset *dataset = arg;
    struct dn_version now;
    char file[HDF5_FILE_NAME];
    struct stat st;
    DESCRIPTOR fd = -1;
    int r;

    fd = open_chunk(dataset, id, file, &st);
    if (fd < 0)
        return fd;
    make_version(&st, &now);
    if (version != NULL && version_equal(version, &now))
        return DN_UNCHANGED;
    r = hdf5_chunks_read(&dataset->chunks, fd, (uint64_t)st.st_size, offset, buffer, length);
    if (r < 0) /* NFS: another machine has replaced the file meanwhile */
        return chunk_fail(dataset, file, r == -ESTALE ? -EAGAIN : r, dn_error_text(r));
    if (version != NULL)
        *version = now;
    return 0;
}

/* A chunk's file that is being written. */
struct draft {
    const struct dn_chunk_id *id;
    unsigned begun; /* hdf5_sync_begin() */
    int fd;
    char file[HDF5_FILE_NAME], temporary[HDF5_FILE_NAME];
};

static int begin_draft(struct dataset *dataset, const struct dn_chunk_id *id, struct draft *draft)
{
    draft->id = id;
    draft->begun = hdf5_sync_begin(&dataset->sync);
    hdf5_chunk_name(id, draft->file);
    draft->fd = hdf5_temporary_create(dataset->dir, draft->temporary);
    return draft->fd < 0 ? chunk_fail(dataset, draft->file, draft->fd, strerror(-draft->fd)) : 0;
}

/* The temporary file is closed and takes the chunk's name, or goes if `r` says that writing it failed. */
static int put_in_place(struct dataset *dataset, const struct draft *draft, int r, struct dn_version *version)
{
    const char *file = draft->file, *temporary = draft->temporary;
    struct stat st;

    hdf5_set_time(draft->fd);
    /* A file system over a network may say only now that it could not store it, while the old chunk is still there. */
    if (close(draft->fd) < 0 && r == 0)
        r = chunk_fail(dataset, file, errno == EINTR ? -EAGAIN : -errno, strerror(errno));
    if (r == 0 && (fstatat(dataset->dir, temporary, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                   renameat(dataset->dir, temporary, dataset->dir, file) < 0)) {
        /* whoever deletes the dataset takes the temporary file away */
        r = errno == ENOENT ? -ESTALE : -errno;
        chunk_fail(dataset, file, r, strerror(-r));
    }
    if (r < 0) {
        unlinkat(dataset->dir, temporary, 0);
        return r;
    }
    if (is_gone(dataset)) { /* whoever deletes it may have looked for chunks before */
        unlinkat(dataset->dir, file, 0);
        return gone(dataset);
    }
    if (version != NULL)
        make_version(&st, version);
    return hdf5_sync_written(&dataset->sync, dataset->dir, draft->id, draft->begun);
}

static int hdf5_write_chunk(void *arg, const struct dn_chunk_id *id, uint64_t offset, const void *buffer,
                            size_t length, struct dn_version *version)
{
    struct dataset *dataset = arg;
    struct draft draft;
    int r = begin_draft(dataset, id, &draft);

    if (r < 0)
        return r;
    if (offset == 0 && length == dataset->chunks.nbytes)
        r = hdf5_chunks_write(&dataset->chunks, draft.fd, buffer);
    else
        r = dn_fail(-EINVAL, "chunks are written whole");
    if (r < 0)
        chunk_fail(dataset, draft.file, r, dn_error_text(r));
    return put_in_place(dataset, &draft, r, version);
}

/* The same bytes, so that what the file is of, header and all, stays what it was. */
static int copy_file(int from, int to, uint64_t size)
{
    while (size > 0) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, size, 0);
        if (n < 0 && (errno == EXDEV || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL))
            n = sendfile(to, from, NULL, size);
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        size -= (uint64_t)n;
    }
    return 0;
}

static int hdf5_copy_chunk(void *arg, void *to, const struct dn_chunk_id *id)
{
    struct dataset *dataset = to;
    char file[HDF5_FILE_NAME];
    DESCRIPTOR source = -1;
    struct draft draft;
    struct stat st;
    int r;

    source = open_chunk(arg, id, file, &st);
    if (source < 0)
        return source;
    if (flock(source, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return chunk_fail(arg, file, -EAGAIN, "another process has the file locked for writing");
    r = begin_draft(dataset, id, &draft);
    if (r < 0)
        return r;
    r = copy_file(source, draft.fd, (uint64_t)st.st_size);
    if (r < 0)
        chunk_fail(dataset, file, r, strerror(-r));
    return put_in_place(dataset, &draft, r, NULL);
}

static int hdf5_delete_chunk(void *arg, const struct dn_chunk_id *id)
{
    struct dataset *dataset = arg;
    char file[HDF5_FILE_NAME];

    hdf5_chunk_name(id, file);
    if (unlinkat(dataset->dir, file, 0) < 0)
        return chunk_fail(dataset, file, -errno, strerror(errno));
    hdf5_sync_removed(&dataset->sync, id);
    return 0;
}

static int hdf5_has_chunk(void *arg, const struct dn_chunk_id *id)
{
    struct dataset *dataset = arg;
    char file[HDF5_FILE_NAME];

    hdf5_chunk_name(id, file);
    if (faccessat(dataset->dir, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    if (errno == ENOENT && !is_gone(dataset))
        return 0;
    return chunk_fail(dataset, file, -errno, strerror(errno));
}

static int hdf5_chunk_length(void *arg, const struct dn_chunk_id *id, uint64_t *nbytes)
{
    struct dataset *dataset = arg;
    char file[HDF5_FILE_NAME];
    struct stat st;
    DESCRIPTOR fd = -1;
    int r;

    fd = open_chunk(dataset, id, file, &st);
    if (fd < 0)
        return fd;
    r = hdf5_chunks_length(&dataset->chunks, fd, (uint64_t)st.st_size, nbytes);
    return r < 0 ? chunk_fail(dataset, file, r, dn_error_text(r)) : 0;
}

struct listing {
    const struct dataset *dataset;
    dn_chunk_fn fn;
    void *arg;
};

static int list_chunk(void *arg, const char *file)
{
    const struct listing *listing = arg;
    const struct dn_desc *desc = &listing->dataset->desc;
    int64_t index[DN_MAX_NDIM];
    uint64_t position[DN_MAX_NDIM];

    if (!chunk_index_is_inside(desc, hdf5_chunk_parse(file, index), index))
        return 0;
    for (int i = 0; i < desc->ndim; i++)
        position[i] = (uint64_t)index[i];
    return listing->fn(listing->arg, position, desc->ndim);
}

static int hdf5_list_chunks(void *arg, dn_chunk_fn fn, void *fn_arg)
{
    struct listing listing = {.dataset = arg, .fn = fn, .arg = fn_arg};

    return hdf5_folder_each(listing.dataset->dir, list_chunk, &listing);
}

static int hdf5_list_strays(void *arg, dn_name_fn fn, void *fn_arg)
{
    const struct dataset *dataset = arg;

    return hdf5_strays_list(dataset->dir, &dataset->desc, fn, fn_arg);
}

static int hdf5_delete_strays(void *arg)
{
    struct dataset *dataset = arg;
    int removed = 0, r = hdf5_strays_remove(dataset->dir, &dataset->desc, &removed);

    if (removed > 0)
        hdf5_sync_removed(&dataset->sync, NULL);
    return r;
}

static int hdf5_flush(void *arg)
{
    struct dataset *dataset = arg;

    return hdf5_sync_flush(&dataset->sync, dataset->dir);
}

extern const struct dn_backend dn_backend_hdf5;
const struct dn_backend dn_backend_hdf5 = {
    .name = "hdf5",
    .summary = "A folder of HDF5 files, one for each chunk",
    .options = rows,
    .options_size = sizeof(struct hdf5_options),
    .abilities = DN_CAN_READ_RANGE | DN_CAN_COMPARE | DN_COMPARE_CHEAP |
                 DN_DELETES_CHUNKS,
    .connect = hdf5_connect,
    .disconnect = hdf5_disconnect,
    .limits = hdf5_limits,
    .list_datasets = hdf5_list_datasets,
    .create_dataset = hdf5_create_dataset,
    .open_dataset = hdf5_open_dataset,
    .same_dataset = hdf5_same_dataset,
    .has_dataset = hdf5_has_dataset,
    .close_dataset = hdf5_close_dataset,
    .delete_dataset = hdf5_delete_dataset,
    .rename_dataset = hdf5_rename_dataset,
    .read_chunk = hdf5_read_chunk,
    .write_chunk = hdf5_write_chunk,
    .delete_chunk = hdf5_delete_chunk,
    .has_chunk = hdf5_has_chunk,
    .chunk_length = hdf5_chunk_length,
    .list_chunks = hdf5_list_chunks,
    .copy_chunk = hdf5_copy_chunk,
    .list_strays = hdf5_list_strays,
    .delete_strays = hdf5_delete_strays,
    .flush = hdf5_flush,
    .usage = hdf5_usage,
};
