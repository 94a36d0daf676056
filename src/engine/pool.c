// SPDX-License-Identifier: Apache-2.0
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include "checked.h"
#include "clock.h"

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* a job was queued, a lane has room, or the end is near */
    pthread_cond_t ended; /* a thread ended, or has started */
    struct pool_hooks hooks;
    unsigned threads, started, live;
    unsigned most_busy; /* write-backs and prefetches, while the store makes nobody wait and no user waits for it */
    unsigned resting;   /* users that wait for write-back */
    unsigned wary;      /* so many more of both leave one thread to demand */
    _Atomic int waited; /* how often jobs waited lately, 0 … WAITED_ALWAYS */
    int enter_error;
    bool stopping;
    unsigned running[LANE_COUNT];
    struct pool_job *queue[LANE_COUNT];
    pthread_t *ids;
};

#define WAITED_ALWAYS 64
#define WARY_ROUNDS 4 /* of as many jobs as there are threads */

static bool is_busy(int waited)
{
    return waited < WAITED_ALWAYS / 4;
}

void pool_note(struct pool *pool, bool waited)
{
    int now = atomic_load_explicit(&pool->waited, memory_order_relaxed);

    bool was_busy = is_busy(now);

    now += waited ? (WAITED_ALWAYS - now + 7) / 8 : -(now + 7) / 8;
    atomic_store_explicit(&pool->waited, now, memory_order_relaxed);
    if (!was_busy || is_busy(now))
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->work); /* more of what is queued may run now */
    pthread_mutex_unlock(&pool->lock);
}

void pool_rest(struct pool *pool, bool begin)
{
    pthread_mutex_lock(&pool->lock);
    if (begin) {
        pool->resting++;
        pthread_cond_signal(&pool->work);
    } else {
        pool->resting--;
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Voluntary switches of this thread: it gave up the processor to wait. */
long pool_waits_so_far(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

static unsigned in_background(const struct pool *pool)
{
    return pool->running[LANE_WRITEBACK] + pool->running[LANE_PREFETCH];
}

static unsigned most_in_background(const struct pool *pool)
{
    unsigned most = pool->wary && pool->threads > 1 ? pool->threads - 1 : pool->threads;

    if (is_busy(atomic_load_explicit(&pool->waited, memory_order_relaxed)))
        return (unsigned)min_u64(most, pool->most_busy + pool->resting);
    return most;
}

static struct pool_job *take_locked(struct pool *pool)
{
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct pool_job *job = pool->queue[lane];

        if (!job || (lane != LANE_DEMAND && in_background(pool) >= most_in_background(pool)))
            continue;
        if (lane != LANE_DEMAND && pool->wary)
            pool->wary--;
        DL_DELETE(pool->queue[lane], job);
        return job;
    }
    return NULL;
}

static bool queues_empty(const struct pool *pool)
{
    return !pool->queue[LANE_DEMAND] && !pool->queue[LANE_WRITEBACK] && !pool->queue[LANE_PREFETCH];
}

static void work_locked(struct pool *pool)
{
    for (;;) {
        struct pool_job *job = take_locked(pool);
        enum pool_lane lane; /* pool_promote() moves it through job->running_as */

        if (!job) {
            if (pool->stopping && queues_empty(pool)) {
                pthread_cond_broadcast(&pool->work); /* others may wait for room in a lane */
                return;
            }
            pthread_cond_wait(&pool->work, &pool->lock);
            continue;
        }
        lane = job->lane;
        job->state = JOB_RUNNING;
        job->running_as = &lane;
        pool->running[lane]++;
        pthread_mutex_unlock(&pool->lock);
        job->run(job);
        pthread_mutex_lock(&pool->lock);
        pool->running[lane]--;
        if (lane != LANE_DEMAND && !queues_empty(pool))
            pthread_cond_signal(&pool->work);
    }
}

static void *worker(void *arg)
{
    struct pool *pool = arg;
    int error = pool->hooks.enter ? pool->hooks.enter(pool->hooks.arg) : 0;

    pthread_mutex_lock(&pool->lock);
    if (error && !pool->enter_error)
        pool->enter_error = error;
    pool->started++;
    pthread_cond_broadcast(&pool->ended);
    if (!error)
        work_locked(pool);
    pthread_mutex_unlock(&pool->lock);

    if (!error && pool->hooks.leave)
        pool->hooks.leave(pool->hooks.arg);

    pthread_mutex_lock(&pool->lock);
    pool->live--;
    pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void pool_free(struct pool *pool)
{
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->ids);
    free(pool);
}

/* Signals are for the program's own threads. */
static int start_threads(struct pool *pool)
{
    sigset_t all, old;
    int error = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_mutex_lock(&pool->lock);
    while (pool->live < pool->threads && !error) {
        error = -pthread_create(&pool->ids[pool->live], NULL, worker, pool);
        if (!error)
            pool->live++;
    }
    pool->threads = pool->live;
    while (pool->started < pool->threads)
        pthread_cond_wait(&pool->ended, &pool->lock);
    if (!error)
        error = pool->enter_error;
    pthread_mutex_unlock(&pool->lock);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}

static uint64_t processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n > 0 ? (uint64_t)n : 1;
}

int pool_create(unsigned threads, const struct pool_hooks *hooks, struct pool **out)
{
    struct pool *pool = calloc(1, sizeof *pool);
    int error;

    *out = NULL;
    if (!pool)
        return -ENOMEM;
    pool->ids = calloc(threads ? threads : 1, sizeof *pool->ids);
    if (!pool->ids) {
        free(pool);
        return -ENOMEM;
    }
    pool->threads = threads;
    pool->most_busy = (unsigned)min_u64(max_u64(2, threads) - 1, max_u64(2, processors()) - 1);
    pool->waited = WAITED_ALWAYS;
    if (hooks)
        pool->hooks = *hooks;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    clock_cond_init(&pool->ended);

    error = start_threads(pool);
    if (error) {
        pool_destroy(pool, 60);
        return error;
    }
    *out = pool;
    return 0;
}

int pool_destroy(struct pool *pool, double seconds)
{
    int64_t deadline = clock_now() + clock_ns(seconds);
    int error = 0;

    if (!pool)
        return 0;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->live && !error)
        error = clock_wait(&pool->ended, &pool->lock, deadline);
    if (!pool->live)
        error = 0;
    pthread_mutex_unlock(&pool->lock);
    if (error)
        return error;
    for (unsigned i = 0; i < pool->threads; i++)
        pthread_join(pool->ids[i], NULL);
    pool_free(pool);
    return 0;
}

