// SPDX-License-Identifier: Apache-2.0
#include "ops.h"

#include "dirs.h"
#include "files.h"
#include "meta.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

static bool interrupted(void *arg)
{
    return fuse_req_interrupted(arg);
}

/** The mount of a request, whose waits end from now on when its program is interrupted. */
static struct fs *begin(fuse_req_t req)
{
    dn_cancel_hook(interrupted, req);
    return fuse_req_userdata(req);
}

static struct node *node_of(struct fs *fs, fuse_ino_t ino)
{
    enum node_part part;

    return tree_node(&fs->tree, ino, &part);
}

/** The error is final: log it if it is trouble, and answer the request with it. */
static void fail(fuse_req_t req, const char *what, const struct node *node, int err)
{
    struct fs *fs = fuse_req_userdata(req);
    char name[NAME_ENTRY_MAX + 1] = "";

    if (report_is_trouble(err)) {
        pthread_mutex_lock(&fs->tree.lock);
        if (node && node->name)
            snprintf(name, sizeof name, "%s", node->name);
        pthread_mutex_unlock(&fs->tree.lock);
        report_failure(what, name, err);
    } else if (err != -ENOENT) {
        report(DN_LOG_DEBUG, "%s: %s", what, dn_error_text(err));
    }
    fuse_reply_err(req, report_errno(err));
}

static void reply(fuse_req_t req, const char *what, const struct node *node, int err)
{
    if (err)
        fail(req, what, node, err);
    else
        fuse_reply_err(req, 0);
}

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
    struct fs *fs = begin(req);
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

static int fill_entry(struct fs *fs, const struct place *place, struct fuse_entry_param *out)
{
    *out = (struct fuse_entry_param){ 0 };
    int err = files_attributes(fs, place->node, place->part, &out->attr);
    if (err)
        return err;
    out->ino = tree_id(&fs->tree, place->node, place->part);
    if (place->alias) {
        out->ino |= TREE_ALIAS;
        return 0;
    }
    out->attr_timeout = files_timeout(fs, place->node, place->part, &out->attr);
    out->entry_timeout = place->node->view ? out->attr_timeout : fs->timeout;
    return 0;
}

