// SPDX-License-Identifier: Apache-2.0
/* Slices against an array that is indexed element by element, with Python's rules written down again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dosna/slice.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

#define MOST 4096
#define NONE INT64_MAX

/* An array of the flat positions that its elements have in the source. */
struct model {
    int ndim;
    uint64_t shape[DN_MAX_NDIM];
    uint64_t value[MOST];
};

static uint64_t elements(const struct model *model)
{
    uint64_t n = 1;

    for (int i = 0; i < model->ndim; i++)
        n *= model->shape[i];
    return n;
}

/* result[…] = model[position[axis](its index)]: along one axis, by a list of positions. */
static void take(struct model *model, int axis, const uint64_t *positions, uint64_t count)
{
    struct model out = *model;
    uint64_t inner = 1, outer = 1, n = 0;

    for (int i = 0; i < model->ndim; i++) {
        outer *= i < axis ? model->shape[i] : 1;
        inner *= i > axis ? model->shape[i] : 1;
    }
    for (uint64_t o = 0; o < outer; o++)
        for (uint64_t p = 0; p < count; p++)
            for (uint64_t i = 0; i < inner; i++)
                out.value[n++] = model->value[(o * model->shape[axis] + positions[p]) * inner + i];
    out.shape[axis] = count;
    *model = out;
}

static void squeeze(struct model *model, const bool *dropped)
{
    int n = 0;

    for (int i = 0; i < model->ndim; i++)
        if (!dropped[i])
            model->shape[n++] = model->shape[i];
    model->ndim = n;
}

static void transpose(struct model *model, const int *order)
{
    struct model out = *model;
    uint64_t at[DN_MAX_NDIM] = {0}, stride[DN_MAX_NDIM], n = elements(model);

    for (int i = model->ndim - 1, s = 1; i >= 0; s *= (int)model->shape[i], i--)
        stride[i] = (uint64_t)s;
    for (int k = 0; k < model->ndim; k++)
        out.shape[k] = model->shape[order[k]];
    for (uint64_t e = 0; e < n; e++) {
        uint64_t from = 0;

        for (int k = 0; k < model->ndim; k++)
            from += at[k] * stride[order[k]];
        out.value[e] = model->value[from];
        for (int k = model->ndim - 1; k >= 0 && ++at[k] == out.shape[k]; k--)
            at[k] = 0;
    }
    *model = out;
}

static char *put(char *at, const char *format, int64_t value)
{
    return at + (value == NONE ? 0 : sprintf(at, format, (long long)value));
}

/* A random range of an axis as text and as positions. */
static char *random_range(char *at, uint64_t size, uint64_t *positions, uint64_t *count)
{
    int64_t n = (int64_t)size, far = n + 3;
    int64_t start = between(0, 2) ? between(-far, far) : NONE, stop = between(0, 2) ? between(-far, far) : NONE;
    int64_t step = between(0, 1) ? NONE : between(1, 3) * (between(0, 1) ? 1 : -1);
    int64_t by = step == NONE ? 1 : step, p, end;

    at = put(at, "%lld", start);
    *at++ = ':';
    at = put(at, "%lld", stop);
    at = put(at, ":%lld", step);
    p = start == NONE ? (by > 0 ? 0 : n - 1) : start < 0 ? start + n : start;
    end = stop == NONE ? (by > 0 ? n : -1) : stop < 0 ? stop + n : stop;
    if (stop != NONE && end < 0)
        end = by > 0 ? 0 : -1;
    if (p < 0)
        p = by > 0 ? 0 : -1;
    if (p >= n)
        p = by > 0 ? n : n - 1;
    *count = 0;
    for (; by > 0 ? p < end && p < n : p > end && p >= 0; p += by)
        positions[(*count)++] = (uint64_t)p;
    return at;
}

static char *random_index(char *at, struct model *model)
{
    int items = (int)between(0, model->ndim), axis = 0, before = model->ndim;
    bool ellipsis = items < model->ndim && between(0, 2) == 0, dropped[DN_MAX_NDIM] = {false};
    int place = ellipsis ? (int)between(0, items) : -1;

    at += sprintf(at, "[%s", items + ellipsis ? "" : "...");
    for (int item = 0; item < items + ellipsis; item++) {
        uint64_t positions[MOST], count = 1;

        if (item)
            at += sprintf(at, between(0, 1) ? "," : " , ");
        if (item == place) {
            at += sprintf(at, "...");
            axis += before - items;
            continue;
        }
        dropped[axis] = model->shape[axis] && between(0, 3) == 0;
        if (dropped[axis]) {
            int64_t i = between(-(int64_t)model->shape[axis], (int64_t)model->shape[axis] - 1);

            at = put(at, "%lld", i);
            positions[0] = (uint64_t)(i < 0 ? i + (int64_t)model->shape[axis] : i);
        } else {
            at = random_range(at, model->shape[axis], positions, &count);
        }
        take(model, axis++, positions, count);
    }
    squeeze(model, dropped);
    return at + sprintf(at, "]");
}

