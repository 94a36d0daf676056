// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include "files.h"
#include "meta.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

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

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct fs *fs = request_begin(req);
    enum node_part part;
    struct node *node = tree_node(&fs->tree, ino, &part);
    char *value;
    int err = xattr_value(fs, node, part, name, &value);

    if (err == -ENODATA || err == -ENOTSUP) {
        fuse_reply_err(req, -err);
    } else if (err) {
        request_fail(req, "getxattr", node, err);
    } else {
        reply_bytes(req, value, strlen(value), size);
        free(value);
    }
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct fs *fs = request_begin(req);
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
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    struct fs *fs = request_begin(req);
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
    request_reply(req, "setxattr", node, err);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct fs *fs = request_begin(req);
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
        request_fail(req, "removexattr", node, err);
}
