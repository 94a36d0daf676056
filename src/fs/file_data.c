// SPDX-License-Identifier: Apache-2.0
/*
 * `data`: the array as a flat file. Its size is that of the array, always, but for a file that was
 * truncated and is still open: there it is what POSIX says, for everybody in this mount.
 */
#include "files.h"

#include "report.h"

#include <dosna/dosna.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool writable(const struct handle *handle)
{
    return (handle->flags & O_ACCMODE) != O_RDONLY;
}

static uint64_t length_now(struct node *node, uint64_t nbytes)
{
    return node->stream ? min_u64(atomic_load(&node->stream->length), nbytes) : nbytes;
}

/* ---- lengths -------------------------------------------------------------------------------- */

static bool fill_is_zero(const struct dn_desc *desc)
{
    for (uint32_t i = 0; desc->fill && i < desc->dtype.itemsize; i++) {
        if (desc->fill[i])
            return false;
    }
    return true;
}

static int write_zeros(dn_dataset *dataset, uint64_t from, uint64_t to)
{
    static char zeros[1 << 20];

    while (from < to) {
        int64_t count = dn_pwrite(dataset, zeros, min_u64(sizeof zeros, to - from), from);

        if (count < 0)
            return (int)count;
        from += (uint64_t)count;
    }
    return 0;
}

/** What a seek or an extending truncation leaves behind: zeros, which a truncated part with a fill value
 *  of zero bytes reads as already. */
static int fill_gap(dn_dataset *dataset, uint64_t from, uint64_t to)
{
    return fill_is_zero(dn_describe(dataset)) ? 0 : write_zeros(dataset, from, to);
}

/** The same in a file that was created by a temporary name: it is not truncated, because rsync goes on to read the
 *  old one, but what nobody writes is zeros there too. The caller holds the write lock alone. */
static int fill_skipped(struct handle *handle, uint64_t to)
{
    int err = 0;

    if (handle->created && handle->alias && to > handle->end)
        err = write_zeros(handle->dataset, handle->end, min_u64(to, handle->nbytes));
    if (err == 0 && to > handle->end)
        handle->end = to;
    return err;
}

/** Make the length of an open file `length`; the caller holds the write lock alone. */
static int set_length(struct stream *stream, dn_dataset *dataset, uint64_t nbytes, uint64_t length)
{
    uint64_t before = min_u64(atomic_load(&stream->length), nbytes);
    int err = 0;

    if (length == before)
        return 0;
    if (length < before)
        err = dn_truncate(dataset, length);
    else
        err = fill_gap(dataset, before, length);
    if (err == 0)
        atomic_store(&stream->length, length);
    return err;
}

/** `handle` may be NULL. */
static int truncate_open(struct stream *stream, struct handle *handle, dn_dataset *dataset, uint64_t nbytes,
                         uint64_t length)
{
    pthread_rwlock_wrlock(&stream->write_lock);
    int err = handle ? fill_skipped(handle, length) : 0;
    if (err == 0)
        err = set_length(stream, dataset, nbytes, length);
    pthread_rwlock_unlock(&stream->write_lock);
    return err;
}

/* ---- open and close ------------------------------------------------------------------------- */

/** One opener less; called with tree.lock. */
static void leave_stream(struct tree *tree, struct node *node, uint64_t nbytes)
{
    struct stream *stream = node->stream;

    stream->opens--;
    stream->closing = stream->opens && stream->idle == stream->opens;
    if (stream->opens == 0) {
        /* The kernel filled the page at the old end with zeros; the store has the fill value there. */
        node->pages_stale += atomic_load(&stream->length) < nbytes;
        atomic_store(&stream->length, STREAM_WHOLE);
    }
    if (!stream->closing)
        pthread_cond_broadcast(&tree->released);
}

static void leave(struct fs *fs, struct handle *handle)
{
    struct node *node = handle->node;

    pthread_mutex_lock(&fs->tree.lock);
    node->stream->writers -= writable(handle);
    node->stream->idle -= atomic_load(&handle->idle);
    leave_stream(&fs->tree, node, handle->nbytes);
    pthread_mutex_unlock(&fs->tree.lock);
}

