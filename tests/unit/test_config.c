// SPDX-License-Identifier: Apache-2.0
/* The configuration, over backends of its own that have nothing but options. */
#include "config.h"
#include "store.h"
#include "torture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct red {
    const char *conffile;
    int64_t timeout;
    const char *key;
    bool verify;
};
struct blue {
    const char *conffile;
    double timeout;
    int64_t only_blue;
};

#define ROW(owner, field, kind, text, ...) \
    { .name = #field, .type = kind, .default_text = text, .offset = offsetof(struct owner, field), \
      .help = "what it is for", __VA_ARGS__ }

static const struct dn_option red_rows[] = {
    ROW(red, conffile, DN_OPT_STRING, "red.conf"),
    ROW(red, timeout, DN_OPT_INT, "5"),
    ROW(red, key, DN_OPT_STRING, NULL, .secret = true),
    ROW(red, verify, DN_OPT_BOOL, "true"),
    { .name = NULL },
};
static const struct dn_option blue_rows[] = {
    ROW(blue, conffile, DN_OPT_STRING, NULL),
    ROW(blue, timeout, DN_OPT_SECONDS, "1"),
    ROW(blue, only_blue, DN_OPT_INT, NULL),
    { .name = NULL },
};
static int refuse(const char *connection, const void *options, void **conn)
{
    (void)connection, (void)options, (void)conn;
    return -EIO;
}

static const struct dn_backend red = {
    .name = "red", .connect = refuse, .options = red_rows, .options_size = sizeof(struct red)
};
static const struct dn_backend blue = {
    .name = "blue", .connect = refuse, .options = blue_rows, .options_size = sizeof(struct blue)
};
static const struct dn_backend bare = { .name = "bare", .connect = refuse };

/* Instead of the one that is generated. */
const struct dn_backend *const registry[] = { &red, &blue, &bare, NULL };
const char *const registry_folder = NULL;

static char path[64];

static int write_file(const char *text, size_t size)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    return fclose(file);
}

/** Read a file of this text into a fresh configuration. */
static int read_text(const char *text, dn_config **out)
{
    write_file(text, strlen(text));
    *out = dn_config_new();
    assert_non_null(*out);
    return dn_config_read(*out, path);
}

