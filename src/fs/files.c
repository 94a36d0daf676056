// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include "meta.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIEW_TIMEOUT 1.0

const struct file_type *files_type(const struct node *node, enum node_part part)
{
    if (node->kind == NODE_STATS)
        return &file_stats;
    if (node->kind == NODE_CONFIG)
        return &file_config;
    if (node->kind == NODE_DATASET && part == PART_META)
        return &file_meta;
    if (node->kind == NODE_DATASET && part == PART_DATA)
        return &file_data;
    if (node->kind == NODE_VIEW)
        return &file_view;
    if (node->kind == NODE_ZARR_FILE)
        return &file_zarr;
    return NULL;
}

int files_open(struct fs *fs, struct node *node, enum node_part part, int flags, bool created, bool alias,
               pid_t pid, struct handle **out)
{
    const struct file_type *type = files_type(node, part);
    struct handle *handle;
    int err;

    if (!type)
        return dn_fail(-EISDIR, "it is a directory");
    if ((flags & O_ACCMODE) != O_RDONLY && !type->write)
        return dn_fail(node->view ? -EACCES : -EPERM, "it cannot be written");
    handle = calloc(1, sizeof *handle);
    if (!handle)
        return dn_fail(-ENOMEM, "no memory");
    *handle = (struct handle){
        .type = type, .node = node, .part = part, .flags = flags, .created = created, .alias = alias, .opener = pid
    };
    err = type->open(fs, handle);
    if (err) {
        free(handle);
        return err;
    }
    pthread_mutex_lock(&fs->tree.lock);
    node->pins++;
    LIST_INSERT_HEAD(&fs->tree.handles, handle, all);
    pthread_mutex_unlock(&fs->tree.lock);
    *out = handle;
    return 0;
}

void files_close(struct fs *fs, struct handle *handle)
{
    pthread_mutex_lock(&fs->tree.lock);
    LIST_REMOVE(handle, all);
    pthread_mutex_unlock(&fs->tree.lock);
    handle->type->release(fs, handle);
    tree_put(&fs->tree, handle->node);
    free(handle);
}

void files_close_all(struct fs *fs)
{
    struct handle *handle;

    while ((handle = LIST_FIRST(&fs->tree.handles)))
        files_close(fs, handle);
}

/* ---- attributes ----------------------------------------------------------------------------- */

int files_attributes(struct fs *fs, struct node *node, enum node_part part, struct stat *out)
{
    const struct file_type *type = files_type(node, part);

    pthread_mutex_lock(&fs->tree.lock);
    *out = (struct stat){
        .st_ino = node->kind < NODE_DATASET ? (ino_t)node->kind + 1
                                            : tree_inode(node->name, node->view ? PARTS : part),
        .st_mode = (type ? S_IFREG | 0444 : S_IFDIR | 0777),
        .st_nlink = 1, /* for a directory: subdirectories are not counted */
        .st_uid = fs->uid,
        .st_gid = fs->gid,
        .st_blksize = 4096,
        .st_mtim = node->kind == NODE_ROOT ? fs->tree.changed : fs->started,
    };
    pthread_mutex_unlock(&fs->tree.lock);
    int err = type && type->attributes ? type->attributes(fs, node, out) : 0;
    out->st_mode &= ~fs->umask;
    out->st_blocks = out->st_size / 512 + (out->st_size % 512 != 0);
    out->st_atim = out->st_mtim;
    out->st_ctim = out->st_mtim;
    return err;
}

double files_timeout(struct fs *fs, struct node *node, enum node_part part, const struct stat *shown)
{

    if (node->view) /* the kernel is not told when its dataset goes */
        return fs->timeout < VIEW_TIMEOUT ? fs->timeout : VIEW_TIMEOUT;
    if (node->kind != NODE_DATASET || part == PART_SELF)
        return fs->timeout;
    pthread_mutex_lock(&fs->tree.lock);
    bool lasting = part == PART_META ? !node->draft && (uint64_t)shown->st_size == node->facts.meta_length
                                     : (uint64_t)shown->st_size == node->facts.nbytes;
    pthread_mutex_unlock(&fs->tree.lock);
    return lasting ? fs->timeout : 0;
}

static bool is_recent(struct fs *fs, const struct node *node)
{
    struct timespec now;

    if (!node->facts.known)
        return false;
    if (node->stream && node->stream->opens)
        return true;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)(now.tv_sec - node->facts.at.tv_sec) +
               (double)(now.tv_nsec - node->facts.at.tv_nsec) * 1e-9 < fs->timeout;
}

bool files_recent(struct fs *fs, struct node *node, struct facts *out)
{
    pthread_mutex_lock(&fs->tree.lock);
    *out = node->facts;
    bool enough = is_recent(fs, node);
    pthread_mutex_unlock(&fs->tree.lock);
    return enough;
}

void files_remember(struct fs *fs, struct node *node, struct facts *facts)
{
    facts->known = true;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &facts->at);
    pthread_mutex_lock(&fs->tree.lock);
    node->facts = *facts;
    pthread_mutex_unlock(&fs->tree.lock);
}

