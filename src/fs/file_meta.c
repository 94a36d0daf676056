// SPDX-License-Identifier: Apache-2.0
/*
 * `.meta`: of a dataset, text made at open; of a draft, what was written so far.
 *
 * A draft becomes a dataset when a complete text is closed. The kernel tells of each close() by a
 * FLUSH, also of a child process that inherited the file: `{ echo shape = 4; date >&2; echo dtype = <f4; }
 * > .meta` closes at the end of `date`. So the opener's own close counts, and if another process
 * closes last, the release does.
 */
#include "files.h"

#include "meta.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static bool writable(const struct handle *handle)
{
    return (handle->flags & O_ACCMODE) != O_RDONLY;
}

/* ---- drafts --------------------------------------------------------------------------------- */

/** Remember why it is no dataset, for user.dosna.error; called with tree.lock. NULL: no reason. */
static void set_error(struct draft *draft, const char *text)
{
    free(draft->error);
    draft->error = text ? strdup(text) : NULL;
}

/** Keep and log why a text was refused; trouble is logged where the request is answered. */
static void refused(struct node *node, int err)
{
    if (node->draft)
        set_error(node->draft, dn_error_text(err));
    if (!report_is_trouble(err))
        report(DN_LOG_WARNING, "%s/.meta: %s", node->name, dn_error_text(err));
}

/** Ask the store for the dataset; tree.lock is held and given up meanwhile. */
static int create_dataset(struct fs *fs, struct node *node, const struct dn_desc *desc)
{
    struct draft *draft = node->draft;
    char *name = strdup(node->name);
    int err;

    if (!name)
        return dn_fail(-ENOMEM, "no memory");
    draft->busy = true;
    pthread_mutex_unlock(&fs->tree.lock);
    err = dn_create(fs->conn, name, desc, NULL);
    free(name);
    pthread_mutex_lock(&fs->tree.lock);
    if (node->draft != draft) /* replaced by a rename meanwhile */
        return err;
    draft->busy = false;
    if (err == 0) {
        node->clone_pid = draft->exclusive ? draft->creator : 0;
        tree_undraft(node);
    }
    return err;
}

/** Make a dataset of the draft if its text is complete. */
static int finish_draft(struct fs *fs, struct node *node)
{
    struct dn_desc desc = { 0 };
    int err = 0;

    pthread_mutex_lock(&fs->tree.lock);
    if (node->draft && !node->draft->busy && node->draft->length) {
        err = meta_parse(node->draft->text, node->draft->length, true, &desc);
        if (err == 0)
            set_error(node->draft, "shape and dtype are needed");
        if (err == 1)
            err = create_dataset(fs, node, &desc);
        if (err)
            refused(node, err);
    }
    pthread_mutex_unlock(&fs->tree.lock);
    dn_desc_clear(&desc);
    return err;
}

/* ---- open ----------------------------------------------------------------------------------- */

/** The text of a dataset that exists, for this handle; nothing to do if it has one. */
static int load(struct fs *fs, struct handle *handle, bool empty)
{
    struct dn_desc desc = { 0 };
    dn_dataset *dataset;
    char *text;
    int err = files_dataset(fs, handle->node, &dataset);

    if (err)
        return err;
    files_learn(fs, handle->node, dataset);
    text = empty ? strdup("") : meta_text(dn_describe(dataset));
    if (!text)
        err = dn_fail(-ENOMEM, "no memory");
    else if (writable(handle))
        err = dn_desc_copy(&desc, dn_describe(dataset));
    files_give_back(dataset);

    pthread_mutex_lock(&fs->tree.lock);
    if (err == 0 && !handle->text) {
        handle->text = text;
        handle->length = strlen(text);
        handle->desc = desc;
        text = NULL;
        desc = (struct dn_desc){ 0 };
    }
    pthread_mutex_unlock(&fs->tree.lock);
    free(text);
    dn_desc_clear(&desc);
    return err;
}

static int open_meta(struct fs *fs, struct handle *handle)
{
    bool empty = writable(handle) && (handle->created || (handle->flags & O_TRUNC));
    struct node *node = handle->node;

    handle->direct_io = true; /* it changes while it is open, and other mounts change it too */
    pthread_mutex_lock(&fs->tree.lock);
    struct draft *draft = node->draft;
    if (draft && empty) {
        draft->length = 0;
        set_error(draft, NULL);
    }
    pthread_mutex_unlock(&fs->tree.lock);
    return draft ? 0 : load(fs, handle, empty);
}

/** 1: the node is a draft; 0: the handle has its dataset's text, also when it was a draft at open. */
static int draft_or_load(struct fs *fs, struct handle *handle)
{
    pthread_mutex_lock(&fs->tree.lock);
    bool draft = handle->node->draft != NULL;
    bool loaded = handle->text != NULL;
    pthread_mutex_unlock(&fs->tree.lock);
    return draft || loaded ? draft : load(fs, handle, false);
}

/* ---- read and write ------------------------------------------------------------------------- */

