// SPDX-License-Identifier: Apache-2.0
/* Chunks of one dataset: read, write, ranges, versions, delete, list, and several threads at once. */
#include "contract.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CHUNKS 9 /* of make() */

static int read_byte(struct set *set, uint64_t flat)
{
    uint64_t index[DN_MAX_NDIM];
    unsigned char byte;
    struct dn_chunk_id id = chunk_at(&set->desc, flat, index);
    return store_read(set->data, &id, 0, &byte, 1, NULL);
}

static int has(struct set *set, uint64_t flat)
{
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&set->desc, flat, index);
    return store_has_chunk(set->data, &id);
}

static int erase(struct set *set, uint64_t flat)
{
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&set->desc, flat, index);
    return store_delete_chunk(set->data, &id);
}

/* ---- what is stored ---------------------------------------------------------------------------- */

struct ticks {
    const struct dn_desc *desc;
    unsigned seen[CHUNKS];
    unsigned calls, stop_at;
};

static int tick(void *arg, const uint64_t *index, int ndim)
{
    struct ticks *ticks = arg;
    uint64_t flat = 0;
    for (int axis = 0; axis < ndim; axis++)
        flat = flat * dn_desc_grid(ticks->desc, axis) + index[axis];
    if (flat < CHUNKS)
        ticks->seen[flat]++;
    return ++ticks->calls == ticks->stop_at ? -EXFULL : 0;
}

/* Bit n of `stored` says that chunk n, and no other, is stored: every operation agrees on it. */
static void assert_stored(struct set *set, unsigned stored)
{
    struct ticks ticks = {.desc = &set->desc};
    assert_ok(list_chunks(set->data, &set->desc, tick, &ticks));
    for (uint64_t flat = 0; flat < CHUNKS; flat++) {
        unsigned want = (stored >> flat) & 1;
        assert_int_equal(ticks.seen[flat], want);
        assert_int_equal(has(set, flat), want);
        assert_int_equal(read_byte(set, flat), want ? 0 : -ENOENT);
    }
    assert_int_equal(ticks.calls, __builtin_popcount(stored));
}

static void test_absent_chunk(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    assert_stored(&set, 0);
    assert_int_equal(erase(&set, 4), -ENOENT);
    assert_stored(&set, 0); /* nothing of this has stored anything */
    drop(&set);
}

static void test_write_read(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    for (uint64_t flat = 0; flat < CHUNKS; flat += 2)
        assert_ok(put(&set, flat, flat));
    assert_stored(&set, 0x155);
    for (uint64_t flat = 0; flat < CHUNKS; flat += 2)
        assert_true(holds(&set, flat, flat));
    assert_ok(put(&set, 8, 77));
    assert_true(holds(&set, 8, 77));
    assert_true(holds(&set, 6, 6));
    drop(&set);
}

static void test_delete_chunk(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    for (uint64_t flat = 0; flat < CHUNKS; flat++)
        assert_ok(put(&set, flat, flat));
    assert_stored(&set, 0x1ff);
    assert_int_equal(erase(&set, 0), 0);
    assert_int_equal(erase(&set, 4), 0);
    assert_int_equal(erase(&set, 4), -ENOENT);
    assert_stored(&set, 0x1ee);
    assert_ok(put(&set, 4, 44));
    assert_true(holds(&set, 4, 44));
    assert_true(holds(&set, 5, 5));
    drop(&set);
}

/* Several by one request where the store can, absent ones among them. */
static void test_delete_several(void **state)
{
    (void)state;
    struct set set;
    uint64_t index[CHUNKS][DN_MAX_NDIM];
    struct dn_chunk_id ids[CHUNKS];
    make(&set);
    for (uint64_t flat = 0; flat < CHUNKS; flat++) {
        ids[flat] = chunk_at(&set.desc, flat, index[flat]);
        if (flat != 3)
            assert_ok(put(&set, flat, flat));
    }
    size_t most = store_deletes_at_once(set.data) < 5 ? 1 : 5;
    for (size_t flat = 0; flat < 5; flat += most)
        assert_int_equal(store_delete_chunks(set.data, ids + flat, most), 0);
    assert_stored(&set, 0x1e0);
    assert_true(holds(&set, 5, 5));
    drop(&set);
}

