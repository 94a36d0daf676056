// SPDX-License-Identifier: Apache-2.0
/* What prefetch_decide() makes of accesses: tables of them, and what each is to fetch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "checked.h"
#include "prefetch.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define K UINT64_C(1024)
#define M (K * K)

static struct prefetch seen;

static int set_up(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    return 0;
}

static struct grid grid_of(int ndim, const uint64_t *shape, const uint64_t *chunk, uint64_t budget)
{
    struct dn_desc desc;
    struct grid grid;

    assert_int_equal(dn_desc_init(&desc, ndim, shape, "|u1", chunk, NULL), 0);
    grid_init(&grid, &desc);
    if (budget)
        grid_cut(&grid, budget, budget);
    dn_desc_clear(&desc);
    return grid;
}

/* Blocks of 1 MiB one after the other: a block's number is its offset in MiB. */
static struct grid line(uint64_t mib)
{
    return grid_of(1, &(uint64_t){mib * M}, &(uint64_t){M}, 0);
}

static struct prefetch_plan decide(const struct grid *grid, uint64_t a, uint64_t n, uint64_t lead,
                                   uint64_t budget)
{
    struct prefetch_plan plan = prefetch_decide(&seen, grid, a, a + n, lead, budget);

    if (plan.stream && !plan.strided) {
        assert_true(plan.first < plan.last);
        assert_true(plan.last <= grid_block_count(grid));
    }
    return plan;
}

/* All of the plan is carried out. */
static void issue(struct prefetch_plan *plan)
{
    if (!plan->stream)
        return;
    if (plan->strided)
        prefetch_issued(plan, plan->offset + plan->count * (uint64_t)plan->stride);
    else
        prefetch_issued(plan, plan->down ? plan->first : plan->last);
}

/* ---- one dimension, step by step ---------------------------------------------------------------- */

struct step {
    uint64_t offset;      /* in KiB, 128 KiB are read */
    uint64_t first, last; /* what is to be fetched now; 0, 0: nothing */
};

static void run_steps(const struct grid *grid, const struct step *steps, int count, uint64_t lead,
                      uint64_t budget)
{
    for (int i = 0; i < count; i++) {
        struct prefetch_plan plan = decide(grid, steps[i].offset * K, 128 * K, lead, budget);

        if (plan.stream ? plan.first != steps[i].first || plan.last != steps[i].last : steps[i].last != 0)
            fail_msg("step %d: [%d, %d) instead of [%d, %d)", i, (int)plan.first,
                     plan.stream ? (int)plan.last : 0, (int)steps[i].first, (int)steps[i].last);
        issue(&plan);
    }
}

#define RUN(grid, lead, budget, ...)                                                                 \
    run_steps(grid, (const struct step[]){__VA_ARGS__},                                              \
              (int)(sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step)), lead, budget)

/* From 0 on the first access is believed: one block, then twice as many with each access. */
static void test_forward_from_start(void **state)
{
    struct grid grid = line(100);

    (void)state;
    RUN(&grid, 16, 100, {0, 1, 2}, {128, 2, 3}, {256, 3, 5}, {384, 5, 9}, {512, 9, 17}, {640, 0, 0},
        {768, 0, 0}, {896, 17, 18}, {1024, 0, 0});
}

static void test_forward_from_middle(void **state)
{
    struct grid grid = line(100);

    (void)state;
    RUN(&grid, 16, 100, {50 * K, 0, 0}, {50 * K + 128, 51, 52}, {50 * K + 256, 52, 53},
        {50 * K + 384, 53, 55});
}

static void test_budget(void **state)
{
    struct grid grid = line(100);

    (void)state;
    RUN(&grid, 16, 3, {0, 1, 2}, {128, 2, 3}, {256, 3, 4}, {384, 0, 0}, {512, 0, 0}, {1024, 4, 5});
    set_up(NULL);
    RUN(&grid, 16, 0, {0, 0, 0}, {128, 0, 0}, {256, 0, 0});
}

static void test_end_of_array(void **state)
{
    struct grid grid = line(4);

    (void)state;
    RUN(&grid, 16, 100, {0, 1, 2}, {128, 2, 3}, {256, 3, 4}, {384, 0, 0}, {3 * K + 896, 0, 0});
}