static int make_path(void **unused)
{
    (void)unused;
    snprintf(path, sizeof path, "%s/dosnafs-config-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **unused)
{
    (void)unused;
    return unlink(path);
}

static void assert_value(const dn_config *config, const char *key, const char *value)
{
    const char *is = dn_config_get(config, key);

    if (!value)
        assert_null(is);
    else
        assert_string_equal(is, value);
}

static void test_defaults(void **unused)
{
    dn_config *config = dn_config_new();

    (void)unused;
    assert_value(config, "backend", "hdf5");
    assert_value(config, "cache_size", "1073741824");
    assert_value(config, "dirty_max", "25%");
    assert_value(config, "views", "off");
    assert_value(config, "nothing", NULL);
    assert_value(config, "timeout", NULL); /* hdf5 is not among the backends here */
    assert_int_equal(dn_config_check(config), -EINVAL);
    assert_non_null(strstr(dn_error_text(-EINVAL), "hdf5"));
    dn_config_free(config);
    dn_config_free(NULL);
}

#define DOTS "..................................................................."

static const char a_file[] = "\xef\xbb\xbf# a comment, and a long one: " DOTS DOTS DOTS DOTS "\n"
                             "[dosnafs]\r\n"
                             "backend = red\r\n"
                             "  cache_size=2M ; no continuation of the line before\n"
                             "\tengine: jl\n"
                             "; another comment\n"
                             "\n"
                             "[red]\n"
                             "conffile = a  b\n"
                             "key = secret\n"
                             "[blue]\n"
                             "timeout = 250ms\n"
                             "[s3]\n"
                             "no_such_key = but s3 is not built\n"
                             "[bare]\n"
                             "[red]\n"
                             "timeout = 9";

static void test_a_file(void **unused)
{
    dn_config *config, *copy;

    (void)unused;
    assert_int_equal(read_text(a_file, &config), 0);
    assert_value(config, "backend", "red");
    assert_value(config, "cache_size", "2097152");
    assert_value(config, "engine", "threads");
    assert_value(config, "conffile", "a  b");
    assert_value(config, "key", "***");
    assert_value(config, "timeout", "9");
    assert_int_equal(dn_config_check(config), 0);

    assert_int_equal(config_copy(config, &copy), 0);
    dn_config_free(config);
    assert_int_equal(config_resolve(copy), 0);
    assert_ptr_equal(config_backend(copy), &red);
    assert_int_equal(config_settings(copy)->cache_size, 2 << 20);
    const struct red *options = config_options(copy);
    assert_string_equal(options->conffile, "a  b");
    assert_string_equal(options->key, "secret");
    assert_int_equal(options->timeout, 9);
    assert_true(options->verify);
    dn_config_free(copy);
}

static void test_the_command_line_wins(void **unused)
{
    static const char text[] = "[dosnafs]\nnjobs = 3\nretries = 7\n[blue]\ntimeout = 3\n";
    dn_config *config = dn_config_new();

    (void)unused;
    assert_int_equal(dn_config_set(config, "timeout", "2"), 0);
    assert_int_equal(dn_config_set(config, "njobs", "4"), 0);
    write_file(text, strlen(text));
    assert_int_equal(dn_config_read(config, path), 0);
    assert_int_equal(dn_config_set(config, "backend", "blue"), 0);
    assert_value(config, "njobs", "4");
    assert_value(config, "retries", "7");
    assert_value(config, "timeout", "2");
    assert_int_equal(dn_config_set(config, "backend", "red"), 0);
    assert_value(config, "timeout", "2");
    assert_int_equal(dn_config_check(config), 0);
    dn_config_free(config);
}

static void test_options_of_backends(void **unused)
{
    dn_config *config = dn_config_new();

    (void)unused;
    assert_int_equal(dn_config_set(config, "no_such", "1"), -ENOENT);
    assert_non_null(strstr(dn_error_text(-ENOENT), "no_such"));
    assert_int_equal(dn_config_set(config, "timeout", "soon"), -EINVAL);
    assert_int_equal(dn_config_set(config, "njobs", "0"), -EINVAL);
    assert_int_equal(dn_config_set(config, "njobs", NULL), -EINVAL);
    assert_int_equal(dn_config_set(config, "timeout", NULL), -EINVAL);
    assert_int_equal(dn_config_set(config, "conffile", "a\nb"), -EINVAL);
    assert_int_equal(dn_config_set(config, "backend", "green"), -EINVAL);
    assert_int_equal(dn_config_set(config, "ro", NULL), 0);
    assert_int_equal(dn_config_set(config, "verify", NULL), 0);
    assert_value(config, "ro", "true");

    /* A value that only blue takes. */
    assert_int_equal(dn_config_set(config, "timeout", "1.5"), 0);
    assert_int_equal(dn_config_set(config, "backend", "red"), 0);
    assert_int_equal(dn_config_check(config), -EINVAL);
    assert_non_null(strstr(dn_error_text(-EINVAL), "timeout = 1.5"));
    assert_int_equal(dn_config_set(config, "timeout", "2"), 0);
    assert_int_equal(dn_config_check(config), 0);

    /* A key that only red has. */
    assert_int_equal(dn_config_set(config, "backend", "blue"), 0);
    assert_int_equal(dn_config_check(config), -EINVAL);
    assert_string_equal(dn_error_text(-EINVAL), "option 'verify' is not known to backend 'blue'");
    assert_int_equal(dn_config_set(config, "backend", "ceph"), 0);
    assert_int_equal(dn_config_check(config), -EINVAL);
    assert_non_null(strstr(dn_error_text(-EINVAL), "ceph"));
    dn_config_free(config);
}

static void test_errors_name_the_line(void **unused)
{
    static const struct {
        const char *text;
        int line;
        const char *why;
    } cases[] = {
        { "[dosnafs]\nnjobs = 4\nnjob = 4\n", 3, "unknown key 'njob'" },
        { "[dosnafs]\n\nnjobs = many\n", 3, "njobs = many" },
        { "[dosnafs]\ntimeout = 4\n", 2, "unknown key 'timeout'" },
        { "\n[red]\nnjobs = 4\n", 3, "unknown key 'njobs'" },
        { "[dosnafs]\n[green]\n", 2, "unknown section [green]" },
        { "[dosnafs]\n[green]\nkey = 4\n", 2, "unknown section [green]" },
        { "[]\n", 1, "unknown section []" },
        { "njobs = 4\n", 1, "stands in no known section" },
        { "[dosnafs]\nnjobs\n", 2, "neither" },
        { "[dosnafs\nnjobs = 4\n", 1, "neither" },
        { "[dosnafs]\nnjobs\nnjobs = many\n", 2, "neither" },
        { "[dosnafs]\nnjobs = many\nnjobs\n", 2, "njobs = many" },
        { "[dosnafs]\nviews = a\001b\n", 2, "control character" },
        { "[dosnafs]\nviews = a\tb\n", 2, "control character" },
        { "[dosnafs]\nviews = a\rb\n", 2, "control character" },
        { "[dosnafs]\nbackend = green\n", 2, "no backend 'green'" },
        { "[red]\nverify\n", 2, "neither" },
        { "[red]\nverify =\n", 2, "verify" },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char where[128];
        dn_config *config;
        int code = read_text(cases[i].text, &config);

        snprintf(where, sizeof where, "%s:%d: ", path, cases[i].line);
        if (code != -EINVAL || strncmp(dn_error_text(code), where, strlen(where)) != 0 ||
            !strstr(dn_error_text(code), cases[i].why))
            fail_msg("\"%s\" gave %d, %s", cases[i].text, code, dn_error_text(code));
        dn_config_free(config);
    }
}

static void test_strange_files(void **unused)
{
    char text[20000];
    dn_config *config;

    (void)unused;
    memset(text, 'x', sizeof text);
    memcpy(text, "[dosnafs]\nviews =", 17);
    text[sizeof text - 1] = '\0';
    assert_int_equal(read_text(text, &config), -EINVAL);
    assert_non_null(strstr(dn_error_text(-EINVAL), ":2: the line is too long"));
    dn_config_free(config);

    memset(text, '[', sizeof text - 1);
    assert_int_equal(read_text(text, &config), -EINVAL);
    dn_config_free(config);

    config = dn_config_new();
    write_file("[dosnafs]\nviews = a\0b\n", 22);
    assert_int_equal(dn_config_read(config, path), -EINVAL);
    write_file("", 0);
    assert_int_equal(dn_config_read(config, path), 0);
    assert_int_equal(dn_config_read(config, "/dev/null"), 0);
    assert_int_equal(dn_config_read(config, "/no/such/file"), -ENOENT);
    assert_non_null(strstr(dn_error_text(-ENOENT), "/no/such/file"));
    assert_true(dn_config_read(config, "/") < 0);
    dn_config_free(config);
}

static void test_where_it_is_looked_for(void **unused)
{
    const char *slash = strrchr(path, '/');
    char text[] = "[dosnafs]\nnjobs = 3\n", home[64];
    dn_config *config = dn_config_new();

    (void)unused;
    write_file(text, strlen(text));
    assert_int_equal(setenv("DOSNAFS_CONF", path, 1), 0);
    assert_int_equal(dn_config_read(config, NULL), 0);
    assert_value(config, "njobs", "3");
    unsetenv("DOSNAFS_CONF");

    text[strlen(text) - 2] = '5';
    write_file(text, strlen(text));
    snprintf(home, sizeof home, "%.*s", (int)(slash - path), path);
    assert_int_equal(setenv("HOME", home, 1), 0);
    char from_home[72];
    snprintf(from_home, sizeof from_home, "~%s", slash);
    assert_int_equal(dn_config_read(config, from_home), 0);
    assert_value(config, "njobs", "5");
    dn_config_free(config);
}

static void count_rows(void *arg, const char *section, const struct dn_option *row, const char *value)
{
    int *counts = arg;

    assert_non_null(row->name);
    assert_non_null(value);
    counts[strcmp(section, "dosnafs") == 0 ? 0 : strcmp(section, "red") == 0 ? 1 : 2]++;
}

static void test_each(void **unused)
{
    dn_config *config = dn_config_new();
    int core = 0, in_force[3] = { 0 }, all[3] = { 0 };

    (void)unused;
    while (settings_rows[core].name)
        core++;
    assert_int_equal(dn_config_set(config, "backend", "red"), 0);
    dn_config_each(config, count_rows, in_force);
    assert_int_equal(in_force[0], core);
    assert_int_equal(in_force[1], 4);
    assert_int_equal(in_force[2], 0);
    dn_config_each_default(count_rows, all);
    assert_int_equal(all[0], core);
    assert_int_equal(all[1], 4);
    assert_int_equal(all[2], 3);
    dn_config_free(config);
}

static int configure(void *unused)
{
    dn_config *config = dn_config_new();
    int code = config ? 0 : -ENOMEM;

    (void)unused;
    if (code == 0)
        code = dn_config_read(config, path);
    if (code == 0)
        code = dn_config_set(config, "timeout", "7");
    if (code == 0)
        code = dn_config_check(config);
    dn_config_free(config);
    return code;
}

static void test_without_memory(void **unused)
{
    static const char text[] = "[dosnafs]\nbackend = red\n[red]\nkey = a\n";

    (void)unused;
    write_file(text, strlen(text));
    assert_true(torture(configure, NULL) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_a_file),
        cmocka_unit_test(test_the_command_line_wins),
        cmocka_unit_test(test_options_of_backends),
        cmocka_unit_test(test_errors_name_the_line),
        cmocka_unit_test(test_strange_files),
        cmocka_unit_test(test_where_it_is_looked_for),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, make_path, remove_path);
}
