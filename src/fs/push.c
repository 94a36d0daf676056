// SPDX-License-Identifier: Apache-2.0
#define FUSE_USE_VERSION 312
#include "push.h"

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdlib.h>
#include <time.h>

#define PAGE 4096u
#define FIRST_ROWS 16u
#define MOST_ROWS 512u
#define MOST_BYTES (128u << 10) /* of one row: what the kernel would read at a fault */
#define HOLD_ROWS 64 /* that are to be ahead of a reader who was held */
#define HOLD_NS 5000000 /* and no longer than that */
#define OPEN_SECONDS 60 /* that an open waits */
#define LEAD 4                  /* rows before a reader who has come to the row that is being stored */
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

static void note(struct push *push, uint64_t fault)
{
    int64_t stride = (int64_t)(fault - push->last);

    push->equal = stride == push->stride ? push->equal + 1 : 1;
    push->stride = stride;
    push->last = fault;
    push->expected = 0;
    push->ahead = 0;
}

/* How many strides after the last decision's fault this one is; 0: it is not one of its rows. A page that was stored
   just before the fault cuts the READ in two, and neither has the fault in its middle. */
static int64_t strides_after(const struct push *push, uint64_t fault, uint64_t size)
{
    int64_t far = (int64_t)(fault - push->last), half = push->stride / 2;
    int64_t n = (far + ((far > 0) == (half > 0) ? half : -half)) / push->stride;
    int64_t off = far - n * push->stride;

    return n > 0 && (uint64_t)(off < 0 ? -off : off) <= size / 2 + PAGE ? n : 0;
}

static void plan_rows(struct push *push, uint64_t fault, uint64_t row, uint64_t nbytes, struct push_plan *plan)
{
    uint64_t steps = steps_left(fault, push->stride, nbytes);

    /* The reader is on its way to the next row already: begin with the one after it. */
    push->ahead = push->ahead ? push->ahead * 2 : FIRST_ROWS;
    if (push->ahead > MOST_ROWS)
        push->ahead = MOST_ROWS;
    if (push->ahead + 1 > steps)
        push->ahead = steps ? steps - 1 : 0;
    push->expected = push->ahead + 2;
    *plan = (struct push_plan){.first = fault + 2 * (uint64_t)push->stride,
                               .length = (row + PAGE - 1) / PAGE * PAGE + (PAGE % row ? PAGE : 0),
                               .count = push->ahead,
                               .stride = push->stride};
    if (plan->length > MOST_BYTES)
        plan->length = MOST_BYTES;
}

enum push_answer push_decide(struct push *push, uint64_t offset, uint64_t size, uint64_t row,
                             uint64_t nbytes, struct push_plan *plan)
{
    uint64_t fault = fault_of(offset, size), far;
    uint64_t n = push->expected ? (uint64_t)strides_after(push, fault, size) : 0;

    push->reader = n ? push->last + n * (uint64_t)push->stride : fault;
    if (n && n < push->expected)
        return PUSH_OVERTAKEN;
    if (n && n == push->expected) {
        fault = push->last = push->reader;
        push->failures = 0;
    } else {
        push->failures += push->expected != 0;
        note(push, fault);
    }
    far = push->stride > 0 ? (uint64_t)push->stride : -(uint64_t)push->stride;
    if (push->equal < 2 || far < 2 * size || push->failures >= MOST_FAILURES || fault >= nbytes)
        return PUSH_NOTHING;
    plan_rows(push, fault, row, nbytes, plan);
    return plan->count > 0 ? PUSH_ROWS : PUSH_NOTHING;
}

/* ---- one pusher at a time -------------------------------------------------------------------- */

void pusher_init(struct pusher *pusher)
{
    pthread_mutex_init(&pusher->lock, NULL);
    pthread_cond_init(&pusher->ended, NULL);
    pthread_cond_init(&pusher->ahead, NULL);
}

