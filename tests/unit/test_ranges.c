// SPDX-License-Identifier: Apache-2.0
#include "ranges.h"
#include "torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define SPACE 96 /* numbers of the model */

/** The set must hold exactly the marked numbers, in the fewest intervals. */
static void assert_same(const struct ranges *set, const bool *model)
{
    size_t count = 0;
    uint64_t total = 0;

    for (unsigned i = 0; i < SPACE; i++) {
        if (model[i] && (i == 0 || !model[i - 1])) {
            assert_true(count < set->count);
            assert_int_equal(ranges_at(set, count).lo, i);
        }
        if (model[i] && (i + 1 == SPACE || !model[i + 1]))
            assert_int_equal(ranges_at(set, count++).hi, i + 1);
        total += model[i];
    }
    assert_int_equal(set->count, count);
    assert_int_equal(ranges_total(set), total);
}

static void assert_queries(const struct ranges *set, const bool *model, unsigned lo, unsigned hi)
{
    unsigned gap_lo = lo, inside = 0;
    struct range gap = { 0, 0 };

    while (gap_lo < hi && model[gap_lo])
        gap_lo++;
    unsigned gap_hi = gap_lo;
    while (gap_hi < hi && !model[gap_hi])
        gap_hi++;
    for (unsigned i = lo; i < hi; i++)
        inside += model[i];
    assert_int_equal(ranges_cover(set, lo, hi), lo >= hi || inside == hi - lo);
    assert_int_equal(ranges_touch(set, lo, hi), inside > 0);
    assert_int_equal(ranges_gap(set, lo, hi, &gap), gap_lo < hi);
    if (gap_lo < hi) {
        assert_int_equal(gap.lo, gap_lo);
        assert_int_equal(gap.hi, gap_hi);
    }
}

static void change(struct ranges *set, bool *model, int what, unsigned lo, unsigned hi)
{
    switch (what) {
    case 0:
        ranges_set(set, lo, hi);
        memset(model, false, SPACE);
        break;
    case 1:
        ranges_cut(set, lo);
        hi = SPACE;
        break;
    case 2:
    case 3:
    case 4:
        assert_int_equal(ranges_remove(set, lo, hi), 0);
        break;
    default:
        assert_int_equal(ranges_add(set, lo, hi), 0);
    }
    for (unsigned i = lo; i < hi; i++)
        model[i] = what == 0 || what > 4;
}

static void test_against_a_model(void **unused)
{
    unsigned seed = (unsigned)time(NULL);
    struct ranges set = { 0 };
    bool model[SPACE] = { false };

    (void)unused;
    print_message("seed %u\n", seed);
    srand(seed);
    for (int i = 0; i < 20000; i++) {
        unsigned lo = (unsigned)rand() % SPACE, hi = lo + (unsigned)rand() % 8;
        int what = rand() % 100 < 2 ? rand() % 2 : 2 + rand() % 6;
        hi = hi > SPACE ? SPACE : hi;
        change(&set, model, what, lo, hi);
        assert_same(&set, model);
        assert_queries(&set, model, (unsigned)rand() % SPACE, (unsigned)rand() % (SPACE + 1));
    }
    ranges_clear(&set);
    assert_int_equal(set.count, 0);
    assert_false(ranges_touch(&set, 0, UINT64_MAX));
}

static void test_ends_of_the_numbers(void **unused)
{
    struct ranges set = { 0 };

    (void)unused;
    assert_int_equal(ranges_add(&set, UINT64_MAX - 1, UINT64_MAX), 0);
    assert_int_equal(ranges_add(&set, 0, 1), 0);
    assert_int_equal(ranges_add(&set, 5, 5), 0);
    assert_int_equal(ranges_add(&set, 6, 5), 0);
    assert_int_equal(set.count, 2);
    assert_int_equal(ranges_add(&set, 0, UINT64_MAX), 0);
    assert_true(ranges_cover(&set, 0, UINT64_MAX));
    assert_int_equal(ranges_total(&set), UINT64_MAX);
    assert_int_equal(ranges_remove(&set, 7, 7), 0);
    assert_int_equal(ranges_remove(&set, 1, UINT64_MAX - 1), 0);
    assert_int_equal(set.count, 2);
    assert_true(ranges_cover(&set, 9, 9));
    ranges_clear(&set);
}

static int fill_and_cut(void *unused)
{
    struct ranges set = { 0 };
    int code = 0;

    (void)unused;
    for (uint64_t i = 0; i < 40 && code == 0; i += 2) {
        size_t before = set.count;
        code = ranges_add(&set, i, i + 1);
        assert_int_equal(set.count, before + (code == 0));
    }
    if (code == 0)
        code = ranges_add(&set, 0, 50);
    for (uint64_t i = 1; i < 50 && code == 0; i += 2) {
        uint64_t before = ranges_total(&set);
        code = ranges_remove(&set, i, i + 1);
        assert_int_equal(ranges_total(&set), before - (code == 0));
    }
    ranges_clear(&set);
    return code;
}

static void test_without_memory(void **unused)
{
    (void)unused;
    assert_true(torture(fill_and_cut, NULL) > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_ends_of_the_numbers),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