/* As the kernel's readahead delivers it: close enough is the same stream, in either direction. */
static void test_out_of_order(void **state)
{
    struct grid grid = line(100);

    (void)state;
    RUN(&grid, 4, 100, {0, 1, 2}, {256, 2, 3}, {128, 3, 5}, {512, 0, 0}, {384, 0, 0}, {640, 0, 0},
        {1152, 5, 6}, {1024, 0, 0}, {896, 0, 0});
    assert_int_equal(seen.stream[1].used, 0);
}

/* The first two of a forward reader may come in the wrong order. */
static void test_out_of_order_at_first(void **state)
{
    struct grid grid = line(100);

    (void)state;
    RUN(&grid, 4, 100, {50 * K + 128, 0, 0}, {50 * K, 49, 50}, {50 * K + 256, 51, 53}, {50 * K + 384, 53, 55});
}

static void test_backward(void **state)
{
    struct grid grid = line(100);
    struct prefetch_plan plan;

    (void)state;
    plan = decide(&grid, 50 * M, 128 * K, 4, 100);
    assert_null(plan.stream);
    plan = decide(&grid, 50 * M - 128 * K, 128 * K, 4, 100);
    assert_true(plan.down);
    assert_int_equal(plan.first, 48);
    assert_int_equal(plan.last, 49);
    issue(&plan);
    plan = decide(&grid, 50 * M - 256 * K, 128 * K, 4, 100);
    assert_true(plan.down);
    assert_int_equal(plan.first, 47);
    assert_int_equal(plan.last, 48);
}

/* All of it backwards: each block below the first ones once, and no further than block 0. */
static void test_backward_scan(void **state)
{
    struct grid grid = line(40);
    uint64_t lowest = 39;

    (void)state;
    for (uint64_t at = 40 * M; at >= 128 * K; at -= 128 * K) {
        struct prefetch_plan plan = decide(&grid, at - 128 * K, 128 * K, 4, 100);

        if (plan.stream) {
            assert_true(plan.down);
            assert_true(plan.last == lowest || lowest == 39);
            lowest = plan.first;
            issue(&plan);
        }
        assert_true(at > 39 * M || lowest < (at - 128 * K) / M || lowest == 0);
    }
    assert_int_equal(lowest, 0);
}

/* Readers in turn: each is its own stream, wherever it began. */
static void test_several_streams(void **state)
{
    struct grid grid = line(1000);
    uint64_t cursor[8];

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (uint64_t reader = 0; reader < 8; reader++) {
            uint64_t begin = (reader * reader * 13 + 7) * M; /* no equal distances */
            struct prefetch_plan plan = decide(&grid, begin + (uint64_t)round * 128 * K, 128 * K, 4, 100);

            if (round == 0) {
                assert_null(plan.stream);
            } else if (round == 1) {
                assert_non_null(plan.stream);
                assert_int_equal(plan.first, begin / M + 1);
                cursor[reader] = plan.last;
            } else if (plan.stream) {
                assert_int_equal(plan.first, cursor[reader]);
                cursor[reader] = plan.last;
            }
            issue(&plan);
        }
    }
    for (uint64_t reader = 0; reader < 8; reader++)
        assert_true(cursor[reader] > (reader * reader * 13 + 7) + 4);
}

/* ---- strides ------------------------------------------------------------------------------------ */

struct strided {
    uint64_t begin;
    int64_t stride;
    int count; /* accesses until the array's end */
};

