// SPDX-License-Identifier: Apache-2.0
/* The pool: which job runs when, and how it ends. Jobs wait at gates, so that the order is the pool's alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pool.h"
#include <dosna/dosna.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define MOST 128

struct task {
    struct pool_job job;
    int id;
    bool gated; /* waits until the gate is open, or it is let through */
    bool pass;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    int order[MOST], started, ended;
} room;

static int set_up(void **state)
{
    (void)state;
    memset(&room, 0, sizeof room);
    pthread_mutex_init(&room.lock, NULL);
    pthread_cond_init(&room.changed, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pthread_cond_destroy(&room.changed);
    pthread_mutex_destroy(&room.lock);
    return 0;
}

static void run_task(struct pool_job *job)
{
    struct task *task = (struct task *)job;

    pthread_mutex_lock(&room.lock);
    room.order[room.started++] = task->id;
    pthread_cond_broadcast(&room.changed);
    while (task->gated && !task->pass && !room.open)
        pthread_cond_wait(&room.changed, &room.lock);
    room.ended++;
    pthread_cond_broadcast(&room.changed);
    pthread_mutex_unlock(&room.lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&room.lock);
    room.open = true;
    pthread_cond_broadcast(&room.changed);
    pthread_mutex_unlock(&room.lock);
}

static void let_pass(struct task *task)
{
    pthread_mutex_lock(&room.lock);
    task->pass = true;
    pthread_cond_broadcast(&room.changed);
    pthread_mutex_unlock(&room.lock);
}

static void await_started(int count)
{
    pthread_mutex_lock(&room.lock);
    while (room.started < count)
        pthread_cond_wait(&room.changed, &room.lock);
    pthread_mutex_unlock(&room.lock);
}

static void await_ended(int count)
{
    pthread_mutex_lock(&room.lock);
    while (room.ended < count)
        pthread_cond_wait(&room.changed, &room.lock);
    pthread_mutex_unlock(&room.lock);
}

static void submit(struct pool *pool, struct task *task, int id, enum pool_lane lane, bool gated)
{
    *task = (struct task){.job.run = run_task, .id = id, .gated = gated};
    pool_submit(pool, &task->job, lane);
}

static struct pool *make_pool(unsigned threads)
{
    struct pool *pool;

    assert_int_equal(pool_create(threads, NULL, &pool), 0);
    assert_int_equal(pool_threads(pool), threads);
    return pool;
}

static void assert_order(const int *ids, int count)
{
    assert_int_equal(room.started, count);
    assert_memory_equal(room.order, ids, (size_t)count * sizeof *ids);
}

/* ---- lanes ------------------------------------------------------------------------------------ */

static void test_lane_order(void **state)
{
    static const enum pool_lane lanes[] = {LANE_PREFETCH, LANE_WRITEBACK, LANE_DEMAND,
                                           LANE_WRITEBACK, LANE_DEMAND, LANE_PREFETCH};
    struct pool *pool = make_pool(1);
    struct task first, task[6];

    (void)state;
    submit(pool, &first, 9, LANE_DEMAND, true);
    await_started(1);
    for (int i = 0; i < 6; i++)
        submit(pool, &task[i], i, lanes[i], false);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_order((int[]){9, 2, 4, 1, 3, 0, 5}, 7);
}

/* Guesses may take all threads. Once a demand had to wait for one, guesses and write-back leave one free. */
static void test_demand_that_waits(void **state)
{
    struct pool *pool = make_pool(4);
    struct task guess[6], store, demand[2];

    (void)state;
    for (int i = 0; i < 6; i++)
        submit(pool, &guess[i], i, LANE_PREFETCH, true);
    await_started(4);
    submit(pool, &store, 10, LANE_WRITEBACK, true);
    submit(pool, &demand[0], 20, LANE_DEMAND, true);
    let_pass(&guess[0]);
    await_started(5);
    let_pass(&demand[0]); /* its thread stays free */
    await_ended(2);
    submit(pool, &demand[1], 21, LANE_DEMAND, true);
    await_started(6);
    let_pass(&guess[1]);
    await_started(7);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_memory_equal(&room.order[4], ((int[]){20, 21, 10}), 3 * sizeof(int));
    assert_int_equal(room.ended, 9);
}

/* It does so for four jobs of each thread. */
static void test_free_thread_is_used_again(void **state)
{
    struct pool *pool = make_pool(2);
    struct task first, demand, guess[8], last[2];

    (void)state;
    submit(pool, &first, 0, LANE_PREFETCH, true);
    await_started(1);
    submit(pool, &demand, 1, LANE_DEMAND, false);
    await_ended(1);
    for (int i = 0; i < 8; i++)
        submit(pool, &guess[i], 2 + i, LANE_PREFETCH, false);
    let_pass(&first);
    await_ended(10);
    for (int i = 0; i < 2; i++)
        submit(pool, &last[i], 10 + i, LANE_PREFETCH, true);
    await_started(12);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(room.order[i], i);
}

static void make_busy(struct pool *pool)
{
    for (int i = 0; i < 64; i++)
        pool_note(pool, false);
}

/* While no job waits for the store, guesses and write-back leave a processor free, but for one of them. */
static void test_busy_store(void **state)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int most = processors > 1 ? (int)processors - 1 : 1;
    struct pool *pool = make_pool(16);
    struct task guess[16], demand;

    (void)state;
    if (most > 15)
        most = 15;
    make_busy(pool);
    for (int i = 0; i < 16; i++)
        submit(pool, &guess[i], i, LANE_PREFETCH, true);
    await_started(most);
    submit(pool, &demand, 30, LANE_DEMAND, true);
    await_started(most + 1);
    assert_int_equal(room.order[most], 30);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_int_equal(room.ended, 17);
}

