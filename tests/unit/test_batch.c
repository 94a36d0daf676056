// SPDX-License-Identifier: Apache-2.0
/* "Do f for each of these": all of them, in the calling thread or on the pool's, and the first error of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch.h"
#include <dosna/dosna.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define MOST 1000

struct work {
    _Atomic int calls[MOST], total;
    uint64_t fails_at; /* from this one on */
    int code;
    bool in_order;
    pthread_t caller;
};

static int count(void *arg, uint64_t i)
{
    struct work *work = arg;

    if (work->in_order && (work->total != (int)i || !pthread_equal(work->caller, pthread_self())))
        return dn_fail(-EPROTO, "item %llu out of order", (unsigned long long)i);
    work->calls[i]++;
    work->total++;
    if (work->code < 0 && i >= work->fails_at)
        return dn_fail(work->code, "item failed");
    return i >= work->fails_at ? work->code : 0;
}

static struct pool *make_pool(unsigned threads)
{
    struct pool *pool;

    assert_int_equal(pool_create(threads, NULL, &pool), 0);
    return pool;
}

static void test_each_once(void **state)
{
    static const unsigned threads[] = {0, 1, 2, 7};
    static const uint64_t counts[] = {0, 1, 2, 7, MOST};

    (void)state;
    for (size_t t = 0; t < 4; t++) {
        struct pool *pool = make_pool(threads[t]);

        for (size_t c = 0; c < 5; c++) {
            struct work work = {0};

            assert_int_equal(batch_run(pool, counts[c], count, &work), 0);
            assert_int_equal(work.total, counts[c]);
            for (uint64_t i = 0; i < counts[c]; i++)
                assert_int_equal(work.calls[i], 1);
        }
        assert_int_equal(pool_destroy(pool, 30), 0);
    }
}

static void test_in_order_without_threads(void **state)
{
    struct pool *pool = make_pool(0);
    struct work work = {.in_order = true, .caller = pthread_self()};

    (void)state;
    assert_int_equal(batch_run(pool, MOST, count, &work), 0);
    pool_destroy(pool, 30);
}

/* The text of an error comes from the thread that had it. */
static void test_error(void **state)
{
    static const unsigned threads[] = {0, 1, 4};

    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct pool *pool = make_pool(threads[t]);
        struct work work = {.fails_at = 5, .code = -ENOSPC};

        dn_error_clear();
        assert_int_equal(batch_run(pool, MOST, count, &work), -ENOSPC);
        assert_string_equal(dn_error_text(-ENOSPC), "item failed");
        assert_true(work.total >= 6);
        /* Each thread may have had one more in hand. */
        assert_true(work.total <= 5 + 1 + (int)threads[t]);
        assert_int_equal(pool_destroy(pool, 30), 0);
    }
}

static void test_positive_result_stops(void **state)
{
    struct pool *pool = make_pool(0);
    struct work work = {.fails_at = 3, .code = 7};

    (void)state;
    assert_int_equal(batch_run(pool, MOST, count, &work), 7);
    assert_int_equal(work.total, 4);
    pool_destroy(pool, 30);
}

static bool enough(void *arg)
{
    return atomic_fetch_add((_Atomic unsigned *)arg, 1) >= 100;
}

/* Who waits is interrupted: what has not begun does not begin. And the pool's threads forget the hook. */
static void test_cancelled(void **state)
{
    (void)state;
    for (unsigned threads = 0; threads <= 4; threads += 4) {
        struct pool *pool = make_pool(threads);
        struct work work = {.fails_at = MOST};
        _Atomic unsigned asked = 0;

        dn_cancel_hook(enough, &asked);
        assert_int_equal(batch_run(pool, MOST, count, &work), -EINTR);
        assert_int_equal(work.total, 100);
        dn_cancel_hook(NULL, NULL);
        work = (struct work){.fails_at = MOST};
        assert_int_equal(batch_run(pool, MOST, count, &work), 0);
        assert_int_equal(pool_destroy(pool, 30), 0);
    }
}

/* ---- side by side ------------------------------------------------------------------------------ */

struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned here, wanted;
};

/* Returns only once `wanted` calls are in here together. */
static int meet(void *arg, uint64_t i)
{
    struct meeting *meeting = arg;

    (void)i;
    pthread_mutex_lock(&meeting->lock);
    meeting->here++;
    pthread_cond_broadcast(&meeting->changed);
    while (meeting->here < meeting->wanted)
        pthread_cond_wait(&meeting->changed, &meeting->lock);
    pthread_mutex_unlock(&meeting->lock);
    return 0;
}

/* One thread stays free for demand, all others work. */
static void test_side_by_side(void **state)
{
    struct pool *pool = make_pool(5);
    struct meeting meeting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 4};

    (void)state;
    assert_int_equal(batch_run(pool, 100, meet, &meeting), 0);
    assert_int_equal(meeting.here, 100);
    assert_int_equal(pool_destroy(pool, 30), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_in_order_without_threads),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_positive_result_stops),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_side_by_side),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