/** Count the opener, and tell whether the kernel's pages are still right. */
static int enter_stream(struct fs *fs, struct handle *handle)
{
    struct node *node = handle->node;
    bool verified = files_verify(fs, handle);
    uint64_t generation = dn_generation(handle->dataset);

    pthread_mutex_lock(&fs->tree.lock);
    struct stream *stream = tree_stream(node);
    if (stream) {
        if (!handle->alias)
            files_keep_pages(handle, verified, generation);
        if (stream->opens++ == 0)
            stream->push = (struct push){0};
        stream->writers += writable(handle);
        stream->closing = false;
        pthread_cond_broadcast(&fs->tree.released);
    }
    pthread_mutex_unlock(&fs->tree.lock);
    if (!stream)
        return dn_fail(-ENOMEM, "no memory");
    if (writable(handle) && push_wait(fs, node, NULL) != 0) {
        leave(fs, handle);
        return dn_fail(-EBUSY, "it is being read all the time");
    }
    return 0;
}

static void release_data(struct fs *fs, struct handle *handle)
{
    push_wait(fs, handle->node, handle);
    leave(fs, handle);
    files_give_back(handle->dataset);
}

static int open_data(struct fs *fs, struct handle *handle)
{
    struct node *node = handle->node;
    int err;

    tree_settle(&fs->tree, node);
    err = files_dataset(fs, node, &handle->dataset);
    if (err)
        return err;
    handle->nbytes = dn_desc_nbytes(dn_describe(handle->dataset));
    pthread_mutex_lock(&fs->tree.lock);
    handle->resized = node->facts.known && node->facts.nbytes != handle->nbytes;
    pthread_mutex_unlock(&fs->tree.lock);
    files_learn(fs, node, handle->dataset);
    handle->direct_io = fs->cache == CACHE_NEVER;
    err = enter_stream(fs, handle);
    if (err) {
        files_give_back(handle->dataset);
        return err;
    }
    if ((handle->created && !handle->alias) || (handle->flags & O_TRUNC))
        err = truncate_open(node->stream, NULL, handle->dataset, handle->nbytes, 0);
    if (err)
        release_data(fs, handle);
    return err;
}

/* ---- read and write ------------------------------------------------------------------------- */

static int64_t read_data(struct fs *fs, struct handle *handle, char *buffer, size_t size, uint64_t offset)
{
    uint64_t length = length_now(handle->node, handle->nbytes);

    (void)fs;
    if (offset >= length)
        return 0;
    return dn_pread(handle->dataset, buffer, min_u64(size, length - offset), offset);
}

/** The handle is in use: it is not on its way to be released. */
static void mark_busy(struct fs *fs, struct handle *handle)
{
    if (!atomic_load(&handle->idle))
        return;
    pthread_mutex_lock(&fs->tree.lock);
    if (atomic_exchange(&handle->idle, false)) {
        handle->node->stream->idle--;
        handle->node->stream->closing = false;
        pthread_cond_broadcast(&fs->tree.released);
    }
    pthread_mutex_unlock(&fs->tree.lock);
}

static void mark_idle(struct fs *fs, struct handle *handle)
{
    struct stream *stream = handle->node->stream;

    pthread_mutex_lock(&fs->tree.lock);
    stream->idle += !atomic_exchange(&handle->idle, true);
    stream->closing = stream->idle == stream->opens;
    pthread_mutex_unlock(&fs->tree.lock);
}

static int64_t write_at(struct handle *handle, const char *buffer, size_t size, uint64_t offset)
{
    if (offset >= handle->nbytes)
        return dn_fail(-ENOSPC, "the array ends at byte %llu", (unsigned long long)handle->nbytes);
    return dn_pwrite(handle->dataset, buffer, min_u64(size, handle->nbytes - offset), offset);
}

/** A write that moves the end of a truncated file; the caller holds the write lock alone. */
static int64_t write_beyond(struct fs *fs, struct handle *handle, const char *buffer, size_t size,
                            uint64_t offset)
{
    struct stream *stream = handle->node->stream;
    uint64_t length = min_u64(atomic_load(&stream->length), handle->nbytes);
    int64_t count;
    int err;

    if ((handle->flags & O_APPEND) && offset != length) {
        /* The kernel has put the bytes on the page that it took for the last one. */
        pthread_mutex_lock(&fs->tree.lock);
        handle->node->pages_stale++;
        pthread_mutex_unlock(&fs->tree.lock);
        offset = length;
    }
    if (offset > length && offset < handle->nbytes) {
        err = set_length(stream, handle->dataset, handle->nbytes, offset);
        if (err)
            return err;
        length = offset;
    }
    err = fill_skipped(handle, offset);
    if (err)
        return err;
    count = write_at(handle, buffer, size, offset);
    if (count > 0 && offset + (uint64_t)count > length)
        atomic_store(&stream->length, offset + (uint64_t)count);
    if (count > 0 && offset + (uint64_t)count > handle->end)
        handle->end = offset + (uint64_t)count;
    return count;
}