/* Two equal distances make a stride, after that each row is fetched once, and none outside the array. */
static void run_strided(const struct grid *grid, struct strided s)
{
    uint64_t next = 0;
    int issued = 0;

    set_up(NULL);
    for (int i = 0; i < s.count; i++) {
        uint64_t a = s.begin + (uint64_t)i * (uint64_t)s.stride;
        struct prefetch_plan plan = decide(grid, a, 4096, 4, 100);

        if (i < 2)
            assert_null(plan.stream);
        if (!plan.stream)
            continue;
        assert_true(plan.strided);
        assert_int_equal(plan.stride, s.stride);
        assert_int_equal(plan.size, 4096);
        assert_true(!issued || plan.offset == next);
        assert_int_equal((int64_t)(plan.offset - a) % s.stride, 0);
        for (uint64_t j = 0; j < plan.count; j++)
            assert_true(plan.offset + j * (uint64_t)plan.stride < grid->nbytes);
        issued += (int)plan.count;
        next = plan.offset + plan.count * (uint64_t)plan.stride;
        issue(&plan);
    }
    assert_int_equal(issued, s.count - 3);
}

static void test_strided(void **state)
{
    struct grid grid = line(100);

    (void)state;
    run_strided(&grid, (struct strided){5, M, 100});
    run_strided(&grid, (struct strided){3 * M, 600 * K + 5, 166});
    run_strided(&grid, (struct strided){99 * M, -(int64_t)M, 100});
    run_strided(&grid, (struct strided){100 * M - 4096, -3 * (int64_t)M, 34});
    run_strided(&grid, (struct strided){7, 24 * M, 5});
}

/* A plane read through a map: the kernel asks for what is around some of the rows, and has others already. */
static void test_strided_with_gaps(void **state)
{
    static const struct { uint64_t row; bool around; } access[] = {
        {0, true}, {1, true}, {2, true}, {4, false}, {5, false}, {9, true}, {10, false}, {24, true}, {25, true},
    };
    struct grid grid = line(1000);
    uint64_t next = 0;

    (void)state;
    for (size_t i = 0; i < sizeof access / sizeof *access; i++) {
        uint64_t a = 50 * M + access[i].row * M;
        struct prefetch_plan plan = access[i].around ? decide(&grid, a - 64 * K, 128 * K, 4, 100)
                                                     : decide(&grid, a, 4 * K, 4, 100);

        assert_int_equal(plan.known, i >= 2);
        if (i < 2)
            continue;
        assert_non_null(plan.stream);
        assert_true(plan.strided);
        assert_int_equal(plan.size, i < 3 ? 128 * K : 4 * K); /* the rows alone, once they are known */
        assert_true(i < 4 || plan.offset == next);
        next = plan.offset + plan.count * (uint64_t)plan.stride;
        issue(&plan);
        assert_true(next <= a + (4 * access[i].row + 1) * M); /* no more than in proportion to what was read */
    }
}

/* Plane after plane: the rows of the next one are a stride again, and its first row is no stream forward. */
static void test_plane_after_plane(void **state)
{
    struct grid grid = line(100);

    (void)state;
    for (uint64_t plane = 0; plane < 3; plane++) {
        int issued = 0;

        for (uint64_t row = 0; row < 40; row++) {
            struct prefetch_plan plan = decide(&grid, M + plane * 4096 + row * 2 * M, 4096, 4, 100);

            assert_true(!plan.stream || plan.strided);
            issued += plan.stream ? (int)plan.count : 0;
            issue(&plan);
        }
        assert_true(issued >= 36);
    }
}

/* ---- no pattern --------------------------------------------------------------------------------- */

static void test_random_issues_nothing(void **state)
{
    struct grid grid = line(1 << 20);
    unsigned seed = (unsigned)time(NULL);
    int issued = 0;

    (void)state;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 2000; i++) {
        uint64_t offset = ((uint64_t)rand_r(&seed) << 20 | (uint64_t)rand_r(&seed)) % (grid.nbytes - 4096);

        issued += decide(&grid, offset, 4096, 16, 100).stream != NULL;
    }
    /* By chance one lies close behind another: 16 remembered, half a MiB, of a TiB. */
    assert_true(issued <= 5);
}

static void test_random_keeps_streams(void **state)
{
    struct grid grid = line(1 << 20);
    unsigned seed = 1;
    struct prefetch_plan plan;

    (void)state;
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t offset = ((uint64_t)rand_r(&seed) << 20 | (uint64_t)rand_r(&seed)) % (grid.nbytes - 4096);

        plan = decide(&grid, 77 * M + i * 128 * K, 128 * K, 4, 100);
        assert_true(i < 6 || seen.stream[0].high == 77 * M + (i + 1) * 128 * K);
        issue(&plan);
        decide(&grid, offset, 4096, 4, 100);
    }
}

