// SPDX-License-Identifier: Apache-2.0
/*
 * Rows pushed into the kernel's pages ahead of a reader through mmap.
 *
 * A plane across the storage order (numpy.memmap(...)[:, 100]) touches one row here and one row there, at a
 * fixed distance. For each the kernel faults, and reads 128 KiB around the fault: a hundred times too
 * much. After three faults at one distance the thread that answered the last one goes on to store the pages of
 * the next rows itself (FUSE_NOTIFY_STORE), more each time the reader turns up where they ended.
 *
 * A page that is stored costs less than one that is read at a fault, but the reader takes it faster still. So who has
 * overtaken, and faults, is held for a moment, until rows are ahead of it again.
 *
 * Two hazards. Storing waits for a page that a READ has locked, so one thread at a time pushes, and the
 * others serve that READ. And old bytes must not replace new ones: nothing is pushed while anybody has
 * the file open for writing; who opens it for writing waits until a push has ended, and what was pushed
 * while the data changed otherwise is dropped again.
 *
 * push_decide() is pure; the rest takes `struct pusher`'s own lock, a leaf.
 */
#ifndef DOSNAFS_PUSH_H
#define DOSNAFS_PUSH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;
struct handle;
struct node;

/** What is known of one file's faults. A zeroed struct is a good start. */
struct push {
    uint64_t last;     /* the fault that the last decision was about */
    int64_t stride;
    unsigned equal;    /* how many times in a row the distance was that */
    uint64_t expected; /* how many strides after it the fault behind the pushed rows will be; 0: nothing was pushed */
    uint64_t reader;   /* where the newest fault was */
    uint64_t ahead;    /* rows pushed last time */
    unsigned failures; /* times that the reader turned up elsewhere */
};

/** Pages [first + i · stride, + length), i = 0 … count − 1. */
struct push_plan {
    uint64_t first, length, count;
    int64_t stride;
};

/** One for a mount. */
struct pusher {
    pthread_mutex_t lock;
    pthread_cond_t ended; /* nothing is pushed any more */
    pthread_cond_t ahead; /* rows were */
    struct push_plan plan; /* guarded by lock */
    struct handle *active; /* whose file is being pushed; guarded by lock */
    uint64_t row;          /* which row of the plan is being stored; guarded by lock */
    bool stop;             /* somebody waits for the end; guarded by lock */
};

enum push_answer { PUSH_NOTHING, PUSH_ROWS, PUSH_OVERTAKEN };

/**
 * Note a READ of [offset, offset + size) and say what to push after it, or that it is of a row that is about to be
 * pushed.
 * @param row  bytes of a row of the array
 */
enum push_answer push_decide(struct push *push, uint64_t offset, uint64_t size, uint64_t row,
                             uint64_t nbytes, struct push_plan *plan);

void pusher_init(struct pusher *pusher);
void pusher_clear(struct pusher *pusher);

/** Before the reply to a READ of `handle`, which it may hold: shall push_rows() follow? It then must: the handle
 *  stays until it has. */
bool push_begin(struct fs *fs, struct handle *handle, uint64_t offset, uint64_t size,
                struct push_plan *plan);
/** After the reply. */
void push_rows(struct fs *fs, struct handle *handle, const struct push_plan *plan);

/** Wait until nothing of that handle is pushed; or, with NULL, of the node. -EBUSY: the latter takes too long, as when
 *  storing a row waits for a READ that no thread is left to answer. */
int push_wait(struct fs *fs, const struct node *node, const struct handle *handle);

#endif