/** Tell the kernel of a place, or of `err`; gives the place back. */
static void reply_place(fuse_req_t req, const char *what, struct place *place, int err)
{
    struct fs *fs = fuse_req_userdata(req);
    struct fuse_entry_param entry;

    if (err) {
        fail(req, what, NULL, err);
        return;
    }
    err = fill_entry(fs, place, &entry);
    if (err) {
        fail(req, what, place->node, err);
    } else {
        tree_told(&fs->tree, place->node);
        if (fuse_reply_entry(req, &entry) != 0)
            tree_forget(&fs->tree, place->node, 1);
    }
    tree_put(&fs->tree, place->node);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = begin(req);
    struct place place;
    int err = dirs_lookup(fs, node_of(fs, parent), name, fuse_req_ctx(req)->pid, &place);

    reply_place(req, "lookup", &place, err);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct fs *fs = begin(req);
    struct place place;

    (void)mode;
    int err = dirs_mkdir(fs, node_of(fs, parent), name, &place);
    reply_place(req, "mkdir", &place, err);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    struct fs *fs = fuse_req_userdata(req);

    tree_forget(&fs->tree, node_of(fs, ino), count);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct fs *fs = fuse_req_userdata(req);

    for (size_t i = 0; i < count; i++)
        tree_forget(&fs->tree, node_of(fs, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = begin(req);
    struct node *node = node_of(fs, parent);

    reply(req, "unlink", node, dirs_unlink(fs, node, name));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = begin(req);
    struct node *node = node_of(fs, parent);

    reply(req, "rmdir", node, dirs_rmdir(fs, node, name));
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
                      const char *to_name, unsigned int flags)
{
    struct fs *fs = begin(req);
    struct node *node = node_of(fs, parent);

    reply(req, "rename", node, dirs_rename(fs, node, name, node_of(fs, to_parent), to_name, flags));
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
        fail(req, what, node, err);
    else
        fuse_reply_attr(req, &attributes, files_timeout(fs, node, part, &attributes));
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);
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
    struct fs *fs = begin(req);
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
        fail(req, "setattr", node, err);
    else
        reply_attributes(req, "setattr", node, part);
}

/* ---- extended attributes -------------------------------------------------------------------- */

#define XATTR_PREFIX "user.dosna."
#define XATTR_ERROR XATTR_PREFIX "error"

/** The directory and `data` have them. */
static bool has_xattrs(const struct node *node, enum node_part part)
{
    return node->kind == NODE_DATASET && part != PART_META;
}

static int draft_error(struct fs *fs, struct node *node, char **out)
{
    *out = NULL;
    pthread_mutex_lock(&fs->tree.lock);
    bool draft = node->draft != NULL;
    if (draft && node->draft->error)
        *out = strdup(node->draft->error);
    pthread_mutex_unlock(&fs->tree.lock);
    return draft;
}

/** The value of an attribute, for the caller to free(). -ENODATA; -ENOTSUP outside "user."; errors. */
static int xattr_value(struct fs *fs, struct node *node, enum node_part part, const char *name, char **out)
{
    dn_dataset *dataset;
    int key = 0;
    int err;

    *out = NULL;
    if (strncmp(name, "user.", 5) != 0)
        return -ENOTSUP;
    if (!has_xattrs(node, part) || strncmp(name, XATTR_PREFIX, strlen(XATTR_PREFIX)) != 0)
        return -ENODATA;
    if (draft_error(fs, node, out)) {
        if (*out && strcmp(name, XATTR_ERROR) == 0)
            return 0;
        free(*out);
        return -ENODATA;
    }
    while (key < META_KEYS && strcmp(name + strlen(XATTR_PREFIX), meta_key_names[key]) != 0)
        key++;
    if (key == META_KEYS)
        return -ENODATA;
    err = files_dataset(fs, node, &dataset);
    if (err)
        return err;
    *out = meta_value(dn_describe(dataset), (enum meta_key)key);
    files_give_back(dataset);
    return *out ? 0 : dn_fail(-ENOMEM, "no memory");
}

static void reply_bytes(fuse_req_t req, const char *bytes, size_t length, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, length);
    else if (length > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, bytes, length);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct fs *fs = begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);
    char *value;
    int err = xattr_value(fs, node, part, name, &value);

    if (err == -ENODATA || err == -ENOTSUP) {
        fuse_reply_err(req, -err);
    } else if (err) {
        fail(req, "getxattr", node, err);
    } else {
        reply_bytes(req, value, strlen(value), size);
        free(value);
    }
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct fs *fs = begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);
    char text[512];
    size_t length = 0;
    char *error;

    if (has_xattrs(node, part)) {
        if (!draft_error(fs, node, &error)) {
            for (int key = 0; key < META_KEYS; key++)
                length += (size_t)sprintf(text + length, XATTR_PREFIX "%s", meta_key_names[key]) + 1;
        } else if (error) {
            length = (size_t)sprintf(text, XATTR_ERROR) + 1;
        }
        free(error);
    }
    reply_bytes(req, text, length, size);
}

/** Writing what is there is accepted, so that cp -a and rsync -X can copy a dataset. */
static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                        int flags)
{
    struct fs *fs = begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);
    char *have;
    int err = xattr_value(fs, node, part, name, &have);

    if (err == -ENODATA)
        err = -ENOTSUP;
    else if (err == 0 && (flags & XATTR_CREATE))
        err = -EEXIST;
    else if (err == 0 && (strlen(have) != size || memcmp(have, value, size) != 0))
        err = dn_fail(-EPERM, "%s cannot be changed", name);
    free(have);
    reply(req, "setxattr", node, err);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct fs *fs = begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);
    char *have;
    int err = xattr_value(fs, node, part, name, &have);

    if (err == 0)
        err = dn_fail(-EPERM, "%s cannot be removed", name);
    free(have);
    if (err == -ENODATA || err == -ENOTSUP)
        fuse_reply_err(req, -err);
    else
        fail(req, "removexattr", node, err);
}