void files_learn(struct fs *fs, struct node *node, dn_dataset *dataset)
{
    const struct dn_desc *desc = dn_describe(dataset);
    char *text = meta_text(desc);
    struct facts facts = {
        .nbytes = dn_desc_nbytes(desc),
        .meta_length = text ? strlen(text) : 0,
        .mtime_ns = dn_mtime_ns(dataset),
    };

    free(text);
    files_remember(fs, node, &facts);
}

int files_open_name(struct fs *fs, const char *name, dn_dataset **out)
{
    int err = dn_open(fs->conn, name, out);

    if (err && err != -ENOENT && err != -EINTR)
        report_failure("open", name, err);
    return err;
}

int files_open_slice(struct fs *fs, const struct node *node, dn_dataset **out, struct dn_slice *slice)
{
    pthread_mutex_lock(&fs->tree.lock);
    bool gone = !node->named;
    pthread_mutex_unlock(&fs->tree.lock);
    int err = gone ? -ESTALE : files_open_name(fs, node->view->dataset, out);

    if (err)
        return err;
    const struct dn_desc *desc = dn_describe(*out);
    if (dn_slice_parse(node->view->expression, desc->ndim, desc->shape, slice) == 0)
        return 0;
    files_give_back(*out);
    return -ENOENT;
}

void files_show_facts(const struct facts *facts, struct stat *out)
{
    out->st_size = (off_t)facts->nbytes;
    out->st_mtim.tv_sec = facts->mtime_ns / 1000000000;
    out->st_mtim.tv_nsec = facts->mtime_ns % 1000000000;
}

bool files_verify(struct fs *fs, struct handle *handle)
{
    if (fs->cache == CACHE_ALWAYS)
        return true;
    if (fs->cache == CACHE_NEVER || handle->created || (handle->flags & O_TRUNC) ||
        (handle->flags & O_ACCMODE) == O_WRONLY)
        return false;
    dn_verify(handle->dataset);
    return true;
}

void files_keep_pages(struct handle *handle, bool verified, uint64_t generation)
{
    struct node *node = handle->node;

    node->pages_stale += node->generation != generation;
    node->generation = generation;
    handle->pages = node->pages_stale;
    handle->keep_cache = verified && node->pages_fresh == node->pages_stale;
    atomic_store(&handle->dropping, !handle->keep_cache);
}

void files_opened(struct fs *fs, struct handle *handle)
{
    if (!atomic_load(&handle->dropping))
        return;
    pthread_mutex_lock(&fs->tree.lock);
    atomic_store(&handle->dropping, false);
    if (handle->node->pages_fresh < handle->pages)
        handle->node->pages_fresh = handle->pages;
    pthread_mutex_unlock(&fs->tree.lock);
}

int files_dataset(struct fs *fs, struct node *node, dn_dataset **out)
{
    int err;

    pthread_mutex_lock(&fs->tree.lock);
    bool gone = !node->named;
    char *name = strdup(node->name);
    pthread_mutex_unlock(&fs->tree.lock);
    if (!name)
        return dn_fail(-ENOMEM, "no memory");
    err = gone ? dn_fail(-ESTALE, "the dataset was removed") : files_open_name(fs, name, out);
    free(name);
    if (err == -ENOENT || err == -ESTALE) {
        pthread_mutex_lock(&fs->tree.lock);
        node->facts.known = false;
        pthread_mutex_unlock(&fs->tree.lock);
    }
    return err;
}

void files_give_back(dn_dataset *dataset)
{
    int err = dn_close(dataset);

    if (err)
        report_failure("close", "a dataset", err); /* the text says which */
}

int files_facts(struct fs *fs, struct node *node, struct facts *out)
{
    dn_dataset *dataset;
    int err;

    if (files_recent(fs, node, out))
        return 0;
    err = files_dataset(fs, node, &dataset);
    if (err == -EPROTO) {
        *out = (struct facts){ .damaged = true };
        files_remember(fs, node, out);
        return 0;
    }
    if (err)
        return err;
    files_learn(fs, node, dataset);
    files_give_back(dataset);
    pthread_mutex_lock(&fs->tree.lock);
    *out = node->facts;
    pthread_mutex_unlock(&fs->tree.lock);
    return 0;
}

/* ---- help for the types --------------------------------------------------------------------- */

static pid_t process_of(pid_t thread)
{
    char path[48], line[128];
    pid_t process = thread;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
    file = fopen(path, "re");
    if (!file)
        return thread;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "Tgid: %d", &process) == 1)
            break;
    }
    fclose(file);
    return process;
}

bool files_same_process(pid_t a, pid_t b)
{
    return a == b || process_of(a) == process_of(b);
}

int64_t files_read_text(const char *text, size_t length, char *buffer, size_t size, uint64_t offset)
{
    if (offset >= length)
        return 0;
    if (size > length - offset)
        size = length - offset;
    memcpy(buffer, text + offset, size);
    return (int64_t)size;
}