void pool_submit(struct pool *pool, struct pool_job *job, enum pool_lane lane)
{
    job->lane = lane;
    job->running_as = NULL;
    if (pool->threads == 0) {
        job->state = JOB_RUNNING;
        job->run(job);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    if (lane == LANE_DEMAND && in_background(pool) + pool->running[LANE_DEMAND] + 1 >= pool->threads)
        pool->wary = WARY_ROUNDS * pool->threads;
    job->state = JOB_QUEUED;
    DL_APPEND(pool->queue[lane], job);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

void pool_promote(struct pool *pool, struct pool_job *job)
{
    if (pool->threads == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    if (job->state == JOB_QUEUED && job->lane != LANE_DEMAND) {
        DL_DELETE(pool->queue[job->lane], job);
        job->lane = LANE_DEMAND;
        DL_APPEND(pool->queue[LANE_DEMAND], job);
        pthread_cond_signal(&pool->work);
    } else if (job->state == JOB_RUNNING && *job->running_as != LANE_DEMAND) {
        pool->running[*job->running_as]--;
        *job->running_as = LANE_DEMAND;
        pool->running[LANE_DEMAND]++;
        if (!queues_empty(pool))
            pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
}

bool pool_cancel(struct pool *pool, struct pool_job *job)
{
    bool queued;

    if (pool->threads == 0)
        return false;
    pthread_mutex_lock(&pool->lock);
    queued = job->state == JOB_QUEUED;
    if (queued) {
        DL_DELETE(pool->queue[job->lane], job);
        job->state = JOB_IDLE;
    }
    pthread_mutex_unlock(&pool->lock);
    return queued;
}

unsigned pool_threads(const struct pool *pool)
{
    return pool->threads;
}