void pusher_clear(struct pusher *pusher)
{
    pthread_cond_destroy(&pusher->ahead);
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
    good = !node->stream->writers && node->pages_fresh == node->pages_stale && node->generation == generation &&
           atomic_load(&node->stream->length) == STREAM_WHOLE;
    pthread_mutex_unlock(&fs->tree.lock);
    return good;
}

static int64_t reader_row(const struct push *push, const struct push_plan *plan)
{
    return (int64_t)(push->reader - plan->first) / plan->stride;
}

/* Not if its own row is being stored: that waits for the page of which this READ is. */
static void hold_locked(struct pusher *pusher, const struct handle *handle, const struct push *push)
{
    int64_t row = pusher->active ? reader_row(push, &pusher->plan) : 0;
    struct timespec until;

    if (pusher->active != handle || row < -1 || row == (int64_t)pusher->row)
        return;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += HOLD_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    while (pusher->active == handle && !pusher->stop && (int64_t)pusher->row < row + HOLD_ROWS)
        if (pthread_cond_clockwait(&pusher->ahead, &pusher->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
            return;
}

bool push_begin(struct fs *fs, struct handle *handle, uint64_t offset, uint64_t size,
                struct push_plan *plan)
{
    struct pusher *pusher = &fs->pusher;
    enum push_answer answer;
    struct push push;
    bool wanted;

    if (handle->type != &file_data || handle->direct_io || (handle->flags & O_DIRECT))
        return false;
    pthread_mutex_lock(&fs->tree.lock);
    answer = push_decide(&handle->node->stream->push, offset, size,
                         row_bytes(dn_describe(handle->dataset)), handle->nbytes, plan);
    push = handle->node->stream->push;
    pthread_mutex_unlock(&fs->tree.lock);
    if (answer == PUSH_NOTHING || (answer == PUSH_ROWS && !allowed(fs, handle)))
        return false;
    pthread_mutex_lock(&pusher->lock);
    wanted = answer == PUSH_ROWS && !pusher->active;
    if (wanted) {
        pusher->active = handle;
        pusher->stop = false;
        pusher->plan = *plan;
        pusher->row = 0;
    } else if (answer == PUSH_OVERTAKEN)
        hold_locked(pusher, handle, &push);
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

/* The row to store next, if `next` was: what the reader has overtaken is left out. */
static uint64_t next_row(struct fs *fs, struct handle *handle, const struct push_plan *plan, uint64_t next)
{
    struct pusher *pusher = &fs->pusher;
    int64_t reader;

    pthread_mutex_lock(&fs->tree.lock);
    reader = reader_row(&handle->node->stream->push, plan);
    pthread_mutex_lock(&pusher->lock);
    if (reader >= (int64_t)next)
        next = (uint64_t)reader + LEAD;
    pusher->row = next;
    if (next % 16 == 0)
        pthread_cond_broadcast(&pusher->ahead);
    pthread_mutex_unlock(&pusher->lock);
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
    pthread_cond_broadcast(&pusher->ahead);
    pthread_cond_broadcast(&pusher->ended);
    pthread_mutex_unlock(&pusher->lock);
}

int push_wait(struct fs *fs, const struct node *node, const struct handle *handle)
{
    struct pusher *pusher = &fs->pusher;
    struct timespec until;
    bool late = false;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += OPEN_SECONDS;
    pthread_mutex_lock(&pusher->lock);
    while (!late && pusher->active && (handle ? pusher->active == handle : pusher->active->node == node)) {
        pusher->stop = true;
        pthread_cond_broadcast(&pusher->ahead);
        if (handle) /* it is about to be freed */
            pthread_cond_wait(&pusher->ended, &pusher->lock);
        else
            late = pthread_cond_clockwait(&pusher->ended, &pusher->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT;
    }
    pthread_mutex_unlock(&pusher->lock);
    return late ? -EBUSY : 0;
}
