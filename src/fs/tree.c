// SPDX-License-Identifier: Apache-2.0
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_ID 1
#define PART_MASK UINT64_C(3) /* nodes are aligned to 8 bytes */
#define SETTLE_SECONDS 1 /* an idle handle that is not being released */

int tree_init(struct tree *tree)
{
    memset(tree, 0, sizeof *tree);
    for (int kind = 0; kind < NODE_FIXED; kind++)
        tree->fixed[kind].kind = (enum node_kind)kind;
    LIST_INIT(&tree->nodes);
    LIST_INIT(&tree->handles);
    clock_gettime(CLOCK_REALTIME, &tree->changed);
    int err = pthread_mutex_init(&tree->lock, NULL);
    if (err == 0)
        err = pthread_cond_init(&tree->released, NULL);
    return -err;
}

static void draft_free(struct draft *draft)
{
    if (!draft)
        return;
    free(draft->text);
    free(draft->error);
    free(draft);
}

static void node_free(struct node *node)
{
    LIST_REMOVE(node, all);
    draft_free(node->draft);
    for (int part = 0; part < PARTS; part++)
        free(node->alias[part]);
    if (node->stream)
        pthread_rwlock_destroy(&node->stream->write_lock);
    free(node->stream);
    free(node->view);
    free(node->name);
    free(node);
}

void tree_clear(struct tree *tree)
{
    struct node *node;

    HASH_CLEAR(hh, tree->by_name);
    HASH_CLEAR(hh, tree->by_path);
    while ((node = LIST_FIRST(&tree->nodes)))
        node_free(node);
    pthread_cond_destroy(&tree->released);
    pthread_mutex_destroy(&tree->lock);
}

/* ---- inode ids ------------------------------------------------------------------------------ */

struct node *tree_node(struct tree *tree, uint64_t id, enum node_part *part)
{
    *part = PART_SELF;
    if (id == ROOT_ID)
        return &tree->fixed[NODE_ROOT];
    *part = (enum node_part)(id & PART_MASK);
    return (struct node *)(uintptr_t)(id & ~(PART_MASK | TREE_ALIAS));
}

uint64_t tree_id(const struct tree *tree, const struct node *node, enum node_part part)
{
    return node == &tree->fixed[NODE_ROOT] ? ROOT_ID : (uint64_t)(uintptr_t)node + part;
}

