// SPDX-License-Identifier: Apache-2.0
#include "torture.h"

#include <dosna/dtype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const uint64_t shape[] = { 100, 7, 1 }, chunk[] = { 32, 8, 1 };

static void test_a_description(void **unused)
{
    struct dn_desc desc, copy;

    (void)unused;
    assert_int_equal(dn_desc_init(&desc, 3, shape, "<i2", chunk, "-1"), 0);
    assert_int_equal(dn_desc_grid(&desc, 0), 4);
    assert_int_equal(dn_desc_grid(&desc, 1), 1);
    assert_int_equal(dn_desc_nbytes(&desc), 1400);
    assert_int_equal(dn_desc_chunk_nbytes(&desc), 512);
    assert_int_equal(dn_desc_chunks(&desc), 4);
    assert_memory_equal(desc.fill, "\xff\xff", 2);

    assert_int_equal(dn_desc_copy(&copy, &desc), 0);
    assert_ptr_not_equal(copy.fill, desc.fill);
    assert_true(dn_desc_equal(&copy, &desc));
    copy.fill[1] = 0;
    assert_false(dn_desc_equal(&copy, &desc));
    copy.fill[1] = 0xff;
    copy.dtype.order = '>';
    assert_false(dn_desc_equal(&copy, &desc));
    copy.dtype.order = '<';
    copy.chunk_size[2]++;
    assert_false(dn_desc_equal(&copy, &desc));
    dn_desc_clear(&copy);
    dn_desc_clear(&desc);
    dn_desc_clear(&desc);
    assert_int_equal(desc.ndim, 0);
    assert_int_equal(dn_desc_copy(&copy, &desc), 0);
}

static void test_defaults(void **unused)
{
    struct dn_desc desc, zero;

    (void)unused;
    assert_int_equal(dn_desc_init(&desc, 2, shape, ">f8", NULL, NULL), 0);
    assert_memory_equal(desc.chunk_size, shape, 2 * sizeof *shape);
    zero = desc;
    zero.fill = NULL; /* all zero */
    assert_true(dn_desc_equal(&desc, &zero));
    dn_desc_clear(&desc);
    /* DosNa's default, 0, is the text "0" in a text type. */
    assert_int_equal(dn_desc_init(&desc, 1, shape, "S3", NULL, NULL), 0);
    assert_memory_equal(desc.fill, "0\0\0", 3);
    dn_desc_clear(&desc);
}

static void test_refused(void **unused)
{
    const uint64_t zero[] = { 4, 0 }, four[] = { 4, 4 };
    struct dn_desc desc;

    (void)unused;
    assert_int_equal(dn_desc_init(&desc, 0, shape, "<f4", NULL, NULL), -EINVAL);
    assert_int_equal(dn_desc_init(&desc, DN_MAX_NDIM + 1, shape, "<f4", NULL, NULL), -EINVAL);
    assert_int_equal(dn_desc_init(&desc, 2, zero, "<f4", four, NULL), -EINVAL);
    assert_int_equal(dn_desc_init(&desc, 2, four, "<f4", zero, NULL), -EINVAL);
    assert_non_null(strstr(dn_error_text(-EINVAL), "chunk_size"));
    assert_int_equal(dn_desc_init(&desc, 2, four, "object", NULL, NULL), -EINVAL);
    assert_int_equal(dn_desc_init(&desc, 2, four, "<i4", NULL, "None"), -EINVAL);
    assert_null(desc.fill);
    memset(&desc, 0, sizeof desc);
    assert_int_equal(dn_desc_check(&desc), -EINVAL);
}

static int check(uint64_t a, uint64_t b, uint64_t chunk_a, uint64_t chunk_b, uint32_t itemsize)
{
    struct dn_desc desc = { .ndim = 2,
                            .shape = { a, b },
                            .chunk_size = { chunk_a, chunk_b },
                            .dtype = { .order = '|', .kind = 'V', .itemsize = itemsize } };

    return dn_desc_check(&desc);
}

static void test_overflow(void **unused)
{
    const uint64_t half = UINT64_C(1) << 62;

    (void)unused;
    assert_int_equal(check(INT64_MAX, 1, INT64_MAX, 1, 1), 0);
    assert_int_equal(check(half, 1, half, 1, 1), 0);
    assert_int_equal(check(half, 1, half, 1, 2), -EOVERFLOW);
    assert_int_equal(check(half, 2, 1, 1, 1), -EOVERFLOW);
    assert_int_equal(check(half + 1, 1, half, 1, 1), -EOVERFLOW); /* the padding */
    assert_int_equal(check(1, 1, half, 2, 1), -EOVERFLOW);        /* a chunk */
    assert_int_equal(check(UINT64_MAX, UINT64_MAX, 1, 1, 1), -EOVERFLOW);
    assert_int_equal(check(UINT64_MAX, 1, UINT64_MAX, 1, 1), -EOVERFLOW);
    assert_int_equal(check(1, 1, 1, 1, DN_ITEMSIZE_MAX + 1), -EINVAL);
}

static void test_vectors(void **unused)
{
    static const struct {
        const char *text, *sep;
        int count; /* 0: refused */
    } cases[] = {
        { "100, 7, 1", ", ", 3 },  { "100,7,1", ", ", 3 },   { " +100 ,\t7 , 1 ", ", ", 3 },
        { "100::7::1", "::", 3 },  { "100 :: 7::1", "::", 3 }, { "100", "::", 1 },
        { "100::", "::", 0 },      { "::7", "::", 0 },       { "100:7", "::", 0 },
        { "100,7", "::", 0 },      { "", "::", 0 },          { " ", ", ", 0 },
        { "-1", ", ", 0 },         { "1.5", ", ", 0 },       { "100 7", ", ", 0 },
        { "9223372036854775808", ", ", 0 },
        { "1,1,1,1,1", ", ", 0 }, /* more than asked for */
        { "++1", ", ", 0 },        { "x", ", ", 0 },
    };
    char text[DN_VECTOR_TEXT];

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t out[4];
        int count = dn_vector_parse(cases[i].text, cases[i].sep, out, 4);
        assert_int_equal(count, cases[i].count ? cases[i].count : -EINVAL);
        for (int k = 0; k < count; k++)
            assert_int_equal(out[k], shape[k]);
    }
    assert_int_equal(dn_vector_format(shape, 3, "::", text, sizeof text), 0);
    assert_string_equal(text, "100::7::1");
    assert_int_equal(dn_vector_format(shape, 3, ", ", text, 10), 0);
    assert_string_equal(text, "100, 7, 1");
    assert_int_equal(dn_vector_format(shape, 3, ", ", text, 9), -ENOSPC);

    uint64_t largest[DN_MAX_NDIM];
    memset(largest, 0xff, sizeof largest);
    assert_int_equal(dn_vector_format(largest, DN_MAX_NDIM, ", ", text, sizeof text), 0);
}

static int make_and_copy(void *unused)
{
    struct dn_desc desc, copy = { 0 };
    int code = dn_desc_init(&desc, 3, shape, "<i2", chunk, "5");

    (void)unused;
    if (code == 0)
        code = dn_desc_copy(&copy, &desc);
    dn_desc_clear(&desc);
    dn_desc_clear(&copy);
    return code;
}

static void test_without_memory(void **unused)
{
    (void)unused;
    assert_int_equal(torture(make_and_copy, NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_description), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
