// SPDX-License-Identifier: Apache-2.0
/* Box copy and fill against a loop over single bytes, which also sees that nothing beside the box
 * changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "box.h"
#include "random.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 65536

/* A box and two arrays that it lies in. */
struct box_case {
    int ndim;
    uint64_t count[DN_MAX_NDIM];
    uint64_t dst_stride[DN_MAX_NDIM], src_stride[DN_MAX_NDIM];
    uint64_t dst_at, src_at; /* the box's first byte */
};

static unsigned char dst[ROOM], src[ROOM], want[ROOM];
static struct box_case now;
static bool running;

static int tell_case(void **test_state)
{
    (void)test_state;
    for (int i = 0; running && i < now.ndim; i++)
        print_message("axis %d: count %llu, strides %llu and %llu\n", i,
                      (unsigned long long)now.count[i], (unsigned long long)now.dst_stride[i],
                      (unsigned long long)now.src_stride[i]);
    running = false;
    return 0;
}

/* An array somewhat larger than the box, along some axes, and the box somewhere in it. */
static uint64_t random_array(int ndim, const uint64_t *count, uint64_t *stride)
{
    uint64_t extent[DN_MAX_NDIM] = {0}, at = 0;

    for (int i = 0; i < ndim; i++)
        extent[i] = count[i] + (between_u64(0, 2) ? 0 : between_u64(1, 3));
    box_strides(ndim, extent, stride);
    for (int i = 0; i < ndim; i++)
        at += between_u64(0, extent[i] - count[i]) * stride[i];
    return at;
}

static void random_case(void)
{
    static const uint64_t runs[] = {1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 24, 33};
    uint64_t room;

    now.ndim = (int)between_u64(1, 6);
    now.count[now.ndim - 1] = runs[between_u64(0, 11)];
    room = 300 / now.count[now.ndim - 1];
    for (int i = 0; i < now.ndim - 1; i++) {
        now.count[i] = room ? between_u64(1, room < 7 ? room : 7) : 1;
        room /= now.count[i];
    }
    now.dst_at = random_array(now.ndim, now.count, now.dst_stride);
    now.src_at = random_array(now.ndim, now.count, now.src_stride);
    for (size_t i = 0; i < ROOM; i++) {
        src[i] = (unsigned char)random_u64();
        dst[i] = want[i] = (unsigned char)random_u64();
    }
    running = true;
}

/* Where the n-th byte of the box lies; *column: its place in its row. */
static uint64_t byte_at(uint64_t n, uint64_t at, const uint64_t *stride, uint64_t *column)
{
    *column = n % now.count[now.ndim - 1];
    for (int i = now.ndim - 1; i >= 0; i--) {
        at += n % now.count[i] * stride[i];
        n /= now.count[i];
    }
    return at;
}

static uint64_t volume(void)
{
    uint64_t n = 1;

    for (int i = 0; i < now.ndim; i++)
        n *= now.count[i];
    return n;
}

/* The box in a few pieces along its last axis: those are the target, or the source. */
static void copy_beside(bool to_boxes)
{
    struct box_beside pieces[8];
    uint64_t left = now.count[now.ndim - 1], at = to_boxes ? now.dst_at : now.src_at;
    int n = 0;

    while (left) {
        uint64_t run = n < 7 ? between_u64(1, left) : left;

        pieces[n++] = (struct box_beside){(to_boxes ? dst : src) + at, run};
        at += run;
        left -= run;
    }
    if (to_boxes)
        box_copy_beside(now.ndim, now.count, src + now.src_at, now.src_stride, pieces, n, now.dst_stride, true);
    else
        box_copy_beside(now.ndim, now.count, dst + now.dst_at, now.dst_stride, pieces, n, now.src_stride, false);
}

enum way { PLAIN, FROM_BOXES, TO_BOXES, WAYS };

