// SPDX-License-Identifier: Apache-2.0
/*
 * Time and bounded waiting. All waits in libdosna go through clock_wait(), so that each has a limit and
 * each can be ended by the calling thread's cancel hook.
 */
#ifndef DOSNA_CLOCK_H
#define DOSNA_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/** Monotonic nanoseconds. */
int64_t clock_now(void);

/** Nanoseconds of `seconds`; 146 years at most, so that clock_now() plus this is a time. */
int64_t clock_ns(double seconds);

/** A condition variable on the monotonic clock. 0 or negative errno. */
int clock_cond_init(pthread_cond_t *cond);

/**
 * Wait on `cond`, as pthread_cond_timedwait(), until signalled, until `deadline` (clock_now() terms,
 * INT64_MAX: none), or until the thread's cancel hook says so. May return early without reason, with 0.
 *
 * @return 0 woken; -ETIMEDOUT; -EINTR
 */
int clock_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline);

/** What dn_cancel_hook() said, for a thread that works for another one. */
struct clock_hook {
    bool (*cancelled)(void *arg);
    void *arg;
};

struct clock_hook clock_get_hook(void);

/** Ask the calling thread's hook now. */
bool clock_cancelled(void);

/** Sleep `ns`, ended early with -EINTR by the cancel hook. */
int clock_sleep(int64_t ns);

#endif