static int64_t read_meta(struct fs *fs, struct handle *handle, char *buffer, size_t size, uint64_t offset)
{
    struct draft *draft;
    int64_t count = draft_or_load(fs, handle);

    if (count < 0)
        return count;
    pthread_mutex_lock(&fs->tree.lock);
    draft = handle->node->draft;
    if (handle->text)
        count = files_read_text(handle->text, handle->length, buffer, size, offset);
    else
        count = draft ? files_read_text(draft->text, draft->length, buffer, size, offset) : 0;
    pthread_mutex_unlock(&fs->tree.lock);
    return count;
}

/** `text` with `size` bytes at `offset` replaced, for the caller to free(). */
static int splice_text(const char *text, size_t length, const char *bytes, size_t size, uint64_t offset,
                       char **out, size_t *out_length)
{
    if (offset > META_TEXT_MAX || size > META_TEXT_MAX - offset)
        return dn_fail(-EFBIG, "it is longer than %u bytes", META_TEXT_MAX);
    *out_length = offset + size > length ? offset + size : length;
    *out = calloc(1, *out_length + 1);
    if (!*out)
        return dn_fail(-ENOMEM, "no memory");
    if (length)
        memcpy(*out, text, length);
    memcpy(*out + offset, bytes, size);
    return 0;
}

static int write_draft(struct handle *handle, const char *bytes, size_t size, uint64_t offset)
{
    struct draft *draft = handle->node->draft;
    char *text = NULL;
    size_t length = 0;
    int err;

    if (handle->flags & O_APPEND)
        offset = draft->length;
    err = splice_text(draft->text, draft->length, bytes, size, offset, &text, &length);
    if (err == 0)
        err = meta_parse(text, length, false, NULL);
    if (err < 0) {
        refused(handle->node, err);
        free(text);
        return err;
    }
    free(draft->text);
    draft->text = text;
    draft->length = length;
    set_error(draft, NULL);
    return 0;
}

static int write_same(struct handle *handle, const char *bytes, size_t size, uint64_t offset)
{
    char *text = NULL;
    size_t length = 0;
    int err;

    if (handle->flags & O_APPEND)
        offset = handle->length;
    err = splice_text(handle->text, handle->length, bytes, size, offset, &text, &length);
    if (err == 0)
        err = meta_same(text, length, false, &handle->desc);
    if (err) {
        refused(handle->node, err);
        free(text);
        return err;
    }
    free(handle->text);
    handle->text = text;
    handle->length = length;
    return 0;
}

static int64_t write_meta(struct fs *fs, struct handle *handle, const char *buffer, size_t size,
                          uint64_t offset)
{
    int draft = draft_or_load(fs, handle);
    int err;

    if (draft < 0)
        return draft;
    handle->wrote = true;
    pthread_mutex_lock(&fs->tree.lock);
    if (draft)
        err = handle->node->draft ? write_draft(handle, buffer, size, offset)
                                  : dn_fail(-ESTALE, "the draft was removed");
    else
        err = write_same(handle, buffer, size, offset);
    pthread_mutex_unlock(&fs->tree.lock);
    return err ? err : (int64_t)size;
}

static int truncate_meta(struct fs *fs, struct node *node, struct handle *handle, uint64_t length)
{
    int err = 0;

    pthread_mutex_lock(&fs->tree.lock);
    size_t *now = node->draft ? &node->draft->length : handle && handle->text ? &handle->length : NULL;
    if (now && length > *now)
        err = dn_fail(-EFBIG, "a text cannot be made longer by truncation");
    else if (now)
        *now = length;
    pthread_mutex_unlock(&fs->tree.lock);
    return err;
}

/* ---- close ---------------------------------------------------------------------------------- */

static int flush_meta(struct fs *fs, struct handle *handle, pid_t pid)
{
    int err = 0;

    if (!writable(handle))
        return 0;
    if (!handle->text) {
        if (!files_same_process(pid, handle->opener))
            return 0;
        handle->wrote = false;
        return finish_draft(fs, handle->node);
    }
    pthread_mutex_lock(&fs->tree.lock);
    if (handle->wrote)
        err = meta_same(handle->text, handle->length, true, &handle->desc);
    if (err)
        refused(handle->node, err);
    pthread_mutex_unlock(&fs->tree.lock);
    return err;
}

static void release_meta(struct fs *fs, struct handle *handle)
{
    int err;

    if (handle->wrote && !handle->text && (err = finish_draft(fs, handle->node)) && report_is_trouble(err))
        report_failure("close", ".meta", err);
    dn_desc_clear(&handle->desc);
    free(handle->text);
}

static int meta_attributes(struct fs *fs, struct node *node, struct stat *out)
{
    struct facts facts;

    out->st_mode = S_IFREG | 0666;
    pthread_mutex_lock(&fs->tree.lock);
    bool draft = node->draft != NULL;
    if (draft)
        out->st_size = (off_t)node->draft->length;
    pthread_mutex_unlock(&fs->tree.lock);
    if (draft)
        return 0;
    int err = files_facts(fs, node, &facts);
    if (err == 0)
        out->st_size = (off_t)facts.meta_length;
    return err;
}

const struct file_type file_meta = {
    .open = open_meta,
    .read = read_meta,
    .write = write_meta,
    .truncate = truncate_meta,
    .flush = flush_meta,
    .release = release_meta,
    .attributes = meta_attributes,
};
