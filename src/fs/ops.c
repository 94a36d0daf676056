// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include "files.h"

#include <errno.h>
#include <stdint.h>
#include <sys/statvfs.h>

/* ---- the session ---------------------------------------------------------------------------- */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct fs *fs = userdata;

    /* Pages are dropped by open (files.h: keep_cache), never because mtime moved. */
    if (conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA) {
        conn->want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
        conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
    }
    /* Plain buffers are faster than pipes here. */
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    /* Attributes come with every listing: they cost nothing here, and a lookup each would cost a request. */
    conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
    conn->max_read = OPS_READ_MAX;
    conn->max_background = OPS_BACKGROUND_MAX;
    if (conn->max_write > OPS_IO_MAX)
        conn->max_write = OPS_IO_MAX;
    if (fs->answers)
        fs->answers(fs->answers_arg);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct fs *fs = request_begin(req);
    struct dn_usage usage;
    struct statvfs out = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_ENTRY_MAX };

    (void)ino;
    if (dn_usage(fs->conn, &usage) != 0)
        usage = (struct dn_usage){ .total = UINT64_C(1) << 60, .free = UINT64_C(1) << 60 };
    out.f_blocks = usage.total / out.f_frsize;
    out.f_bfree = usage.free / out.f_frsize;
    out.f_bavail = out.f_bfree;
    fuse_reply_statfs(req, &out);
}

/* ---- names ---------------------------------------------------------------------------------- */

/** Tell the kernel of a place, or of `err`; gives the place back. */
static void reply_place(fuse_req_t req, const char *what, struct place *place, int err)
{
    struct fs *fs = fuse_req_userdata(req);
    struct fuse_entry_param entry;

    if (err) {
        request_fail(req, what, NULL, err);
        return;
    }
    err = request_entry(fs, place, &entry);
    if (err) {
        request_fail(req, what, place->node, err);
    } else {
        tree_told(&fs->tree, place->node);
        if (fuse_reply_entry(req, &entry) != 0)
            tree_forget(&fs->tree, place->node, 1);
    }
    tree_put(&fs->tree, place->node);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = request_begin(req);
    struct place place;
    int err = dirs_lookup(fs, request_node(fs, parent), name, fuse_req_ctx(req)->pid, &place);

    reply_place(req, "lookup", &place, err);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct fs *fs = request_begin(req);
    struct place place;

    (void)mode;
    int err = dirs_mkdir(fs, request_node(fs, parent), name, &place);
    reply_place(req, "mkdir", &place, err);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    struct fs *fs = fuse_req_userdata(req);

    tree_forget(&fs->tree, request_node(fs, ino), count);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct fs *fs = fuse_req_userdata(req);

    for (size_t i = 0; i < count; i++)
        tree_forget(&fs->tree, request_node(fs, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = request_begin(req);
    struct node *node = request_node(fs, parent);

    request_reply(req, "unlink", node, dirs_unlink(fs, node, name));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = request_begin(req);
    struct node *node = request_node(fs, parent);

    request_reply(req, "rmdir", node, dirs_rmdir(fs, node, name));
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
                      const char *to_name, unsigned int flags)
{
    struct fs *fs = request_begin(req);
    struct node *node = request_node(fs, parent);

    request_reply(req, "rename", node, dirs_rename(fs, node, name, request_node(fs, to_parent), to_name, flags));
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    (void)parent, (void)name, (void)mode, (void)device;
    fuse_reply_err(req, EPERM);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target, (void)parent, (void)name;
    fuse_reply_err(req, EPERM);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    (void)ino, (void)parent, (void)name;
    fuse_reply_err(req, EPERM);
}

/* ---- attributes ----------------------------------------------------------------------------- */

static void reply_attributes(fuse_req_t req, const char *what, struct node *node, enum node_part part)
{
    struct fs *fs = fuse_req_userdata(req);
    struct stat attributes;
    int err = files_attributes(fs, node, part, &attributes);

    if (err)
        request_fail(req, what, node, err);
    else
        fuse_reply_attr(req, &attributes, files_timeout(fs, node, part, &attributes));
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);

    if (part == PART_DATA && !fi)
        tree_settle(&fs->tree, node);
    reply_attributes(req, "stat", node, part);
}

/** Owner and mode are the mount's; setting what is there is no change. */
static bool changes_owner_or_mode(const struct stat *want, const struct stat *have, int set)
{
    return ((set & FUSE_SET_ATTR_MODE) && (want->st_mode & 07777) != (have->st_mode & 07777)) ||
           ((set & FUSE_SET_ATTR_UID) && want->st_uid != have->st_uid) ||
           ((set & FUSE_SET_ATTR_GID) && want->st_gid != have->st_gid);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *want, int set,
                       struct fuse_file_info *fi)
{
    struct fs *fs = request_begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);
    const struct file_type *type = files_type(node, part);
    struct stat have;
    int err = files_attributes(fs, node, part, &have);

    if (part != PART_SELF && (ino & TREE_ALIAS))
        set &= ~FUSE_SET_ATTR_MODE;
    if (err == 0 && changes_owner_or_mode(want, &have, set))
        err = dn_fail(-EPERM, "owner and mode are those of the mount");
    if (err == 0 && (set & FUSE_SET_ATTR_SIZE)) {
        struct handle *handle = fi ? (struct handle *)(uintptr_t)fi->fh : NULL;

        if (want->st_size < 0)
            err = -EINVAL;
        else if (!type || !type->truncate)
            err = dn_fail(-EPERM, "it has no size of its own");
        else
            err = type->truncate(fs, node, handle, (uint64_t)want->st_size);
    }
    if (err)
        request_fail(req, "setattr", node, err);
    else
        reply_attributes(req, "setattr", node, part);
}

void ops_close_all(struct fs *fs)
{
    files_close_all(fs);
    ops_close_directories(fs);
}

const struct fuse_lowlevel_ops ops_table = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .symlink = op_symlink,
    .rename = op_rename,
    .link = op_link,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .release = op_release,
    .fsync = op_fsync,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .releasedir = op_releasedir,
    .statfs = op_statfs,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
    .create = op_create,
};
