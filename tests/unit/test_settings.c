// SPDX-License-Identifier: Apache-2.0
#include "settings.h"

#include <dosna/error.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

struct owner {
    const char *string;
    bool boolean;
    int64_t integer;
    int64_t octal;
    uint64_t size;
    int64_t share;
    double seconds;
    int choice;
};

#define ROW(field, kind, ...) \
    { .name = #field, .type = kind, .offset = offsetof(struct owner, field), .help = "", __VA_ARGS__ }

static const struct dn_option rows[] = {
    ROW(string, DN_OPT_STRING),
    ROW(boolean, DN_OPT_BOOL),
    ROW(integer, DN_OPT_INT, .min = -5, .max = 100),
    ROW(octal, DN_OPT_OCTAL, .max = 0777),
    ROW(size, DN_OPT_SIZE),
    ROW(share, DN_OPT_SIZE_PCT),
    ROW(seconds, DN_OPT_SECONDS),
    ROW(choice, DN_OPT_CHOICE, .choices = "one|two|uno=one|three|zwei=two"),
    { .name = NULL },
};

/** What a text reads as, formatted again; NULL: it is refused. */
static const struct {
    const char *name, *text, *shown;
} cases[] = {
    { "string", "a b", "a b" },
    { "string", "", "none" },
    { "string", "none", "none" },
    { "boolean", "true", "true" },
    { "boolean", "Yes", "true" },
    { "boolean", "on", "true" },
    { "boolean", "1", "true" },
    { "boolean", "0", "false" },
    { "boolean", "off", "false" },
    { "boolean", "no", "false" },
    { "boolean", "", NULL },
    { "boolean", "2", NULL },
    { "boolean", "truex", NULL },
    { "integer", "-5", "-5" },
    { "integer", "+7", "7" },
    { "integer", "100", "100" },
    { "integer", "101", NULL },
    { "integer", "-6", NULL },
    { "integer", "", NULL },
    { "integer", "-", NULL },
    { "integer", "1x", NULL },
    { "integer", " 1", NULL },
    { "integer", "18446744073709551617", NULL },
    { "octal", "022", "022" },
    { "octal", "77", "077" },
    { "octal", "0", "00" },
    { "octal", "8", NULL },
    { "octal", "1000", NULL },
    { "size", "0", "0" },
    { "size", "1K", "1024" },
    { "size", "3m", "3145728" },
    { "size", "1G", "1073741824" },
    { "size", "2T", "2199023255552" },
    { "size", "9223372036854775807", "9223372036854775807" },
    { "size", "9223372036854775808", NULL },
    { "size", "9000000T", NULL },
    { "size", "-1", NULL },
    { "size", "1KB", NULL },
    { "size", "K", NULL },
    { "size", "", NULL },
    { "share", "auto", "auto" },
    { "share", "25%", "25%" },
    { "share", "100%", "100%" },
    { "share", "101%", NULL },
    { "share", "4K", "4096" },
    { "share", "-4", NULL },
    { "share", "%", NULL },
    { "seconds", "5", "5" },
    { "seconds", "2.5", "2.5" },
    { "seconds", "30s", "30" },
    { "seconds", "5 s", "5" },
    { "seconds", "250ms", "0.25" },
    { "seconds", "-1", NULL },
    { "seconds", "nan", NULL },
    { "seconds", "1e99", NULL },
    { "seconds", "5m", NULL },
    { "seconds", "", NULL },
    { "choice", "one", "one" },
    { "choice", "uno", "one" },
    { "choice", "two", "two" },
    { "choice", "zwei", "two" },
    { "choice", "three", "three" },
    { "choice", "on", NULL },
    { "choice", "uno=one", NULL },
    { "choice", "", NULL },
};

static void test_values(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct dn_option *row = option_find(rows, cases[i].name);
        struct owner owner, before;
        char shown[64];

        memset(&owner, 0x5a, sizeof owner);
        before = owner;
        int code = option_parse(row, cases[i].text, &owner);
        if (cases[i].shown) {
            assert_int_equal(code, 0);
            option_format(row, &owner, shown, sizeof shown);
            assert_string_equal(shown, cases[i].shown);
        } else {
            assert_int_equal(code, -EINVAL);
            assert_non_null(strstr(dn_error_text(code), cases[i].name));
            assert_memory_equal(&owner, &before, sizeof owner);
        }
    }
}

static void test_secrets_stay_secret(void **unused)
{
    struct dn_option row = rows[2];
    struct owner owner;

    (void)unused;
    row.secret = true;
    assert_int_equal(option_parse(&row, "hunter2", &owner), -EINVAL);
    assert_null(strstr(dn_error_text(-EINVAL), "hunter2"));
}

static void test_defaults(void **unused)
{
    struct settings settings;

    (void)unused;
    memset(&settings, 0, sizeof settings);
    for (const struct dn_option *row = settings_rows; row->name; row++)
        assert_int_equal(option_parse(row, row->default_text, &settings), 0);
    assert_string_equal(settings.backend, "hdf5");
    assert_int_equal(settings.engine, ENGINE_THREADS);
    assert_int_equal(settings.njobs, 16);
    assert_int_equal(settings.jlbackend, JOBS_THREADING);
    assert_int_equal(settings.cache_size, 1 << 30);
    assert_int_equal(settings.prefetch, DN_SIZE_AUTO);
    assert_int_equal(settings_prefetch(&settings), DN_SIZE_AUTO);
    assert_int_equal(settings.cache, CACHE_AUTO);
    assert_int_equal(settings_dirty_max(&settings), 1 << 28);
    assert_true(settings.dirty_expire == 5 && settings.request_timeout == 30);
    assert_int_equal(settings.retries, 5);
    assert_int_equal(settings.uid, -1);
    assert_int_equal(settings.umask, 022);
    assert_null(settings.views);
    assert_int_equal(option_parse(option_find(settings_rows, "engine"), "jl", &settings), 0);
    assert_int_equal(settings.engine, ENGINE_THREADS);
    assert_null(option_find(settings_rows, "directory"));
    assert_null(option_find(NULL, "directory"));
}

static void test_shares(void **unused)
{
    struct settings settings = { .cache_size = INT64_MAX, .dirty_max = -100, .prefetch = -50 };

    (void)unused;
    assert_int_equal(settings_dirty_max(&settings), INT64_MAX);
    assert_int_equal(settings_prefetch(&settings), INT64_MAX / 2);
    settings.cache_size = 1000;
    assert_int_equal(settings_dirty_max(&settings), 1000);
    settings.dirty_max = 2000; /* more than there is */
    assert_int_equal(settings_dirty_max(&settings), 1000);
    settings.dirty_max = DN_SIZE_AUTO;
    assert_int_equal(settings_dirty_max(&settings), 250);
    settings.prefetch = 77;
    assert_int_equal(settings_prefetch(&settings), 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_secrets_stay_secret),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_shares),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
