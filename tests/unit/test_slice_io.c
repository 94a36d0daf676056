// SPDX-License-Identifier: Apache-2.0
/* Random slices of random datasets, read and written in random ranges, against the array in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dosna/dosna.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

#define MOST (1 << 16) /* bytes of an array */

static dn_connection *conn;
static dn_dataset *set;
static struct dn_desc desc;
static unsigned char array[MOST], got[MOST], want[MOST];
static uint64_t place[MOST]; /* of each byte of the slice in the array */

static int set_up(void **unused)
{
    dn_config *config = dn_config_new();

    (void)unused;
    assert_int_equal(dn_config_set(config, "backend", "ram"), 0);
    assert_int_equal(dn_config_set(config, "cache_size", "64K"), 0);
    assert_int_equal(dn_connect(config, "any", &conn), 0);
    dn_config_free(config);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    return dn_disconnect(conn);
}

static void random_dataset(void)
{
    static const char *const types[] = {"|u1", "<i2", "|V3", "<f8", "<U3"};
    uint64_t shape[5], chunk[5];
    int64_t room = 1500;
    int ndim = (int)between(1, 5);

    for (int i = 0; i < ndim; i++) {
        shape[i] = (uint64_t)between(1, room < 14 ? room : 14);
        room /= (int64_t)shape[i];
        /* One axis may have padding beyond the shape: a chunk must fit in the cache to be written. */
        chunk[i] = (uint64_t)between(1, (int64_t)shape[i] + (i == 0));
    }
    assert_int_equal(dn_desc_init(&desc, ndim, shape, types[between(0, 4)], chunk, NULL), 0);
    assert_int_equal(dn_create(conn, "set", &desc, &set), 0);
    for (size_t i = 0; i < sizeof array; i++)
        array[i] = desc.fill ? desc.fill[i % desc.dtype.itemsize] : 0;
    if (between(0, 4)) { /* else nothing is stored */
        for (size_t i = 0; i < dn_desc_nbytes(&desc); i++)
            array[i] = (unsigned char)random_u64();
        assert_int_equal(dn_pwrite(set, array, dn_desc_nbytes(&desc), 0), dn_desc_nbytes(&desc));
    }
}

static void random_slice(struct dn_slice *slice)
{
    char text[400] = "[", *at = text + 1;

    for (int i = 0; i < desc.ndim; i++) {
        int64_t n = (int64_t)desc.shape[i], a = between(0, n - 1);

        at += sprintf(at, i ? "," : "");
        switch (between(0, 4)) {
        case 0:
            at += sprintf(at, ":");
            break;
        case 1:
            at += sprintf(at, "%lld", (long long)a);
            break;
        case 2:
            at += sprintf(at, "%lld::-%lld", (long long)a, (long long)between(1, 3));
            break;
        default:
            at += sprintf(at, "%lld:%lld:%lld", (long long)a, (long long)between(a, n), (long long)between(1, 3));
        }
    }
    sprintf(at, "]%s", between(0, 1) ? ".T" : "");
    assert_int_equal(dn_slice_parse(text, desc.ndim, desc.shape, slice), 0);
}

/* Fills `place`, and gives the slice's bytes. */
static uint64_t map_slice(const struct dn_slice *slice)
{
    uint64_t at[DN_MAX_NDIM] = {0}, size = desc.dtype.itemsize, n = dn_slice_elements(slice);

    for (uint64_t e = 0; e < n; e++) {
        uint64_t position[DN_MAX_NDIM], flat = 0;

        memcpy(position, slice->start, sizeof position);
        for (int k = 0; k < slice->out_ndim; k++)
            position[slice->axis[k]] += at[k] * (uint64_t)slice->step[slice->axis[k]];
        for (int i = 0; i < desc.ndim; i++)
            flat = flat * desc.shape[i] + position[i];
        for (uint64_t b = 0; b < size; b++)
            place[e * size + b] = flat * size + b;
        for (int k = slice->out_ndim - 1; k >= 0 && ++at[k] == dn_slice_extent(slice, k); k--)
            at[k] = 0;
    }
    return n * size;
}

static void check_read(const struct dn_slice *slice, uint64_t nbytes)
{
    uint64_t offset = (uint64_t)between(0, (int64_t)nbytes), n = 0;
    uint64_t length = (uint64_t)between(0, (int64_t)nbytes + 5);

    for (; n < length && offset + n < nbytes; n++)
        want[n] = array[place[offset + n]];
    memset(got, 0xa5, sizeof got);
    assert_int_equal(dn_read_slice(set, slice, got, length, offset), n);
    assert_memory_equal(got, want, n);
    assert_true(got[n] == 0xa5);
}

static void check_write(const struct dn_slice *slice, uint64_t nbytes)
{
    uint64_t offset = (uint64_t)between(0, (int64_t)nbytes), n = 0;
    uint64_t length = (uint64_t)between(1, (int64_t)nbytes + 5);

    if (offset == nbytes) {
        assert_int_equal(dn_write_slice(set, slice, want, length, offset), -ENOSPC);
        return;
    }
    for (; n < length; n++)
        want[n] = (unsigned char)random_u64();
    for (n = 0; n < length && offset + n < nbytes; n++)
        array[place[offset + n]] = want[n];
    assert_int_equal(dn_write_slice(set, slice, want, length, offset), n);
}

static void random_ranges(void **unused)
{
    (void)unused;
    for (int turn = 0; turn < 200; turn++) {
        random_dataset();
        for (int i = 0; i < 8; i++) {
            struct dn_slice slice;
            uint64_t nbytes;

            random_slice(&slice);
            nbytes = map_slice(&slice);
            check_read(&slice, nbytes);
            if (between(0, 2) == 0)
                check_write(&slice, nbytes);
            check_read(&slice, nbytes);
        }
        assert_int_equal(dn_pread(set, got, MOST, 0), dn_desc_nbytes(&desc));
        assert_memory_equal(got, array, dn_desc_nbytes(&desc));
        assert_int_equal(dn_close(set), 0);
        assert_int_equal(dn_delete(conn, "set"), 0);
        dn_desc_clear(&desc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(random_ranges, set_up, tear_down)};

    random_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
