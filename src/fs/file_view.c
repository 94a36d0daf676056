// SPDX-License-Identifier: Apache-2.0
/* A dataset in another tool's format: src/view behind a file. */
#include "files.h"

#include "view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static bool writable(const struct handle *handle)
{
    return (handle->flags & O_ACCMODE) != O_RDONLY;
}

/** The node's view of the dataset that has its name now; the dataset is open after 0 alone. */
static int make_view(struct fs *fs, const struct node *node, dn_dataset **dataset, struct view *out)
{
    struct dn_slice slice;
    int err = files_open_slice(fs, node, dataset, &slice);

    if (err)
        return err;
    err = view_open(out, node->view->format, dn_describe(*dataset), &slice, node->view->link);
    if (err)
        files_give_back(*dataset);
    return err;
}

static struct facts learn(struct fs *fs, struct node *node, dn_dataset *dataset, const struct view *view)
{
    struct facts facts = { .nbytes = view->size, .mtime_ns = dn_mtime_ns(dataset) };

    files_remember(fs, node, &facts);
    return facts;
}

/** Are the kernel's pages still right? Nothing may have been written since: not through `data` either. */
static void check_pages(struct fs *fs, struct handle *handle)
{
    struct node *node = handle->node;
    bool verified = files_verify(fs, handle);
    uint64_t generation = dn_generation(handle->dataset);
    int64_t mtime_ns = dn_mtime_ns(handle->dataset);

    pthread_mutex_lock(&fs->tree.lock);
    node->pages_stale += node->view->mtime_ns != mtime_ns;
    files_keep_pages(handle, verified, generation);
    handle->resized = node->facts.known && node->facts.nbytes != handle->view->size;
    node->view->mtime_ns = mtime_ns;
    pthread_mutex_unlock(&fs->tree.lock);
}

static void release_view(struct fs *fs, struct handle *handle)
{
    tree_put(&fs->tree, handle->of);
    view_close(handle->view);
    free(handle->view);
    files_give_back(handle->dataset);
}

static int open_view(struct fs *fs, struct handle *handle)
{
    struct node *node = handle->node;
    int err;

    if (writable(handle) && !node->view->format->writable)
        return dn_fail(-EACCES, "%s views are read-only", node->view->format->suffix);
    if (handle->flags & O_TRUNC)
        return dn_fail(-EACCES, "a view cannot be cut");
    handle->view = calloc(1, sizeof *handle->view);
    if (!handle->view)
        return dn_fail(-ENOMEM, "no memory");
    err = make_view(fs, node, &handle->dataset, handle->view);
    if (err) {
        free(handle->view);
        return err;
    }
    handle->of = tree_get(&fs->tree, node->view->dataset);
    if (!handle->of) {
        release_view(fs, handle);
        return dn_fail(-ENOMEM, "no memory");
    }
    handle->direct_io = fs->cache == CACHE_NEVER;
    check_pages(fs, handle);
    learn(fs, node, handle->dataset, handle->view);
    return 0;
}

static int64_t read_view(struct fs *fs, struct handle *handle, char *buffer, size_t size, uint64_t offset)
{
    (void)fs;
    return view_read(handle->view, handle->dataset, buffer, size, offset);
}

/** The pages that the kernel has of `data`, whatever it is called by now, are old from now on. */
static void mark_data(struct fs *fs, const struct handle *handle)
{
    pthread_mutex_lock(&fs->tree.lock);
    handle->of->pages_stale++;
    handle->of->facts.mtime_ns = dn_mtime_ns(handle->dataset);
    pthread_mutex_unlock(&fs->tree.lock);
}

static int64_t write_view(struct fs *fs, struct handle *handle, const char *buffer, size_t size, uint64_t offset)
{
    int64_t count = view_write(handle->view, handle->dataset, buffer, size, offset);

    atomic_store(&handle->idle, false);
    mark_data(fs, handle);
    return count;
}

/** Its length is what it is. */
static int truncate_view(struct fs *fs, struct node *node, struct handle *handle, uint64_t length)
{
    struct stat now;
    int err = files_attributes(fs, node, PART_SELF, &now);

    (void)handle;
    return err || length == (uint64_t)now.st_size ? err : dn_fail(-EACCES, "a view cannot be cut");
}

static int sync_view(struct fs *fs, struct handle *handle)
{
    (void)fs;
    return dn_flush(handle->dataset);
}

static int flush_view(struct fs *fs, struct handle *handle, pid_t pid)
{
    (void)pid;
    return writable(handle) ? sync_view(fs, handle) : 0;
}

static int view_attributes(struct fs *fs, struct node *node, struct stat *out)
{
    struct facts facts;
    dn_dataset *dataset;
    struct view view;
    int err;

    if (!files_recent(fs, node, &facts)) {
        err = make_view(fs, node, &dataset, &view);
        if (err)
            return err;
        facts = learn(fs, node, dataset, &view);
        view_close(&view);
        files_give_back(dataset);
    }
    out->st_mode = S_IFREG | (node->view->format->writable ? 0666 : 0444);
    files_show_facts(&facts, out);
    return 0;
}

const struct file_type file_view = {
    .open = open_view,
    .read = read_view,
    .write = write_view,
    .truncate = truncate_view,
    .flush = flush_view,
    .sync = sync_view,
    .release = release_view,
    .attributes = view_attributes,
};