static void test_list_chunks_stops(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    for (uint64_t flat = 0; flat < CHUNKS; flat++)
        assert_ok(put(&set, flat, flat));
    struct ticks ticks = {.desc = &set.desc, .stop_at = 3};
    assert_int_equal(list_chunks(set.data, &set.desc, tick, &ticks), -EXFULL);
    assert_int_equal(ticks.calls, 3);
    drop(&set);
}

static void test_strays(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    assert_ok(put(&set, 0, 1));
    assert_ok(put(&set, 8, 2));
    assert_int_equal(store_delete_strays(set.data), 0);
    assert_stored(&set, 0x101);
    assert_true(holds(&set, 8, 2));
    drop(&set);
}

static void test_copy_chunk(void **state)
{
    (void)state;
    struct set from, to;
    uint64_t index[DN_MAX_NDIM];
    make(&from);
    make(&to);
    assert_ok(put(&from, 4, 1));
    assert_ok(put(&to, 4, 2));
    struct dn_chunk_id id = chunk_at(&from.desc, 4, index);
    assert_ok(store_copy_chunk(from.data, to.data, &id));
    assert_true(holds(&to, 4, 1));
    id = chunk_at(&from.desc, 8, index);
    assert_int_equal(store_copy_chunk(from.data, to.data, &id), -ENOENT);
    assert_stored(&to, 0x10);
    assert_ok(put(&from, 4, 3)); /* two chunks now, not two names of one */
    assert_true(holds(&to, 4, 1));
    drop(&to);
    drop(&from);
}

static int tick_stray(void *arg, const char *name)
{
    int *left = arg;
    assert_true(*name != '\0');
    return --*left == 0 ? -EXFULL : 0;
}

/* What is listed: so many, or none where the store does not tell or has lost them with the description. */
static void assert_strays(struct set *set, int count)
{
    int left = 100, rc = store_list_strays(set->data, tick_stray, &left);
    assert_true(rc == 0 || rc == -ENOTSUP);
    assert_true(left == 100 || left == 100 - count);
    if (left == 100)
        return;
    left = count; /* and it stops when it is told to */
    assert_int_equal(store_list_strays(set->data, tick_stray, &left), -EXFULL);
}

static void test_chunk_length(void **state)
{
    (void)state;
    struct set set;
    uint64_t index[DN_MAX_NDIM], nbytes = 1;
    make(&set);
    assert_ok(put(&set, 8, 1)); /* the corner, with padding */
    struct dn_chunk_id id = chunk_at(&set.desc, 8, index);
    assert_ok(store_chunk_length(set.data, &id, &nbytes));
    assert_int_equal(nbytes, set.nbytes);
    id = chunk_at(&set.desc, 4, index);
    assert_int_equal(store_chunk_length(set.data, &id, &nbytes), -ENOENT);
    drop(&set);
}

static int no_stray(void *arg, const char *name)
{
    (void)arg;
    return dn_fail(-EXFULL, "%s is a stray", name);
}

static void test_no_strays(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    assert_ok(put(&set, 8, 1));
    int rc = store_list_strays(set.data, no_stray, NULL);
    assert_true(rc == 0 || rc == -ENOTSUP);
    drop(&set);
}