static char *random_transpose(char *at, struct model *model)
{
    int order[DN_MAX_NDIM];
    bool reverse = model->ndim == 0 || between(0, 1);

    for (int k = 0; k < model->ndim; k++)
        order[k] = model->ndim - 1 - k;
    at += sprintf(at, reverse ? (between(0, 1) ? ".T" : ".transpose()") : ".transpose(");
    for (int k = model->ndim - 1; !reverse && k > 0; k--) {
        int other = (int)between(0, k), swap = order[k];

        order[k] = order[other];
        order[other] = swap;
    }
    for (int k = 0; !reverse && k < model->ndim; k++)
        at += sprintf(at, "%s%d", k ? "," : "", between(0, 1) ? order[k] : order[k] - model->ndim);
    at += sprintf(at, reverse ? "" : ")");
    transpose(model, order);
    return at;
}

static void compare(const struct dn_slice *slice, const struct model *model, const uint64_t *shape)
{
    uint64_t at[DN_MAX_NDIM] = {0}, n = elements(model), first;
    bool line = true;

    assert_int_equal(slice->out_ndim, model->ndim);
    assert_int_equal(dn_slice_elements(slice), n);
    for (int k = 0; k < model->ndim; k++)
        assert_int_equal(dn_slice_extent(slice, k), model->shape[k]);
    for (uint64_t e = 0; e < n; e++) {
        uint64_t position[DN_MAX_NDIM], flat = 0;

        for (int i = 0; i < slice->ndim; i++)
            position[i] = slice->start[i];
        for (int k = 0; k < model->ndim; k++)
            position[slice->axis[k]] += at[k] * (uint64_t)slice->step[slice->axis[k]];
        for (int i = 0; i < slice->ndim; i++) {
            assert_true(position[i] < shape[i]);
            flat = flat * shape[i] + position[i];
        }
        assert_int_equal(flat, model->value[e]);
        line = line && flat == model->value[0] + e;
        for (int k = model->ndim - 1; k >= 0 && ++at[k] == model->shape[k]; k--)
            at[k] = 0;
    }
    assert_int_equal(dn_slice_contiguous(slice, shape, &first), line);
    if (line && n)
        assert_int_equal(first, model->value[0]);
}

static void random_expressions(void **unused)
{
    (void)unused;
    for (int turn = 0; turn < 3000; turn++) {
        static struct model model;
        uint64_t shape[DN_MAX_NDIM];
        struct dn_slice slice;
        char text[1024] = "", *at = text;

        model.ndim = (int)between(1, 5);
        for (int i = 0; i < model.ndim; i++)
            shape[i] = model.shape[i] = (uint64_t)between(1, 5);
        for (uint64_t e = 0; e < elements(&model); e++)
            model.value[e] = e;
        int ndim = model.ndim;
        for (int64_t operations = between(0, 3); operations > 0; operations--)
            at = between(0, 2) ? random_index(at, &model) : random_transpose(at, &model);
        if (dn_slice_parse(text, ndim, shape, &slice) != 0)
            fail_msg("seed %llu: '%s': %s", (unsigned long long)random_seed, text, dn_error_text(-EINVAL));
        compare(&slice, &model, shape);
    }
}

static const uint64_t shape3[] = {4, 5, 6};

static void refused(void **unused)
{
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"4", -ERANGE},          {"-5", -ERANGE},           {"0,0,6", -ERANGE},
        {"[9][0]", -ERANGE},     {".transpose(0,1,3)", -ERANGE}, {".transpose(0,1,99999999999999)", -ERANGE},
        {"::0", -EINVAL},        {"0,0,0,0", -EINVAL},      {"...,...", -EINVAL},
        {"[]", -EINVAL},         {"[0", -EINVAL},           {"0]", -EINVAL},
        {"[0]]", -EINVAL},       {"[0]x", -EINVAL},         {"a", -EINVAL},
        {"1 2", -EINVAL},        {",", -EINVAL},            {"1,,2", -EINVAL},
        {"1:2:3:4", -EINVAL},    {"1.5", -EINVAL},          {"....", -EINVAL},
        {".U", -EINVAL},         {".transpose", -EINVAL},   {".transpose(0,1)", -EINVAL},
        {".transpose(0,0,1)", -EINVAL}, {".transpose(0,1,2,3)", -EINVAL}, {".transpose(0,1,2", -EINVAL},
        {".transpose(,)", -EINVAL}, {"[0][0][0][0]", -EINVAL}, {"[None]", -EINVAL},
        {"[1:2", -EINVAL},       {"- 1", -EINVAL},          {"[[0]]", -EINVAL},
    };
    struct dn_slice slice;

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dn_error_clear();
        if (dn_slice_parse(cases[i].text, 3, shape3, &slice) != cases[i].error)
            fail_msg("'%s' was not refused with %d", cases[i].text, cases[i].error);
        assert_string_not_equal(dn_error_text(cases[i].error), strerror(-cases[i].error));
    }
}

