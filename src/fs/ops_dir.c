// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/** An open directory: its entries are taken when reading starts, and again at rewinddir(). */
struct directory {
    pthread_mutex_t lock;
    struct listing listing;
    bool listed;
    LIST_ENTRY(directory) all;
};

static struct directory *directory_of(struct fuse_file_info *fi)
{
    return (struct directory *)(uintptr_t)fi->fh;
}

static struct directory *open_directory(struct fs *fs, struct node *node)
{
    struct directory *directory = calloc(1, sizeof *directory);

    if (!directory || pthread_mutex_init(&directory->lock, NULL) != 0) {
        free(directory);
        return NULL;
    }
    directory->listing.node = node;
    pthread_mutex_lock(&fs->tree.lock);
    LIST_INSERT_HEAD(&fs->directories, directory, all);
    pthread_mutex_unlock(&fs->tree.lock);
    return directory;
}

static void close_directory(struct fs *fs, struct directory *directory)
{
    pthread_mutex_lock(&fs->tree.lock);
    LIST_REMOVE(directory, all);
    pthread_mutex_unlock(&fs->tree.lock);
    dirs_listing_clear(&directory->listing);
    pthread_mutex_destroy(&directory->lock);
    free(directory);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    struct directory *directory = open_directory(fs, request_node(fs, ino));

    fi->fh = (uint64_t)(uintptr_t)directory;
    if (!directory)
        fuse_reply_err(req, ENOMEM);
    else if (fuse_reply_open(req, fi) != 0)
        close_directory(fs, directory);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    close_directory(fuse_req_userdata(req), directory_of(fi));
    fuse_reply_err(req, 0);
}

/** Add an entry with nothing but its number and type. */
static size_t add_plain(fuse_req_t req, char *at, size_t room, const struct entry *entry, off_t next,
                        bool plus)
{
    struct fuse_entry_param param = {
        .attr = { .st_ino = entry->inode, .st_mode = entry->directory ? S_IFDIR : S_IFREG },
    };

    if (!plus)
        return fuse_add_direntry(req, at, room, entry->text, &param.attr, next);
    return fuse_add_direntry_plus(req, at, room, entry->text, &param, next);
}

/** Add a dataset's directory with its attributes, which need no metadata: a lookup saved. */
static size_t add_dataset(fuse_req_t req, char *at, size_t room, const struct entry *entry, off_t next)
{
    struct fs *fs = fuse_req_userdata(req);
    struct place place = { .node = tree_get(&fs->tree, entry->dataset) };
    struct fuse_entry_param param;
    size_t size;

    if (!place.node || request_entry(fs, &place, &param) != 0) {
        tree_put(&fs->tree, place.node);
        return add_plain(req, at, room, entry, next, true);
    }
    size = fuse_add_direntry_plus(req, at, room, entry->text, &param, next);
    if (size <= room)
        tree_told(&fs->tree, place.node);
    tree_put(&fs->tree, place.node);
    return size;
}

/** As many entries as fit, from number `first`. The bytes used. */
static size_t fill_directory(fuse_req_t req, struct listing *listing, size_t first, char *buffer,
                             size_t room, bool plus)
{
    struct fs *fs = fuse_req_userdata(req);
    struct entry entry;
    size_t used = 0;

    for (size_t i = first; dirs_entry(fs, listing, &i, &entry); i++) {
        off_t next = (off_t)i + 1;
        size_t size = 0;

        if (plus && entry.dataset)
            size = add_dataset(req, buffer + used, room - used, &entry, next);
        else if (entry.text[0])
            size = add_plain(req, buffer + used, room - used, &entry, next, plus);
        if (size > room - used)
            break;
        used += size;
    }
    return used;
}

static void read_directory(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi, bool plus)
{
    struct fs *fs = request_begin(req);
    struct directory *directory = directory_of(fi);
    struct node *node = directory->listing.node;
    char *buffer = request_buffer();
    size_t used = 0;
    int err = buffer ? 0 : dn_fail(-ENOMEM, "no memory");

    pthread_mutex_lock(&directory->lock);
    if (err == 0 && (offset == 0 || !directory->listed)) {
        dirs_listing_clear(&directory->listing);
        err = dirs_list(fs, node, &directory->listing);
        directory->listing.node = node;
        directory->listed = err == 0;
    }
    if (err == 0) {
        used = fill_directory(req, &directory->listing, (size_t)offset, buffer,
                              size < OPS_IO_MAX ? size : OPS_IO_MAX, plus);
        err = used ? 0 : directory->listing.error;
    }
    pthread_mutex_unlock(&directory->lock);
    if (err)
        request_fail(req, "list", node, err);
    else
        fuse_reply_buf(req, buffer, used);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    (void)ino;
    read_directory(req, size, offset, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    (void)ino;
    read_directory(req, size, offset, fi, true);
}

void ops_close_directories(struct fs *fs)
{
    struct directory *directory;

    while ((directory = LIST_FIRST(&fs->directories)))
        close_directory(fs, directory);
}
