// SPDX-License-Identifier: Apache-2.0
#include "batch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <dosna/dosna.h>

#include "checked.h"
#include "clock.h"

struct batch {
    struct pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t done;
    _Atomic uint64_t next;
    _Atomic bool stop;
    uint64_t n;
    int (*fn)(void *arg, uint64_t i);
    void *arg;
    struct clock_hook hook; /* of the thread that waits */
    unsigned running; /* jobs not ended; guarded by lock, as are the fields below */
    int result;
    char text[DN_ERROR_MAX];
};

struct batch_job {
    struct pool_job job;
    struct batch *batch;
};

static void keep_first_error(struct batch *batch, int result)
{
    atomic_store(&batch->stop, true);
    pthread_mutex_lock(&batch->lock);
    if (!batch->result) {
        batch->result = result;
        snprintf(batch->text, sizeof batch->text, "%s", dn_error_text(result));
    }
    pthread_mutex_unlock(&batch->lock);
}

static void run_items(struct batch *batch)
{
    struct clock_hook own = clock_get_hook();

    dn_cancel_hook(batch->hook.cancelled, batch->hook.arg);
    while (!atomic_load(&batch->stop)) {
        uint64_t i = atomic_fetch_add(&batch->next, 1);
        long waits = pool_waits_so_far();
        int result;

        if (i >= batch->n)
            break;
        result = clock_cancelled() ? dn_fail(-EINTR, "interrupted") : batch->fn(batch->arg, i);
        pool_note(batch->pool, pool_waits_so_far() != waits);
        if (result)
            keep_first_error(batch, result);
    }
    dn_cancel_hook(own.cancelled, own.arg);
}

static void run_job(struct pool_job *job)
{
    struct batch *batch = ((struct batch_job *)job)->batch;

    run_items(batch);
    pthread_mutex_lock(&batch->lock);
    if (--batch->running == 0)
        pthread_cond_signal(&batch->done);
    pthread_mutex_unlock(&batch->lock);
}

int batch_run(struct pool *pool, uint64_t n, int (*fn)(void *arg, uint64_t i), void *arg)
{
    struct batch batch = {.pool = pool, .n = n, .fn = fn, .arg = arg, .hook = clock_get_hook()};
    unsigned jobs = (unsigned)min_u64(n, pool_threads(pool));
    struct batch_job *job = NULL;

    if (jobs > 1)
        job = calloc(jobs, sizeof *job);
    pthread_mutex_init(&batch.lock, NULL);
    pthread_cond_init(&batch.done, NULL);
    if (!job) {
        run_items(&batch);
    } else {
        batch.running = jobs;
        for (unsigned i = 0; i < jobs; i++) {
            job[i].batch = &batch;
            job[i].job.run = run_job;
            pool_submit(pool, &job[i].job, LANE_WRITEBACK);
        }
        pthread_mutex_lock(&batch.lock);
        while (batch.running)
            pthread_cond_wait(&batch.done, &batch.lock);
        pthread_mutex_unlock(&batch.lock);
    }
    pthread_cond_destroy(&batch.done);
    pthread_mutex_destroy(&batch.lock);
    free(job);
    if (batch.result < 0 && batch.text[0])
        return dn_fail(batch.result, "%s", batch.text);
    return batch.result;
}
