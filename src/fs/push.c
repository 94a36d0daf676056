// SPDX-License-Identifier: Apache-2.0
#define FUSE_USE_VERSION 312
#include "push.h"

#include "files.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdlib.h>

#define PAGE 4096u
#define FIRST_ROWS 16u
#define MOST_ROWS 512u
#define MOST_BYTES (128u << 10) /* of one row: what the kernel would read at a fault */
#define LEAD 4 /* rows before a reader who has overtaken */
#define MOST_FAILURES 4u        /* the reader wants something else */

/* ---- deciding ------------------------------------------------------------------------------- */

static uint64_t steps_left(uint64_t from, int64_t stride, uint64_t nbytes)
{
    return stride > 0 ? (nbytes - 1 - from) / (uint64_t)stride : from / (uint64_t)-stride;
}

/* The kernel reads as much before the page of a fault as behind it. */
static uint64_t fault_of(uint64_t offset, uint64_t size)
{
    return (offset + size / 2) / PAGE * PAGE;
}

static void note(struct push *push, uint64_t offset)
{
    int64_t stride = (int64_t)(offset - push->last);

    push->equal = stride == push->stride ? push->equal + 1 : 1;
    push->stride = stride;
    push->last = offset;
    push->expected = 0;
    push->ahead = 0;
}

/* Between the last decision and where its rows end: the reader was there before the row. */
static bool in_window(const struct push *push, uint64_t offset)
{
    int64_t from_last = (int64_t)(offset - push->last), whole = (int64_t)(push->expected - push->last);

    if (!push->expected || from_last % push->stride != 0)
        return false;
    return push->stride > 0 ? from_last > 0 && from_last < whole : from_last < 0 && from_last > whole;
}

static void plan_rows(struct push *push, uint64_t offset, uint64_t fault, uint64_t row, uint64_t nbytes,
                      struct push_plan *plan)
{
    uint64_t steps = steps_left(fault, push->stride, nbytes);

    /* The reader is on its way to the next row already: begin with the one after it. */
    push->ahead = push->ahead ? push->ahead * 2 : FIRST_ROWS;
    if (push->ahead > MOST_ROWS)
        push->ahead = MOST_ROWS;
    if (push->ahead + 1 > steps)
        push->ahead = steps ? steps - 1 : 0;
    push->expected = offset + (push->ahead + 2) * (uint64_t)push->stride;
    *plan = (struct push_plan){.first = fault + 2 * (uint64_t)push->stride,
                               .length = (row + PAGE - 1) / PAGE * PAGE + (PAGE % row ? PAGE : 0),
                               .count = push->ahead,
                               .stride = push->stride};
    if (plan->length > MOST_BYTES)
        plan->length = MOST_BYTES;
}

bool push_decide(struct push *push, uint64_t offset, uint64_t size, uint64_t row, uint64_t nbytes,
                 struct push_plan *plan)
{
    uint64_t fault = fault_of(offset, size), far;

    push->reader = fault;
    if (in_window(push, offset))
        return false;
    if (push->expected && offset == push->expected) {
        push->last = offset;
        push->failures = 0;
    } else {
        push->failures += push->expected != 0;
        note(push, offset);
    }
    far = push->stride > 0 ? (uint64_t)push->stride : -(uint64_t)push->stride;
    if (push->equal < 2 || far < 2 * size || push->failures >= MOST_FAILURES || fault >= nbytes)
        return false;
    plan_rows(push, offset, fault, row, nbytes, plan);
    return plan->count > 0;
}

uint64_t push_skip(const struct push *push, const struct push_plan *plan, uint64_t next)
{
    int64_t reader = (int64_t)(push->reader - plan->first) / plan->stride;

    return reader >= (int64_t)next ? (uint64_t)reader + LEAD : next;
}

/* ---- one pusher at a time -------------------------------------------------------------------- */

void pusher_init(struct pusher *pusher)
{
    pthread_mutex_init(&pusher->lock, NULL);
    pthread_cond_init(&pusher->ended, NULL);
}

void pusher_clear(struct pusher *pusher)
{
    pthread_cond_destroy(&pusher->ended);
    pthread_mutex_destroy(&pusher->lock);
}

