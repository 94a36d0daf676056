// SPDX-License-Identifier: Apache-2.0
/*
 * dosnafs.conf.sample is made from the option tables. This test keeps it so; `test_sample --print` prints
 * what it has to be.
 */
#include <dosna/dosna.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HEAD \
    "# Every setting of dosnafs with its default. Take the '#' away from a line to change it.\n" \
    "# The file is looked for at -c, then $DOSNAFS_CONF, ~/.config/dosnafs.conf, /etc/dosnafs.conf;\n" \
    "# on the command line, -o KEY=VALUE wins over it.\n"

struct sample {
    FILE *stream;
    char section[64];
};

static void render_row(void *arg, const char *section, const struct dn_option *row, const char *value)
{
    struct sample *sample = arg;

    if (strcmp(section, "fault") == 0) /* the tests' own */
        return;
    if (strcmp(section, sample->section) != 0)
        fprintf(sample->stream, "\n[%s]\n", section);
    snprintf(sample->section, sizeof sample->section, "%s", section);
    fprintf(sample->stream, "# %s\n#%s = %s\n", row->help, row->name, value);
}

static char *render(void)
{
    static char *text;
    static size_t size;
    struct sample sample = { .stream = open_memstream(&text, &size) };

    assert_non_null(sample.stream);
    fputs(HEAD, sample.stream);
    dn_config_each_default(render_row, &sample);
    fclose(sample.stream);
    return text;
}

/* Not inline: gcc 12 would warn of a pointer that outlives `text`. */
static __attribute__((noinline)) char *read_sample(void)
{
    FILE *file = fopen(DOSNA_SAMPLE, "r");
    char *text = NULL;
    size_t size = 0;

    assert_non_null(file);
    assert_true(getdelim(&text, &size, '\0', file) > 0);
    fclose(file);
    return text;
}

/** The length of the section that `text` starts with. */
static size_t section_length(const char *text)
{
    const char *next = strstr(text + 1, "\n[");

    return next ? (size_t)(next - text) : strlen(text);
}

/** Each section of the backends that are built stands in the file, whole and with nothing more. */
static void test_sample_is_up_to_date(void **unused)
{
    char *wanted = render(), *sample = read_sample();

    (void)unused;
    for (const char *part = wanted; *part; part += section_length(part)) {
        char title[80];
        snprintf(title, sizeof title, "%.*s", (int)strcspn(part + 1, "\n") + 2, part);
        const char *is = strstr(sample, title);
        if (!is || section_length(is) != section_length(part) || strncmp(is, part, section_length(part)) != 0)
            fail_msg("dosnafs.conf.sample differs at %s; `test_sample --print` has what is wanted", title);
    }
    free(wanted);
    free(sample);
}

static void test_sample_can_be_read(void **unused)
{
    dn_config *config = dn_config_new();

    (void)unused;
    assert_non_null(config);
    assert_int_equal(dn_config_read(config, DOSNA_SAMPLE), 0);
    dn_config_free(config);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_is_up_to_date),
        cmocka_unit_test(test_sample_can_be_read),
    };

    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        char *text = render();
        fputs(text, stdout);
        free(text);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
