// SPDX-License-Identifier: Apache-2.0
/*
 * The pool: who runs a job, and when.
 *
 * `njobs` threads take jobs from three lanes in fixed order: demand (a user waits), write-back, prefetch.
 * Write-back and prefetch use all of them while nobody else does. Once a demand found no thread free, or the last
 * one, they leave one to demand for the next few rounds of jobs: a user who reads here and there
 * beside a copy waits for a thread once, not each time, and never longer than for the first request to end. A
 * prefetch that a user now waits for is promoted and no longer counts as one.
 * With 0 threads (engine=cpu) pool_submit() runs the job before it returns.
 *
 * A job is a struct of the caller's with a struct pool_job inside. `run` is called once, without any
 * lock held, and cannot fail: errors live in the job. The job may be freed by `run` itself; the pool does not
 * touch it after that.
 *
 * Safety: one mutex, a leaf in the lock order, never held across `run`. pool_submit(), pool_promote()
 * and pool_cancel() may be called under the caller's own lock, except pool_submit() with 0 threads.
 */
#ifndef DOSNA_POOL_H
#define DOSNA_POOL_H

#include <stdbool.h>
#include <stdint.h>

enum pool_lane { LANE_DEMAND, LANE_WRITEBACK, LANE_PREFETCH, LANE_COUNT };

struct pool_job {
    void (*run)(struct pool_job *job);
    /* the pool's own */
    struct pool_job *next, *prev;
    enum pool_lane lane;
    enum { JOB_IDLE, JOB_QUEUED, JOB_RUNNING } state;
    enum pool_lane *running_as; /* the worker's note of the lane it counts in */
};

struct pool;

/** Called on each thread before its first and after its last job; may be NULL. */
struct pool_hooks {
    int (*enter)(void *arg);
    void (*leave)(void *arg);
    void *arg;
};

/** @return 0; -ENOMEM, -EAGAIN: no threads, or what `enter` said, and no pool */
int pool_create(unsigned threads, const struct pool_hooks *hooks, struct pool **out);

/** Waits until all jobs have run, queued ones too, at most `seconds`. NULL is allowed.
 *  @return 0; or -ETIMEDOUT (a job hangs in the backend) or -EINTR (the cancel hook), with the pool left
 *          as it is; it may be called again */
int pool_destroy(struct pool *pool, double seconds);

/** Have a job run, whose `run` alone is set. It is the pool's until `run` is called or pool_cancel() took it back. */
void pool_submit(struct pool *pool, struct pool_job *job, enum pool_lane lane);

/** A user waits for this job now: queued, it moves to the demand lane; running, it stops counting as a guess.
 *  The caller knows that the job has not ended: its `run` ends by taking a lock that the caller holds. */
void pool_promote(struct pool *pool, struct pool_job *job);

/** Take a queued job back. False: it runs. The caller knows that it has not ended, as above. */
bool pool_cancel(struct pool *pool, struct pool_job *job);

/**
 * Say whether a job had to wait for the store. While hardly any does (a store in memory, files in the page
 * cache), more threads than processors only take time slices from the one who waits for a demand: write-back and
 * prefetch then leave it a processor.
 */
void pool_note(struct pool *pool, bool waited);
/** A user begins, or ends, to wait for write-back: its processor may be taken meanwhile. */
void pool_rest(struct pool *pool, bool begin);
/** How often the calling thread has waited for anything: more of it after a job says that this one did. */
long pool_waits_so_far(void);

unsigned pool_threads(const struct pool *pool);

#endif