/* ---- files ---------------------------------------------------------------------------------- */

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

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);
    struct handle *handle;
    int err = files_open(fs, node, part, fi->flags, false, ino & TREE_ALIAS, fuse_req_ctx(req)->pid, &handle);

    if (err) {
        fail(req, "open", node, err);
        return;
    }
    fill_open(handle, fi);
    if (handle->resized)
        fuse_lowlevel_notify_inval_inode(fs->session, ino, -1, 0);
    if (fuse_reply_open(req, fi) != 0)
        files_close(fs, handle);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);
    struct node *node = node_of(fs, parent);
    pid_t pid = fuse_req_ctx(req)->pid;
    struct fuse_entry_param entry;
    struct handle *handle;
    struct place place;

    (void)mode;
    int err = dirs_create(fs, node, name, fi->flags, pid, &place);
    if (err) {
        fail(req, "create", node, err);
        return;
    }
    err = files_open(fs, place.node, place.part, fi->flags, place.created || place.alias, place.alias, pid, &handle);
    if (err == 0) {
        err = fill_entry(fs, &place, &entry);
        if (err)
            files_close(fs, handle);
    }
    if (err) {
        fail(req, "create", node, err);
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

static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static pthread_key_t buffer_key;
static int buffer_failed;

static void make_buffer_key(void)
{
    buffer_failed = pthread_key_create(&buffer_key, free);
}

/** One buffer for each thread's replies, kept until the thread ends. NULL: no memory. */
static char *reply_buffer(void)
{
    char *buffer;

    pthread_once(&buffer_once, make_buffer_key);
    if (buffer_failed)
        return NULL;
    buffer = pthread_getspecific(buffer_key);
    if (!buffer && (buffer = malloc(OPS_IO_MAX)) && pthread_setspecific(buffer_key, buffer) != 0) {
        free(buffer);
        buffer = NULL;
    }
    return buffer;
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);
    struct handle *handle = handle_of(fi);
    char *buffer = reply_buffer();
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
        fail(req, "read", handle->node, (int)count);
    else {
        push = push_begin(fs, handle, (uint64_t)offset, size, &plan);
        fuse_reply_buf(req, buffer, (size_t)count);
    }
    if (push) {
        dn_cancel_hook(NULL, NULL); /* the request is gone */
        push_rows(fs, handle, &plan);
    }
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buffer, size_t size, off_t offset,
                     struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);
    struct handle *handle = handle_of(fi);
    int64_t count = handle->type->write(fs, handle, buffer, size, (uint64_t)offset);

    (void)ino;
    if (count < 0)
        fail(req, "write", handle->node, (int)count);
    else
        fuse_reply_write(req, (size_t)count);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);
    struct handle *handle = handle_of(fi);
    int err = 0;

    (void)ino;
    files_opened(fs, handle);
    if (handle->type->flush)
        err = handle->type->flush(fs, handle, fuse_req_ctx(req)->pid);
    reply(req, "close", handle->node, err);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);
    struct handle *handle = handle_of(fi);

    (void)ino;
    (void)datasync;
    reply(req, "fsync", handle->node, handle->type->sync ? handle->type->sync(fs, handle) : 0);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);

    (void)ino;
    dn_cancel_hook(NULL, NULL); /* nobody waits for it, and what it stores has to be stored */
    files_close(fs, handle_of(fi));
    fuse_reply_err(req, 0);
}

/* ---- directories ---------------------------------------------------------------------------- */

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

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = begin(req);
    struct directory *directory = open_directory(fs, node_of(fs, ino));

    fi->fh = (uint64_t)(uintptr_t)directory;
    if (!directory)
        fuse_reply_err(req, ENOMEM);
    else if (fuse_reply_open(req, fi) != 0)
        close_directory(fs, directory);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
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

    if (!place.node || fill_entry(fs, &place, &param) != 0) {
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

    for (size_t i = first; dirs_entry(fs, listing, i, &entry); i++) {
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
    struct fs *fs = begin(req);
    struct directory *directory = directory_of(fi);
    struct node *node = directory->listing.node;
    char *buffer = reply_buffer();
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
        fail(req, "list", node, err);
    else
        fuse_reply_buf(req, buffer, used);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    (void)ino;
    read_directory(req, size, offset, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                           struct fuse_file_info *fi)
{
    (void)ino;
    read_directory(req, size, offset, fi, true);
}

void ops_close_all(struct fs *fs)
{
    struct directory *directory;

    files_close_all(fs);
    while ((directory = LIST_FIRST(&fs->directories)))
        close_directory(fs, directory);
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