/* Where the description can go without the chunks, those outside a smaller grid of the same name go too. */
static void test_strays_of_larger_grid(void **state)
{
    (void)state;
    struct set set;
    struct dn_desc small, large = {0};
    if (store_can(contract.store, DN_DELETES_CHUNKS))
        skip_because("deleting a dataset takes its chunks along");
    make(&set);
    for (uint64_t flat = 0; flat < CHUNKS; flat++)
        assert_ok(put(&set, flat, flat));
    assert_ok(dn_desc_copy(&large, &set.desc));
    store_close_dataset(set.data);
    dn_desc_clear(&set.desc);
    assert_ok(store_delete(contract.store, set.name));

    describe(&small, 2, (uint64_t[]){3, 2}, "<u2", (uint64_t[]){3, 2}, NULL);
    assert_ok(store_create(contract.store, set.name, &small));
    assert_ok(store_open_dataset(contract.store, set.name, &set.data, &set.desc));
    assert_strays(&set, CHUNKS - 1);
    assert_int_equal(store_delete_strays(set.data), 0);
    assert_strays(&set, 0);
    drop(&set);

    assert_ok(store_create(contract.store, set.name, &large));
    assert_ok(store_open_dataset(contract.store, set.name, &set.data, &set.desc));
    assert_stored(&set, 0);
    drop(&set);
    dn_desc_clear(&small);
    dn_desc_clear(&large);
}

static void test_flush(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    assert_int_equal(store_flush(set.data), 0);
    assert_ok(put(&set, 3, 1));
    assert_int_equal(erase(&set, 3), 0);
    assert_ok(put(&set, 4, 2));
    assert_int_equal(store_flush(set.data), 0);
    assert_int_equal(store_flush(set.data), 0);
    assert_stored(&set, 0x10);
    assert_true(holds(&set, 4, 2));
    drop(&set);
}

static void test_two_handles(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    struct set other = {.nbytes = set.nbytes};
    assert_ok(store_open_dataset(contract.store, set.name, &other.data, &other.desc));
    assert_ok(put(&set, 4, 1));
    assert_true(holds(&other, 4, 1));
    assert_ok(put(&other, 4, 2));
    assert_true(holds(&set, 4, 2));
    assert_int_equal(erase(&other, 4), 0);
    assert_stored(&set, 0);
    assert_ok(put(&set, 0, 3));
    store_close_dataset(set.data);
    set.data = other.data;
    dn_desc_clear(&other.desc);
    assert_true(holds(&set, 0, 3));
    drop(&set);
}

/* ---- ranges ------------------------------------------------------------------------------------ */

static int make_wide(struct set *set)
{
    return try_make(set, 3, (uint64_t[]){20, 30, 40}, "<u4", (uint64_t[]){16, 16, 16});
}

/* A range of a chunk, of any size from one byte to all of it. */
static void random_range(size_t nbytes, uint64_t *offset, size_t *length)
{
    size_t most = next_random() % 2 ? nbytes : 64;
    *length = 1 + next_random() % most;
    *offset = next_random() % (nbytes - *length + 1);
}

static void test_read_ranges(void **state)
{
    (void)state;
    struct set set;
    uint64_t index[DN_MAX_NDIM];
    assert_ok(make_wide(&set));
    assert_ok(put(&set, 11, 5)); /* the corner that is mostly padding */
    struct dn_chunk_id id = chunk_at(&set.desc, 11, index);
    unsigned char *want = pattern(set.nbytes, 5), *have = malloc(set.nbytes + 2);
    assert_non_null(want);
    assert_non_null(have);
    for (int i = 0; i < 200; i++) {
        uint64_t offset;
        size_t length;
        random_range(set.nbytes, &offset, &length);
        memset(have, 0xa5, set.nbytes + 2);
        assert_ok(store_read(set.data, &id, offset, have + 1, length, NULL));
        assert_memory_equal(have + 1, want + offset, length);
        assert_int_equal(have[0], 0xa5); /* and not a byte more */
        assert_int_equal(have[1 + length], 0xa5);
    }
    free(want);
    free(have);
    drop(&set);
}

