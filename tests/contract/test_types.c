// SPDX-License-Identifier: Apache-2.0
/* Descriptions: every dtype, fill value and rank comes back as it was, and chunks byte for byte. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every store can hold the first three kinds; -ENOTSUP is an answer for the rest. */
static const struct {
    const char *dtype, *fill;
    bool everywhere;
} types[] = {
    {"|u1", "200", true}, {"|i1", "-7", true}, {"<u2", "65535", true}, {"<i2", "-300", true},
    {"<u4", "4000000000", true}, {"<i4", "-5", true}, {"<u8", "18446744073709551615", true},
    {"<i8", "-9223372036854775808", true}, {"<f4", "1.5", true}, {"<f8", "nan", true},
    {">u2", "258", true}, {">i4", "-2", true}, {">i8", "1", true}, {">f4", "-0.0", true},
    {">f8", "inf", true}, {"<f2", "0.5", false}, {">f2", "2", false}, {"<f16", "3", false},
    {"|b1", "True", false}, {"<c8", "(1+2j)", false}, {"<c16", "1j", false}, {">c16", "(0-1j)", false},
    {"|S1", "b'x'", false}, {"|S5", "b'ab'", false}, {"<U3", NULL, false}, {"<M8[ns]", NULL, false},
    {"<m8[s]", NULL, false}, {"|V6", NULL, false},
};

/* Bytes that are valid elements: a bool is 0 or 1. */
static unsigned char *elements(const struct dn_desc *desc, size_t nbytes, uint64_t seed)
{
    unsigned char *bytes = pattern(nbytes, seed);
    for (size_t i = 0; bytes && desc->dtype.kind == 'b' && i < nbytes; i++)
        bytes[i] &= 1;
    return bytes;
}

/* Create, reopen, compare; then the given chunks hold what was written, all others nothing. */
static int check(const struct dn_desc *desc, const uint64_t *flats, size_t count)
{
    struct set set;
    fresh_name(set.name, "", "");
    int rc = store_create(contract.store, set.name, desc);
    if (rc < 0) {
        assert_int_equal(store_has(contract.store, set.name), 0);
        return rc;
    }
    assert_ok(store_open_dataset(contract.store, set.name, &set.data, &set.desc));
    assert_true(dn_desc_equal(&set.desc, desc));
    set.nbytes = dn_desc_chunk_nbytes(desc);
    for (size_t i = 0; i < count; i++) {
        uint64_t index[DN_MAX_NDIM];
        struct dn_chunk_id id = chunk_at(desc, flats[i], index);
        unsigned char *want = elements(desc, set.nbytes, flats[i]), *have = malloc(set.nbytes);
        assert_non_null(want);
        assert_non_null(have);
        assert_int_equal(store_read(set.data, &id, 0, have, 1, NULL), -ENOENT);
        assert_ok(store_write(set.data, &id, 0, want, set.nbytes, NULL));
        assert_ok(store_read(set.data, &id, 0, have, set.nbytes, NULL));
        assert_memory_equal(have, want, set.nbytes);
        free(want);
        free(have);
    }
    drop(&set);
    return 0;
}

static void test_dtypes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct dn_desc desc;
        describe(&desc, 2, (uint64_t[]){5, 6}, types[i].dtype, (uint64_t[]){3, 4}, types[i].fill);
        int rc = check(&desc, (uint64_t[]){0, 3}, 2);
        dn_desc_clear(&desc);
        if (rc == -ENOTSUP && !types[i].everywhere)
            print_message("%s: not in this store\n", types[i].dtype);
        else
            assert_ok(rc);
    }
}

static void test_fill_values(void **state)
{
    (void)state;
    static const char *const floats[] = {
        "0", "-0.0", "1e-45", "3.4028234663852886e+38", "-inf", "nan", "0.1", "16777217", "True",
    };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        struct dn_desc desc;
        describe(&desc, 1, (uint64_t[]){4}, i % 2 ? "<f4" : "<f8", NULL, floats[i]);
        assert_ok(check(&desc, NULL, 0));
        dn_desc_clear(&desc);
    }
}

