// SPDX-License-Identifier: Apache-2.0
/*
 * fault: a backend that wraps another one and misbehaves on demand. Built into the programs only with
 * DOSNA_TESTS. Two ways to steer it:
 *
 * 1. By options, for system tests (all optional):
 *      inner=ram            the backend behind it
 *      inner_options=k=v;…  that backend's own options
 *      delay=S, delay_meta=S     seconds added to each chunk request; to each other request
 *      fail_op=OP[+OP…]     which operations fail: the names in FAULT_OPERATIONS
 *      fail_after=N         from the N-th such call on (1)
 *      fail_count=M         so many times; 0 is for ever (0)
 *      fail_errno=EIO       name or number
 *      fail_late=true       create, delete, rename, write, delete_chunk and flush are done first, then fail
 *      fail_file=PATH       delays and failures happen (and calls count) only while PATH exists
 *      hang_file=PATH       chunk requests wait while PATH exists, at most 120 s, then -ETIMEDOUT
 *      max_calls=N          as limits.max_calls
 *      lacks=A[+A…]         abilities hidden: read_range, write_range, compare, deletes_chunks
 *
 * 2. By a control, for tests in the same process:
 *      struct fault_control control;
 *      fault_control_init(&control);
 *      fault_attach(&control);                // connections made from now on obey it
 *      … connect to "fault", with options or a struct fault_options …
 *      fault_close(&control, FAULT_READ);     // reads wait at the gate
 *      … start readers …
 *      fault_wait_for(&control, FAULT_READ, 2);
 *      fault_pass(&control, FAULT_READ, 7);   // chunk 7 first
 *      fault_open(&control, FAULT_READ);
 *      … disconnect …
 *      fault_attach(NULL);
 *      fault_control_destroy(&control);       // nobody uses it any more
 *
 * A call passes, in this order: the count, hang_file, the gate, the delay, the failure, the inner backend.
 * All functions may be called from any thread at any time.
 */
#ifndef FAULT_H
#define FAULT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/** What the options fill. All zero, or no struct at all: ram, and no faults. */
struct fault_options {
    const char *inner, *inner_options;
    double delay, delay_meta;
    const char *fail_op;
    int64_t fail_after, fail_count;
    const char *fail_errno;
    bool fail_late;
    const char *fail_file, *hang_file;
    int64_t max_calls;
    const char *lacks;
};

#define FAULT_OPERATIONS(X)                                                                          \
    X(CONNECT, "connect") X(LIST, "list") X(CREATE, "create") X(OPEN, "open") X(HAS, "has")          \
    X(DELETE, "delete") X(RENAME, "rename") X(USAGE, "usage") X(READ, "read") X(WRITE, "write")      \
    X(DELETE_CHUNK, "delete_chunk") X(HAS_CHUNK, "has_chunk") X(LENGTH, "chunk_length")               \
    X(LIST_CHUNKS, "list_chunks") X(COPY, "copy_chunk") X(LIST_STRAYS, "list_strays") X(STRAYS, "strays") X(FLUSH, "flush")

enum fault_op {
#define X(id, name) FAULT_##id,
    FAULT_OPERATIONS(X)
#undef X
    FAULT_OPS
};

struct fault_control {
    pthread_mutex_t mutex; /* guards all of it; use the functions */
    pthread_cond_t changed;
    struct fault_waiter *waiters; /* calls at a closed gate, oldest first */
    struct {
        uint64_t calls, running, most_running;
        uint64_t skip, left; /* calls that still work, then calls that fail */
        int code;
        bool late;
        bool closed;
        double delay;
    } op[FAULT_OPS];
};

/** 0 or negative errno. */
int fault_control_init(struct fault_control *control);
void fault_control_destroy(struct fault_control *control);

/** Connections to "fault" made from now on obey this control; NULL: none again. */
void fault_attach(struct fault_control *control);

/** Calls begun since the control was made or fault_reset_counts(). */
uint64_t fault_calls(struct fault_control *control, enum fault_op op);
/** The most of them that were under way at once, those at the gate included. */
uint64_t fault_most_running(struct fault_control *control, enum fault_op op);
void fault_reset_counts(struct fault_control *control);

/** Of the calls from now on, the `first`-th (1: the next) and those after it fail with `code`,
 *  `count` of them in all; count 0: for ever. `code` 0: stop failing. */
void fault_fail(struct fault_control *control, enum fault_op op, uint64_t first, uint64_t count, int code);
/** The same, but the operation is done before it fails. For operations that change something. */
void fault_fail_late(struct fault_control *control, enum fault_op op, uint64_t first, uint64_t count,
                     int code);

void fault_delay(struct fault_control *control, enum fault_op op, double seconds);

/** The gate of an operation: while closed, calls wait at it; after 60 s there they get -ETIMEDOUT. */
void fault_close(struct fault_control *control, enum fault_op op);
/** Open it: all who wait go on. */
void fault_open(struct fault_control *control, enum fault_op op);
/** Calls that wait at the gate now. */
uint64_t fault_waiting(struct fault_control *control, enum fault_op op);
/** Return once `count` or more calls wait at the gate. 0, or -ETIMEDOUT after 30 s. */
int fault_wait_for(struct fault_control *control, enum fault_op op, uint64_t count);

#define FAULT_ANY UINT64_MAX
/** Let the oldest waiting call for chunk number `flat` (FAULT_ANY: the oldest of all) through the closed
 *  gate. False: no such call waits. */
bool fault_pass(struct fault_control *control, enum fault_op op, uint64_t flat);

#endif