static void test_write_ranges(void **state)
{
    (void)state;
    struct set set;
    uint64_t index[DN_MAX_NDIM];
    if (!store_can(contract.store, DN_CAN_WRITE_RANGE))
        skip_because("it writes whole chunks only");
    assert_ok(make_wide(&set));
    struct dn_chunk_id id = chunk_at(&set.desc, 5, index);
    unsigned char *want = pattern(set.nbytes, 1), *bytes = pattern(set.nbytes, 2);
    unsigned char *have = malloc(set.nbytes);
    assert_non_null(want);
    assert_non_null(bytes);
    assert_non_null(have);
    assert_int_equal(store_write(set.data, &id, 8, bytes, 16, NULL), -ENOENT);
    assert_int_equal(store_has_chunk(set.data, &id), 0);
    assert_ok(store_write(set.data, &id, 0, want, set.nbytes, NULL));
    for (int i = 0; i < 100; i++) {
        uint64_t offset;
        size_t length;
        random_range(set.nbytes, &offset, &length);
        memcpy(want + offset, bytes + (set.nbytes - length), length);
        assert_ok(store_write(set.data, &id, offset, bytes + (set.nbytes - length), length, NULL));
        assert_ok(store_read(set.data, &id, 0, have, set.nbytes, NULL));
        assert_memory_equal(have, want, set.nbytes);
    }
    free(want);
    free(bytes);
    free(have);
    drop(&set);
}

/* ---- versions ---------------------------------------------------------------------------------- */

static void skip_without_compare(void)
{
    if (!store_can(contract.store, DN_CAN_COMPARE))
        skip_because("it keeps no versions");
}

/* Read chunk 0 with a mark. */
static int read_marked(struct set *set, unsigned char *bytes, struct dn_version *mark)
{
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&set->desc, 0, index);
    return store_read(set->data, &id, 0, bytes, set->nbytes, mark);
}

static int write_marked(struct set *set, uint64_t seed, struct dn_version *mark)
{
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&set->desc, 0, index);
    unsigned char *bytes = pattern(set->nbytes, seed);
    int rc = bytes ? store_write(set->data, &id, 0, bytes, set->nbytes, mark) : -ENOMEM;
    free(bytes);
    return rc;
}

static void assert_pattern(const unsigned char *bytes, size_t nbytes, uint64_t seed)
{
    unsigned char *want = pattern(nbytes, seed);
    assert_non_null(want);
    assert_memory_equal(bytes, want, nbytes);
    free(want);
}

static void test_no_versions(void **state)
{
    (void)state;
    struct set set;
    unsigned char bytes[64];
    struct dn_version mark = {.size = 3};
    if (store_can(contract.store, DN_CAN_COMPARE))
        skip_because("it keeps versions");
    make(&set);
    assert_ok(write_marked(&set, 1, &mark));
    assert_int_equal(mark.size, 0);
    mark.size = 3;
    assert_int_equal(read_marked(&set, bytes, &mark), 0);
    assert_int_equal(mark.size, 0);
    drop(&set);
}

static void test_unchanged(void **state)
{
    (void)state;
    struct set set;
    unsigned char bytes[64], untouched[64];
    struct dn_version mark = {0};
    skip_without_compare();
    make(&set);
    assert_int_equal(read_marked(&set, bytes, &mark), -ENOENT);
    assert_ok(put(&set, 0, 1));
    assert_int_equal(read_marked(&set, bytes, &mark), 0);
    assert_pattern(bytes, set.nbytes, 1);
    assert_true(mark.size > 0);
    struct dn_version kept = mark;
    memset(bytes, 0xa5, sizeof bytes);
    memset(untouched, 0xa5, sizeof untouched);
    assert_int_equal(read_marked(&set, bytes, &mark), DN_UNCHANGED);
    assert_memory_equal(bytes, untouched, sizeof bytes);
    assert_memory_equal(&mark, &kept, sizeof mark);
    assert_ok(put(&set, 1, 5)); /* another chunk does not matter */
    assert_int_equal(read_marked(&set, bytes, &mark), DN_UNCHANGED);
    drop(&set);
}

