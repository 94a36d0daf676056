// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include "files.h"

#include <errno.h>

static struct handle *handle_of(struct fuse_file_info *fi)
{
    return (struct handle *)(uintptr_t)fi->fh;
}

static void fill_open(const struct handle *handle, struct fuse_file_info *fi)
{
    fi->fh = (uint64_t)(uintptr_t)handle;
    fi->direct_io = handle->direct_io;
    fi->keep_cache = handle->keep_cache;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);
    struct handle *handle;
    int err = files_open(fs, node, part, fi->flags, false, ino & TREE_ALIAS, fuse_req_ctx(req)->pid, &handle);

    if (err) {
        request_fail(req, "open", node, err);
        return;
    }
    fill_open(handle, fi);
    if (handle->resized)
        fuse_lowlevel_notify_inval_inode(fs->session, ino, -1, 0);
    if (fuse_reply_open(req, fi) != 0)
        files_close(fs, handle);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    struct node *node = request_node(fs, parent);
    pid_t pid = fuse_req_ctx(req)->pid;
    struct fuse_entry_param entry;
    struct handle *handle;
    struct place place;

    (void)mode;
    int err = dirs_create(fs, node, name, fi->flags, pid, &place);
    if (err) {
        request_fail(req, "create", node, err);
        return;
    }
    err = files_open(fs, place.node, place.part, fi->flags, place.created || place.alias, place.alias, pid, &handle);
    if (err == 0) {
        err = request_entry(fs, &place, &entry);
        if (err)
            files_close(fs, handle);
    }
    if (err) {
        request_fail(req, "create", node, err);
    } else {
        fill_open(handle, fi);
        tree_told(&fs->tree, place.node);
        if (fuse_reply_create(req, &entry, fi) != 0) {
            tree_forget(&fs->tree, place.node, 1);
            files_close(fs, handle);
        }
    }
    tree_put(&fs->tree, place.node);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    struct handle *handle = handle_of(fi);
    char *buffer = request_buffer();
    struct push_plan plan;
    bool push = false;
    int64_t count;

    (void)ino;
    files_opened(fs, handle);
    if (!buffer)
        count = dn_fail(-ENOMEM, "no memory");
    else
        count = handle->type->read(fs, handle, buffer, size < OPS_IO_MAX ? size : OPS_IO_MAX,
                                   (uint64_t)offset);
    if (count < 0)
        request_fail(req, "read", handle->node, (int)count);
    else {
        push = push_begin(fs, handle, (uint64_t)offset, size, &plan);
        fuse_reply_buf(req, buffer, (size_t)count);
    }
    if (push) {
        dn_cancel_hook(NULL, NULL); /* the request is gone */
        push_rows(fs, handle, &plan);
    }
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buffer, size_t size, off_t offset,
              struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    struct handle *handle = handle_of(fi);
    int64_t count = handle->type->write(fs, handle, buffer, size, (uint64_t)offset);

    (void)ino;
    if (count < 0)
        request_fail(req, "write", handle->node, (int)count);
    else
        fuse_reply_write(req, (size_t)count);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    struct handle *handle = handle_of(fi);
    int err = 0;

    (void)ino;
    files_opened(fs, handle);
    if (handle->type->flush)
        err = handle->type->flush(fs, handle, fuse_req_ctx(req)->pid);
    request_reply(req, "close", handle->node, err);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    struct handle *handle = handle_of(fi);

    (void)ino;
    (void)datasync;
    request_reply(req, "fsync", handle->node, handle->type->sync ? handle->type->sync(fs, handle) : 0);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);

    (void)ino;
    dn_cancel_hook(NULL, NULL); /* nobody waits for it, and what it stores has to be stored */
    files_close(fs, handle_of(fi));
    fuse_reply_err(req, 0);
}
