// SPDX-License-Identifier: Apache-2.0
/* Errors, log, clock and counters. */
#include "clock.h"
#include "log.h"
#include "stats.h"

#include <dosna/dosna.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- errors --------------------------------------------------------------------------------- */

static void test_error_text(void **unused)
{
    char longer[2 * DN_ERROR_MAX];

    (void)unused;
    dn_error_clear();
    assert_string_equal(dn_error_text(-ENOENT), strerror(ENOENT));
    assert_int_equal(dn_fail(-EIO, "chunk %d", 7), -EIO);
    assert_string_equal(dn_error_text(-EIO), "chunk 7");
    assert_string_equal(dn_error_text(-EACCES), strerror(EACCES));
    dn_fail(-EIO, "outer: %s", dn_error_text(-EIO));
    assert_string_equal(dn_error_text(-EIO), "outer: chunk 7");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    dn_fail(-EIO, "%s", longer);
    assert_int_equal(strlen(dn_error_text(-EIO)), DN_ERROR_MAX - 1);
    dn_error_clear();
    assert_string_equal(dn_error_text(-EIO), strerror(EIO));
}

static void *other_thread(void *text)
{
    dn_fail(-EIO, "other");
    snprintf(text, 16, "%s", dn_error_text(-EIO));
    return NULL;
}

static void test_errors_are_the_threads_own(void **unused)
{
    pthread_t thread;
    char text[16] = "";

    (void)unused;
    dn_fail(-EIO, "mine");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, text), 0);
    pthread_join(thread, NULL);
    assert_string_equal(text, "other");
    assert_string_equal(dn_error_text(-EIO), "mine");
}

/* ---- log ------------------------------------------------------------------------------------ */

static char logged[2048];
static int lines;

static void keep(enum dn_log_level level, const char *line)
{
    snprintf(logged, sizeof logged, "%d %s", (int)level, line);
    lines++;
}

static void test_log(void **unused)
{
    char longer[3000];

    (void)unused;
    dn_log_sink(keep);
    log_info("not made");
    assert_int_equal(lines, 0);
    log_warning("name \"%s\"", "a\nb\x1b[1m\x7f\xc3\xa9");
    assert_string_equal(logged, "1 name \"a?b?[1m?\xc3\xa9\"");
    dn_log_level(DN_LOG_DEBUG);
    log_debug("%d", 5);
    assert_string_equal(logged, "3 5");
    dn_log_level(DN_LOG_ERROR);
    log_warning("not made");
    assert_int_equal(lines, 2);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    log_error("%s", longer);
    assert_int_equal(strlen(logged), 2 + 1023);
    dn_log_level(DN_LOG_WARNING);
    dn_log_sink(NULL);
}

/* ---- clock ---------------------------------------------------------------------------------- */

static bool say_yes(void *asked)
{
    ++*(int *)asked;
    return true;
}

static bool say_no_twice(void *asked)
{
    return ++*(int *)asked > 2;
}

static void test_nanoseconds(void **unused)
{
    (void)unused;
    assert_int_equal(clock_ns(1.5), 1500000000);
    assert_int_equal(clock_ns(0), 0);
    assert_int_equal(clock_ns(-3), 0);
    assert_int_equal(clock_ns(1e9), INT64_C(1000000000) * 1000000000);
    assert_int_equal(clock_ns(1e10), INT64_C(1) << 62);
    assert_true(clock_now() < INT64_MAX - clock_ns(1e300));
    int64_t before = clock_now();
    assert_true(before > 0);
    assert_int_equal(clock_sleep(1000), 0);
    assert_int_equal(clock_sleep(-1), 0);
    assert_true(clock_now() >= before + 1000);
}

static void test_waits_end(void **unused)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    int asked = 0, code;

    (void)unused;
    assert_int_equal(clock_cond_init(&cond), 0);
    pthread_mutex_lock(&mutex);
    assert_int_equal(clock_wait(&cond, &mutex, 0), -ETIMEDOUT);
    assert_int_equal(clock_wait(&cond, &mutex, -1), -ETIMEDOUT);
    while ((code = clock_wait(&cond, &mutex, clock_now() + 1000)) == 0)
        ;
    assert_int_equal(code, -ETIMEDOUT);

    dn_cancel_hook(say_yes, &asked);
    assert_int_equal(clock_wait(&cond, &mutex, INT64_MAX), -EINTR);
    assert_int_equal(clock_sleep(INT64_MAX), -EINTR);
    asked = 0;
    dn_cancel_hook(say_no_twice, &asked);
    while ((code = clock_wait(&cond, &mutex, INT64_MAX)) == 0)
        ;
    assert_int_equal(code, -EINTR);
    asked = 0;
    assert_int_equal(clock_sleep(INT64_MAX), -EINTR);
    assert_int_equal(asked, 3);
    dn_cancel_hook(NULL, NULL);
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&cond);
}

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool open;
};

static void *open_gate(void *arg)
{
    struct gate *gate = arg;

    pthread_mutex_lock(&gate->mutex);
    gate->open = true;
    pthread_cond_signal(&gate->cond);
    pthread_mutex_unlock(&gate->mutex);
    return NULL;
}

static void test_wait_is_woken(void **unused)
{
    struct gate gate = { .mutex = PTHREAD_MUTEX_INITIALIZER };
    pthread_t thread;

    (void)unused;
    assert_int_equal(clock_cond_init(&gate.cond), 0);
    pthread_mutex_lock(&gate.mutex);
    assert_int_equal(pthread_create(&thread, NULL, open_gate, &gate), 0);
    while (!gate.open)
        assert_int_equal(clock_wait(&gate.cond, &gate.mutex, INT64_MAX), 0);
    pthread_mutex_unlock(&gate.mutex);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&gate.cond);
}

/* ---- counters ------------------------------------------------------------------------------- */

static void test_stats(void **unused)
{
    static struct stats stats;
    char *text;

    (void)unused;
    stats_add(&stats, STAT_CHUNK_PUTS, 5);
    stats_add(&stats, STAT_CACHE_BYTES, 100);
    stats_sub(&stats, STAT_CACHE_BYTES, 40);
    assert_int_equal(stats_get(&stats, STAT_CHUNK_PUTS), 5);
    assert_int_equal(stats_by_name(&stats, "dosnafs_cache_bytes"), 60);
    assert_int_equal(stats_by_name(&stats, "dosnafs_none"), 0);
    text = stats_text(&stats);
    assert_non_null(text);
    assert_non_null(strstr(text, "\n# TYPE dosnafs_chunk_puts_total counter\ndosnafs_chunk_puts_total 5\n"));
    assert_non_null(strstr(text, "# TYPE dosnafs_cache_bytes gauge\ndosnafs_cache_bytes 60\n"));
    assert_int_equal(text[strlen(text) - 1], '\n');
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_text),    cmocka_unit_test(test_errors_are_the_threads_own),
        cmocka_unit_test(test_log),           cmocka_unit_test(test_nanoseconds),
        cmocka_unit_test(test_waits_end),     cmocka_unit_test(test_wait_is_woken),
        cmocka_unit_test(test_stats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