/* A user that waits for write-back leaves it the processor. */
static void test_resting_user(void **state)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int most = processors > 1 ? (int)processors - 1 : 1;
    struct pool *pool;
    static struct task task[MOST];

    (void)state;
    if (most > MOST / 2) {
        print_message("too many processors for as many tasks\n");
        skip();
    }
    pool = make_pool((unsigned)most + 4);
    for (int i = 0; i < 64; i++)
        pool_note(pool, false);
    for (int i = 0; i < most + 2; i++)
        submit(pool, &task[i], i, LANE_WRITEBACK, true);
    await_started(most);
    pool_rest(pool, true);
    await_started(most + 1);
    pool_rest(pool, false);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_int_equal(room.ended, most + 2);
}

static void test_one_thread_does_all(void **state)
{
    struct pool *pool = make_pool(1);
    struct task task[LANE_COUNT];

    (void)state;
    for (int lane = 0; lane < LANE_COUNT; lane++)
        submit(pool, &task[lane], lane, (enum pool_lane)lane, false);
    await_started(LANE_COUNT);
    assert_int_equal(pool_destroy(pool, 30), 0);
}

/* ---- promote and cancel ----------------------------------------------------------------------- */

static void test_promote_queued(void **state)
{
    struct pool *pool = make_pool(1);
    struct task first, demand, guess[2];

    (void)state;
    submit(pool, &first, 9, LANE_DEMAND, true);
    await_started(1);
    submit(pool, &guess[0], 0, LANE_PREFETCH, false);
    submit(pool, &guess[1], 1, LANE_PREFETCH, false);
    submit(pool, &demand, 2, LANE_DEMAND, false);
    pool_promote(pool, &guess[1].job);
    pool_promote(pool, &guess[1].job); /* again is nothing */
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_order((int[]){9, 2, 1, 0}, 4);
}

/* A promoted job that runs counts as demand: its place is free for another guess. */
static void test_promote_running(void **state)
{
    struct pool *pool = make_pool(2);
    struct task guess[2];

    (void)state;
    make_busy(pool); /* one guess at a time */
    submit(pool, &guess[0], 0, LANE_PREFETCH, true);
    await_started(1);
    submit(pool, &guess[1], 1, LANE_PREFETCH, true);
    pool_promote(pool, &guess[0].job);
    await_started(2);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_order((int[]){0, 1}, 2);
}

static void test_cancel(void **state)
{
    struct pool *pool = make_pool(1);
    struct task running, queued;

    (void)state;
    submit(pool, &running, 0, LANE_DEMAND, true);
    await_started(1);
    submit(pool, &queued, 1, LANE_PREFETCH, false);
    assert_false(pool_cancel(pool, &running.job));
    assert_true(pool_cancel(pool, &queued.job));
    assert_false(pool_cancel(pool, &queued.job));
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_order((int[]){0}, 1);
}

/* ---- the end ---------------------------------------------------------------------------------- */

static void test_destroy_runs_queued(void **state)
{
    struct pool *pool = make_pool(2);
    struct task first[2], task[30];

    (void)state;
    submit(pool, &first[0], 0, LANE_DEMAND, true);
    submit(pool, &first[1], 1, LANE_DEMAND, true);
    await_started(2);
    for (int i = 0; i < 30; i++)
        submit(pool, &task[i], 2 + i, (enum pool_lane)(i % LANE_COUNT), false);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_int_equal(room.ended, 32);
}

/* Asked by the wait in pool_destroy(), ten times a second. From the second time on all idle threads know that the
   end is near: one job ends, the last one in the queue begins, then all end. */
static bool end_one_then_all(void *arg)
{
    struct task *first = arg;

    if (first->pass)
        open_gate();
    else if (first->id++ > 0)
        let_pass(first);
    return false;
}