uint64_t tree_inode(const char *name, enum node_part part)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);

    for (; *name; name++)
        value = (value ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    /* Above the small numbers of the fixed nodes. */
    return ((value | UINT64_C(1) << 62) & ~PART_MASK & INT64_MAX) + part;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static struct node **table_of(struct tree *tree, const struct node *node)
{
    return node->view ? &tree->by_path : &tree->by_name;
}

static void unname(struct tree *tree, struct node *node)
{
    struct node **table = table_of(tree, node);

    if (node->named)
        HASH_DEL(*table, node);
    node->named = false;
}

/** Free the node if nothing holds it; called with the lock. */
static void reap(struct tree *tree, struct node *node)
{
    if (node->kind < NODE_DATASET || node->lookups || node->pins || node->draft)
        return;
    if (node->named && (node->hidden[PART_META] || node->hidden[PART_DATA]))
        return;
    unname(tree, node);
    node_free(node);
}

/** What dataset `name` was is gone or has another name; called with the lock. */
static void unname_views(struct tree *tree, const char *name)
{
    struct node *node, *next;

    HASH_ITER(hh, tree->by_path, node, next)
    {
        if (strcmp(node->view->dataset, name) == 0) {
            unname(tree, node);
            reap(tree, node);
        }
    }
}

static struct node *find(struct tree *tree, const char *name)
{
    struct node *node;

    HASH_FIND_STR(tree->by_name, name, node);
    return node;
}

/** Enter the node under its name. */
static int enter(struct tree *tree, struct node *node)
{
    struct node **table = table_of(tree, node);

    HASH_ADD_KEYPTR(hh, *table, node->name, strlen(node->name), node);
    node->named = node->hh.tbl != NULL;
    return node->named ? 0 : dn_fail(-ENOMEM, "no memory");
}

/** Takes over `view`. */
static struct node *new_node(struct tree *tree, const char *name, enum node_kind kind, struct node_view *view)
{
    struct node *node = calloc(1, sizeof *node);

    if (!node) {
        free(view);
        return NULL;
    }
    LIST_INSERT_HEAD(&tree->nodes, node, all);
    node->kind = kind;
    node->view = view;
    node->name = strdup(name);
    if (!node->name || enter(tree, node) != 0) {
        node_free(node);
        return NULL;
    }
    return node;
}

struct node *tree_find(struct tree *tree, const char *name)
{
    pthread_mutex_lock(&tree->lock);
    struct node *node = find(tree, name);
    if (node)
        node->pins++;
    pthread_mutex_unlock(&tree->lock);
    return node;
}

struct node *tree_get(struct tree *tree, const char *name)
{
    pthread_mutex_lock(&tree->lock);
    struct node *node = find(tree, name);
    if (!node)
        node = new_node(tree, name, NODE_DATASET, NULL);
    if (node)
        node->pins++;
    pthread_mutex_unlock(&tree->lock);
    return node;
}

static bool same_view(const struct node_view *a, const struct node_view *b)
{
    return a->format == b->format && strcmp(a->dataset, b->dataset) == 0 &&
           strcmp(a->expression, b->expression) == 0;
}

struct node *tree_view(struct tree *tree, const char *path, enum node_kind kind, struct node_view *view)
{
    struct node *node;

    pthread_mutex_lock(&tree->lock);
    HASH_FIND_STR(tree->by_path, path, node);
    if (node && same_view(node->view, view)) {
        free(view);
    } else {
        if (node) { /* the path has come to mean another dataset */
            unname(tree, node);
            reap(tree, node);
        }
        node = new_node(tree, path, kind, view);
    }
    if (node)
        node->pins++;
    pthread_mutex_unlock(&tree->lock);
    return node;
}

void tree_pin(struct tree *tree, struct node *node)
{
    pthread_mutex_lock(&tree->lock);
    node->pins++;
    pthread_mutex_unlock(&tree->lock);
}

void tree_put(struct tree *tree, struct node *node)
{
    if (!node)
        return;
    pthread_mutex_lock(&tree->lock);
    node->pins--;
    reap(tree, node);
    pthread_mutex_unlock(&tree->lock);
}

void tree_told(struct tree *tree, struct node *node)
{
    pthread_mutex_lock(&tree->lock);
    node->lookups++;
    pthread_mutex_unlock(&tree->lock);
}

void tree_forget(struct tree *tree, struct node *node, uint64_t count)
{
    pthread_mutex_lock(&tree->lock);
    node->lookups -= count < node->lookups ? count : node->lookups;
    reap(tree, node);
    pthread_mutex_unlock(&tree->lock);
}

void tree_changed(struct tree *tree)
{
    pthread_mutex_lock(&tree->lock);
    clock_gettime(CLOCK_REALTIME, &tree->changed);
    pthread_mutex_unlock(&tree->lock);
}

/** Called with the lock. */
static void drop(struct tree *tree, struct node *node)
{
    tree_undraft(node);
    unname(tree, node);
    unname_views(tree, node->name);
}

void tree_drop(struct tree *tree, struct node *node)
{
    pthread_mutex_lock(&tree->lock);
    drop(tree, node);
    pthread_mutex_unlock(&tree->lock);
}

int tree_drop_draft(struct tree *tree, struct node *node)
{
    pthread_mutex_lock(&tree->lock);
    int err = !node->draft ? 1 : node->draft->busy ? dn_fail(-EBUSY, "it is being created") : 0;
    if (err == 0)
        drop(tree, node);
    pthread_mutex_unlock(&tree->lock);
    return err;
}

int tree_rename(struct tree *tree, struct node *node, const char *name, bool draft)
{
    char *copy = strdup(name);
    int err;

    if (!copy)
        return dn_fail(-ENOMEM, "no memory");
    pthread_mutex_lock(&tree->lock);
    if (draft && (!node->draft || node->draft->busy)) {
        pthread_mutex_unlock(&tree->lock);
        free(copy);
        return dn_fail(-EBUSY, "it is being created");
    }
    struct node *other = find(tree, name);
    if (other && other != node) {
        tree_undraft(other);
        unname(tree, other);
        reap(tree, other);
    }
    unname(tree, node);
    unname_views(tree, node->name);
    free(node->name);
    node->name = copy;
    err = enter(tree, node);
    pthread_mutex_unlock(&tree->lock);
    return err;
}

/* ---- drafts --------------------------------------------------------------------------------- */

struct node *tree_draft(struct tree *tree, const char *name)
{
    struct draft *draft = calloc(1, sizeof *draft);
    struct node *node = NULL;

    if (!draft)
        return NULL;
    pthread_mutex_lock(&tree->lock);
    node = find(tree, name);
    if (node) { /* what is left of a dataset that somebody else removed */
        unname(tree, node);
        reap(tree, node);
    }
    node = new_node(tree, name, NODE_DATASET, NULL);
    if (node) {
        node->draft = draft;
        node->pins++;
    } else {
        free(draft);
    }
    pthread_mutex_unlock(&tree->lock);
    return node;
}

bool tree_is_draft(struct tree *tree, const struct node *node)
{
    pthread_mutex_lock(&tree->lock);
    bool draft = node->draft != NULL;
    pthread_mutex_unlock(&tree->lock);
    return draft;
}

void tree_undraft(struct node *node)
{
    draft_free(node->draft);
    node->draft = NULL;
}

/* ---- streams -------------------------------------------------------------------------------- */

struct stream *tree_stream(struct node *node)
{
    struct stream *stream = node->stream;

    if (stream)
        return stream;
    stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    if (pthread_rwlock_init(&stream->write_lock, NULL) != 0) {
        free(stream);
        return NULL;
    }
    atomic_init(&stream->length, STREAM_WHOLE);
    node->stream = stream;
    return stream;
}

void tree_settle(struct tree *tree, struct node *node)
{
    struct timespec until;

    pthread_mutex_lock(&tree->lock);
    struct stream *stream = node->stream;
    if (stream && stream->closing && atomic_load(&stream->length) != STREAM_WHOLE) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += SETTLE_SECONDS;
        while (stream->closing) {
            if (pthread_cond_clockwait(&tree->released, &tree->lock, CLOCK_MONOTONIC, &until) != 0)
                stream->closing = false; /* it was no last close: do not wait for it again */
        }
    }
    pthread_mutex_unlock(&tree->lock);
}