static void check_copy(enum way way)
{
    uint64_t column;

    for (uint64_t n = 0; n < volume(); n++)
        want[byte_at(n, now.dst_at, now.dst_stride, &column)] =
            src[byte_at(n, now.src_at, now.src_stride, &column)];
    if (way != PLAIN)
        copy_beside(way == TO_BOXES);
    else
        box_copy(now.ndim, now.count, dst + now.dst_at, now.dst_stride, src + now.src_at,
                 now.src_stride);
    assert_memory_equal(dst, want, ROOM);
}

static void copies(void **test_state)
{
    (void)test_state;
    for (int k = 0; k < 400; k++) {
        random_case();
        check_copy(k % WAYS);
        running = false;
    }
}

static void fills(void **test_state)
{
    (void)test_state;
    for (int k = 0; k < 400; k++) {
        uint64_t itemsize = between_u64(1, 20), phase = between_u64(0, itemsize - 1), column;
        bool zero = between_u64(0, 3) == 0;

        random_case();
        for (uint64_t n = 0; n < volume(); n++) {
            uint64_t at = byte_at(n, now.dst_at, now.dst_stride, &column);

            want[at] = zero ? 0 : src[(phase + column) % itemsize];
        }
        box_fill(now.ndim, now.count, dst + now.dst_at, now.dst_stride, zero ? NULL : src, itemsize,
                 phase);
        assert_memory_equal(dst, want, ROOM);
        running = false;
    }
}

/* Rows longer than the stretch that long fills repeat, and items longer than a row. */
static void long_fills(void **test_state)
{
    static const uint64_t cases[][3] = {/* row, itemsize, phase */
                                        {20000, 1, 0},   {20000, 3, 2},   {20001, 8, 5},
                                        {4096, 4096, 0}, {9000, 5000, 1}, {100, 10000, 9950},
                                        {100, 10000, 7}, {1, 7, 6}};

    (void)test_state;
    for (size_t i = 0; i < ROOM; i++)
        src[i] = (unsigned char)random_u64();
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        uint64_t row = cases[k][0], size = cases[k][1], phase = cases[k][2];
        uint64_t count[2] = {2, row}, stride[2] = {row + 3, 1};

        memset(dst, 0xa5, ROOM);
        memset(want, 0xa5, ROOM);
        for (uint64_t n = 0; n < 2 * row; n++)
            want[n / row * (row + 3) + n % row] = src[(phase + n % row) % size];
        box_fill(2, count, dst, stride, src, size, phase);
        assert_memory_equal(dst, want, ROOM);
    }
}

static void many_axes(void **test_state)
{
    (void)test_state;
    now.ndim = DN_MAX_NDIM;
    for (int i = 0; i < DN_MAX_NDIM; i++)
        now.count[i] = i % 4 == 1 ? 2 : 1;
    for (int k = 0; k < 20; k++) {
        uint64_t extent[DN_MAX_NDIM], *strides[] = {now.dst_stride, now.src_stride};

        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < DN_MAX_NDIM; i++)
                extent[i] = now.count[i] + (i % 8 == 1 ? between_u64(0, 1) : 0);
            box_strides(DN_MAX_NDIM, extent, strides[side]);
        }
        now.dst_at = now.src_at = 0;
        for (size_t i = 0; i < ROOM; i++) {
            src[i] = (unsigned char)random_u64();
            dst[i] = want[i] = 0;
        }
        running = true;
        check_copy(false);
        running = false;
    }
}

static void empty_boxes(void **test_state)
{
    (void)test_state;
    memset(dst, 1, ROOM);
    memset(want, 1, ROOM);
    for (int zero = 0; zero < 3; zero++) {
        uint64_t count[3] = {4, 4, 4}, dense[3] = {16, 4, 1}, sparse[3] = {100, 10, 1};

        count[zero] = 0;
        box_copy(3, count, dst, dense, src, dense);
        box_copy(3, count, dst, dense, src, sparse);
        box_fill(3, count, dst, sparse, src, 2, 0);
    }
    assert_memory_equal(dst, want, ROOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(copies, tell_case),
        cmocka_unit_test_teardown(fills, tell_case),
        cmocka_unit_test(long_fills),
        cmocka_unit_test_teardown(many_axes, tell_case),
        cmocka_unit_test(empty_boxes),
    };

    random_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