static void test_changed(void **state)
{
    (void)state;
    struct set set;
    unsigned char bytes[64];
    struct dn_version mark = {0};
    skip_without_compare();
    make(&set);
    assert_ok(put(&set, 0, 1));
    assert_int_equal(read_marked(&set, bytes, &mark), 0);
    assert_ok(put(&set, 0, 2));
    assert_int_equal(read_marked(&set, bytes, &mark), 0);
    assert_pattern(bytes, set.nbytes, 2);
    assert_int_equal(read_marked(&set, bytes, &mark), DN_UNCHANGED);
    assert_int_equal(erase(&set, 0), 0);
    assert_int_equal(read_marked(&set, bytes, &mark), -ENOENT);
    assert_ok(put(&set, 0, 3)); /* a mark may be one of the content, and hold for the same bytes again */
    assert_int_equal(read_marked(&set, bytes, &mark), 0);
    assert_pattern(bytes, set.nbytes, 3);
    drop(&set);
}

/* The mark of a write is that of what it stored: reading with it costs no data. */
static void test_mark_of_write(void **state)
{
    (void)state;
    struct set set;
    unsigned char bytes[64];
    struct dn_version mark = {0};
    skip_without_compare();
    make(&set);
    assert_ok(write_marked(&set, 1, &mark));
    if (mark.size > 0) {
        assert_int_equal(read_marked(&set, bytes, &mark), DN_UNCHANGED);
        assert_ok(put(&set, 0, 2));
        assert_int_equal(read_marked(&set, bytes, &mark), 0);
        assert_pattern(bytes, set.nbytes, 2);
    }
    drop(&set);
}

/* Several quick overwrites never bring an old mark back, whatever a store may recycle. */
static void test_marks_do_not_return(void **state)
{
    (void)state;
    struct set set;
    unsigned char bytes[64];
    skip_without_compare();
    make(&set);
    for (uint64_t round = 0; round < 60; round++) {
        struct dn_version mark = {0};
        assert_ok(put(&set, 0, round));
        assert_int_equal(read_marked(&set, bytes, &mark), 0);
        for (uint64_t i = 0; i <= round % 4; i++)
            assert_ok(put(&set, 0, 1000 + i));
        assert_int_equal(read_marked(&set, bytes, &mark), 0);
        assert_pattern(bytes, set.nbytes, 1000 + round % 4);
    }
    drop(&set);
}

/* ---- several threads --------------------------------------------------------------------------- */

struct crowd {
    struct set set;
    _Atomic int broken; /* reads that saw a mixture */
    _Atomic int failed; /* calls that failed */
    int rounds;
};

/* Thread 0 overwrites chunk 0 with one byte value after another, the others read it. */
static void overwrite_or_read(void *arg, int i)
{
    struct crowd *crowd = arg;
    struct set *set = &crowd->set;
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&set->desc, 0, index);
    unsigned char *bytes = malloc(set->nbytes);
    for (int round = 0; bytes && round < crowd->rounds; round++) {
        if (i == 0)
            memset(bytes, round, set->nbytes);
        int rc = i == 0 ? store_write(set->data, &id, 0, bytes, set->nbytes, NULL)
                        : store_read(set->data, &id, 0, bytes, set->nbytes, NULL);
        crowd->failed += rc != 0;
        crowd->broken += rc == 0 && memcmp(bytes, bytes + 1, set->nbytes - 1) != 0;
    }
    free(bytes);
}

static void test_overwrite_is_atomic(void **state)
{
    (void)state;
    struct crowd crowd = {.rounds = 300};
    assert_ok(try_make(&crowd.set, 3, (uint64_t[]){64, 64, 64}, "|u1", (uint64_t[]){64, 64, 64}));
    unsigned char *zeros = calloc(1, crowd.set.nbytes);
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&crowd.set.desc, 0, index);
    assert_non_null(zeros);
    assert_ok(store_write(crowd.set.data, &id, 0, zeros, crowd.set.nbytes, NULL));
    free(zeros);
    run_threads(3, overwrite_or_read, &crowd);
    assert_int_equal(crowd.failed, 0);
    assert_int_equal(crowd.broken, 0);
    drop(&crowd.set);
}

