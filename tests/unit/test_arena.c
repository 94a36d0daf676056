// SPDX-License-Identifier: Apache-2.0
/* The arena: no more than its bound, buffers that don't overlap, and memory that goes from size to size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arena.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIMIT (4u << 20)
#define MOST 4096

static struct arena *make(uint64_t limit)
{
    struct arena *arena;

    assert_int_equal(arena_create(limit, &arena), 0);
    return arena;
}

/* As many buffers as the bound allows, each filled with its number. */
static int take_all(struct arena *arena, size_t size, unsigned char **out)
{
    int count = 0;

    while (count < MOST && (out[count] = arena_take(arena, size, 0))) {
        memset(out[count], count & 255, size);
        count++;
    }
    return count;
}

static void check_all(unsigned char **buffers, int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(buffers[i][0], i & 255);
        assert_int_equal(buffers[i][size - 1], i & 255);
    }
}

static void give_all(struct arena *arena, unsigned char **buffers, int count, size_t size)
{
    for (int i = 0; i < count; i++)
        arena_give(arena, buffers[i], size);
}

/* Rounding wastes an eighth at most, and small buffers two words and as much again. */
static void test_bound(void **state)
{
    static const size_t sizes[] = {1100, 4095, 4096, 4097, 20000, 65536, 100000, 524288, 1000001, LIMIT};
    static unsigned char *buffers[MOST];

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct arena *arena = make(LIMIT);
        int count = take_all(arena, sizes[i], buffers);
        size_t largest = sizes[i] + sizes[i] / 8 + 4096;

        assert_true(arena_used(arena) <= LIMIT);
        assert_true(arena_held(arena) <= LIMIT);
        assert_true((uint64_t)(count + 1) * largest > LIMIT);
        check_all(buffers, count, sizes[i]);
        give_all(arena, buffers, count, sizes[i]);
        assert_int_equal(arena_used(arena), 0);
        assert_true(arena_held(arena) <= LIMIT);
        arena_destroy(arena);
    }
}

static void test_too_large(void **state)
{
    struct arena *arena = make(LIMIT);

    (void)state;
    assert_null(arena_take(arena, LIMIT + 1, 0));
    assert_null(arena_take(arena, SIZE_MAX / 4, 0));
    assert_int_equal(arena_held(arena), 0);
    arena_destroy(arena);
}

static void test_spare_is_left(void **state)
{
    struct arena *arena = make(LIMIT);
    void *first;

    (void)state;
    assert_null(arena_take(arena, LIMIT / 2, LIMIT / 2 + 1));
    first = arena_take(arena, LIMIT / 2, LIMIT / 2);
    assert_non_null(first);
    assert_null(arena_take(arena, 100, LIMIT / 2));
    assert_null(arena_take(arena, 65536, LIMIT / 2));
    arena_give(arena, first, LIMIT / 2);
    arena_destroy(arena);
}

/* What was given back is what the next one of its size gets. */
static void test_recycling(void **state)
{
    struct arena *arena = make(LIMIT);
    void *first = arena_take(arena, 70000, 0), *second = arena_take(arena, 70000, 0);
    uint64_t held = arena_held(arena);

    (void)state;
    arena_give(arena, first, 70000);
    assert_int_equal(arena_held(arena), held);
    assert_true(arena_used(arena) < held);
    assert_ptr_equal(arena_take(arena, 69000, 0), first); /* the same rounded size */
    assert_int_equal(arena_held(arena), held);
    arena_give(arena, first, 69000);
    arena_give(arena, second, 70000);
    arena_give(arena, NULL, 5);
    arena_destroy(arena);
}

/* Memory kept for one size goes back to the system when another needs it, and comes again. */
static void test_cooling(void **state)
{
    static const size_t sizes[] = {65536, 2000, 300000, 65536, LIMIT, 65536};
    static unsigned char *buffers[MOST];
    struct arena *arena = make(LIMIT);
    int before = 0;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int count = take_all(arena, sizes[i], buffers);

        assert_true((uint64_t)(count + 1) * (sizes[i] + sizes[i] / 8 + 4096) > LIMIT);
        assert_true(arena_held(arena) <= LIMIT);
        check_all(buffers, count, sizes[i]);
        give_all(arena, buffers, count, sizes[i]);
        if (sizes[i] == 65536) {
            assert_true(!before || before == count);
            before = count;
        }
    }
    arena_destroy(arena);
}

static void test_charge(void **state)
{
    static unsigned char *buffers[MOST];
    struct arena *arena = make(LIMIT);
    int all = take_all(arena, 65536, buffers), fewer;

    (void)state;
    give_all(arena, buffers, all, 65536);
    arena_charge(arena, LIMIT / 2); /* cools what was kept */
    assert_int_equal(arena_used(arena), LIMIT / 2);
    assert_true(arena_held(arena) <= LIMIT);
    fewer = take_all(arena, 65536, buffers);
    assert_int_equal(fewer, all / 2);
    arena_charge(arena, -(int64_t)(LIMIT / 2));
    give_all(arena, buffers, fewer, 65536);
    assert_int_equal(arena_used(arena), 0);
    arena_destroy(arena);
}

/* Random sizes come and go: nothing overlaps, and the bound holds. */
static void test_random(void **state)
{
    static const size_t sizes[] = {64, 1000, 4096, 5000, 30000, 131072, 200000};
    enum { SLOTS = 200 };
    unsigned char *buffer[SLOTS] = {0};
    size_t size[SLOTS] = {0};
    unsigned seed = (unsigned)time(NULL);
    struct arena *arena = make(LIMIT);

    (void)state;
    print_message("seed %u\n", seed);
    for (int step = 0; step < 20000; step++) {
        int i = rand_r(&seed) % SLOTS;

        if (buffer[i]) {
            for (size_t at = 0; at < size[i]; at += 509)
                assert_int_equal(buffer[i][at], i);
            arena_give(arena, buffer[i], size[i]);
            buffer[i] = NULL;
        } else {
            size[i] = sizes[(size_t)rand_r(&seed) % 7] - (size_t)rand_r(&seed) % 50;
            buffer[i] = arena_take(arena, size[i], 0);
            if (buffer[i])
                memset(buffer[i], i, size[i]);
        }
        assert_true(arena_held(arena) <= LIMIT);
        assert_true(arena_used(arena) <= arena_held(arena));
    }
    for (int i = 0; i < SLOTS; i++)
        arena_give(arena, buffer[i], size[i]);
    assert_int_equal(arena_used(arena), 0);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_spare_is_left),
        cmocka_unit_test(test_recycling),
        cmocka_unit_test(test_cooling),
        cmocka_unit_test(test_charge),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
