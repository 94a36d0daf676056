// SPDX-License-Identifier: Apache-2.0
/* Files of a Zarr directory: .zarray, .zattrs, .zgroup, and stored chunks. */
#include "files.h"
#include "views.h"

#include "zarr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A chunk up to this is read by one request and kept while it is open; a larger one as it is asked for. */
#define WHOLE_MAX (16U << 20)

struct zarr_file {
    struct zarr zarr;
    uint64_t index[DN_MAX_NDIM];
    pthread_mutex_t lock; /* of handle->text, which is set once */
};

/** A text for handle->text. */
static int take_text(struct handle *handle, char *text)
{
    handle->text = text;
    handle->length = text ? strlen(text) : 0;
    return text ? 0 : dn_fail(-ENOMEM, "no memory");
}

/** The chunk's place; whether it is there is found when it is read. */
static int open_chunk(struct handle *handle, const char *file, struct zarr_file *chunk)
{
    if (!zarr_index(&chunk->zarr, file, chunk->index))
        return -ENOENT;
    if (pthread_mutex_init(&chunk->lock, NULL) != 0)
        return dn_fail(-ENOMEM, "no mutex");
    handle->length = chunk->zarr.nbytes;
    handle->chunk = chunk;
    return 0;
}

static int open_zarr(struct fs *fs, struct handle *handle)
{
    const char *file = handle->node->view->file;
    struct zarr_file *chunk;
    int err;

    if (!handle->node->view->format)
        return take_text(handle, strdup(ZARR_GROUP_TEXT));
    chunk = calloc(1, sizeof *chunk);
    if (!chunk)
        return dn_fail(-ENOMEM, "no memory");
    err = views_open_zarr(fs, handle->node, &handle->dataset, &chunk->zarr);
    if (err) {
        free(chunk);
        return err;
    }
    if (strcmp(file, ".zarray") == 0)
        err = take_text(handle, zarr_array_text(&chunk->zarr, dn_describe(handle->dataset)));
    else if (strcmp(file, ".zattrs") == 0)
        err = take_text(handle, strdup(ZARR_ATTRIBUTES_TEXT));
    else
        err = open_chunk(handle, file, chunk);
    handle->direct_io = fs->cache == CACHE_NEVER;
    if (!handle->chunk)
        free(chunk);
    if (err)
        files_give_back(handle->dataset);
    return err;
}

static void release_zarr(struct fs *fs, struct handle *handle)
{
    (void)fs;
    if (handle->chunk)
        pthread_mutex_destroy(&handle->chunk->lock);
    free(handle->chunk);
    free(handle->text);
    if (handle->dataset)
        files_give_back(handle->dataset);
}

/** All of the chunk into handle->text, once. */
static int take_chunk(struct handle *handle)
{
    struct zarr_file *chunk = handle->chunk;
    int err = 0;

    pthread_mutex_lock(&chunk->lock);
    if (!handle->text) {
        char *text = malloc(handle->length);

        err = text ? zarr_read(&chunk->zarr, handle->dataset, chunk->index, 0, text, handle->length)
                   : dn_fail(-ENOMEM, "no memory");
        if (err)
            free(text);
        else
            handle->text = text;
    }
    pthread_mutex_unlock(&chunk->lock);
    return err;
}

static int64_t read_zarr(struct fs *fs, struct handle *handle, char *buffer, size_t size, uint64_t offset)
{
    struct zarr_file *chunk = handle->chunk;
    int err = 0;

    (void)fs;
    if (chunk && handle->length > WHOLE_MAX) {
        if (offset >= handle->length)
            return 0;
        if (size > handle->length - offset)
            size = handle->length - offset;
        err = zarr_read(&chunk->zarr, handle->dataset, chunk->index, offset, buffer, size);
        return err ? err : (int64_t)size;
    }
    if (chunk)
        err = take_chunk(handle);
    return err ? err : files_read_text(handle->text, handle->length, buffer, size, offset);
}

static int measure(struct fs *fs, struct node *node, struct facts *out)
{
    struct handle handle = { .node = node };
    int err = open_zarr(fs, &handle);

    if (err)
        return err;
    *out = (struct facts){ .nbytes = handle.length, .mtime_ns = fs->started.tv_sec * INT64_C(1000000000) };
    if (handle.dataset)
        out->mtime_ns = dn_mtime_ns(handle.dataset);
    release_zarr(fs, &handle);
    files_remember(fs, node, out);
    return 0;
}

static int zarr_attributes(struct fs *fs, struct node *node, struct stat *out)
{
    struct facts facts;
    int err = files_recent(fs, node, &facts) ? 0 : measure(fs, node, &facts);

    if (err)
        return err;
    files_show_facts(&facts, out);
    return 0;
}

const struct file_type file_zarr = {
    .open = open_zarr,
    .read = read_zarr,
    .release = release_zarr,
    .attributes = zarr_attributes,
};