/* Each thread stores, checks and deletes its own chunks. */
static void work_on_own_chunks(void *arg, int i)
{
    struct crowd *crowd = arg;
    for (int round = 0; round < crowd->rounds; round++) {
        for (uint64_t flat = (uint64_t)i; flat < CHUNKS; flat += 3) {
            uint64_t seed = (uint64_t)round * 100 + flat;
            crowd->failed += put(&crowd->set, flat, seed) != 0;
            crowd->broken += !holds(&crowd->set, flat, seed);
            if (round < crowd->rounds - 1)
                crowd->failed += erase(&crowd->set, flat) != 0;
        }
    }
}

static void test_chunks_are_independent(void **state)
{
    (void)state;
    struct crowd crowd = {.rounds = 30};
    make(&crowd.set);
    run_threads(3, work_on_own_chunks, &crowd);
    assert_int_equal(crowd.failed, 0);
    assert_int_equal(crowd.broken, 0);
    assert_stored(&crowd.set, 0x1ff);
    for (uint64_t flat = 0; flat < CHUNKS; flat++)
        assert_true(holds(&crowd.set, flat, 2900 + flat));
    drop(&crowd.set);
}

/* Thread 0 stores and deletes a chunk; who reads it meanwhile gets all of it or "absent". */
static void blink_or_read(void *arg, int i)
{
    struct crowd *crowd = arg;
    struct set *set = &crowd->set;
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&set->desc, 4, index);
    unsigned char bytes[64];
    for (int round = 0; round < crowd->rounds; round++) {
        if (i == 0) {
            memset(bytes, round, set->nbytes);
            crowd->failed += store_write(set->data, &id, 0, bytes, set->nbytes, NULL) != 0;
            crowd->failed += store_delete_chunk(set->data, &id) != 0;
        } else {
            int rc = store_read(set->data, &id, 0, bytes, set->nbytes, NULL);
            crowd->failed += rc != 0 && rc != -ENOENT;
            crowd->broken += rc == 0 && memcmp(bytes, bytes + 1, set->nbytes - 1) != 0;
        }
    }
}

static void test_delete_while_read(void **state)
{
    (void)state;
    struct crowd crowd = {.rounds = 200};
    make(&crowd.set);
    run_threads(3, blink_or_read, &crowd);
    assert_int_equal(crowd.failed, 0);
    assert_int_equal(crowd.broken, 0);
    assert_stored(&crowd.set, 0);
    drop(&crowd.set);
}

const struct CMUnitTest chunk_tests[] = {
    cmocka_unit_test(test_absent_chunk),
    cmocka_unit_test(test_write_read),
    cmocka_unit_test(test_delete_chunk),
    cmocka_unit_test(test_delete_several),
    cmocka_unit_test(test_list_chunks_stops),
    cmocka_unit_test(test_strays),
    cmocka_unit_test(test_copy_chunk),
    cmocka_unit_test(test_chunk_length),
    cmocka_unit_test(test_no_strays),
    cmocka_unit_test(test_strays_of_larger_grid),
    cmocka_unit_test(test_flush),
    cmocka_unit_test(test_two_handles),
    cmocka_unit_test(test_read_ranges),
    cmocka_unit_test(test_write_ranges),
    cmocka_unit_test(test_no_versions),
    cmocka_unit_test(test_unchanged),
    cmocka_unit_test(test_changed),
    cmocka_unit_test(test_mark_of_write),
    cmocka_unit_test(test_marks_do_not_return),
    cmocka_unit_test(test_overwrite_is_atomic),
    cmocka_unit_test(test_chunks_are_independent),
    cmocka_unit_test(test_delete_while_read),
};
const size_t chunk_test_count = sizeof chunk_tests / sizeof *chunk_tests;
