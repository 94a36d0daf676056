// SPDX-License-Identifier: Apache-2.0
#include "hdf5_folder.h"

#include "chunk_index.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TEMPORARY_PREFIX ".dosnafs-"
#define TEMPORARY_SUFFIX ".tmp"
#define LIST_DEPTH 32

/* ---- names -------------------------------------------------------------------------------- */

/* Python's splitext(): dots at the beginning of the last component begin no extension. */
static bool has_extension(const char *path)
{
    const char *last = strrchr(path, '/');

    last = last == NULL ? path : last + 1;
    last += strspn(last, ".");
    return strchr(last, '.') != NULL;
}

int hdf5_folder_connect(const char *directory, const char *connection)
{
    char path[PATH_MAX];
    int n, fd;

    if (has_extension(connection))
        return dn_fail(-EINVAL, "DosNa refuses a name with an extension");
    if (connection[0] == '/' || directory == NULL)
        n = snprintf(path, sizeof(path), "%s", connection[0] == '\0' ? "." : connection);
    else
        n = snprintf(path, sizeof(path), "%s/%s", directory, connection);
    if ((size_t)n >= sizeof(path))
        return dn_fail(-ENAMETOOLONG, "the path is too long");
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return dn_fail(-ENOENT, "no such folder: %s (it must exist already)", path);
    if (fd < 0)
        return dn_fail(-errno, "%s: %s", path, strerror(errno));
    return fd;
}

static bool component_is(const char *part, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(part, word, length) == 0;
}

int hdf5_folder_check(const char *name)
{
    const char *part = name;

    if (strlen(name) >= PATH_MAX)
        return dn_fail(-ENAMETOOLONG, "dataset name: longer than %d bytes", PATH_MAX - 1);
    for (;;) {
        size_t length = strcspn(part, "/");
        if (length == 0 || component_is(part, length, ".") || component_is(part, length, ".."))
            return dn_fail(-EINVAL, "dataset name '%s': a part is empty, '.' or '..'", name);
        if (length > NAME_MAX)
            return dn_fail(-ENAMETOOLONG, "dataset name '%s': a part is longer than %d bytes", name,
                           NAME_MAX);
        if (component_is(part, length, HDF5_META))
            return dn_fail(-EINVAL, "dataset name '%s': " HDF5_META " is a file of DosNa's", name);
        if (part[length] == '\0')
            return 0;
        part += length + 1;
    }
}

/* ---- opening beneath the connection --------------------------------------------------------- */

static int open_beneath(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_DIRECTORY | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd;

    do /* EAGAIN: a rename elsewhere made the kernel unsure */
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    if (fd >= 0)
        return (int)fd;
    if (errno == ENOENT || errno == ENOTDIR)
        return dn_fail(-ENOENT, "%s: no such folder in the connection", path);
    if (errno == EXDEV || errno == ELOOP)
        return dn_fail(-EINVAL, "%s: a symbolic link leads out of the connection", path);
    return dn_fail(-errno, "%s: %s", path, strerror(errno));
}

int hdf5_folder_open(int root, const char *name)
{
    int r = hdf5_folder_check(name);

    return r < 0 ? r : open_beneath(root, name, O_RDONLY);
}

/* Would a dataset in this folder lie inside another one's, where no listing finds it? */
static int check_not_inside(int root, const char *path)
{
    char outer[PATH_MAX];
    size_t length = 0;
    int r = 0;

    while (r == 0 && path[length] != '\0') {
        length += 1 + strcspn(path + length + 1, "/");
        memcpy(outer, path, length);
        outer[length] = '\0';
        r = hdf5_folder_is_dataset(root, outer);
    }
    return r > 0 ? dn_fail(-EINVAL, "%s is a dataset: it can hold no other one", outer) : r;
}

int hdf5_folder_parent(int root, const char *name, bool for_new, const char **last)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(name, '/');
    int r = hdf5_folder_check(name);

    if (r < 0)
        return r;
    *last = slash == NULL ? name : slash + 1;
    if (slash == NULL)
        return open_beneath(root, ".", O_PATH);
    memcpy(parent, name, (size_t)(slash - name));
    parent[slash - name] = '\0';
    if (for_new && (r = check_not_inside(root, parent)) < 0)
        return r;
    r = open_beneath(root, parent, O_PATH);
    return r == -ENOENT && for_new ? dn_fail(-EINVAL, "%s: there is no folder %s to make it in", name, parent) : r;
}

int hdf5_folder_is_dataset(int dir, const char *name)
{
    char path[PATH_MAX + sizeof("/" HDF5_META)];

    snprintf(path, sizeof(path), "%s/" HDF5_META, name);
    if (faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    if (errno == ENOENT || errno == ENOTDIR)
        return 0;
    return dn_fail(-errno, "%s: %s", name, strerror(errno));
}

/* ---- walks -------------------------------------------------------------------------------- */

/* A stream of its own, from the beginning, over a folder that stays open. */
static DIR *open_stream(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);

    if (stream == NULL && fd >= 0)
        close(fd);
    return stream;
}