static void test_waste_halves(void **state)
{
    struct grid grid = line(1000);

    (void)state;
    for (uint64_t i = 0; i < 10; i++) {
        struct prefetch_plan plan = decide(&grid, i * 128 * K, 128 * K, 400, 64);

        issue(&plan);
    }
    assert_int_equal(seen.stream[0].ahead, 64);
    prefetch_wasted(&seen);
    assert_int_equal(seen.stream[0].ahead, 32);
    for (int i = 0; i < 10; i++)
        prefetch_wasted(&seen);
    assert_int_equal(seen.stream[0].ahead, 1);
    assert_int_equal(seen.stream[1].ahead, 0); /* a free one stays so */
}

/* ---- whole scans -------------------------------------------------------------------------------- */

static const struct scan {
    int ndim;
    uint64_t shape[4], chunk[4];
    uint64_t slab; /* what a slab of blocks may take; 0: blocks are chunks */
} scans[] = {
    {1, {1000003}, {4096}, 0},
    {2, {1001, 777}, {64, 50}, 0},
    {2, {1001, 777}, {64, 50}, 4000},
    {3, {70, 131, 97}, {32, 32, 32}, 0},
    {3, {70, 131, 97}, {32, 32, 32}, 100000},
    {3, {70, 131, 97}, {32, 32, 32}, 3000},
    {4, {3, 9, 40, 55}, {2, 4, 16, 32}, 0},
    {3, {5, 300, 300}, {8, 300, 300}, 90000},
};

/* Sequential from the start: each block but the first is issued once, in order, before it is needed. */
static void run_scan(const struct scan *scan, uint64_t request)
{
    struct grid grid = grid_of(scan->ndim, scan->shape, scan->chunk, scan->slab);
    uint64_t blocks = grid_block_count(&grid), next = 1, lags = 0;

    set_up(NULL);
    for (uint64_t a = 0; a < grid.nbytes; a += request) {
        uint64_t b = min_u64(a + request, grid.nbytes);
        uint64_t in_slab = grid_slab_blocks(&grid), slab = grid_block_at(&grid, b - 1) / in_slab;
        struct prefetch_plan plan = prefetch_decide(&seen, &grid, a, b, 8, blocks);

        if (plan.stream) {
            assert_false(plan.strided || plan.down);
            assert_true(plan.first >= next); /* never again */
            assert_true(plan.last <= min_u64(blocks, (slab + 2) * in_slab + 8));
            lags += plan.first - next; /* the reader was there first */
            next = plan.last;
            issue(&plan);
        }
        if (a > 12 * request && request <= grid_slab_bytes(&grid)) /* up to 2^12 blocks ahead by now */
            assert_true(next > grid_block_at(&grid, b - 1) || next == blocks);
    }
    if (grid.nbytes > 13 * request && request <= grid_slab_bytes(&grid)) {
        assert_int_equal(next, blocks);
        assert_true(lags <= 12 * (1 + request * blocks / grid.nbytes + grid_slab_blocks(&grid)));
    }
}

static void test_scans(void **state)
{
    static const uint64_t requests[] = {509, 4096, 131072};

    (void)state;
    for (size_t i = 0; i < sizeof scans / sizeof *scans; i++)
        for (size_t j = 0; j < 3; j++)
            run_scan(&scans[i], requests[j]);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_forward_from_start),
        TEST(test_forward_from_middle),
        TEST(test_budget),
        TEST(test_end_of_array),
        TEST(test_out_of_order),
        TEST(test_out_of_order_at_first),
        TEST(test_backward),
        TEST(test_backward_scan),
        TEST(test_several_streams),
        TEST(test_strided),
        TEST(test_strided_with_gaps),
        TEST(test_plane_after_plane),
        TEST(test_random_issues_nothing),
        TEST(test_random_keeps_streams),
        TEST(test_waste_halves),
        TEST(test_scans),
    };
    return cmocka_run_group_tests_name("prefetch", tests, NULL, NULL);
}