static void forms(void **unused)
{
    static const char *const same[] = {
        "1:3, ..., ::-2", "[1:3,:,::-2]", " [ 1 : 3 , : , : : -2 ] ", "1:3,:,::-2,", "[1:3][...,::-2]",
        "[1:+3,0:99999999999999999999999,5::-2]", ".T[::-2].T[1:3]", ".transpose(2,0,1)[::-2,1:3].transpose(1,2,0)",
    };
    struct dn_slice want, got;

    (void)unused;
    assert_int_equal(dn_slice_parse(same[0], 3, shape3, &want), 0);
    assert_int_equal(want.start[2], 5);
    assert_int_equal(want.step[2], -2);
    assert_int_equal(want.count[2], 3);
    for (size_t i = 1; i < sizeof same / sizeof *same; i++) {
        if (dn_slice_parse(same[i], 3, shape3, &got) != 0)
            fail_msg("'%s' was refused", same[i]);
        assert_memory_equal(&got, &want, sizeof got);
    }
    assert_int_equal(dn_slice_parse("", 3, shape3, &got), 0);
    dn_slice_whole(3, shape3, &want);
    assert_memory_equal(&got, &want, sizeof got);
    assert_int_equal(dn_slice_parse("0,0,0", 3, shape3, &got), 0);
    assert_int_equal(got.out_ndim, 0);
    assert_int_equal(dn_slice_parse("[0,0,0].T[...]", 3, shape3, &got), 0);
    assert_int_equal(dn_slice_elements(&got), 1);
}

static void narrow(void **unused)
{
    struct dn_slice slice, want;

    (void)unused;
    assert_int_equal(dn_slice_parse(".T[::-2]", 3, shape3, &slice), 0);
    dn_slice_narrow(&slice, 0, 1, 2);
    dn_slice_narrow(&slice, 2, 3, 1);
    assert_int_equal(dn_slice_parse(".T[3:0:-2,:,3:]", 3, shape3, &want), 0);
    assert_memory_equal(&slice, &want, sizeof slice);
    dn_slice_thin(&slice, 1, 2);
    assert_int_equal(dn_slice_parse(".T[3:0:-2,::2,3:]", 3, shape3, &want), 0);
    assert_memory_equal(&slice, &want, sizeof slice);
}

/* Positions up to 2^63 are what they say, and larger ones are cut to the extent. */
static void far_positions(void **state)
{
    static const struct {
        const char *text;
        uint64_t start, count;
    } rows[] = {
        {"[9223372036854775800:]", INT64_MAX - 7, 7},
        {"[2305843009213693953:2305843009213693955]", (UINT64_C(1) << 61) + 1, 2},
        {"[9223372036854775803]", INT64_MAX - 4, 1},
        {"[-2:]", INT64_MAX - 2, 2},
        {"[:99999999999999999999999]", 0, INT64_MAX},
        {"[-99999999999999999999999:3]", 0, 3},
        {"[::9223372036854775806]", 0, 2},
        {"[::-9223372036854775806]", INT64_MAX - 1, 2},
    };
    const uint64_t shape = INT64_MAX;
    struct dn_slice slice;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(dn_slice_parse(rows[i].text, 1, &shape, &slice), 0);
        assert_int_equal(slice.start[0], rows[i].start);
        assert_int_equal(slice.count[0], rows[i].count);
    }
    assert_true(dn_slice_parse("[9223372036854775807]", 1, &shape, &slice) < 0);
    assert_true(dn_slice_parse("[99999999999999999999999]", 1, &shape, &slice) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_expressions),
        cmocka_unit_test(refused),
        cmocka_unit_test(forms),
        cmocka_unit_test(narrow),
        cmocka_unit_test(far_positions),
    };

    random_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
