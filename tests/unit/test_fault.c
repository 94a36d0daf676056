// SPDX-License-Identifier: Apache-2.0
/* The fault backend itself: a test instrument that does not fire would hide what it should show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"
#include "store.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNKS 4

static struct {
    struct stats stats;
    struct store *store;
    struct store_dataset *data;
    struct dn_desc desc;
} fixture;

static int try_connect(const struct fault_options *options)
{
    const struct store_settings settings = {.retries = 0, .request_timeout = 30};
    return store_open(registry_find("fault"), "any", options, &settings, &fixture.stats, &fixture.store);
}

static void open_all(const struct fault_options *options)
{
    assert_int_equal(try_connect(options), 0);
    assert_int_equal(dn_desc_init(&fixture.desc, 1, (uint64_t[]){CHUNKS}, "|u1", (uint64_t[]){1}, NULL), 0);
    assert_int_equal(store_create(fixture.store, "set", &fixture.desc), 0);
    dn_desc_clear(&fixture.desc);
    assert_int_equal(store_open_dataset(fixture.store, "set", &fixture.data, &fixture.desc), 0);
}

static void close_all(void)
{
    store_close_dataset(fixture.data);
    dn_desc_clear(&fixture.desc);
    store_close(fixture.store);
}

static int write_byte(uint64_t flat)
{
    struct dn_chunk_id id = {.flat = flat, .index = &flat, .ndim = 1};
    return store_write(fixture.data, &id, 0, "x", 1, NULL);
}

static int read_byte(uint64_t flat)
{
    struct dn_chunk_id id = {.flat = flat, .index = &flat, .ndim = 1};
    char byte;
    return store_read(fixture.data, &id, 0, &byte, 1, NULL);
}

static void test_options(void **state)
{
    (void)state;
    struct fault_options options = {
        .fail_op = "write+read", .fail_after = 2, .fail_count = 2, .fail_errno = "ENOSPC"};
    open_all(&options);
    assert_int_equal(write_byte(0), 0);
    assert_int_equal(write_byte(0), -ENOSPC);
    assert_int_equal(write_byte(0), -ENOSPC);
    assert_int_equal(write_byte(0), 0);
    assert_int_equal(read_byte(0), 0);
    assert_int_equal(read_byte(0), -ENOSPC);
    assert_int_equal(store_flush(fixture.data), 0);
    close_all();
}

static void test_bad_options(void **state)
{
    (void)state;
    const struct fault_options bad[] = {
        {.inner = "no such backend"}, {.fail_op = "write+nothing"}, {.fail_op = "write", .fail_errno = "EWHAT"},
        {.lacks = "everything"},      {.inner_options = "key=1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(try_connect(&bad[i]), -EINVAL);
    assert_int_equal(try_connect(&(struct fault_options){.fail_op = "connect", .fail_errno = "111"}),
                     -ECONNREFUSED);
}

static void test_fail_file(void **state)
{
    (void)state;
    char path[] = "dosna-fault-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct fault_options options = {.fail_op = "write", .fail_file = path};
    open_all(&options);
    assert_int_equal(write_byte(0), -EIO);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write_byte(0), 0);
    close_all();
}

static void test_late(void **state)
{
    (void)state;
    struct fault_options options = {.fail_op = "write", .fail_count = 1, .fail_late = true};
    open_all(&options);
    assert_int_equal(write_byte(2), -EIO);
    assert_int_equal(read_byte(2), 0);
    assert_int_equal(read_byte(1), -ENOENT);
    close_all();
}

struct reader {
    pthread_t thread;
    uint64_t flat;
    int code;
};

static _Atomic uint64_t finished[CHUNKS];
static _Atomic unsigned finished_count;

static void *read_one(void *arg)
{
    struct reader *reader = arg;
    reader->code = read_byte(reader->flat);
    finished[finished_count++] = reader->flat;
    return NULL;
}

/* Requests that came as 0, 1, 2, 3 are answered as 3, 2, 1, 0. */
static void test_gate(void **state)
{
    (void)state;
    struct fault_control control;
    struct reader readers[CHUNKS];
    assert_int_equal(fault_control_init(&control), 0);
    fault_attach(&control);
    open_all(NULL);
    fault_close(&control, FAULT_READ);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(write_byte(i), 0);
        readers[i].flat = i;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_one, &readers[i]), 0);
    }
    assert_int_equal(fault_wait_for(&control, FAULT_READ, CHUNKS), 0);
    assert_int_equal(fault_waiting(&control, FAULT_WRITE), 0);
    assert_false(fault_pass(&control, FAULT_READ, CHUNKS));
    for (int i = CHUNKS - 1; i >= 0; i--) {
        assert_true(fault_pass(&control, FAULT_READ, (uint64_t)i));
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].code, 0);
    }
    for (uint64_t i = 0; i < CHUNKS; i++)
        assert_int_equal(finished[i], CHUNKS - 1 - i);
    fault_open(&control, FAULT_READ);
    assert_int_equal(read_byte(0), 0);
    assert_int_equal(fault_calls(&control, FAULT_READ), CHUNKS + 1);
    assert_int_equal(fault_most_running(&control, FAULT_READ), CHUNKS);
    fault_reset_counts(&control);
    assert_int_equal(fault_calls(&control, FAULT_WRITE), 0);
    close_all();
    fault_attach(NULL);
    fault_control_destroy(&control);
}

static void test_control_fails(void **state)
{
    (void)state;
    struct fault_control control;
    assert_int_equal(fault_control_init(&control), 0);
    fault_attach(&control);
    open_all(NULL);
    assert_int_equal(write_byte(0), 0);
    fault_fail(&control, FAULT_WRITE, 2, 1, -EACCES);
    assert_int_equal(write_byte(0), 0);
    assert_int_equal(write_byte(0), -EACCES);
    assert_int_equal(write_byte(0), 0);
    fault_fail(&control, FAULT_WRITE, 1, 0, -EACCES);
    assert_int_equal(write_byte(0), -EACCES);
    assert_int_equal(write_byte(0), -EACCES);
    fault_fail(&control, FAULT_WRITE, 1, 0, 0);
    assert_int_equal(write_byte(0), 0);
    fault_fail_late(&control, FAULT_WRITE, 1, 1, -EACCES);
    assert_int_equal(write_byte(3), -EACCES);
    assert_int_equal(read_byte(3), 0);
    close_all();
    fault_attach(NULL);
    fault_control_destroy(&control);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_fail_file),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_control_fails),
    };
    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