static int64_t write_data(struct fs *fs, struct handle *handle, const char *buffer, size_t size,
                          uint64_t offset)
{
    struct stream *stream = handle->node->stream;
    bool inside = false;
    int64_t count = 0;

    mark_busy(fs, handle);
    if (!(handle->flags & O_APPEND) && !(handle->created && handle->alias)) {
        /* Writers inside the length run side by side: only the length itself needs an order. */
        pthread_rwlock_rdlock(&stream->write_lock);
        uint64_t length = atomic_load(&stream->length);
        inside = length == STREAM_WHOLE || (offset <= length && size <= length - offset);
        if (inside)
            count = write_at(handle, buffer, size, offset);
        pthread_rwlock_unlock(&stream->write_lock);
    }
    if (!inside) {
        pthread_rwlock_wrlock(&stream->write_lock);
        count = write_beyond(fs, handle, buffer, size, offset);
        pthread_rwlock_unlock(&stream->write_lock);
    }
    pthread_mutex_lock(&fs->tree.lock);
    handle->node->facts.mtime_ns = dn_mtime_ns(handle->dataset);
    handle->node->pages_stale += handle->alias;
    pthread_mutex_unlock(&fs->tree.lock);
    return count;
}

/* ---- truncate and flush --------------------------------------------------------------------- */

static int truncate_closed(struct fs *fs, struct node *node, dn_dataset *dataset, uint64_t length)
{
    int err = dn_truncate(dataset, length);

    if (err == 0)
        err = dn_flush(dataset);
    pthread_mutex_lock(&fs->tree.lock);
    node->pages_stale++;
    pthread_mutex_unlock(&fs->tree.lock);
    return err;
}

/** Truncate without a handle: where nobody has the file open, the length is the full size again at once. */
static int truncate_named(struct fs *fs, struct node *node, dn_dataset *dataset, uint64_t nbytes,
                          uint64_t length)
{
    /* The last handle may be released meanwhile, which ends a truncation: this call is an opener too. */
    pthread_mutex_lock(&fs->tree.lock);
    bool open = node->stream && node->stream->opens;
    if (open)
        node->stream->opens++;
    pthread_mutex_unlock(&fs->tree.lock);
    if (!open)
        return length < nbytes ? truncate_closed(fs, node, dataset, length) : 0;
    int err = truncate_open(node->stream, NULL, dataset, nbytes, length);
    pthread_mutex_lock(&fs->tree.lock);
    leave_stream(&fs->tree, node, nbytes);
    pthread_mutex_unlock(&fs->tree.lock);
    return err;
}

static int truncate_data(struct fs *fs, struct node *node, struct handle *handle, uint64_t length)
{
    dn_dataset *dataset;
    uint64_t nbytes;
    int err = 0;

    tree_settle(&fs->tree, node);
    if (handle) {
        mark_busy(fs, handle);
        dataset = handle->dataset;
    } else {
        err = files_dataset(fs, node, &dataset);
        if (err)
            return err;
    }
    nbytes = dn_desc_nbytes(dn_describe(dataset));
    if (length > nbytes)
        err = dn_fail(-EFBIG, "the array has %llu bytes", (unsigned long long)nbytes);
    else if (handle)
        err = truncate_open(node->stream, handle, dataset, nbytes, length);
    else
        err = truncate_named(fs, node, dataset, nbytes, length);
    files_learn(fs, node, dataset);
    if (!handle)
        files_give_back(dataset);
    return err;
}

static int flush_data(struct fs *fs, struct handle *handle, pid_t pid)
{
    int err = 0;

    (void)pid;
    /* dd truncates, duplicates its descriptor, closes the first, and writes: no reason to delete chunks that
       are about to be replaced. What is left of a truncation is done at the release. */
    if (writable(handle))
        err = dn_flush_written(handle->dataset);
    mark_idle(fs, handle);
    return err;
}

static int sync_data(struct fs *fs, struct handle *handle)
{
    (void)fs;
    return dn_flush(handle->dataset);
}

static int data_attributes(struct fs *fs, struct node *node, struct stat *out)
{
    struct facts facts;
    int err = files_facts(fs, node, &facts);

    if (err)
        return err;
    out->st_mode = S_IFREG | 0666;
    pthread_mutex_lock(&fs->tree.lock);
    facts.nbytes = length_now(node, facts.nbytes);
    pthread_mutex_unlock(&fs->tree.lock);
    files_show_facts(&facts, out);
    return 0;
}

const struct file_type file_data = {
    .open = open_data,
    .read = read_data,
    .write = write_data,
    .truncate = truncate_data,
    .flush = flush_data,
    .sync = sync_data,
    .release = release_data,
    .attributes = data_attributes,
};
