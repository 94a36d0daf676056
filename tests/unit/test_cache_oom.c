// SPDX-License-Identifier: Apache-2.0
/*
 * The library when memory runs out: in a short life of a connection every allocation fails once. Each run
 * ends with -ENOMEM or without loss, frees all it took, and does not wait for memory that nobody will give
 * back. Without threads, as the counting of allocations asks for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "torture.h"
#include <dosna/dosna.h>
#include <errno.h>
#include <string.h>

#define NX 60
#define NY 50
#define NBYTES (NX * NY)

static unsigned char bytes[NBYTES], got[NBYTES];

static void quiet(enum dn_log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static int check(dn_dataset *set)
{
    int64_t done = dn_pread(set, got, NBYTES, 0);

    if (done < 0)
        return (int)done;
    assert_memory_equal(got, bytes, NBYTES);
    return 0;
}

static int write_parts(dn_dataset *set)
{
    int64_t done = 0;

    for (uint64_t at = 0; at < NBYTES && done >= 0; at += 23)
        done = dn_pwrite(set, bytes + at, 11, at);
    if (done >= 0)
        done = dn_flush(set);
    for (uint64_t at = 0; at < NBYTES && done >= 0; at += 23)
        done = dn_pwrite(set, bytes + at, 23, at);
    return done < 0 ? (int)done : 0;
}

static int use(dn_dataset *set)
{
    uint64_t start[] = {5, 5}, count[] = {20, 20};
    int code = write_parts(set);

    if (!code)
        code = check(set);
    if (!code)
        code = dn_read(set, start, count, got);
    if (!code)
        code = dn_write(set, start, count, got);
    if (!code)
        code = dn_flush(set);
    if (!code)
        code = check(set);
    if (!code)
        code = dn_truncate(set, 777);
    if (!code)
        code = dn_flush(set);
    return code;
}

static int with_connection(dn_connection *conn)
{
    struct dn_desc desc = {0};
    dn_dataset *set = NULL;
    int code = dn_desc_init(&desc, 2, (uint64_t[]){NX, NY}, "|u1", (uint64_t[]){16, 16}, "7"), closed;

    if (!code)
        code = dn_create(conn, "set", &desc, &set);
    dn_desc_clear(&desc);
    if (code)
        return code;
    code = use(set);
    closed = dn_close(set);
    code = code ? code : closed;
    return code ? code : dn_delete(conn, "set");
}

static int live(void *arg)
{
    const char *const *pair = arg;
    dn_config *config = dn_config_new();
    dn_connection *conn = NULL;
    int code = config ? 0 : -ENOMEM, ended;

    for (; !code && *pair; pair += 2)
        code = dn_config_set(config, pair[0], pair[1]);
    if (!code)
        code = dn_connect(config, "any", &conn);
    dn_config_free(config);
    if (code)
        return code;
    code = with_connection(conn);
    ended = dn_disconnect(conn);
    return code ? code : ended;
}

static void test_out_of_memory(void **state)
{
    const char *pairs[] = {"backend", "ram", "engine", "cpu", "dirty_expire", "3600",
                           "cache_size", "1M", NULL};

    (void)state;
    dn_log_sink(quiet);
    for (int i = 0; i < NBYTES; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 256);
    assert_true(torture_coping(live, pairs) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("cache out of memory", tests, NULL, NULL);
}
