// SPDX-License-Identifier: Apache-2.0
#include "clock.h"

#include "checked.h"
#include <dosna/dosna.h>
#include <errno.h>
#include <time.h>

#define SECOND INT64_C(1000000000)
#define SLICE (SECOND / 10) /* how often the hook is asked */

static _Thread_local struct clock_hook hook;

void dn_cancel_hook(bool (*cancelled)(void *arg), void *arg)
{
    hook.cancelled = cancelled;
    hook.arg = arg;
}

struct clock_hook clock_get_hook(void)
{
    return hook;
}

int64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

int64_t clock_ns(double seconds)
{
    double ns = seconds * (double)SECOND;

    if (!(ns > 0))
        return 0;
    return ns < 0x1p62 ? (int64_t)ns : INT64_C(1) << 62;
}

int clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int code = pthread_condattr_init(&attr);

    if (code != 0)
        return -code;
    code = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (code == 0)
        code = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return -code;
}

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){ .tv_sec = ns / SECOND, .tv_nsec = ns % SECOND };
}

/** When a wait that may last until `deadline` has to look up. */
static int64_t next_look(int64_t deadline)
{
    int64_t slice = clock_now() + SLICE;

    return hook.cancelled && slice < deadline ? slice : deadline;
}

bool clock_cancelled(void)
{
    return hook.cancelled && hook.cancelled(hook.arg);
}

int clock_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline)
{
    if (clock_cancelled())
        return -EINTR;

    int64_t until = next_look(deadline);
    struct timespec time = timespec_of(until < 0 ? 0 : until);
    int code = until == INT64_MAX ? pthread_cond_wait(cond, mutex)
                                  : pthread_cond_timedwait(cond, mutex, &time);
    if (code == ETIMEDOUT && until < deadline)
        return clock_cancelled() ? -EINTR : 0;
    return -code;
}

int clock_sleep(int64_t ns)
{
    uint64_t sum;
    int64_t deadline = checked_add((uint64_t)clock_now(), ns > 0 ? (uint64_t)ns : 0, &sum)
                           ? (int64_t)sum : INT64_MAX;

    while (clock_now() < deadline) {
        if (clock_cancelled())
            return -EINTR;
        struct timespec time = timespec_of(next_look(deadline));
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    }
    return 0;
}
