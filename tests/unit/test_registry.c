// SPDX-License-Identifier: Apache-2.0
/* Backends that are modules: what is loaded, and what is refused with which words. */
#include "store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define OPTIONS_SIZE 16

static int refuse(const char *connection, const void *options, void **conn)
{
    (void)connection, (void)options, (void)conn;
    return -EIO;
}

static const struct dn_backend inside = { .name = "inside", .connect = refuse };
static const struct dn_backend known[] = {
    { .name = "good", .options_size = OPTIONS_SIZE },   { .name = "absent", .options_size = OPTIONS_SIZE },
    { .name = "old", .options_size = OPTIONS_SIZE },    { .name = "resized", .options_size = OPTIONS_SIZE },
    { .name = "hollow", .options_size = OPTIONS_SIZE }, { .name = "renamed", .options_size = OPTIONS_SIZE },
    { .name = "broken", .options_size = OPTIONS_SIZE },
};

/* Instead of those that are generated. */
const struct dn_backend *const registry[] = { &inside,   &known[0], &known[1], &known[2], &known[3],
                                              &known[4], &known[5], &known[6], NULL };
const char *const registry_folder = DOSNA_TEST_MODULES;

static void assert_refused(const char *name, int code, const char *text)
{
    const struct dn_backend *backend;

    assert_int_equal(registry_load(registry_find(name), &backend), code);
    if (!strstr(dn_error_text(code), text))
        fail_msg("'%s' does not say '%s'", dn_error_text(code), text);
}

static void test_one_that_is_built_in(void **unused)
{
    const struct dn_backend *backend;

    (void)unused;
    assert_int_equal(registry_load(registry_find("inside"), &backend), 0);
    assert_ptr_equal(backend, &inside);
}

/* Its errors have their texts here: there is one libdosna in the process. */
static void test_a_module(void **unused)
{
    const struct dn_backend *backend, *again;
    void *conn;

    (void)unused;
    assert_int_equal(registry_load(registry_find("good"), &backend), 0);
    assert_int_equal(registry_load(registry_find("good"), &again), 0);
    assert_ptr_equal(backend, again);
    assert_ptr_not_equal(backend, &known[0]);
    assert_string_equal(backend->name, "good");
    assert_int_equal(backend->connect("me", NULL, &conn), -EKEYREJECTED);
    assert_string_equal(dn_error_text(-EKEYREJECTED), "the module refuses me");
}

static void test_what_is_refused(void **unused)
{
    (void)unused;
    assert_refused("absent", -EINVAL, "backend absent is not installed: install dosnafs-backend-absent");
    assert_refused("old", -ELIBBAD, "dosna-backend-old.so: made for another version");
    assert_refused("resized", -ELIBBAD, "dosna-backend-resized.so: made for another version");
    assert_refused("hollow", -ELIBBAD, "dosna-backend-hollow.so: no backend hollow in it");
    assert_refused("renamed", -ELIBBAD, "dosna-backend-renamed.so: no backend renamed in it");
    assert_refused("broken", -ELIBBAD, "dosna-backend-broken.so");
}

/* A name is compared with those that were built, and never becomes a path. */
static void test_names(void **unused)
{
    (void)unused;
    assert_null(registry_find("../good"));
    assert_null(registry_find("good.so"));
    assert_null(registry_find(""));
}

static void test_connecting(void **unused)
{
    struct store_settings settings = { 0 };
    static struct stats stats;
    struct store *store;

    (void)unused;
    assert_int_equal(store_open(registry_find("absent"), "conn", NULL, &settings, &stats, &store), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_is_built_in), cmocka_unit_test(test_a_module),
        cmocka_unit_test(test_what_is_refused),      cmocka_unit_test(test_names),
        cmocka_unit_test(test_connecting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