static void close_stream(DIR **stream)
{
    if (*stream != NULL)
        closedir(*stream);
}

/* 1 and the next entry; 0 at the end; negative. */
static int next_entry(DIR *stream, struct dirent **entry)
{
    do {
        errno = 0;
        *entry = readdir(stream);
        if (*entry == NULL)
            return errno == 0 ? 0 : dn_fail(-errno, "reading a folder: %s", strerror(errno));
    } while (strcmp((*entry)->d_name, ".") == 0 || strcmp((*entry)->d_name, "..") == 0);
    return 1;
}

int hdf5_folder_each(int dir, hdf5_entry_fn fn, void *arg)
{
    __attribute__((cleanup(close_stream))) DIR *stream = open_stream(dir, ".");
    struct dirent *entry;
    int r;

    if (stream == NULL)
        return dn_fail(-errno, "reading a folder: %s", strerror(errno));
    while ((r = next_entry(stream, &entry)) > 0) {
        r = fn(arg, entry->d_name);
        if (r != 0)
            break;
    }
    return r;
}

struct listing {
    dn_name_fn fn;
    void *arg;
    char path[PATH_MAX]; /* of the folder being read; "" or ends with '/' */
};

static bool is_folder(int dir, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* What only hides its own contents doesn't spoil the listing of the rest. */
static bool is_passable(int error)
{
    return error == EACCES || error == ENOENT || error == ENOTDIR || error == ELOOP;
}

static int list_level(struct listing *listing, int dir, const char *name, size_t length, int depth)
{
    __attribute__((cleanup(close_stream))) DIR *stream = open_stream(dir, name);
    struct dirent *entry;
    int r;

    if (stream == NULL)
        return is_passable(errno) && depth > 0
                   ? 0
                   : dn_fail(-errno, "listing %s: %s", listing->path, strerror(errno));
    while ((r = next_entry(stream, &entry)) > 0) {
        size_t size = strlen(entry->d_name), room = sizeof(listing->path) - length;
        if (size + 2 > room || !is_folder(dirfd(stream), entry))
            continue;
        memcpy(listing->path + length, entry->d_name, size + 1);
        r = hdf5_folder_is_dataset(dirfd(stream), entry->d_name);
        if (r > 0)
            r = listing->fn(listing->arg, listing->path);
        else if (r == 0 && depth + 1 < LIST_DEPTH) {
            memcpy(listing->path + length + size, "/", 2);
            r = list_level(listing, dirfd(stream), entry->d_name, length + size + 1, depth + 1);
        } else if (is_passable(-r))
            r = 0;
        if (r != 0)
            break;
    }
    listing->path[length] = '\0';
    return r;
}

int hdf5_folder_list(int root, dn_name_fn fn, void *arg)
{
    struct listing listing = {.fn = fn, .arg = arg};

    return list_level(&listing, root, ".", 0, 0);
}

/* ---- names of chunk files and temporary files -------------------------------------------- */

void hdf5_chunk_name(const struct dn_chunk_id *id, char *file)
{
    char *end = file + sprintf(file, "chunk");

    for (int i = 0; i < id->ndim; i++)
        end += sprintf(end, "_%llu", (unsigned long long)id->index[i]);
    sprintf(end, ".h5");
}

int hdf5_chunk_parse(const char *file, int64_t index[DN_MAX_NDIM])
{
    int ndim;

    if (strncmp(file, "chunk_", 6) != 0)
        return 0;
    file = chunk_index_parse(file + 6, '_', index, &ndim);
    return file != NULL && strcmp(file, ".h5") == 0 ? ndim : 0;
}

int hdf5_temporary_create(int dir, char *file)
{
    static atomic_uint counter;
    int fd;

    do { /* a process of the same number on another host may have taken the name */
        snprintf(file, HDF5_FILE_NAME, TEMPORARY_PREFIX "%ld-%u" TEMPORARY_SUFFIX, (long)getpid(),
                 atomic_fetch_add(&counter, 1));
        fd = openat(dir, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    } while (fd < 0 && (errno == EEXIST || errno == EINTR));
    return fd < 0 ? -errno : fd;
}

bool hdf5_temporary_is(const char *file)
{
    size_t length = strlen(file);

    return length > strlen(TEMPORARY_PREFIX TEMPORARY_SUFFIX) &&
           strncmp(file, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) == 0 &&
           strcmp(file + length - strlen(TEMPORARY_SUFFIX), TEMPORARY_SUFFIX) == 0;
}