static void test_one_axis(void **state)
{
    (void)state;
    struct dn_desc desc;
    describe(&desc, 1, (uint64_t[]){1}, "<i4", NULL, "3");
    assert_ok(check(&desc, (uint64_t[]){0}, 1));
    dn_desc_clear(&desc);
    describe(&desc, 1, (uint64_t[]){1001}, "<i4", (uint64_t[]){10}, "3");
    assert_ok(check(&desc, (uint64_t[]){0, 9, 10, 99, 100}, 5));
    dn_desc_clear(&desc);
    describe(&desc, 1, (uint64_t[]){3}, "<i4", (uint64_t[]){100}, "3"); /* a chunk beyond the shape */
    assert_ok(check(&desc, (uint64_t[]){0}, 1));
    dn_desc_clear(&desc);
}

static void test_eight_axes(void **state)
{
    (void)state;
    struct dn_desc desc;
    describe(&desc, 8, (uint64_t[]){2, 3, 2, 3, 2, 3, 2, 3}, "<u2",
             (uint64_t[]){1, 2, 2, 1, 2, 3, 1, 2}, NULL);
    assert_ok(check(&desc, (uint64_t[]){0, 1, 17, 46, 47}, 5));
    dn_desc_clear(&desc);
}

static void test_most_axes(void **state)
{
    (void)state;
    struct dn_desc desc;
    uint64_t shape[DN_MAX_NDIM], chunk[DN_MAX_NDIM];
    for (int axis = 0; axis < DN_MAX_NDIM; axis++) {
        shape[axis] = axis % 8 == 0 ? 3 : 1;
        chunk[axis] = axis % 8 == 0 ? 2 : 1;
    }
    describe(&desc, DN_MAX_NDIM, shape, "<u2", chunk, NULL);
    assert_ok(check(&desc, (uint64_t[]){0, 1, 5, 15}, 4));
    dn_desc_clear(&desc);
}

/* Without either of these, deleting a dataset asks for every chunk of its grid. */
static void skip_if_deleting_is_slow(void)
{
    if (!store_backend(contract.store)->list_chunks && !store_can(contract.store, DN_DELETES_CHUNKS))
        skip_because("deleting so many chunks one by one takes too long");
}

/* Sizes beyond 32 bits along one axis and in all; only what is stored may cost anything. */
static void test_huge_grids(void **state)
{
    (void)state;
    struct dn_desc desc;
    skip_if_deleting_is_slow();
    describe(&desc, 1, (uint64_t[]){UINT64_C(1) << 50}, "|u1", (uint64_t[]){1 << 12}, NULL);
    assert_ok(check(&desc, NULL, 0));
    dn_desc_clear(&desc);
    describe(&desc, 3, (uint64_t[]){UINT64_C(1) << 20, UINT64_C(1) << 20, 64}, "<u2",
             (uint64_t[]){16, 16, 16}, NULL);
    assert_ok(check(&desc, NULL, 0));
    dn_desc_clear(&desc);
}

static void test_far_chunks(void **state)
{
    (void)state;
    struct dn_desc desc;
    skip_if_deleting_is_slow();
    describe(&desc, 1, (uint64_t[]){UINT64_C(1) << 50}, "|u1", (uint64_t[]){1 << 12}, NULL);
    assert_ok(check(&desc, (uint64_t[]){UINT64_C(1) << 32, (UINT64_C(1) << 38) - 1}, 2));
    dn_desc_clear(&desc);
}

const struct CMUnitTest type_tests[] = {
    cmocka_unit_test(test_dtypes),
    cmocka_unit_test(test_fill_values),
    cmocka_unit_test(test_one_axis),
    cmocka_unit_test(test_eight_axes),
    cmocka_unit_test(test_most_axes),
    cmocka_unit_test(test_huge_grids),
    cmocka_unit_test(test_far_chunks),
};
const size_t type_test_count = sizeof type_tests / sizeof *type_tests;