/* Threads that only wait for room in a lane end too when the queue becomes empty without them. */
static void test_destroy_wakes_reserved_threads(void **state)
{
    struct pool *pool = make_pool(16);
    struct task task[16], demand;

    (void)state;
    submit(pool, &task[0], 0, LANE_PREFETCH, true);
    await_started(1);
    for (int i = 1; i < 15; i++)
        submit(pool, &task[i], i, LANE_PREFETCH, true);
    await_started(15);
    submit(pool, &demand, 20, LANE_DEMAND, false);
    await_ended(1); /* its thread stays free */
    submit(pool, &task[15], 15, LANE_PREFETCH, true);
    dn_cancel_hook(end_one_then_all, &task[0]);
    assert_int_equal(pool_destroy(pool, 20), 0);
    dn_cancel_hook(NULL, NULL);
    assert_int_equal(room.ended, 17);
}

static void test_destroy_times_out(void **state)
{
    struct pool *pool = make_pool(2);
    struct task task;

    (void)state;
    submit(pool, &task, 0, LANE_DEMAND, true);
    await_started(1);
    assert_int_equal(pool_destroy(pool, 0.01), -ETIMEDOUT);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_int_equal(room.ended, 1);
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

static void test_destroy_is_cancelled(void **state)
{
    struct pool *pool = make_pool(2);
    struct task task;

    (void)state;
    submit(pool, &task, 0, LANE_DEMAND, true);
    await_started(1);
    dn_cancel_hook(always, NULL);
    assert_int_equal(pool_destroy(pool, 30), -EINTR);
    dn_cancel_hook(NULL, NULL);
    open_gate();
    assert_int_equal(pool_destroy(pool, 30), 0);
}

static void test_destroy_nothing(void **state)
{
    (void)state;
    assert_int_equal(pool_destroy(NULL, 0), 0);
    assert_int_equal(pool_destroy(make_pool(3), 30), 0);
}

/* ---- hooks ------------------------------------------------------------------------------------ */

static struct {
    _Atomic int calls, entered, left;
    int fails_at; /* which call of enter; 0: none */
} hooks;

static _Thread_local bool inside;

static int enter(void *arg)
{
    assert_ptr_equal(arg, &hooks);
    if (atomic_fetch_add(&hooks.calls, 1) + 1 == hooks.fails_at)
        return -EIO;
    inside = true;
    hooks.entered++;
    return 0;
}

static void leave(void *arg)
{
    assert_ptr_equal(arg, &hooks);
    inside = false;
    hooks.left++;
}

static _Atomic int ran_inside;

static void note_inside(struct pool_job *job)
{
    (void)job;
    ran_inside += inside;
}

static const struct pool_hooks both = {enter, leave, &hooks};

static void test_hooks(void **state)
{
    struct pool_job job[20] = {0};
    struct pool *pool;

    (void)state;
    memset(&hooks, 0, sizeof hooks);
    ran_inside = 0;
    assert_int_equal(pool_create(4, &both, &pool), 0);
    assert_int_equal(hooks.entered, 4);
    for (int i = 0; i < 20; i++) {
        job[i].run = note_inside;
        pool_submit(pool, &job[i], LANE_DEMAND);
    }
    assert_int_equal(pool_destroy(pool, 30), 0);
    assert_int_equal(ran_inside, 20);
    assert_int_equal(hooks.left, 4);
}

static void test_enter_fails(void **state)
{
    (void)state;
    for (int fails_at = 1; fails_at <= 4; fails_at++) {
        struct pool *pool = (struct pool *)&hooks;

        memset(&hooks, 0, sizeof hooks);
        hooks.fails_at = fails_at;
        assert_int_equal(pool_create(4, &both, &pool), -EIO);
        assert_null(pool);
        assert_int_equal(hooks.entered, 3);
        assert_int_equal(hooks.left, 3);
    }
}

/* ---- no threads ------------------------------------------------------------------------------- */

static void test_no_threads(void **state)
{
    struct pool *pool = make_pool(0);
    struct task task[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        submit(pool, &task[i], i, (enum pool_lane)(LANE_COUNT - 1 - i), false);
        assert_int_equal(room.ended, i + 1);
    }
    pool_promote(pool, &task[0].job);
    assert_false(pool_cancel(pool, &task[0].job));
    assert_int_equal(pool_destroy(pool, 0), 0);
    assert_order((int[]){0, 1, 2}, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lane_order),
        TEST(test_demand_that_waits),
        TEST(test_free_thread_is_used_again),
        TEST(test_busy_store),
        TEST(test_resting_user),
        TEST(test_one_thread_does_all),
        TEST(test_promote_queued),
        TEST(test_promote_running),
        TEST(test_cancel),
        TEST(test_destroy_runs_queued),
        TEST(test_destroy_wakes_reserved_threads),
        TEST(test_destroy_times_out),
        TEST(test_destroy_is_cancelled),
        TEST(test_destroy_nothing),
        TEST(test_hooks),
        TEST(test_enter_fails),
        TEST(test_no_threads),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
