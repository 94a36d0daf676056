// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include "files.h"
#include "report.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static bool interrupted(void *arg)
{
    return fuse_req_interrupted(arg);
}

struct fs *request_begin(fuse_req_t req)
{
    dn_cancel_hook(interrupted, req);
    return fuse_req_userdata(req);
}

struct node *request_node(struct fs *fs, fuse_ino_t ino)
{
    enum node_part part;

    return tree_node(&fs->tree, ino, &part);
}

void request_fail(fuse_req_t req, const char *what, const struct node *node, int err)
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

void request_reply(fuse_req_t req, const char *what, const struct node *node, int err)
{
    if (err)
        request_fail(req, what, node, err);
    else
        fuse_reply_err(req, 0);
}

int request_entry(struct fs *fs, const struct place *place, struct fuse_entry_param *out)
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

static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static pthread_key_t buffer_key;
static int buffer_failed;

static void make_buffer_key(void)
{
    buffer_failed = pthread_key_create(&buffer_key, free);
}

char *request_buffer(void)
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