static uint64_t row_bytes(const struct dn_desc *desc)
{
    return desc->shape[desc->ndim - 1] * desc->dtype.itemsize;
}

/* Is what the kernel has, or would get, right, and nobody about to change it? */
static bool allowed(struct fs *fs, struct handle *handle)
{
    uint64_t generation = dn_generation(handle->dataset);
    struct node *node = handle->node;
    bool good;

    pthread_mutex_lock(&fs->tree.lock);
    good = !node->stream->writers && !node->pages_stale && node->generation == generation &&
           atomic_load(&node->stream->length) == STREAM_WHOLE;
    pthread_mutex_unlock(&fs->tree.lock);
    return good;
}

bool push_begin(struct fs *fs, struct handle *handle, uint64_t offset, uint64_t size,
                struct push_plan *plan)
{
    struct pusher *pusher = &fs->pusher;
    bool wanted;

    if (handle->type != &file_data || handle->direct_io || (handle->flags & O_DIRECT))
        return false;
    pthread_mutex_lock(&fs->tree.lock);
    wanted = push_decide(&handle->node->stream->push, offset, size,
                         row_bytes(dn_describe(handle->dataset)), handle->nbytes, plan);
    pthread_mutex_unlock(&fs->tree.lock);
    if (!wanted || !allowed(fs, handle))
        return false;
    pthread_mutex_lock(&pusher->lock);
    wanted = !pusher->active;
    if (wanted) {
        pusher->active = handle;
        pusher->stop = false;
    }
    pthread_mutex_unlock(&pusher->lock);
    return wanted;
}

static bool told_to_stop(struct pusher *pusher)
{
    bool stop;

    pthread_mutex_lock(&pusher->lock);
    stop = pusher->stop;
    pthread_mutex_unlock(&pusher->lock);
    return stop;
}

/* False: enough. */
static bool push_row(struct fs *fs, struct handle *handle, char *buffer, uint64_t offset, uint64_t length)
{
    fuse_ino_t ino = tree_id(&fs->tree, handle->node, PART_DATA);
    struct fuse_bufvec pages = FUSE_BUFVEC_INIT(0);
    int64_t count;

    if (told_to_stop(&fs->pusher) || !allowed(fs, handle))
        return false;
    count = dn_pread(handle->dataset, buffer, length, offset);
    if (count <= 0)
        return false;
    pages.buf[0].mem = buffer;
    pages.buf[0].size = (size_t)count;
    if (fuse_lowlevel_notify_store(fs->session, ino, (off_t)offset, &pages, 0) != 0)
        return false;
    if (allowed(fs, handle))
        return true;
    fuse_lowlevel_notify_inval_inode(fs->session, ino, (off_t)offset, (off_t)count);
    return false;
}

static uint64_t next_row(struct fs *fs, struct handle *handle, const struct push_plan *plan, uint64_t next)
{
    pthread_mutex_lock(&fs->tree.lock);
    next = push_skip(&handle->node->stream->push, plan, next);
    pthread_mutex_unlock(&fs->tree.lock);
    return next;
}

void push_rows(struct fs *fs, struct handle *handle, const struct push_plan *plan)
{
    struct pusher *pusher = &fs->pusher;
    char *buffer = malloc(plan->length);

    for (uint64_t i = 0; buffer && (i = next_row(fs, handle, plan, i)) < plan->count; i++)
        if (!push_row(fs, handle, buffer, plan->first + i * (uint64_t)plan->stride, plan->length))
            break;
    free(buffer);
    pthread_mutex_lock(&pusher->lock);
    pusher->active = NULL;
    pthread_cond_broadcast(&pusher->ended);
    pthread_mutex_unlock(&pusher->lock);
}

void push_wait(struct fs *fs, const struct node *node, const struct handle *handle)
{
    struct pusher *pusher = &fs->pusher;

    pthread_mutex_lock(&pusher->lock);
    while (pusher->active && (handle ? pusher->active == handle : pusher->active->node == node)) {
        pusher->stop = true;
        pthread_cond_wait(&pusher->ended, &pusher->lock);
    }
    pthread_mutex_unlock(&pusher->lock);
}
